/** The decision against a dumb twin: one long condition, written from design/2 "One decision, in order". */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Action } from '../../src/core/action.ts';
import { ACTION_CLASSES, type ActionClass } from '../../src/core/classes.ts';
import type { CredentialFact } from '../../src/core/credential.ts';
import { decide } from '../../src/core/decide.ts';
import { expirePermit } from '../../src/core/permit.ts';
import type { Facts, MandateFact } from '../../src/core/facts.ts';
import type { Lineage } from '../../src/core/mandate/life.ts';
import type { EngineAnswer } from '../../src/core/policy.ts';
import { REASON_TABLE } from '../../src/core/reasons.ts';
import type { Resolved } from '../../src/core/reference.ts';
import { parseResource } from '../../src/core/uri.ts';
import { ALICE, ENTRY, MANDATES, at, iso, record } from '../support/records.ts';

const BUDGETS = { consequential_read: 60_000, consequential_write: 15_000 };
const USABLE: CredentialFact = {
  verdict: 'usable',
  realm: 'corp',
  issuer: ALICE.iss,
  subject: ALICE.sub,
  client_id: 'agent-1',
  expires_at_ms: at(600_000).wall_ms,
  mission: 'absent',
  actors: [],
  bound_by: [],
};
const resource = (path: string): Action['resource'] => {
  const parsed = parseResource(`https://git.example${path}`);
  if ('refused' in parsed) throw new Error(parsed.refused);
  return parsed;
};

const AGENT = { iss: ALICE.iss, sub: 'agent-1' };
const TOOL = { iss: ALICE.iss, sub: 'tool' };
const DELEGATION = { max_depth: 1, allowed_delegates: [{ sub: 'tool' }] };

const credential = fc.constantFrom<CredentialFact>(
  USABLE,
  { ...USABLE, subject: 'bob' },
  { ...USABLE, client_id: 'agent-2' },
  { ...USABLE, issuer: 'https://other.example' },
  { verdict: 'unusable', reason: 'credential_invalid', detail: 'd' },
  { verdict: 'unusable', reason: 'actor_invalid', detail: 'd' },
  { verdict: 'unverifiable', detail: 'd' },
  { verdict: 'not_presented' },
  { ...USABLE, authorization_details: [{ ...ENTRY, actions: ['repo.read'] }] as never },
  { ...USABLE, authorization_details: [{ type: 'other' }] },
  { ...USABLE, bound_by: ['dpop'] },
  { ...USABLE, actors: [AGENT] },
  { ...USABLE, actors: [TOOL] },
  { ...USABLE, actors: [TOOL, TOOL] },
  { ...USABLE, client_id: 'tool', actors: [TOOL] },
  { ...USABLE, client_id: 'tool' },
);

const action = fc
  .record({
    name: fc.constantFrom('repo.push', 'repo.read', 'payments.send'),
    class: fc.constantFrom<ActionClass>(...ACTION_CLASSES),
    path: fc.constantFrom('/repos/example/app', '/repos/example/app/x', '/repos/example/application'),
    fault: fc.constantFrom(
      'malformed_request' as const,
      'parameter_violation' as const,
      'resource_policy' as const,
      undefined,
      undefined,
      undefined,
      undefined,
    ),
  })
  .map(({ name, class: class_, path, fault }): Action => {
    return {
      check_point: 'request',
      name,
      families: [`${name.split('.')[0]}.*`],
      class: class_,
      class_source: 'operation',
      is_mapped: true,
      bound: {},
      resource: fault === 'malformed_request' ? undefined : resource(path),
      request: { method: 'POST', scheme: 'https', host: 'git.example', path },
      parameters: {},
      parameter_digest: undefined,
      fault: fault === undefined ? undefined : { reason: fault, detail: 'd' },
    };
  });

const mandate = fc
  .record({
    state: fc.constantFrom(
      'active' as const,
      'active' as const,
      'active' as const,
      'suspended' as const,
      'revoked' as const,
    ),
    end: fc.constantFrom(3_600_000, 3_600_000, 0),
    parent: fc.constantFrom(
      undefined,
      undefined,
      'active' as const,
      'suspended' as const,
      'revoked' as const,
    ),
    constraints: fc.constantFrom(undefined, undefined, { max_amount: {} }),
    delegation: fc.constantFrom(undefined, DELEGATION),
    proven: fc.constantFrom(0, 5, -20_000, -70_000),
    latch: fc.constantFrom(undefined, undefined, undefined, 'FORK' as const),
    found: fc.constantFrom('found', 'found', 'found', 'found', 'absent', 'unreadable'),
  })
  .map(({ state, end, parent, constraints, delegation, proven, latch, found }): MandateFact => {
    if (found === 'absent') return { kind: 'absent' };
    if (found === 'unreadable') return { kind: 'unreadable', detail: 'd' };
    const authority_set = [
      {
        ...ENTRY,
        ...(constraints === undefined ? {} : { constraints }),
        ...(delegation === undefined ? {} : { delegation }),
      },
    ];
    const own = record({
      state,
      expires_at: iso(end),
      authority_set,
      ...(parent === undefined ? {} : { depth: 1, lineage: ['msn_0', 'msn_1'] }),
    });
    const lineage = (parent === undefined
      ? [own]
      : [record({ id: 'msn_0', state: parent }), own]) as unknown as Lineage;
    return {
      kind: 'found',
      lineage,
      proof: { source: 'embedded', position: { epoch: 1, seq: 1, eid: 'e' }, proven: at(proven), latch },
    };
  });

