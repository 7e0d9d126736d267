/** Three sidecars on one Redis while mandates end: what design/3 promises of every allow (T1, T2). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Check, Seen } from '../support/history.ts';
import type { Sabotage } from '../support/sabotage.ts';
import { type Fleet, type Member, startFleet } from './fleet.ts';
import { byLength } from './length.ts';
import { type Revokes, revokeUnderLoad } from './revokes.ts';

/** Each way. */
const FAR_MS = 12;
/** Far enough for a revoke to return while a barrier's answer is on its way, also on a busy machine. */
const FARTHER_MS = 60;

const broken: readonly (readonly [Sabotage, string])[] = [
  ['a barrier joins the call in flight', 'late allow'],
  ['a proof is of when its answer came', 'incomplete view'],
];

let fleet: Fleet;
let done: Revokes;
/** Asked at the same time, and told nothing. */
let bad: readonly Member[];
const revokes = byLength(80, 1000);

beforeAll(async () => {
  fleet = await startFleet();
  const joining = [{}, {}, { delay_ms: FAR_MS }];
  const beside = broken.map(([sabotage]) => ({ sabotage, delay_ms: FARTHER_MS }));
  const members = await Promise.all([...joining, ...beside].map(fleet.join));
  const writers = members.slice(0, joining.length);
  bad = members.slice(joining.length);
  done = await revokeUnderLoad(fleet, { revokes, members, writers });
}, 300_000);
afterAll(() => fleet?.stop());

const isCheck = (seen: Seen): seen is Check => seen.kind === 'check';
const isOf =
  ({ name }: Member) =>
  (fault: string) =>
    fault.includes(`${name} `);
const shown = (check: Check): string =>
  `${check.budget_ms === 0 ? 'proven' : 'cached'} ${check.effect ?? ''} ${check.state ?? ''}`;

test('no allow starts too long after a revoke returned', () => {
  const { faults, seen } = done;
  expect(faults.filter((fault) => !bad.some((each) => isOf(each)(fault)))).toEqual([]);
  // All of it was under way.
  const good = seen.filter(isCheck).filter(({ sidecar }) => !bad.some((each) => isOf(each)(sidecar)));
  const counts = Object.groupBy(good, shown);
  for (const each of [
    'proven allow active',
    'cached allow active',
    'proven deny revoked',
    'cached deny cascaded',
  ])
    expect(counts[each]?.length, each).toBeGreaterThan(5);
  expect(seen.filter((each) => each.kind === 'write' && each.outcome === 'ok')).toHaveLength(revokes);
});

test.each(broken)('%s: it fails', (name, fault) => {
  const member = bad[broken.findIndex(([each]) => each === name)]!;
  const pattern = new RegExp(`^${fault}: ${member.name} `);
  expect(done.faults).toContainEqual(expect.stringMatching(pattern));
});
