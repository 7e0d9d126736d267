/** Where walks come from. What comes first in a choice is what fast-check shrinks to. */
import fc from 'fast-check';
import {
  ACTIONS,
  AMOUNTS,
  type Aim,
  type AskStep,
  type EntryStep,
  type OwnStep,
  RESOURCES,
  type Step,
  type TimeStep,
  type Version,
} from './steps.ts';

const nat = fc.nat({ max: 7 });
const is = <const T>(value: T) => fc.constant(value);

/** Absent `weight` times, then once there. */
const maybe = <T>(arbitrary: fc.Arbitrary<T>, weight = 3): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight, arbitrary: is(undefined) }, { weight: 1, arbitrary });

/** Three times of four the first. */
const mostly = <const T>(first: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 3 * others.length, arbitrary: is(first) }, ...others.map((each) => is(each)));

const aim: fc.Arbitrary<Aim> = fc.record({
  at: nat,
  of: fc.constantFrom('apt', 'apt', 'last', 'last', 'all'),
});
const hours = fc.constantFrom(3, 2, 1, 4, 6, 0, -1);
const calls = fc.constantFrom(2, 1, 4);

const entry: fc.Arbitrary<EntryStep> = fc.record({
  of: nat,
  action: mostly<EntryStep['action']>('same', ...ACTIONS),
  resource: mostly<EntryStep['resource']>('same', ...RESOURCES),
  amount: mostly<EntryStep['amount']>('same', 'none', ...AMOUNTS),
  delegation: mostly<EntryStep['delegation']>('down', 'same', 'none', 'deep', 'flat'),
});
/** Entries of a root: not made from others. */
const rootEntry = fc.record({
  of: is(0),
  action: fc.constantFrom(...ACTIONS),
  resource: fc.constantFrom(...RESOURCES),
  amount: fc.constantFrom('none' as const, ...AMOUNTS),
  delegation: mostly('deep', 'flat', 'none'),
});
const entries = fc.array(entry, { minLength: 1, maxLength: 3 });

const propose: fc.Arbitrary<AskStep> = fc.record({
  do: is('propose'),
  terms: fc.record({
    entries: fc.array(rootEntry, { minLength: 1, maxLength: 3 }),
    hours: maybe(hours, 2),
    max_calls: maybe(calls),
  }),
});

const approve: fc.Arbitrary<AskStep> = fc.record({
  do: is('approve'),
  aim,
  is_hash_wrong: fc.oneof({ weight: 7, arbitrary: is(false) }, is(true)),
  event: mostly('fresh', 'e1', 'e2'),
  entries: maybe(entries),
  hours: maybe(hours),
});

const derive: fc.Arbitrary<AskStep> = fc.record({
  do: is('derive'),
  aim,
  client: mostly('agent-2', 'agent-3', 'agent-4'),
  terms: fc.record({
    entries: fc.array(entry, { minLength: 1, maxLength: 2 }),
    hours: maybe(hours, 1),
    max_calls: maybe(calls, 2),
  }),
});

const until = fc.record(
  { hours, on_expiry: fc.constantFrom<('resume' | 'revoke')[]>('resume', 'revoke') },
  { requiredKeys: ['hours'] },
);

