/** Budgets: meters, what a tree shares, and that it is never over-spent (design/2 `usage`; design/8, Attenuation and budgets). */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Refusal } from '../../src/core/mandate/commands.ts';
import type { MandateEvent } from '../../src/core/mandate/events.ts';
import { isTerminal } from '../../src/core/mandate/life.ts';
import type { AuthorityEntry } from '../../src/core/mandate/record.ts';
import type { StoredDecision } from '../../src/core/mandate/stored-decision.ts';
import { type Budget, charge, giveBack, usageOf } from '../../src/core/mandate/usage.ts';
import { parseIsoDuration } from '../../src/core/time.ts';
import { HOUR, type MemoryLog, createMemoryLog } from '../support/memory-log.ts';
import { ALICE, ENTRY, T0, iso } from '../support/records.ts';

const DELEGABLE: AuthorityEntry = {
  ...ENTRY,
  delegation: { max_depth: 9, allowed_delegates: [{ sub: 'agent-2' }] },
};

const begin = (controls: Budget): MemoryLog => {
  const log = createMemoryLog();
  const intent = {
    goal: 'g',
    resources: [ENTRY.resource],
    expires_at: iso(8 * HOUR),
    controls: { ...controls },
  };
  log.begin('root', [DELEGABLE], 8 * HOUR, { intent });
  return log;
};
const derive = (log: MemoryLog, parent: string, id: string, budget: Budget | undefined, more: object = {}) =>
  log.derive(parent, id, [DELEGABLE], { ...(budget === undefined ? {} : { budget }), ...more });
const reason = (result: readonly MandateEvent[] | Refusal): string =>
  'refused' in result ? `${result.refused} ${result.field ?? ''}`.trim() : 'ok';

let calls = 0;
/** One call under a mandate; answers whether it was held. */
function call(log: MemoryLog, mandate: string, at_ms = T0, amount?: string): string | undefined {
  const decision_id = `dec_${(calls += 1)}`;
  const decision: StoredDecision = {
    decision_id,
    mandate,
    check_point: 'tool',
    door: 'native',
    caller: { principal: 'p' },
    action: { name: 'a', class: 'irreversible_action' },
    resource: 'urn:x:y',
    binding: 'sha-256:b',
    charge: { calls: 1, ...(amount === undefined ? {} : { amount: { amount, currency: 'EUR' } }) },
    decided_at: iso(0),
    status: 'decided',
  };
  const versions = log.lineage(mandate).map(({ version }) => version);
  const result = log.write({
    kind: 'reserve',
    decision,
    versions,
    lease_ms: 1000,
    is_dry: false,
    by: ALICE,
    at_ms,
  });
  return 'refused' in result || result.length === 0 ? undefined : decision_id;
}
const settle = (log: MemoryLog, decision_id: string, outcome: 'failed' | 'completed') =>
  log.write({ kind: 'settle', decision_id, outcome, by: ALICE, at_ms: T0 });

