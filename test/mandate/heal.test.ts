/** What is said again after a failover lost it (design/3, Failover). */
import { describe, expect, test } from 'vitest';
import type { HealCommand, Refusal } from '../../src/core/mandate/commands.ts';
import type { MandateEvent } from '../../src/core/mandate/events.ts';
import { endingOf } from '../../src/core/mandate/heal.ts';
import { effectiveState } from '../../src/core/mandate/life.ts';
import type { AuthorityEntry } from '../../src/core/mandate/record.ts';
import { HOUR, type MemoryLog, createMemoryLog } from '../support/memory-log.ts';
import { ENTRY, MANDATES, T0 } from '../support/records.ts';

const delegation = { max_depth: 3, allowed_delegates: [{ sub: 'agent-2' }] };
const HANDED: AuthorityEntry = { ...ENTRY, delegation };

/** A log, and a copy of it that does not get what happens afterwards. */
function forked(begin: (log: MemoryLog) => void): { readonly log: MemoryLog; readonly copy: MemoryLog } {
  const [log, copy] = [createMemoryLog(), createMemoryLog()];
  begin(log);
  begin(copy);
  return { log, copy };
}

function healed(copy: MemoryLog, lost: readonly MandateEvent[]): readonly MandateEvent[] {
  const command: HealCommand = {
    kind: 'heal',
    lost,
    by: { iss: MANDATES, sub: 'reconcile' },
    at_ms: T0 + HOUR,
  };
  const result: readonly MandateEvent[] | Refusal = copy.write(command);
  if ('refused' in result) throw new Error(result.refused);
  return result;
}

const state = (log: MemoryLog, id: string): string => effectiveState(log.lineage(id), T0 + HOUR);
const events = (result: readonly MandateEvent[] | Refusal): readonly MandateEvent[] => result as never;

describe('an end', () => {
  test('ends again what lives, by whom it was ended, and everything below', () => {
    const { log, copy } = forked((each) => {
      each.begin('m', [HANDED]);
      each.derive('m', 'child', [ENTRY]);
    });
    copy.derive('m', 'born-since', [ENTRY]);
    const lost = events(log.operate('m', { operation: 'revoke' }, { reason: 'stolen' }));
    healed(copy, lost);
    expect(['m', 'child', 'born-since'].map((id) => state(copy, id))).toEqual([
      'revoked',
      'cascaded',
      'cascaded',
    ]);
    const { history } = copy.record('m');
    expect(history.at(-1)).toMatchObject({
      operation: 'revoke',
      version: 2,
      by: log.record('m').history.at(-1)!.by,
    });
    expect(history.at(-1)!.reason).toContain('stolen');
  });

  test('of what has ended, or is not known, is nothing; and twice is once', () => {
    const { log, copy } = forked((each) => void each.begin('m'));
    log.begin('only-here');
    const lost = [
      ...events(log.operate('m', { operation: 'revoke' })),
      ...events(log.operate('only-here', { operation: 'revoke' })),
    ];
    copy.operate('m', { operation: 'complete' });
    expect(healed(copy, lost)).toEqual([]);
    expect(state(copy, 'm')).toBe('completed');
  });

  test('of a parent and of its child, both lost, is each its own once', () => {
    const { log, copy } = forked((each) => {
      each.begin('m', [HANDED]);
      each.derive('m', 'child', [ENTRY]);
    });
    const lost = [
      ...events(log.operate('child', { operation: 'complete' })),
      ...events(log.operate('m', { operation: 'revoke' })),
    ];
    expect(healed(copy, lost)).toHaveLength(2);
    expect(['m', 'child'].map((id) => state(copy, id))).toEqual(['revoked', 'completed']);
    expect(healed(copy, lost)).toEqual([]);
  });

  test('is told by the record of what has ended as well', () => {
    const { log, copy } = forked((each) => void each.begin('m'));
    expect(endingOf(log.record('m'))).toBeUndefined();
    log.operate('m', { operation: 'revoke' });
    healed(copy, [endingOf(log.record('m'))!]);
    expect(state(copy, 'm')).toBe('revoked');
  });
});

