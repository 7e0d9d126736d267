/** Conditions that must keep holding (design/2 `conditions`; design/8, Conditions). */
import { describe, expect, test } from 'vitest';
import { matchLineage } from '../../src/core/mandate/authority.ts';
import type { Refusal } from '../../src/core/mandate/commands.ts';
import type { MandateEvent } from '../../src/core/mandate/events.ts';
import { effectiveState } from '../../src/core/mandate/life.ts';
import type { Condition, ObservedValue } from '../../src/core/mandate/record.ts';
import { parseResource } from '../../src/core/uri.ts';
import { HOUR, type MemoryLog, createMemoryLog } from '../support/memory-log.ts';
import { ENTRY, MANDATES, T0, iso } from '../support/records.ts';

const FROZEN = {
  id: 'c1',
  event_type: 'branch.frozen',
  key: 'app#main',
  expect: false,
  on_false: 'suspend',
  max_stale_s: 60,
} as const satisfies Condition;

const delegation = { max_depth: 3, allowed_delegates: [{ sub: 'agent-2' }] };

function unseen(...conditions: readonly Condition[]): MemoryLog {
  const log = createMemoryLog();
  log.begin('m', [{ ...ENTRY, delegation }], 8 * HOUR, { conditions });
  return log;
}

/** With a child, which takes that the conditions hold. */
function begin(...conditions: readonly Condition[]): MemoryLog {
  const log = unseen(...conditions);
  observe(log, false, -1);
  log.derive('m', 'child', [ENTRY]);
  return log;
}

let events = 0;
const observe = (log: MemoryLog, value: ObservedValue, at_ms = 0, more: object = {}) =>
  log.write({
    kind: 'observe',
    observation: {
      event_id: `e${(events += 1)}`,
      event_type: 'branch.frozen',
      key: 'app#main',
      value,
      observed_at: iso(at_ms),
      received_at: iso(at_ms),
      ...more,
    },
    clock_tolerance_ms: 5000,
    by: { iss: MANDATES, sub: 'operator' },
    at_ms: T0 + at_ms,
  });

const stateOf = (log: MemoryLog, at_ms = 0, id = 'm') => effectiveState(log.lineage(id), T0 + at_ms);
const outcome = (result: readonly MandateEvent[] | Refusal): string =>
  'refused' in result
    ? `${result.refused} ${result.field ?? ''}`.trim()
    : result.map(({ kind }) => kind).join(' ');

describe('on_false: suspend', () => {
  test('what was never seen cannot be relied on: suspended until it is', () => {
    const log = unseen(FROZEN);
    expect(stateOf(log)).toBe('suspended');
    expect(outcome(log.derive('m', 'child', [ENTRY]))).toBe('parent_not_active');
    observe(log, false);
    expect(stateOf(log)).toBe('active');
    expect(log.record('m').version).toBe(1);
  });

  test('another value suspends in the same commit, with the condition as who and why', () => {
    const log = begin(FROZEN);
    observe(log, false);
    expect(outcome(observe(log, true, 1000))).toBe('observed changed');
    expect(log.record('m')).toMatchObject({ state: 'suspended', version: 2 });
    expect(log.record('m').history.at(-1)).toMatchObject({
      operation: 'suspend',
      prior_state: 'active',
      by: { iss: MANDATES, sub: 'condition:c1' },
      reason: expect.stringContaining('`c1`'),
    });
    expect(stateOf(log, 1000, 'child')).toBe('suspended');
  });

  test('that it holds again does not resume it: a person does, and only then', () => {
    const log = begin(FROZEN);
    observe(log, false);
    observe(log, true, 1000);
    const resume = (at_ms: number) =>
      outcome(
        log.operate(
          'm',
          { operation: 'resume' },
          { expected_version: log.record('m').version, at_ms: T0 + at_ms },
        ),
      );
    expect(resume(2000)).toBe('conflict');
    observe(log, false, 3000);
    expect(stateOf(log, 3000)).toBe('suspended');
    expect(resume(4000)).toBe('changed');
    expect(stateOf(log, 4000)).toBe('active');
  });

  test('stale is as false, to the millisecond, and over when it is seen again', () => {
    const log = begin(FROZEN);
    observe(log, false);
    expect([stateOf(log, 60_000), stateOf(log, 60_001), stateOf(log, 60_001, 'child')]).toEqual([
      'active',
      'suspended',
      'suspended',
    ]);
    observe(log, false, 70_000);
    expect(stateOf(log, 70_000)).toBe('active');
  });

  test('a suspension of its own outlives the condition, whichever came first', () => {
    const log = unseen(FROZEN);
    log.operate('m', { operation: 'suspend' });
    observe(log, false);
    expect([stateOf(log), log.record('m').state]).toEqual(['suspended', 'suspended']);
  });

  test('a narrowing meanwhile stores nothing of the condition', () => {
    const log = unseen(FROZEN);
    log.operate('m', { operation: 'shorten', expires_at: iso(HOUR) });
    observe(log, false);
    expect([log.record('m').state, stateOf(log)]).toEqual(['active', 'active']);
  });

  test('a suspension that would go on by itself does not go on while the condition fails', () => {
    const log = begin(FROZEN);
    observe(log, false);
    log.operate('m', { operation: 'suspend', suspend_until: iso(10_000), on_expiry: 'resume' });
    observe(log, true, 5000);
    expect(stateOf(log, 20_000)).toBe('suspended');
  });
});