describe('a child`s budget', () => {
  test('is named where the parent is metered, and is no more than it has left', () => {
    const log = begin({ max_calls: 5, max_budget: { amount: '10.00', currency: 'EUR' } });
    const money = { amount: '4', currency: 'EUR' };
    expect(reason(derive(log, 'root', 'a', undefined))).toBe('not_strict_subset budget.max_calls');
    expect(reason(derive(log, 'root', 'a', { max_calls: 3 }))).toBe('not_strict_subset budget.max_budget');
    expect(reason(derive(log, 'root', 'a', { max_calls: 6, max_budget: money }))).toBe(
      'not_strict_subset budget.max_calls',
    );
    expect(
      reason(derive(log, 'root', 'a', { max_calls: 3, max_budget: { amount: '4', currency: 'USD' } })),
    ).toBe('not_strict_subset budget.max_budget');
    expect(reason(derive(log, 'root', 'a', { max_calls: 3, max_budget: money }))).toBe('ok');
    expect(reason(derive(log, 'root', 'b', { max_calls: 3, max_budget: money }))).toBe(
      'not_strict_subset budget.max_calls',
    );
    expect(
      reason(derive(log, 'root', 'b', { max_calls: 2, max_budget: { amount: '6.01', currency: 'EUR' } })),
    ).toBe('not_strict_subset budget.max_budget');
    expect(log.record('root')).toMatchObject({
      version: 1,
      usage: { max_calls: { limit: 5, charged: 0, allotted: 3 }, max_budget: { allotted: '4' } },
    });
  });

  test('may be named where the parent is not metered, and may meter more', () => {
    const log = begin({});
    expect(reason(derive(log, 'root', 'a', { max_calls: 1 }))).toBe('ok');
    expect([call(log, 'a') !== undefined, call(log, 'a'), call(log, 'root') !== undefined]).toEqual([
      true,
      undefined,
      true,
    ]);
    expect(log.record('root').usage).toBeUndefined();
  });

  test('is given back as far as it was not used, here and below, when the child ends', () => {
    const log = begin({ max_calls: 10 });
    derive(log, 'root', 'a', { max_calls: 6 });
    derive(log, 'a', 'aa', { max_calls: 3 });
    call(log, 'a');
    call(log, 'aa');
    log.operate('a', { operation: 'complete' });
    expect(log.record('root').usage).toEqual({ max_calls: { limit: 10, charged: 2, allotted: 0 } });
  });

  test('of a child that expired by itself is found when the parent runs short', () => {
    const log = begin({ max_calls: 4 });
    derive(log, 'root', 'a', { max_calls: 4 }, { expires_at: iso(1000) });
    call(log, 'a');
    expect(call(log, 'root', T0 + 999)).toBeUndefined();
    expect(call(log, 'root', T0 + 1000)).toBeDefined();
    expect(log.record('a')).toMatchObject({ state: 'expired', version: 2 });
    expect(log.record('a').history.at(-1)).toMatchObject({ operation: 'expire' });
    expect(log.record('root').usage).toEqual({ max_calls: { limit: 4, charged: 2, allotted: 0 } });
    expect(reason(derive(log, 'root', 'b', { max_calls: 2 }, { at_ms: T0 + 1000 }))).toBe('ok');
  });

  test('goes over to the successor when it is renewed', () => {
    const log = begin({ max_calls: 10 });
    derive(log, 'root', 'a', { max_calls: 6 });
    call(log, 'a');
    log.operate('a', { operation: 'renew', submission_id: 's' }, { expected_version: 1 });
    expect(reason(log.approve('s', 'n'))).toBe('ok');
    expect(log.record('n').usage).toEqual({ max_calls: { limit: 6, charged: 0, allotted: 0 } });
    expect(log.record('root').usage).toEqual({ max_calls: { limit: 10, charged: 1, allotted: 6 } });
    for (let used = 0; used < 4; used += 1) call(log, 'root');
    log.operate('n', { operation: 'renew', submission_id: 's2' }, { expected_version: 1 });
    expect(call(log, 'root')).toBeUndefined();
  });
});

test('a renewal that changes only the end keeps the bounds of the child, not those of its mission', () => {
  const log = begin({ max_calls: 4 });
  derive(log, 'root', 'a', { max_calls: 2 });
  derive(log, 'root', 'b', { max_calls: 2 });
  const intent = { ...log.record('a').intent, expires_at: iso(5 * HOUR) };
  log.operate('a', { operation: 'renew', submission_id: 's', intent }, { expected_version: 1 });
  expect(reason(log.approve('s', 'n'))).toBe('ok');
  expect(log.record('n').usage).toEqual({ max_calls: { limit: 2, charged: 0, allotted: 0 } });
});

/** Steps refer to mandates and calls by number, modulo what there is, so that any part of a walk is one. */
const step = fc.oneof(
  fc.record({ kind: fc.constant('derive' as const), of: fc.nat(9), budget: fc.nat(6) }),
  fc.record({ kind: fc.constant('call' as const), of: fc.nat(9) }),
  fc.record({ kind: fc.constant('fail' as const), of: fc.nat(20) }),
  fc.record({ kind: fc.constant('complete' as const), of: fc.nat(20) }),
  fc.record({ kind: fc.constant('end' as const), of: fc.integer({ min: 1, max: 9 }) }),
);

