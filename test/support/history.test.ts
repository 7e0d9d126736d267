/** The judge of histories: it acquits what is right, and finds every kind of wrong. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Check, type Fault, type Final, type Rule, type Seen, type Write } from './history.ts';
import { judgeHistory } from './history-judge.ts';
import { judgeSlowly } from './history-twin.ts';

const WALL_0 = 1_700_000_000_000;
const at = (ms: number) => ({ mono_ms: ms, wall_ms: WALL_0 + Math.floor(ms) });
const place = (seq: number, eid = `e${seq}`, epoch = 1) => ({ epoch, seq, eid });

const write = (began: number, ended: number, seq: number, more: Partial<Write> = {}): Write => ({
  kind: 'write',
  ends: ['m1'],
  began: at(began),
  ended: at(ended),
  outcome: 'ok',
  place: place(seq),
  ...more,
});

interface Shown {
  readonly seq: number;
  /** When its view was all there was. */
  readonly as_of: number;
  readonly state?: string;
  readonly budget_ms?: number;
  readonly fresh?: object;
}

/** A check by its times and what its view was. */
function check(began: number, ended: number, shown: Shown, more: Partial<Check> = {}): Check {
  const { seq, as_of, state = 'active', budget_ms = 0, fresh } = shown;
  const [as_of_ms, evaluated_ms] = [at(as_of).wall_ms, at(ended).wall_ms];
  const source = budget_ms === 0 ? 'barrier' : 'replica';
  const freshness = {
    ...place(seq),
    source,
    as_of_ms,
    evaluated_ms,
    age_ms: evaluated_ms - as_of_ms,
    budget_ms,
  };
  return {
    kind: 'check',
    sidecar: 'a',
    mandate: 'm1',
    budget_ms,
    began: at(began),
    ended: at(ended),
    effect: state === 'active' ? 'allow' : 'deny',
    state,
    freshness: { ...freshness, ...fresh },
    ...more,
  };
}

/** The log as it is when these are all its entries. */
const final = (seqs: number, ...ended: readonly string[]): Final => ({
  ended: new Set(ended),
  log: new Map(Array.from({ length: seqs }, (_, index) => [`1-${index + 1}`, `e${index + 1}`])),
});

const cached = { budget_ms: 100 };
const rules = (history: readonly Seen[], end?: Final): readonly (readonly [Rule, number])[] =>
  judgeHistory(history, end).map((fault) => [fault.rule, fault.at] as const);

describe('what is right', () => {
  test.each<[string, readonly Seen[], Final?]>([
    ['nothing at all', []],
    [
      'an allow before, one beside and a deny after an end',
      [
        check(0, 2, { seq: 1, as_of: 1 }),
        write(10, 20, 2),
        check(12, 25, { seq: 1, as_of: 13 }),
        check(12, 25, { seq: 2, as_of: 14, state: 'revoked' }, { sidecar: 'b' }),
        check(30, 32, { seq: 2, as_of: 31, state: 'revoked' }),
      ],
      final(2, 'm1'),
    ],
    [
      'an allow from the cache, within its budget',
      [write(10, 20, 2), check(110, 111, { seq: 1, as_of: 15, ...cached })],
    ],
    [
      'an end without an answer, that never came about',
      [
        write(10, 0, 0, { outcome: 'unknown', ended: undefined! }),
        check(1000, 1002, { seq: 1, as_of: 1001 }),
      ],
      final(1),
    ],
    [
      'an end without an answer, that came about late',
      [
        { kind: 'write', ends: ['m1'], began: at(10), outcome: 'unknown' },
        check(1000, 1002, { seq: 1, as_of: 1001 }),
        check(2000, 2002, { seq: 2, as_of: 2001, state: 'revoked' }),
      ],
      final(2, 'm1'),
    ],
    [
      'a refusal that changed nothing',
      [write(10, 20, 2, { outcome: 'refused' }), check(30, 32, { seq: 1, as_of: 31 })],
      final(1),
    ],
    [
      'a deny whose view was too old, and says so',
      [
        check(
          500,
          502,
          { seq: 1, as_of: 10, ...cached, state: 'active' },
          { effect: 'deny', state: undefined! },
        ),
      ],
    ],
    ['a clock of its own', [check(10, 12, { seq: 1, as_of: 3_600_000 }, { is_clock_own: true })]],
    [
      'views of two sidecars, of which one is behind',
      [
        check(10, 12, { seq: 5, as_of: 11, ...cached }),
        check(20, 21, { seq: 4, as_of: 9, ...cached }, { sidecar: 'b' }),
      ],
    ],
    ['a view of before the first entry', [check(1, 3, { seq: 0, as_of: 2 })], final(0)],
  ])('%s', (_, history, end) => {
    expect(judgeHistory(history, end)).toEqual([]);
    expect(judgeSlowly(history, end)).toEqual([]);
  });
});

