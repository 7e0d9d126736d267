/** The four steps with an outside that is slow, broken, or lying in wait: always a decision, never an exception. */
import { describe, expect, test } from 'vitest';
import { emptyActions } from '../../src/actions-file.ts';
import { type CheckParts, createCheck } from '../../src/check/check.ts';
import type { MandateView } from '../../src/check/ports.ts';
import type { CredentialFact } from '../../src/core/credential.ts';
import type { RecordedDecision } from '../../src/core/decision.ts';
import type { MandateFact } from '../../src/core/facts.ts';
import type { HttpRequest } from '../../src/core/request.ts';
import { sha256 } from '../../src/digest.ts';
import { ALICE, ENTRY, MANDATES, record } from '../support/records.ts';

const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });
const never = new Promise<never>(() => undefined);

const USABLE: CredentialFact = {
  verdict: 'usable',
  realm: 'corp',
  issuer: ALICE.iss,
  subject: ALICE.sub,
  client_id: 'agent-1',
  expires_at_ms: Date.now() + 60_000,
  mission: { id: 'msn_1', issuer: MANDATES, authority_hash: 'sha-256:authority' },
  actors: [],
  bound_by: [],
};

const own = () =>
  record({
    expires_at: new Date(Date.now() + 60_000).toISOString(),
    authority_set: [{ ...ENTRY, actions: ['http.*'] }],
  });
const found = (): MandateFact => {
  const proof = {
    source: 'embedded',
    position: { epoch: 1, seq: 1, eid: 'e' },
    proven: now(),
    latch: undefined,
  } as const;
  return { kind: 'found', lineage: [own()], proof };
};
const unasked = (): never => {
  throw new Error('nothing is to be kept');
};
const view = (fact: () => Promise<MandateFact>, more: Partial<MandateView> = {}): MandateView => ({
  prove: () => ({ find: fact }),
  write: unasked,
  decision: unasked,
  unsafe: () => [],
  ...more,
});

interface Harness {
  readonly parts: CheckParts;
  readonly logged: RecordedDecision[];
  readonly complaints: string[];
}

function harness(replaced: Partial<CheckParts> = {}): Harness {
  const logged: RecordedDecision[] = [];
  const complaints: string[] = [];
  let sequence = 0;
  const engine = {
    name: 'cedar' as const,
    evaluate: () => ({ decision: 'allow' as const, determining: ['p'], errors: [], obligations: [] }),
  };
  const parts: CheckParts = {
    credentials: { verify: () => USABLE },
    mandates: view(() => Promise.resolve(found())),
    issuer: MANDATES,
    policies: { current: () => ({ engines: [engine], revision: 'sha-256:r' }) },
    ids: { decision: () => 'dec_1' },
    settings: {
      budgets: { consequential_read: 60_000, consequential_write: 15_000 },
      permit_validity_ms: 1000,
      clock_tolerance_ms: 5000,
      settle_within_ms: 60_000,
      are_actors_required: false,
      require_proof: new Map(),
      realms: new Map(),
    },
    deadline_ms: 40,
    now,
    actions: emptyActions({ scheme: 'https', is_cedar_bound: true }),
    digest: sha256,
    sinks: [{ write: ({ decision }) => void logged.push(decision) }],
    emitter: { id: 'emt_1', next: () => (sequence += 1) },
    complain: (what) => void complaints.push(what),
    ...replaced,
  };
  return { parts, logged, complaints };
}

const request = (method = 'POST'): HttpRequest => ({
  door: 'envoy',
  check_point: 'request',
  arrived: now(),
  presented: { kind: 'token', scheme: 'bearer', token: 't', beside: {} },
  selected: 'absent',
  is_vouched: false,
  method,
  target: '/repos/example/app/x',
  host: 'git.example',
  headers: [],
  body: { kind: 'none' },
});

describe('the path as it should be', () => {
  test('allows, records, and answers what it has recorded', async () => {
    const { parts, logged } = harness();
    const decision = await createCheck(parts)(request());
    expect(decision).toMatchObject({ effect: 'allow', emitter: 'emt_1', sequence: 1 });
    expect(logged).toEqual([decision]);
  });

  test('budget 0 begins its proof at arrival, before the credential is verified', async () => {
    const order: string[] = [];
    const { parts } = harness({
      mandates: view(unasked, {
        prove: ({ budget_ms }) => (
          order.push(`prove ${budget_ms}`),
          { find: () => Promise.resolve(found()) }
        ),
      }),
      credentials: { verify: () => (order.push('verify'), USABLE) },
    });
    await createCheck(parts)(request());
    expect(order).toEqual(['prove 0', 'verify']);
  });
});