describe('what else happened to a mandate', () => {
  test('suspends it until a person resumes it, whatever it was', () => {
    const { log, copy } = forked((each) => void each.begin('m'));
    const [digest] = log.record('m').entry_digests as [string];
    const lost = events(
      log.operate('m', { operation: 'tighten', entry: digest, constraints: { tenant: 'a' } }),
    );
    healed(copy, lost);
    expect(copy.record('m')).toMatchObject({ state: 'suspended', version: 2 });
    expect(copy.record('m').history.at(-1)!.reason).toMatch(/^reconcile/);
    expect(healed(copy, lost)).toEqual([]);
  });

  test('is of no account where it ended afterwards', () => {
    const { log, copy } = forked((each) => void each.begin('m'));
    const lost = [
      ...events(log.operate('m', { operation: 'suspend' })),
      ...events(log.operate('m', { operation: 'revoke' })),
    ];
    expect(healed(copy, lost)).toHaveLength(1);
    expect(state(copy, 'm')).toBe('revoked');
  });

  test('does not let a suspension go on that ends by itself', () => {
    const { log, copy } = forked((each) => void each.begin('m'));
    const until = new Date(T0 + 2 * HOUR).toISOString();
    copy.operate('m', { operation: 'suspend', suspend_until: until, on_expiry: 'resume' });
    healed(copy, events(log.operate('m', { operation: 'suspend' })));
    expect(effectiveState(copy.lineage('m'), T0 + 3 * HOUR)).toBe('suspended');
  });
});

describe('what was used', () => {
  const intent = {
    goal: 'g',
    resources: [ENTRY.resource],
    expires_at: new Date(T0 + 8 * HOUR).toISOString(),
    controls: { max_calls: 5 },
  };
  const reserve = (log: MemoryLog, decision_id: string): readonly MandateEvent[] =>
    events(
      log.write({
        kind: 'reserve',
        decision: {
          decision_id,
          mandate: 'm',
          check_point: 'tool',
          door: 'native',
          caller: { principal: 'p' },
          action: { name: 'repo.push', class: 'irreversible_action' },
          resource: ENTRY.resource,
          binding: 'b',
          key: 'sha-256:key',
          charge: { calls: 1 },
          decided_at: new Date(T0).toISOString(),
          status: 'decided',
        },
        versions: [1],
        lease_ms: 0,
        is_dry: false,
        by: { iss: MANDATES, sub: 'p' },
        at_ms: T0,
      }),
    );

  test('is the most that anybody has seen, and a decision that was lost is known again', () => {
    const { log, copy } = forked((each) => void each.begin('m', [ENTRY], 8 * HOUR, { intent }));
    const lost = [...reserve(log, 'd1'), ...reserve(log, 'd1')];
    expect(copy.record('m').usage!.max_calls).toMatchObject({ charged: 0 });
    healed(copy, lost);
    expect(copy.record('m').usage!.max_calls).toMatchObject({ limit: 5, charged: 1 });
    expect(copy.record('m').state).toBe('active');
    // The same question again: the same decision, and no further charge.
    expect(reserve(copy, 'd2')).toEqual([]);
  });

  test('is not less than what was used since', () => {
    const { log, copy } = forked((each) => void each.begin('m', [ENTRY], 8 * HOUR, { intent }));
    const lost = reserve(log, 'd1');
    copy.write({
      kind: 'heal',
      lost: [
        {
          kind: 'metered',
          id: 'm',
          usage: { max_calls: { limit: 5, charged: 3, allotted: 0 } },
          at: '',
          by: { iss: '', sub: '' },
        },
      ],
      by: { iss: MANDATES, sub: 'reconcile' },
      at_ms: T0,
    });
    healed(copy, lost);
    expect(copy.record('m').usage!.max_calls).toMatchObject({ charged: 3 });
  });
});

test('a proposal that was denied is denied again', () => {
  const { log, copy } = forked((each) => {
    each.begin('m');
    each.operate('m', { operation: 'renew', submission_id: 'sub_r' }, { expected_version: 1 });
  });
  const by = { iss: MANDATES, sub: 'operator' };
  const lost = events(log.write({ kind: 'deny', submission_id: 'sub_r', by, at_ms: T0 }));
  healed(copy, lost);
  expect(copy.proposal('sub_r').status).toBe('denied');
});