describe('what is wrong', () => {
  test.each<[string, readonly Seen[], readonly (readonly [Rule, number])[], Final?]>([
    [
      'an allow that began after a revoke had returned',
      [write(10, 20, 2), check(20.5, 22, { seq: 2, as_of: 21 })],
      [['late allow', 1]],
    ],
    [
      'an allow after another check had shown the end, of which nobody was told',
      [
        { kind: 'write', ends: ['m1'], began: at(10), outcome: 'unknown' },
        check(15, 17, { seq: 2, as_of: 16, state: 'revoked' }),
        check(18, 20, { seq: 2, as_of: 19 }, { sidecar: 'b' }),
      ],
      [['late allow', 2]],
    ],
    [
      'an allow from the cache, one millisecond beyond its budget',
      [write(10, 20, 2), check(121, 122, { seq: 2, as_of: 30, ...cached })],
      [['late allow', 1]],
    ],
    [
      'a child that lives on',
      [write(10, 20, 3, { ends: ['m1', 'm2'] }), check(30, 32, { seq: 3, as_of: 31 }, { mandate: 'm2' })],
      [['late allow', 1]],
    ],
    [
      'an irreversible allow from the cache',
      [check(10, 12, { seq: 1, as_of: 11, fresh: { source: 'replica' } })],
      [['unproven allow', 0]],
    ],
    [
      'an allow from nothing',
      [check(10, 12, { seq: 1, as_of: 11, ...cached }, { freshness: undefined! })],
      [['unproven allow', 0]],
    ],
    [
      'an irreversible allow on a view of before it was asked',
      [check(10, 12, { seq: 1, as_of: 9 })],
      [['false age', 0]],
    ],
    [
      'a view of a moment that is yet to come',
      [check(10, 12, { seq: 1, as_of: 14, fresh: { age_ms: 0 } })],
      [['false age', 0]],
    ],
    [
      'an age that its own times belie',
      [check(50, 52, { seq: 1, as_of: 10, ...cached, fresh: { age_ms: 30 } })],
      [['false age', 0]],
    ],
    [
      'an allow that is older than its budget, and says so',
      [check(200, 202, { seq: 1, as_of: 10, ...cached })],
      [['false age', 0]],
    ],
    [
      'another budget than that of the class',
      [check(50, 52, { seq: 1, as_of: 10, ...cached, fresh: { budget_ms: 5000 } })],
      [['false age', 0]],
    ],
    [
      'a view that lacks what was acknowledged before its moment',
      [write(10, 20, 2, { ends: ['m2'] }), check(30, 32, { seq: 1, as_of: 31 })],
      [['incomplete view', 1]],
    ],
    [
      'a view that lacks what another sidecar had shown before',
      [check(10, 12, { seq: 7, as_of: 11 }, { sidecar: 'b' }), check(30, 32, { seq: 6, as_of: 31 })],
      [['incomplete view', 1]],
    ],
    [
      'a view that goes back',
      [check(10, 12, { seq: 5, as_of: 8, ...cached }), check(20, 21, { seq: 4, as_of: 9, ...cached })],
      [['gone back', 1]],
    ],
    [
      'a view that goes back to another epoch',
      [
        check(10, 12, { seq: 5, as_of: 8, ...cached, fresh: { epoch: 2 } }),
        check(20, 21, { seq: 9, as_of: 9, ...cached }),
      ],
      [['gone back', 1]],
    ],
    [
      'one place with two entries',
      [write(10, 20, 2), check(10, 22, { seq: 2, as_of: 12, fresh: { eid: 'other' }, state: 'revoked' })],
      [['two histories', 1]],
    ],
    ['an end that is not there in the end', [write(10, 20, 2)], [['lost', 0]], final(2)],
    ['an entry that is not there in the end', [write(10, 20, 2)], [['lost', 0]], final(1, 'm1')],
    [
      'an entry in whose place there is another',
      [write(10, 20, 2, { place: place(2, 'other') })],
      [['lost', 0]],
      final(2, 'm1'),
    ],
    [
      'an end that was shown, and is not there in the end',
      [
        { kind: 'write', ends: ['m1'], began: at(10), outcome: 'unknown' },
        check(30, 32, { seq: 2, as_of: 31, state: 'revoked' }),
      ],
      [['lost', 1]],
      final(2),
    ],
    [
      'an end that nobody had asked for by then',
      [check(5, 7, { seq: 2, as_of: 6, state: 'revoked' }), write(10, 20, 2)],
      [['end of nothing', 0]],
    ],
    [
      'an end that was refused',
      [write(10, 20, 2, { outcome: 'refused' })],
      [['end of nothing', -1]],
      final(2, 'm1'),
    ],
  ])('%s', (_, history, expected, end) => {
    expect(rules(history, end)).toEqual(expected);
    expect(ofTwin(history, end)).toEqual(ordered(judgeHistory(history, end)));
  });
});

