/** The policies over mandates themselves: `Action::"mandate.revoke"` on `Mandate::"…"`, in Cedar. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ControlAction, type ControlPolicies, type ControlRequest, factsOf } from '../core/control.ts';
import type { Digest, Party } from '../core/mandate/record.ts';
import { qualified } from '../core/policy-input.ts';
import { formatTime } from '../core/time.ts';
import { type PolicyFile, loadCedarSet } from './cedar.ts';
import type { CedarRequest } from './cedar-input.ts';
import { CONTROL_DEFAULTS } from './control-defaults.ts';

/** Each action with the groups that it is in. Discharge has a grant of its own, so it is in none. */
const ACTIONS: Readonly<Record<ControlAction, readonly string[]>> = {
  'mandate.read': ['seeing'],
  'mandate.propose': [],
  'mandate.approve': [],
  'mandate.deny': [],
  'mandate.derive': [],
  'mandate.suspend': ['narrowing'],
  'mandate.contain': ['narrowing'],
  'mandate.tighten': ['narrowing'],
  'mandate.shorten': ['narrowing'],
  'mandate.complete': ['narrowing'],
  'mandate.revoke': ['narrowing'],
  'mandate.discharge': [],
  'mandate.resume': ['approving'],
  'mandate.extend': ['approving'],
  'mandate.amend': ['approving'],
  'mandate.renew': ['approving'],
  'action.approve': [],
  'decision.read': ['seeing'],
  'decision.settle': [],
  'conditions.report': [],
  'fleet.read': [],
  'check.ask': [],
  'token.introspect': [],
};

const MODEL = `
entity Operator;
entity User;
entity Agent;
entity Mandate in [Mandate] = {
  state: String, version: Long, purpose: String, goal: String, depth: Long,
  subject: User, approver: User, client: Agent
};
action "seeing";
action "narrowing";
action "approving";
`;

function schema(): string {
  const actions = Object.entries(ACTIONS).map(([name, groups]) => {
    const within =
      groups.length === 0 ? '' : ` in [${groups.map((group) => JSON.stringify(group)).join(', ')}]`;
    return `action ${JSON.stringify(name)}${within} appliesTo {
  principal: [Operator, User, Agent], resource: [Mandate],
  context: {
    is_subject: Bool, is_approver: Bool, is_agent: Bool, is_above: Bool,
    issuer: String, client: Agent, now: datetime
  }
};`;
  });
  return [MODEL, ...actions].join('\n');
}

export type LoadedControl =
  | { readonly ok: true; readonly policies: ControlPolicies; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly errors: readonly string[] };

/** The built-in set, and beside it what stands in the folder, where there is one. */
export function loadControl(
  folder: string | undefined,
  realms: ReadonlyMap<string, string>,
  digest: Digest,
): LoadedControl {
  const read = folder === undefined ? [] : readFolder(folder);
  if ('error' in read) return { ok: false, errors: [`policies.control: ${read.error}`] };
  const files = [{ name: 'built-in', text: CONTROL_DEFAULTS }, ...read];
  const loaded = loadCedarSet('control', files, schema());
  if (!loaded.ok) return { ok: false, errors: loaded.errors.map((error) => `policies.control: ${error}`) };
  return {
    ok: true,
    warnings: loaded.warnings,
    policies: {
      revision: digest(files.map(({ text }) => text).join('\n')),
      answer: (request) => {
        // Without a folder nothing can forbid the operator anything.
        if (read.length === 0 && request.principal.type === 'Operator') return 'permit';
        const { decision, determining } = loaded.evaluate(cedarRequest(request, realms));
        if (decision === 'allow') return 'permit';
        return decision === 'deny' && determining.length === 0 ? 'silent' : 'forbid';
      },
    },
  };
}

function readFolder(folder: string): readonly PolicyFile[] | { readonly error: string } {
  try {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    return names
      .filter((name) => name.endsWith('.cedar'))
      .toSorted()
      .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));
  } catch (error) {
    return { error: `the folder \`${folder}\` cannot be read: ${(error as Error).message}` };
  }
}

function cedarRequest(request: ControlRequest, realms: ReadonlyMap<string, string>): CedarRequest {
  const { principal, action, target, now_ms } = request;
  const nobody = { iss: '', sub: '' };
  const uid = (type: string, party: Party | undefined) => ({ type, id: qualified(party ?? nobody, realms) });
  const entity = (type: string, party: Party | undefined) => ({ __entity: uid(type, party) });
  const parents = target.lineage.slice(0, -1).map((id) => ({ type: 'Mandate', id }));
  return {
    principal: { type: principal.type, id: principal.id },
    action: { type: 'Action', id: action },
    resource: { type: 'Mandate', id: target.id },
    context: {
      ...factsOf(request),
      issuer: principal.party.iss,
      client: entity('Agent', principal.client),
      now: { __extn: { fn: 'datetime', arg: formatTime(now_ms) } },
    },
    entities: [
      {
        uid: { type: 'Action', id: action },
        attrs: {},
        parents: ACTIONS[action].map((id) => ({ type: 'Action', id })),
      },
      {
        uid: { type: 'Mandate', id: target.id },
        attrs: {
          state: target.state,
          version: target.version,
          purpose: target.purpose,
          goal: target.goal,
          depth: target.depth,
          subject: entity('User', target.subject),
          approver: entity('User', target.approver),
          client: entity('Agent', target.clients.at(-1)),
        },
        parents,
      },
    ],
  };
}
