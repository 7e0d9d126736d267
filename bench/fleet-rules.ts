/** What the requests of `fleet` mean, and the 53 policies that look at them: six decide, the others never match. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const PURPOSES = ['urn:example:purpose:release', 'urn:example:purpose:upkeep'] as const;
const [RELEASE, UPKEEP] = PURPOSES;

const ACTIONS = `unmapped: http
operations:
  - match: { methods: [GET], host: git.example, path: '/repos/{owner}/{repo}/**' }
    action: repo.read
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
  - match: { methods: [PUT], host: git.example, path: '/repos/{owner}/{repo}/contents/**' }
    action: repo.write
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_write
    parameters: { branch: 'body:/branch' }
  - match: { methods: [POST], host: git.example, path: '/repos/{owner}/{repo}/git/refs' }
    action: repo.push
    resource: https://git.example/repos/{owner}/{repo}
    class: irreversible_action
    parameters: { ref: 'body:/ref' }
  - match: { methods: [DELETE], host: git.example, path: '/repos/{owner}/{repo}' }
    action: repo.delete
    resource: https://git.example/repos/{owner}/{repo}
    class: privileged_administration
  - match: { tool: payments.send }
    class: external_commitment
    parameters: { amount: { type: decimal }, currency: string, recipient: string }
  - match: { tool: packages.publish }
    class: irreversible_action
    parameters: { name: string }
`;

/** One of them goes by the lineage, so a root is named; the last one forbids, and no mandate here ends so soon. */
function deciding(root: string): readonly string[] {
  return [
    `@id("read-while-it-lasts")
permit (principal, action in Action::"consequential_read", resource)
when { context.mandate.state == "active" && context.mandate.expires_at > context.now };`,
    `@id("write-for-a-release")
permit (principal, action == Action::"repo.write", resource)
when { context.mandate.purpose == "${RELEASE}" && context.parameters.branch like "agent/*" };`,
    `@id("write-for-upkeep")
permit (principal, action == Action::"repo.write", resource)
when { context.mandate.purpose == "${UPKEEP}" && context.mandate.depth <= 3 };`,
    `@id("push-for-a-release")
permit (principal, action == Action::"repo.push", resource)
when { context.mandate.purpose == "${RELEASE}" && principal.depth <= 3 };`,
    `@id("push-for-upkeep")
permit (principal, action == Action::"repo.push", resource)
when { context.mandate.purpose == "${UPKEEP}" && !context.mandate.suspended_before };`,
    `@id("push-in-the-first-tree")
permit (principal, action == Action::"repo.push", resource)
when { context.mandate in Mandate::"${root}" && context.parameters.ref like "refs/heads/*" };`,
    `@id("last-minute")
forbid (principal, action in [Action::"irreversible_action", Action::"external_commitment"], resource)
when { context.mandate.expires_at.durationSince(context.now) < duration("60s") };`,
  ];
}

/** Conditions that are reached whatever is asked, on mandates and purposes that do not occur. */
function ofOthers(index: number): readonly string[] {
  return [
    `@id("frozen-${index}")
forbid (principal, action, resource)
when { context.mandate in Mandate::"msn_frozen_${index}" };`,
    `@id("purpose-${index}")
permit (
  principal,
  action in [Action::"consequential_read", Action::"consequential_write", Action::"irreversible_action"],
  resource
)
when { context.mandate.purpose == "urn:example:purpose:other-${index}" && context.mandate.depth <= ${index % 4} };`,
  ];
}

/** Actions and places that do not occur. */
function elsewhere(index: number): readonly string[] {
  const elsewhereAction =
    index % 2 === 0
      ? `action == Action::"payments.send", resource)
when { context.mandate.depth == 0 && context.parameters.amount.lessThan(decimal("${index}00.0")) };`
      : `action == Action::"packages.publish", resource)
when { context.mandate.purpose == "${RELEASE}" && context.parameters.name like "@example-${index}/*" };`;
  return [
    `@id("action-${index}")\npermit (principal, ${elsewhereAction}`,
    `@id("sealed-${index}")
forbid (principal, action in Action::"consequential_write", resource)
when { resource.path like "/repos/sealed-${index}/*" && principal.depth > 0 };`,
  ];
}

const POLICY_COUNT = 53;

export interface Rules {
  /** Of the policies. */
  readonly folder: string;
  readonly actions: string;
}

/** Writes both to a new folder, which the caller removes. `root` is the first root. */
export function writeRules(root: string): Rules {
  const policies = [
    ...deciding(root),
    ...Array.from({ length: 12 }, (_, index) => ofOthers(index)).flat(),
    ...Array.from({ length: 11 }, (_, index) => elsewhere(index)).flat(),
  ];
  if (policies.length !== POLICY_COUNT) throw new Error(`there are ${policies.length} policies`);
  const folder = mkdtempSync(join(tmpdir(), 'mandated-fleet-'));
  writeFileSync(join(folder, 'fleet.cedar'), `${policies.join('\n\n')}\n`);
  const actions = join(folder, 'actions.yaml');
  writeFileSync(actions, ACTIONS);
  return { folder, actions };
}