const ordered = (faults: readonly Fault[]): readonly string[] =>
  [...new Set(faults.map((fault) => `${fault.at} ${fault.rule}`))].toSorted();
const ofTwin = (history: readonly Seen[], end?: Final): readonly string[] =>
  judgeSlowly(history, end).toSorted();

describe('a dumb twin, which compares everything with everything', () => {
  const moment = fc.integer({ min: 0, max: 40 }).map((halves) => halves / 2);
  const span = fc.tuple(moment, fc.option(fc.integer({ min: 0, max: 12 }), { freq: 6, nil: undefined }));
  const times = span.map(([began, lasted]) => ({
    began: at(began),
    ...(lasted === undefined ? {} : { ended: at(began + lasted / 2) }),
  }));
  const id = fc.constantFrom('m1', 'm2', 'm3');
  const where = fc.record({
    epoch: fc.constantFrom(1, 1, 1, 2),
    seq: fc.integer({ min: 0, max: 6 }),
    eid: fc.constantFrom('e', 'e', 'e', 'f'),
  });
  const fresh = fc
    .record({
      place: where,
      source: fc.constantFrom('barrier', 'barrier', 'embedded', 'replica', 'none'),
      as_of: moment,
      evaluated: moment,
      age_ms: fc.integer({ min: 0, max: 12 }),
      budget_ms: fc.constantFrom(0, 0, 4),
    })
    .map(({ place: each, as_of, evaluated, ...rest }) => {
      return { ...each, ...rest, as_of_ms: at(as_of).wall_ms, evaluated_ms: at(evaluated).wall_ms };
    });
  const written = fc
    .record({
      times,
      ends: fc.uniqueArray(id, { maxLength: 2 }),
      outcome: fc.constantFrom('ok' as const, 'ok' as const, 'refused' as const, 'unknown' as const),
      place: fc.option(where, { nil: undefined }),
    })
    .map(({ times: when, place: each, ...rest }): Write => {
      return { kind: 'write', ...when, ...rest, ...(each && { place: each }) };
    });
  const checked = fc
    .record({
      times,
      sidecar: fc.constantFrom('a', 'b'),
      mandate: id,
      budget_ms: fc.constantFrom(0, 0, 4),
      effect: fc.constantFrom('allow' as const, 'deny' as const, undefined),
      state: fc.constantFrom('active', 'revoked', 'cascaded', undefined),
      freshness: fc.option(fresh, { nil: undefined }),
      is_clock_own: fc.constantFrom(true, false, false),
    })
    .map(({ times: when, effect, state, freshness, ...rest }): Check => {
      const shown = { ...(effect && { effect }), ...(state && { state }), ...(freshness && { freshness }) };
      return { kind: 'check', ...when, ...rest, ...shown };
    });
  const ending = fc
    .record({ ended: fc.uniqueArray(id), log: fc.array(where, { maxLength: 6 }) })
    .map(({ ended, log }): Final => {
      return {
        ended: new Set(ended),
        log: new Map(log.map((each) => [`${each.epoch}-${each.seq}`, each.eid])),
      };
    });

  test('finds the same', () => {
    const histories = fc.array(fc.oneof(written, checked), { maxLength: 12 });
    fc.assert(
      fc.property(histories, fc.option(ending, { nil: undefined }), (history, end) => {
        expect(ordered(judgeHistory(history, end))).toEqual(ofTwin(history, end));
      }),
      { numRuns: 2000 },
    );
  });
});