const reference = fc.constantFrom<Resolved>(
  { reference: { id: 'msn_1', issuer: MANDATES }, named_by: 'header' },
  { reference: { id: 'msn_1', issuer: MANDATES }, named_by: 'claim', authority_hash: 'sha-256:authority' },
  { reference: { id: 'msn_1', issuer: MANDATES }, named_by: 'claim', authority_hash: 'sha-256:older' },
  { reason: 'mission_context_missing' },
  { reason: 'mission_reference_conflict' },
);

const engine = fc.constantFrom<EngineAnswer['decision'][]>(
  ['allow'],
  ['allow', 'allow'],
  ['deny'],
  ['error'],
  ['allow', 'deny'],
  ['error', 'allow'],
  [],
);

interface Case {
  readonly facts: Facts;
  readonly answers: readonly EngineAnswer['decision'][];
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    credential,
    action,
    mandate,
    reference,
    answers: engine,
    min_version: fc.constantFrom(undefined, 1, 2),
    is_vouched: fc.constantFrom(false, false, true),
    are_actors_required: fc.constantFrom(false, false, true),
    needs_proof: fc.constantFrom(false, false, true),
  })
  .map(({ answers, min_version, is_vouched, are_actors_required, needs_proof, ...given }) => ({
    answers,
    facts: {
      decision_id: 'dec_1',
      asked: {
        door: 'envoy',
        check_point: 'request',
        arrived: at(0),
        presented: { kind: 'none' },
        selected: 'absent',
        is_vouched,
        ...(min_version === undefined ? {} : { min_version }),
      },
      decided: at(6),
      ...given,
      policies: {
        revision: 'sha-256:policy',
        engines: answers.map((decision, index) => ({
          name: index === 0 ? ('cedar' as const) : ('opa' as const),
          evaluate: () => ({ decision, determining: [], errors: [], obligations: [] }),
        })),
      },
      unsafe_store: [],
      settings: {
        budgets: BUDGETS,
        permit_validity_ms: 1000,
        clock_tolerance_ms: 5000,
        settle_within_ms: 60_000,
        are_actors_required,
        require_proof: new Map(needs_proof ? [[ALICE.iss, new Set(['irreversible_action' as const])]] : []),
        realms: new Map([[ALICE.iss, 'corp']]),
      },
    },
  }));

/** The first reason in the order of design/2; undefined for an allow. */
function twin({ facts, answers }: Case): string | undefined {
  const { action: asked, credential: who, mandate: view, reference: named } = facts;
  const { min_version, is_vouched } = facts.asked;
  if (asked.fault?.reason === 'malformed_request') return 'malformed_request';
  const isHarmless = asked.class === 'non_consequential';
  if (who.verdict === 'unusable') return who.reason;
  if (
    who.verdict === 'usable' &&
    who.issuer === ALICE.iss &&
    facts.settings.require_proof.size > 0 &&
    asked.class === 'irreversible_action' &&
    who.bound_by.length === 0
  )
    return 'credential_invalid';
  if (who.verdict === 'unverifiable' || (who.verdict === 'not_presented' && !isHarmless && !is_vouched))
    return 'credential_invalid';
  if (!isHarmless) {
    if (named === undefined || 'reason' in named) return named?.reason ?? 'mission_context_missing';
    if (view.kind === 'unreadable') return 'state_unavailable';
    if (view.kind !== 'found') return 'mission_mismatch';
    const own = view.lineage.at(-1)!;
    const isHandedOn = own.authority_set[0]!.delegation !== undefined;
    const isDelegate =
      who.verdict === 'usable' && who.client_id === 'tool' && who.actors.length > 0 && isHandedOn;
    const isOther =
      who.verdict === 'usable' &&
      (who.subject !== 'alice' || (who.client_id !== 'agent-1' && !isDelegate) || who.issuer !== ALICE.iss);
    if (isOther) return 'mission_mismatch';
    if (who.verdict === 'usable') {
      const names = who.actors.map(({ sub }) => sub).join(' ');
      // The agent alone is the whole lineage of a root mandate, and a part of a child's.
      const fits: Record<string, boolean> = {
        '': !facts.settings.are_actors_required || own.depth === 0,
        'agent-1': view.lineage.length === 1,
        tool: isHandedOn && own.depth === 0,
        'tool tool': false,
      };
      if (!fits[names]) return 'actor_invalid';
    }
    const age = 6 - (view.proof.proven.wall_ms - at(0).wall_ms);
    const budget =
      asked.class === 'consequential_read' ? 60_000 : asked.class === 'consequential_write' ? 15_000 : 0;
    const isFresh = budget === 0 ? view.proof.proven.wall_ms >= at(0).wall_ms : age <= budget;
    if (view.proof.latch !== undefined || !isFresh) return 'state_unavailable';
    if (min_version === 2) return 'stale_state';
    if (named.authority_hash === 'sha-256:older') return 'view_inconsistent';
    if (view.lineage.some((each) => each.state !== 'active') || own.expires_at === iso(0))
      return 'mission_inactive';
    if (who.verdict === 'usable' && who.authorization_details !== undefined) {
      const [first] = who.authorization_details as { type: string }[];
      if (first!.type === 'other') return 'unsupported_authorization_type';
      if (asked.name !== 'repo.read' || asked.resource!.path === '/repos/example/application')
        return 'out_of_authority';
    }
    if (asked.name === 'payments.send' || asked.resource!.path === '/repos/example/application')
      return 'out_of_authority';
    if (asked.fault?.reason === 'parameter_violation') return 'parameter_violation';
    if (own.authority_set[0]!.constraints !== undefined) return 'constraint_unsupported';
  }
  if (asked.fault?.reason === 'parameter_violation') return 'parameter_violation';
  if (asked.fault?.reason === 'resource_policy') return 'resource_policy';
  return answers.length > 0 && answers.every((answer) => answer === 'allow') ? undefined : 'resource_policy';
}