describe('one deadline for all that is gathered', () => {
  const timed = async (parts: CheckParts): Promise<{ decision: RecordedDecision; took_ms: number }> => {
    const begun = performance.now();
    const decision = await createCheck(parts)(request());
    return { decision, took_ms: performance.now() - begun };
  };

  test('a key server that never answers: unverifiable', async () => {
    const { decision, took_ms } = await timed(harness({ credentials: { verify: () => never } }).parts);
    expect(decision).toMatchObject({
      reason: 'credential_invalid',
      credential: { verdict: 'unverifiable' },
      next_action: 'retry',
    });
    expect(took_ms).toBeLessThan(2000);
  });

  test('a store that never answers: state_unavailable, and nothing of the mandate', async () => {
    const { decision } = await timed(harness({ mandates: view(() => never) }).parts);
    expect(decision).toMatchObject({
      reason: 'state_unavailable',
      mandate: { verdict: 'unproven' },
      freshness: { source: 'none' },
    });
    expect(decision.mandate.id).toBeUndefined();
    expect(decision.credential.verdict).toBe('usable');
  });

  test('both slow together still end within one deadline', async () => {
    const slow = <T>(value: T) => new Promise<T>((resolve) => setTimeout(() => resolve(value), 30));
    const { decision } = await timed(
      harness({ credentials: { verify: () => slow(USABLE) }, mandates: view(() => slow(found())) }).parts,
    );
    expect(decision.reason).toBe('state_unavailable');
  });
});

describe('what breaks becomes a deny', () => {
  const broken = (): never => {
    throw new Error('boom with a secret eyJhbGciOi');
  };
  test.each<[string, Partial<CheckParts>]>([
    ['the credentials throw', { credentials: { verify: broken } }],
    ['the credentials reject', { credentials: { verify: () => Promise.reject(new Error('boom')) } }],
    ['the store throws', { mandates: view(unasked, { prove: broken }) }],
    ['the store rejects', { mandates: view(() => Promise.reject(new Error('boom'))) }],
    [
      'an engine throws',
      { policies: { current: () => ({ engines: [{ name: 'opa', evaluate: broken }], revision: 'r' }) } },
    ],
    ['the digest throws', { digest: broken }],
  ])('%s: internal_error, recorded', async (_, replaced) => {
    const { parts, logged, complaints } = harness(replaced);
    const decision = await createCheck(parts)(request());
    expect(decision).toMatchObject({
      effect: 'deny',
      reason: 'internal_error',
      next_action: 'retry',
      request: { verdict: 'not_evaluated' },
    });
    expect(logged).toHaveLength(1);
    expect(complaints).toEqual(['a check failed']);
    expect(JSON.stringify(decision)).not.toContain('boom');
  });

  test('a decision that cannot be recorded is not an allow', async () => {
    const { parts, complaints } = harness({ sinks: [{ write: broken }] });
    const decision = await createCheck(parts)(request());
    expect(decision).toMatchObject({ effect: 'deny', reason: 'internal_error' });
    expect(decision.valid_until).toBe(decision.evaluated_at);
    expect(complaints).toEqual(['a decision could not be recorded']);
  });

  test('a deny that cannot be recorded stays the deny it was', async () => {
    const { parts } = harness({
      sinks: [{ write: broken }],
      credentials: { verify: () => ({ verdict: 'not_presented' }) },
    });
    expect((await createCheck(parts)(request())).reason).toBe('credential_invalid');
  });

  test('no engine at all permits nothing', async () => {
    const { parts } = harness({ policies: { current: () => ({ engines: [], revision: 'r' }) } });
    expect(await createCheck(parts)(request())).toMatchObject({
      reason: 'resource_policy',
      request: { verdict: 'undetermined' },
    });
  });

  test('a process that slept between the proof and the answer says no', async () => {
    let slept_ms = 0;
    const clock = () => ({ wall_ms: Date.now() + slept_ms, mono_ms: performance.now() });
    const policies = harness().parts.policies.current();
    const evaluate = (): ReturnType<(typeof policies.engines)[number]['evaluate']> => {
      slept_ms = 5000;
      return { decision: 'allow', determining: [], errors: [], obligations: [] };
    };
    const { parts, logged } = harness({
      now: clock,
      policies: { current: () => ({ ...policies, engines: [{ name: 'cedar', evaluate }] }) },
    });
    expect((await createCheck(parts)(request())).reason).toBe('state_unavailable');
    expect(logged[0]!.effect).toBe('deny');
  });
});