const own: fc.Arbitrary<OwnStep> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ operation: is('suspend'), until: maybe(until, 1) }),
  },
  { weight: 5, arbitrary: fc.record({ operation: is('resume') }) },
  { weight: 1, arbitrary: fc.record({ operation: is('complete') }) },
  { weight: 2, arbitrary: fc.record({ operation: is('revoke') }) },
  {
    weight: 1,
    arbitrary: fc.record({
      operation: is('contain'),
      entries: fc.array(nat, { minLength: 1, maxLength: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      operation: is('discharge'),
      entry: nat,
      event_id: fc.constantFrom('d1', 'd2'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ operation: is('tighten'), entry: nat, amount: fc.constantFrom(...AMOUNTS) }),
  },
  { weight: 3, arbitrary: fc.record({ operation: is('shorten'), hours }) },
  { weight: 2, arbitrary: fc.record({ operation: is('extend'), hours: fc.constantFrom(6, 4, 3, 8, 1) }) },
  { weight: 2, arbitrary: fc.record({ operation: is('amend'), entries }) },
  {
    weight: 3,
    arbitrary: fc.record({ operation: is('renew'), entries: maybe(entries), hours: maybe(hours) }),
  },
);

const operate: fc.Arbitrary<AskStep> = fc.record({
  do: is('operate'),
  aim,
  own,
  version: mostly<Version>('right', 'none', 'none', 'ahead', 'behind'),
  nonce: maybe(fc.constantFrom('n1', 'n2'), 2),
  reason: maybe(fc.constantFrom('r1', 'r2')),
});

const use: fc.Arbitrary<AskStep> = fc.record({ do: is('use'), aim });
const settle: fc.Arbitrary<AskStep> = fc.record({
  do: is('settle'),
  aim,
  outcome: fc.constantFrom('failed', 'completed', 'unknown'),
});

const asked: fc.Arbitrary<AskStep> = fc.oneof(
  { weight: 14, arbitrary: operate },
  { weight: 4, arbitrary: derive },
  { weight: 4, arbitrary: approve },
  { weight: 1, arbitrary: propose },
  { weight: 1, arbitrary: fc.record({ do: is('deny'), aim }) },
  { weight: 2, arbitrary: fc.record({ do: is('again'), which: fc.nat({ max: 40 }) }) },
  { weight: 3, arbitrary: use },
  { weight: 2, arbitrary: settle },
);

const both: fc.Arbitrary<Step> = fc.record({ do: is('both'), first: asked, second: asked });

const wait: fc.Arbitrary<TimeStep> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: is('wait_for'),
      which: fc.constantFrom(0, 0, 0, 1, 2),
      is_just_before: fc.boolean(),
    }),
  },
  fc.record({ do: is('wait'), minutes: fc.constantFrom(60, 30) }),
);

interface Beginning {
  /** Of each child, the place of its parent. */
  readonly parents: readonly number[];
  readonly delegation: 'deep' | 'flat';
  /** The calls that each is given, root first. */
  readonly given: readonly number[];
  /** When the first child ends. */
  readonly hours?: number | undefined;
}

/** A mandate of everything, and children of it: where most walks begin. */
function tree({ parents, delegation, given, hours: first }: Beginning): readonly Step[] {
  const same = { of: 0, action: 'same', resource: 'same', amount: 'same' } as const;
  const terms = { entries: [{ ...same, delegation }], max_calls: given[0] };
  const children = parents.map((at, index): Step => {
    const handed = { ...same, delegation: 'down' } as const;
    const asked_for = {
      entries: [handed],
      max_calls: given[index + 1],
      hours: index === 0 ? first : undefined,
    };
    return { do: 'derive', aim: { at, of: 'all' }, client: 'agent-2', terms: asked_for };
  });
  return [
    { do: 'propose', terms },
    { do: 'approve', aim: { at: 0, of: 'all' }, is_hash_wrong: false, event: 'fresh' },
    ...children,
  ];
}

const beginning: fc.Arbitrary<readonly Step[]> = fc.oneof(
  { weight: 1, arbitrary: is([]) },
  {
    weight: 7,
    arbitrary: fc
      .record({
        parents: fc.constantFrom([], [0, 1], [0, 0], [0, 0, 1], [0, 1, 2]),
        delegation: mostly('deep', 'flat'),
        given: mostly<readonly number[]>([], [4, 2, 2, 1]),
        hours: maybe(fc.constantFrom(1, 3)),
      })
      .map(tree),
  },
);

/** `has_time`: with steps that only a clock of our own can take. */
export function walks({ most, has_time }: { readonly most: number; readonly has_time: boolean }) {
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 14, arbitrary: asked },
    { weight: 2, arbitrary: both },
    ...(has_time ? [{ weight: 3, arbitrary: wait }] : []),
  );
  return fc
    .tuple(beginning, fc.array(step, { maxLength: most, size: 'max' }))
    .map(([first, rest]) => [...first, ...rest]);
}