describe('decide', () => {
  test('gives the first reason of the order, for every combination of facts', () => {
    fc.assert(
      fc.property(cases, (given) => {
        const decision = decide(given.facts);
        expect(decision.reason).toBe(twin(given));
        expect(decision.effect).toBe(decision.reason === undefined ? 'allow' : 'deny');
      }),
      { numRuns: 20_000 },
    );
  });

  test('never allows unless all three say yes, and never for longer than each of them lasts', () => {
    fc.assert(
      fc.property(cases, ({ facts }) => {
        const {
          effect,
          credential: who,
          mandate: what,
          request,
          valid_until,
          freshness,
          action: asked,
        } = decide(facts);
        if (effect !== 'allow') return;
        expect(
          who.verdict === 'usable' ||
            (who.verdict === 'not_presented' &&
              (asked.class === 'non_consequential' || facts.asked.is_vouched)),
        ).toBe(true);
        expect(what.verdict).toBe(asked.class === 'non_consequential' ? 'not_required' : 'legitimate');
        expect(request.verdict).toBe('permitted');
        const until = Date.parse(valid_until!);
        expect(until).toBeLessThanOrEqual(at(600_000).wall_ms);
        if (freshness.source !== 'none') {
          expect(until).toBeLessThanOrEqual(Date.parse(freshness.as_of) + freshness.budget_ms + 1000);
          if (freshness.budget_ms > 0) expect(freshness.age_ms).toBeLessThanOrEqual(freshness.budget_ms);
        }
      }),
      { numRuns: 5000 },
    );
  });

  test('shows nothing of a mandate that is not the caller`s', () => {
    fc.assert(
      fc.property(cases, ({ facts }) => {
        const decision = decide(facts);
        const { reason = '' } = decision;
        const isMismatch = [
          'mission_mismatch',
          'mission_context_missing',
          'mission_reference_conflict',
        ].includes(reason);
        // Of an actor that does not fit, what is said is of the credential.
        const isMisfit = reason === 'actor_invalid' && facts.credential.verdict === 'usable';
        if (!isMismatch && !isMisfit) return;
        if (isMisfit) expect(decision.credential).toEqual({ verdict: 'unusable', reason });
        expect(decision.mandate).toEqual({ verdict: isMisfit ? 'not_evaluated' : 'illegitimate', reason });
        expect(decision.freshness).toEqual({ source: 'none' });
        expect(decision.request).toEqual({ verdict: 'not_evaluated' });
        expect(JSON.stringify(decision)).not.toContain('msn_');
      }),
      { numRuns: 5000 },
    );
  });

  test('every reason has a status that denies at a proxy', () => {
    expect(Object.values(REASON_TABLE).filter(({ status }) => status !== 401 && status !== 403)).toEqual([]);
  });
});

describe('expirePermit: the permit`s end is looked at once more before answering', () => {
  const facts = fc.sample(
    cases.filter((given) => twin(given) === undefined && given.facts.action.class !== 'non_consequential'),
    50,
  );

  test('a process that was paused answers no', () => {
    for (const { facts: each } of facts) {
      const late = expirePermit(decide(each), each, at(120_000));
      expect(late).toMatchObject({
        effect: 'deny',
        reason: 'state_unavailable',
        mandate: { verdict: 'unproven' },
      });
      expect(late.valid_until).toBe(late.evaluated_at);
    }
  });

  test('in time it changes nothing', () => {
    for (const { facts: each } of facts) expect(expirePermit(decide(each), each, at(7)).effect).toBe('allow');
  });
});