test('a tree never spends more than its root may, and loses nothing of what it did not spend', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 12 }), fc.array(step, { maxLength: 40 }), (limit, steps) => {
      const log = begin({ max_calls: limit });
      const ids = ['root'];
      const held: string[] = [];
      let spent = 0;
      const failed = new Set<string>();
      for (const each of steps) {
        const id = ids[each.of % ids.length]!;
        if (each.kind === 'derive') {
          const child = `m${ids.length}`;
          if (reason(derive(log, id, child, { max_calls: each.budget })) === 'ok') ids.push(child);
        } else if (each.kind === 'call') {
          const held_id = call(log, id);
          if (held_id !== undefined) {
            held.push(held_id);
            spent += 1;
          }
        } else if (each.kind === 'end') {
          if (id !== 'root') log.operate(id, { operation: 'revoke' });
        } else if (held.length > 0) {
          const settled = held[each.of % held.length]!;
          const result = settle(log, settled, each.kind === 'fail' ? 'failed' : 'completed');
          const isNew = !('refused' in result) && result.length > 0;
          if (each.kind === 'fail' && isNew && !failed.has(settled)) {
            failed.add(settled);
            spent -= 1;
          }
        }
        expect(spent).toBeLessThanOrEqual(limit);
        for (const one of ids) {
          const {
            limit: most,
            charged,
            allotted,
          } = log.record(one).usage!.max_calls! as Record<'limit' | 'charged' | 'allotted', number>;
          expect(charged + allotted).toBeLessThanOrEqual(most);
        }
      }
      // Everything below is ended, deepest first: what was not spent is the root's again, but for what failed after an end.
      for (const one of ids.slice(1).toReversed())
        if (!isTerminal(log.record(one).state)) log.operate(one, { operation: 'complete' });
      const { charged, allotted } = log.record('root').usage!.max_calls! as {
        charged: number;
        allotted: number;
      };
      expect(allotted).toBe(0);
      expect(charged).toBeGreaterThanOrEqual(spent);
      expect(charged).toBeLessThanOrEqual(spent + failed.size);
    }),
    { numRuns: 300 },
  );
});

test('money is exact: charges and what is given back are sums of decimals', () => {
  const cents = fc.integer({ min: 0, max: 500 });
  const text = (value: number): string =>
    `${Math.floor(value / 100)}.${String(value % 100).padStart(2, '0')}`;
  fc.assert(
    fc.property(cents, fc.array(fc.tuple(cents, fc.boolean())), (limit, charges) => {
      let usage = usageOf({ max_budget: { amount: text(limit), currency: 'EUR' } })!;
      let spent = 0;
      for (const [amount, isGivenBack] of charges) {
        const taking = { calls: 1, amount: { amount: text(amount), currency: 'EUR' } };
        const result = charge(usage, taking);
        expect('usage' in result).toBe(spent + amount <= limit);
        if (!('usage' in result)) continue;
        usage = isGivenBack ? giveBack(result.usage, taking) : result.usage;
        if (!isGivenBack) spent += amount;
      }
      expect(Number(usage.max_budget!.charged) * 100).toBeCloseTo(spent, 6);
    }),
  );
});

test.each([
  ['PT8H', 8 * HOUR],
  ['PT90S', 90_000],
  ['P1DT1H1M1S', 90_061_000],
  ['P2D', 48 * HOUR],
  ['P1Y', undefined],
  ['P1M', undefined],
  ['PT', undefined],
  ['P', undefined],
  ['P1DT', undefined],
  ['PT-1S', undefined],
  ['PT1.5S', undefined],
  ['8', undefined],
])('duration %s', (text, expected) => {
  expect(parseIsoDuration(text)).toBe(expected);
});
