/** One connection of a sidecar that nothing comes through, while the others go on: each is for something else. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Sabotage } from '../support/sabotage.ts';
import { faultsOf } from './final.ts';
import { type Fleet, type LinkName, type Member, startFleet } from './fleet.ts';
import { byLength } from './length.ts';
import { startLoad } from './load.ts';
import { type Fault, RECOVERY_MS, type Watched, askedDuring, complaintsOf, watch } from './silence.ts';

interface Row {
  readonly name: string;
  readonly holes: readonly [LinkName, ...LinkName[]];
  readonly takes: Pick<Fault, 'is_unproven' | 'is_unbeaten'>;
  /** What fails, and by what. */
  readonly broken?: readonly [Sabotage, RegExp];
}

const rows: readonly Row[] = [
  {
    name: 'neither barrier nor heartbeat: cached classes deny after N, although the tail delivers',
    holes: ['barrier', 'heartbeat'],
    takes: { is_unproven: true, is_unbeaten: true },
    broken: ['the tail is a proof', /^too old: .*allow/],
  },
  {
    name: 'no tail: all is decided as ever, and on a view that is whole',
    holes: ['tail'],
    takes: { is_unproven: false, is_unbeaten: false },
    broken: ['what is missing comes by the tail alone', /^(needless|slow): budget 0/],
  },
  {
    name: 'no barrier: budget 0 denies, the heartbeat keeps the others going',
    holes: ['barrier'],
    takes: { is_unproven: true, is_unbeaten: false },
  },
  {
    name: 'no heartbeat: what is too old is decided by a barrier',
    holes: ['heartbeat'],
    takes: { is_unproven: false, is_unbeaten: true },
  },
];

/** Beyond the widest budget. */
const LASTS_MS = byLength(2200, 10_000);
const COMMITS_PER_S = 5;

let fleet: Fleet;
let near: Member;
/** In the order of the rows, as they should be and then those that are broken. */
let members: readonly Member[];
let watched: readonly Watched[];
let during: Pick<Fault, 'from' | 'to'>;

const broken = rows.flatMap((row) => (row.broken === undefined ? [] : [{ ...row, sabotage: row.broken[0] }]));
const holes = [...rows, ...broken].map((row) => row.holes);

beforeAll(async () => {
  fleet = await startFleet();
  const far = [...rows.map(() => ({})), ...broken.map(({ sabotage }) => ({ sabotage }))];
  const behind = far.map((each) => ({ ...each, delay_ms: 0 }));
  [near, ...members] = (await Promise.all([{}, ...behind].map(fleet.join))) as [Member, ...Member[]];
  const mandate = await near.approve();
  const watches = members.map((each) => watch(each, mandate));
  await sleep(500);
  members.forEach((each, index) => each.networkOf(...holes[index]!).blackhole('both'));
  const from = performance.now();
  // There is always something that the tail could bring, and that a view must not lack.
  const commit = async () => {
    const other = await near.approve();
    await near.revoke(other);
    await Promise.all(members.map((each) => each.check(other, 'repo.push')));
  };
  const commits = startLoad({ per_second: COMMITS_PER_S, act: commit });
  await sleep(LASTS_MS);
  const to = performance.now();
  await Promise.all(members.map((each) => each.network().heal()));
  await commits.stop();
  await sleep(RECOVERY_MS + 500);
  watched = await Promise.all(watches.map((each) => each.stop()));
  during = { from, to };
}, 90_000);
afterAll(() => fleet?.stop());

describe.each(rows)('$name', ({ name, takes, broken: wrong }) => {
  const index = rows.findIndex((row) => row.name === name);

  test('it is so', () => {
    expect(askedDuring(watched[index]!, { ...during, ...takes })).toHaveLength(3);
    expect(complaintsOf(watched[index]!, { ...during, ...takes })).toEqual([]);
  });

  test('what was said is true', async () => {
    const { name: own } = members[index]!;
    expect((await faultsOf(fleet)).filter((each) => each.includes(own))).toEqual([]);
  });

  test.runIf(wrong)('else it fails', () => {
    const at = rows.length + broken.findIndex((row) => row.name === name);
    const complaints = complaintsOf(watched[at]!, { ...during, ...takes });
    expect(complaints).toContainEqual(expect.stringMatching(wrong![1]));
  });
});
