/** What one check spends its time on: the real parts, in this process, one after the other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readActions } from '../src/actions-file.ts';
import { openDecisionLog } from '../src/audit/decision-log.ts';
import { createMetrics } from '../src/audit/metrics.ts';
import { createCheck } from '../src/check/check.ts';
import { gather } from '../src/check/gather.ts';
import { record } from '../src/check/record.ts';
import { classify } from '../src/core/action.ts';
import { decide } from '../src/core/decide.ts';
import { parseMissionReference } from '../src/core/reference.ts';
import type { HttpRequest } from '../src/core/request.ts';
import { createProofMemory } from '../src/credentials/replay.ts';
import { createCredentials } from '../src/credentials/credentials.ts';
import type { TokenIssuer } from '../src/credentials/issuer.ts';
import { createFileKeys, readKeySet } from '../src/credentials/keys.ts';
import { sha256 } from '../src/digest.ts';
import { loadPolicies } from '../src/engines/load.ts';
import { allowHeaders } from '../src/http/identity.ts';
import { createIds } from '../src/ids.ts';
import { AS, GIT, MANDATES, ROOT, createIssuer, proposalBody } from '../test/support/sidecar.ts';
import { median } from './load.ts';
import type { Figure } from './figure.ts';
import { approve, complain, now, openStore } from './store.ts';

export async function measureSteps(policies: string, isShort: boolean): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-steps-'));
  const { parts, request, close } = await build(policies, folder);
  const check = createCheck(parts);
  const first = await check(request());
  if (first.effect !== 'allow') throw new Error(`the check denied: ${first.reason}`);

  const asked = request();
  const action = classify(asked, parts.actions, sha256);
  const facts = await gather(asked, action, false, parts);
  const decision = decide(facts);
  const noPolicy = {
    ...facts,
    policies: { ...facts.policies, engines: [{ name: 'cedar' as const, evaluate: () => ALLOW }] },
  };
  const recorded = { ...decision, emitter: 'e', sequence: 1 };
  const source = { realms: parts.settings.realms, forward_reference: [], scheme: 'https' };

  const rounds = isShort ? 300 : 4000;
  const time = (what: string, step: () => unknown): Promise<Figure> => measure(what, rounds, step);
  const figures = [
    await time('a whole check, without HTTP', () => check(request())),
    await time('  classify', () => classify(asked, parts.actions, sha256)),
    await time('  gather (remembered token, mandate in the replica)', () =>
      gather(asked, action, false, parts),
    ),
    await time('  decide, with Cedar', () => decide(facts)),
    await time('  decide, with an engine that permits at once', () => decide(noPolicy)),
    await time('  record (decision log to /dev/null, metrics)', () => record(decision, facts, false, parts)),
    await time('  answer headers', () => allowHeaders(recorded, asked, source)),
  ];
  await close();
  rmSync(folder, { recursive: true });
  const [whole, ...steps] = figures.map(({ value }) => value);
  const cedar = steps[2]! - steps[3]!;
  return [
    ...figures,
    { what: 'the decision alone, with Cedar', value: steps[2]!, unit: 'µs' },
    { what: 'share of a check that is cedar-wasm', value: (cedar / whole!) * 100, unit: '%' },
  ];
}

/** An issuer as configuration makes one, of keys in hand. */
export function tokenIssuer(
  jwks: string,
  algorithms: readonly string[],
  dpop: TokenIssuer['dpop'] = 'off',
): TokenIssuer {
  const read = readKeySet(jwks);
  if (!read.ok) throw new Error(read.error);
  const keys = createFileKeys({ first: read.keySet, read: () => Promise.resolve(jwks), now, complain });
  return {
    name: 'corp',
    issuer: AS,
    audiences: [GIT],
    algorithms,
    token_types: ['at+jwt'],
    keys,
    introspection: undefined,
    dpop,
    nonces: undefined,
    is_mtls_checked: false,
    max_actor_depth: 4,
  };
}

export const ALLOW = { decision: 'allow', determining: ['hello'], errors: [], obligations: [] } as const;

/** Median over batches of the mean time of one step, in microseconds. */
async function measure(what: string, rounds: number, step: () => unknown): Promise<Figure> {
  const batches: number[] = [];
  for (let batch = 0; batch < 12; batch += 1) {
    const begun = performance.now();
    for (let round = 0; round < rounds / 10; round += 1) await step();
    batches.push(((performance.now() - begun) * 1000) / (rounds / 10));
  }
  return { what, value: median(batches.slice(2)), unit: 'µs' };
}

/** All that a check is made of, with a mandate, and a request under it that is allowed. */
export async function build(policies: string, folder: string) {
  const issuer = await createIssuer();
  const actions = readActions(join(ROOT, 'policies/actions.yaml'), { scheme: 'https', is_cedar_bound: true });
  const loaded = await loadPolicies(
    { cedar: policies, actions, actions_text: '' },
    { digest: sha256, cpu_ms: () => 0, complain },
  );
  if (!loaded.ok) throw new Error(loaded.errors.join('\n'));
  const store = await openStore(folder);
  const mandate = await approve(store, 'msn_bench', proposalBody() as never);
  const { id, issuer: iss, authority_hash } = mandate;
  const token = await issuer.mint({ mission: { id, issuer: iss, authority_hash } });
  const ids = createIds();
  const log = openDecisionLog('/dev/null');
  const metrics = createMetrics({
    version: 'bench',
    policy_revision: () => 'bench',
    keys_away: () => [],
  });
  let sequence = 0;
  const corp = tokenIssuer(JSON.stringify(issuer.jwks), ['ES256']);
  const parts = {
    credentials: createCredentials({
      issuers: new Map([[AS, corp]]),
      clock_tolerance_s: 5,
      proofs: createProofMemory(),
    }),
    mandates: store,
    issuer: MANDATES,
    policies: { current: () => loaded.set },
    ids,
    settings: {
      budgets: { consequential_read: 60_000, consequential_write: 15_000 },
      permit_validity_ms: 1000,
      clock_tolerance_ms: 5000,
      settle_within_ms: 60_000,
      are_actors_required: false,
      require_proof: new Map(),
      realms: new Map([[AS, 'corp']]),
    },
    deadline_ms: 150,
    now,
    actions,
    digest: sha256,
    sinks: [log, metrics],
    emitter: { id: ids.emitter(), next: () => (sequence += 1) },
    complain,
  };
  const request = (): HttpRequest => ({
    door: 'envoy',
    check_point: 'request',
    arrived: now(),
    presented: { kind: 'token', scheme: 'bearer', token, beside: {} },
    selected: parseMissionReference([]),
    is_vouched: false,
    method: 'GET',
    target: '/repos/example/app/contents',
    host: 'git.example',
    headers: ['host', 'git.example', 'authorization', `Bearer ${token}`],
    body: { kind: 'none' },
  });
  return { parts, request, close: store.close };
}