describe('on_false: contain', () => {
  const REVIEW: Condition = { ...FROZEN, on_false: 'contain' };
  const covered = (log: MemoryLog, id: string, at_ms: number): string => {
    const resource = parseResource(ENTRY.resource);
    if ('refused' in resource) throw new Error(resource.refused);
    const exercise = { action: 'repo.push', parameters: {}, wall_ms: T0 + at_ms, is_approved: false };
    const match = matchLineage(log.lineage(id), resource, exercise);
    return 'reason' in match ? match.reason : 'covered';
  };

  test('withdraws every entry, here and below, and for good', () => {
    const log = begin(REVIEW);
    observe(log, false);
    expect([covered(log, 'm', 0), covered(log, 'child', 0)]).toEqual(['covered', 'covered']);
    observe(log, true, 1000);
    expect(stateOf(log, 1000)).toBe('active');
    expect([covered(log, 'm', 1000), covered(log, 'child', 1000)]).toEqual([
      'authority_contained',
      'authority_contained',
    ]);
    observe(log, false, 2000);
    expect(covered(log, 'm', 2000)).toBe('authority_contained');
    expect(log.record('m').overlay.contained).toEqual(log.record('m').entry_digests);
  });

  test('while it is stale nothing is covered and no child is made', () => {
    const log = begin(REVIEW);
    observe(log, false);
    expect([covered(log, 'm', 61_000), covered(log, 'child', 61_000)]).toEqual([
      'authority_contained',
      'authority_contained',
    ]);
    expect(outcome(log.derive('m', 'late', [ENTRY], { at_ms: T0 + 61_000 }))).toContain('not_strict_subset');
    observe(log, false, 62_000);
    expect(covered(log, 'm', 62_000)).toBe('covered');
  });
});

describe('on_false: revoke', () => {
  const REVOKING: Condition = { ...FROZEN, on_false: 'revoke' };

  test('ends it with all below, for ever', () => {
    const log = begin(REVOKING);
    observe(log, false);
    expect(outcome(observe(log, true, 1000))).toBe('observed changed changed');
    observe(log, false, 2000);
    expect([stateOf(log, 2000), stateOf(log, 2000, 'child')]).toEqual(['revoked', 'cascaded']);
    expect(log.record('child')).toMatchObject({ state: 'cascaded' });
  });

  test('what was lost by being stale stays lost when it is seen again', () => {
    const log = begin(REVOKING);
    observe(log, false);
    expect(stateOf(log, 61_000)).toBe('revoked');
    observe(log, false, 62_000);
    expect([stateOf(log, 62_000), log.record('m').state]).toEqual(['revoked', 'revoked']);
    expect(log.record('child').state).toBe('cascaded');
  });

  test('what was never seen is not lost: it waits', () => {
    const log = unseen(REVOKING);
    expect(stateOf(log)).toBe('suspended');
    observe(log, false);
    expect(stateOf(log)).toBe('active');
  });

  test('a revoke of one that is stale is stored, once', () => {
    const log = begin(REVOKING);
    observe(log, false);
    const at_ms = T0 + 61_000;
    expect(outcome(log.operate('m', { operation: 'revoke' }, { at_ms }))).toBe('changed changed');
    expect(outcome(log.operate('m', { operation: 'revoke' }, { at_ms }))).toBe('');
  });
});

describe('reports', () => {
  test('the same event again is one, another content under its id a conflict', () => {
    const log = begin(FROZEN);
    observe(log, false, 0, { event_id: 'x' });
    expect(outcome(observe(log, false, 0, { event_id: 'x' }))).toBe('');
    expect(outcome(observe(log, true, 0, { event_id: 'x' }))).toBe('conflict event_id');
    expect(stateOf(log)).toBe('active');
  });

  test('an older one says nothing of now', () => {
    const log = begin(FROZEN);
    observe(log, false, 10_000);
    expect(outcome(observe(log, true, 10_000, { observed_at: iso(9999) }))).toBe('observed');
    expect(stateOf(log, 10_000)).toBe('active');
    expect(outcome(observe(log, true, 10_001, { observed_at: iso(10_000) }))).toBe('observed changed');
  });

  test('a clock that is ahead by more than the tolerance is not believed', () => {
    const log = begin(FROZEN);
    expect(outcome(observe(log, false, 0, { observed_at: iso(5001) }))).toBe('invalid_request observed_at');
    expect(outcome(observe(log, false, 0, { observed_at: iso(5000) }))).toBe('observed');
  });

  test('another thing, or the same type of another key, concerns nobody here', () => {
    const log = begin(FROZEN);
    observe(log, false);
    observe(log, true, 1000, { key: 'app#other' });
    observe(log, true, 1000, { event_type: 'vendor.under_review' });
    expect(stateOf(log, 1000)).toBe('active');
  });

  test('of two conditions on one thing the harder one is carried out', () => {
    const log = begin(FROZEN, { ...FROZEN, id: 'c2', on_false: 'revoke' });
    observe(log, false);
    observe(log, true, 1000);
    expect(log.record('m').history.at(-1)).toMatchObject({
      operation: 'revoke',
      by: { sub: 'condition:c2' },
    });
  });

  test('what has ended stays what it was', () => {
    const log = begin(FROZEN);
    observe(log, false);
    log.operate('m', { operation: 'complete' });
    expect(outcome(observe(log, true, 1000))).toBe('observed');
    expect(log.record('m').state).toBe('completed');
  });
});

test('a successor has the conditions of what it renews', () => {
  const log = begin(FROZEN);
  observe(log, false);
  log.operate('m', { operation: 'renew', submission_id: 'sub_r' }, { expected_version: 1 });
  log.approve('sub_r', 'n');
  observe(log, true, 1000);
  expect([stateOf(log, 1000, 'm'), stateOf(log, 1000, 'n')]).toEqual(['superseded', 'suspended']);
});
