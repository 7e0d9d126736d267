import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LogEntry, Position } from '../../src/core/mandate/events.ts';
import type { MandateRecord } from '../../src/core/mandate/record.ts';
import { EMPTY_REPLICA, type Message, type ReplicaState, step } from '../../src/core/replica.ts';
import { judge } from '../../src/core/freshness.ts';
import { GENESIS, approved, at, chain, revoked } from '../support/records.ts';

/** A driver as small as can be: the state, and the working set. */
function drive(messages: readonly Message[]): { state: ReplicaState; working: Map<string, MandateRecord> } {
  let state = EMPTY_REPLICA;
  const working = new Map<string, MandateRecord>();
  const applied = new Map<number, string>();
  for (const message of messages) {
    const before = state.position?.seq ?? 0;
    const eidAt = (seq: number) => applied.get(seq);
    const next = step(state, message, { find: (id) => working.get(id), holds: 'all', eidAt });
    const entries =
      message.kind === 'entries' ? message.entries : message.kind === 'proof' ? message.missing : [];
    for (const { seq, eid } of entries) {
      if (seq > before && seq <= (next.state.position?.seq ?? 0)) applied.set(seq, eid);
    }
    for (const { record } of next.changed) working.set(record.id, record);
    ({ state } = next);
  }
  return { state, working };
}

const position = ({ epoch, seq, eid }: Position): Position => ({ epoch, seq, eid });
const snapshot: Message = { kind: 'snapshot', position: GENESIS, at: at(0) };
const LOG = chain([approved('a'), approved('b'), revoked('a', 2)]);
const head = position(LOG[2]!);
const tail = (entries: readonly LogEntry[]): Message => ({ kind: 'entries', entries });
const proof = (sent: number, asked: Position, of: Position, missing: readonly LogEntry[] = []): Message => ({
  kind: 'proof',
  sent: at(sent),
  asked,
  head: of,
  missing,
});

describe('the tail advances state only', () => {
  test('entries are folded in order, and prove nothing', () => {
    const { state, working } = drive([snapshot, tail(LOG)]);
    expect(working.get('a')?.state).toBe('revoked');
    expect(working.get('b')?.state).toBe('active');
    expect(state).toEqual({ position: head, proven: at(0), latch: undefined });
  });

  test('silence is never freshness', () => {
    const { state } = drive([snapshot, tail([]), tail([])]);
    expect(state.proven).toEqual(at(0));
  });

  test('what came already is passed over', () => {
    const { state } = drive([snapshot, tail(LOG), tail(LOG), tail(LOG.slice(1))]);
    expect(state.latch).toBeUndefined();
    expect(state.position).toEqual(head);
  });
});

describe('a proof counts from the moment it was sent, once everything in it is applied', () => {
  test('with the missing entries in the answer', () => {
    const { state, working } = drive([snapshot, proof(50, GENESIS, head, LOG)]);
    expect(state.proven).toEqual(at(50));
    expect(working.get('a')?.state).toBe('revoked');
  });

  test('not while the view is behind what the answer reports', () => {
    const { state } = drive([snapshot, proof(50, GENESIS, head, LOG.slice(0, 2))]);
    expect(state.proven).toEqual(at(0));
  });

  test('an answer that was overtaken by the tail still proves its own moment', () => {
    const { state } = drive([snapshot, tail(LOG), proof(50, GENESIS, position(LOG[0]!), LOG.slice(0, 1))]);
    expect(state.latch).toBeUndefined();
    expect(state.proven).toEqual(at(50));
  });

  test('an older proof does not take back a newer one', () => {
    const { state } = drive([snapshot, tail(LOG), proof(90, head, head), proof(50, head, head)]);
    expect(state.proven).toEqual(at(90));
  });
});

describe('lost or foreign history latches, and stays latched', () => {
  const other = chain([approved('a'), approved('c'), approved('d')], GENESIS, 'x');
  test.each([
    ['a gap', 'GAP', [snapshot, tail(LOG.slice(1))]],
    ['another entry in the same place', 'FORK', [snapshot, tail(LOG), tail([other[2]!])]],
    ['a link that does not hold', 'FORK', [snapshot, tail([LOG[0]!, other[1]!])]],
    [
      'a head that is shorter than what was applied',
      'FORK',
      [snapshot, tail(LOG), proof(9, head, position(LOG[1]!))],
    ],
    [
      'a head of the same length with another end',
      'FORK',
      [snapshot, tail(LOG), proof(9, head, position(other[2]!))],
    ],
    ['another epoch in the tail', 'EPOCH', [snapshot, tail([{ ...LOG[0]!, epoch: 2 }])]],
    ['another epoch at the head', 'EPOCH', [snapshot, tail(LOG), proof(9, head, { ...head, epoch: 2 })]],
    ['an entry that does not fold', 'corrupt', [snapshot, tail(chain([revoked('nobody', 2)]))]],
    ['a version that is skipped', 'corrupt', [snapshot, tail(chain([approved('a'), revoked('a', 3)]))]],
    ['a store that failed', 'failed', [snapshot, { kind: 'latched', latch: 'failed' }]],
  ] as const)('%s: %s', (_, latch, messages) => {
    const { state } = drive(messages);
    expect(state.latch).toBe(latch);
    const later = drive([...messages, tail(LOG), proof(99, head, head)]).state;
    expect(later.latch).toBeDefined();
    expect(later.proven).toEqual(state.proven);
  });

  test('only a new snapshot opens it again', () => {
    const { state } = drive([
      snapshot,
      { kind: 'latched', latch: 'failed' },
      { kind: 'snapshot', position: head, at: at(5) },
    ]);
    expect(state).toEqual({ position: head, proven: at(5), latch: undefined });
  });
});

describe('what was asked for before the view went on', () => {
  const other = chain([approved('a'), approved('x'), revoked('a', 2)], GENESIS, 'other');
  const otherHead = position(other[1]!);

  test('entries behind the position are compared with what was applied there', () => {
    expect(drive([snapshot, tail(LOG), tail(other.slice(0, 2))]).state.latch).toBe('FORK');
  });

  test('a head behind the position proves, where it is of the same history', () => {
    const { state } = drive([snapshot, tail(LOG), proof(9, GENESIS, position(LOG[1]!))]);
    expect(state).toMatchObject({ proven: at(9), latch: undefined, position: head });
  });

  test('and is a fork where it is of another', () => {
    const { state } = drive([snapshot, tail(LOG), proof(9, GENESIS, otherHead)]);
    expect(state).toMatchObject({ proven: at(0), latch: 'FORK' });
  });

  test('what is no longer known proves nothing', () => {
    const later: Message = { kind: 'snapshot', position: head, at: at(5) };
    const { state } = drive([later, proof(9, GENESIS, position(LOG[1]!))]);
    expect(state).toMatchObject({ proven: at(5), latch: undefined });
  });
});

test('L2: however the log is cut, repeated and delivered, an unlatched view is the fold of a prefix of it', () => {
  const ids = ['a', 'b', 'c', 'd'];
  const log = chain([...ids.map(approved), revoked('b', 2), revoked('d', 2)]);
  const expected = (seq: number): Record<string, string> => {
    const all: Record<string, string> = {};
    for (const { event } of log.slice(0, seq)) {
      if (event.kind === 'approved') all[event.terms.id] = 'active';
      if (event.kind === 'changed') all[event.id] = event.state;
    }
    return all;
  };
  const cut = fc
    .tuple(fc.nat(log.length), fc.nat(log.length))
    .map(([a, b]) => tail(log.slice(Math.min(a, b), Math.max(a, b))));
  fc.assert(
    fc.property(fc.array(cut, { maxLength: 8 }), (messages) => {
      const { state, working } = drive([snapshot, ...messages]);
      const seq = state.position!.seq;
      expect(Object.fromEntries([...working].map(([id, each]) => [id, each.state]))).toEqual(expected(seq));
    }),
  );
});

describe('judge', () => {
  const provenAt = (proven: number, latch?: 'FORK') =>
    ({ source: 'embedded', position: head, proven: at(proven), latch }) as const;

  test('budget 0 wants a proof from after arrival', () => {
    expect(judge(provenAt(100), { budget_ms: 0, arrived: at(100) }, at(101)).fresh).toBe(true);
    expect(judge(provenAt(99), { budget_ms: 0, arrived: at(100) }, at(101)).fresh).toBe(false);
  });

  test('budget 0 wants it by both clocks: a wall clock that was set forward meanwhile denies', () => {
    const arrived = { wall_ms: at(5000).wall_ms, mono_ms: at(100).mono_ms };
    expect(judge(provenAt(100), { budget_ms: 0, arrived }, at(101)).fresh).toBe(false);
  });

  test('a budget is kept to the millisecond', () => {
    expect(judge(provenAt(0), { budget_ms: 15_000, arrived: at(14_000) }, at(15_000))).toEqual({
      fresh: true,
      age_ms: 15_000,
    });
    expect(judge(provenAt(0), { budget_ms: 15_000, arrived: at(14_000) }, at(15_001)).fresh).toBe(false);
  });

  test('a latched view is never fresh', () => {
    expect(judge(provenAt(100, 'FORK'), { budget_ms: 60_000, arrived: at(100) }, at(100)).fresh).toBe(false);
  });

  test('whichever clock says more counts: a machine that slept, and a wall clock that was set', () => {
    const slept = { wall_ms: at(0).wall_ms + 3_600_000, mono_ms: at(10).mono_ms };
    const setBack = { wall_ms: at(0).wall_ms - 3_600_000, mono_ms: at(20_000).mono_ms };
    for (const moment of [slept, setBack]) {
      expect(judge(provenAt(0), { budget_ms: 15_000, arrived: moment }, moment).fresh).toBe(false);
    }
  });

  test('T2: a fresh answer never rests on a view older than its budget, by either clock', () => {
    const clock = fc.record({
      wall_ms: fc.integer({ min: 0, max: 200_000 }),
      mono_ms: fc.integer({ min: 0, max: 200_000 }),
    });
    fc.assert(
      fc.property(clock, clock, fc.constantFrom(1000, 15_000, 60_000), (proven, moment, budget_ms) => {
        const answer = judge(
          { source: 'replica', position: head, proven, latch: undefined },
          { budget_ms, arrived: moment },
          moment,
        );
        if (!answer.fresh) return;
        expect(moment.mono_ms - proven.mono_ms).toBeLessThanOrEqual(budget_ms);
        expect(moment.wall_ms - proven.wall_ms).toBeLessThanOrEqual(budget_ms);
      }),
    );
  });
});
