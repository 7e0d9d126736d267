/** Three sidecars on one Redis while mandates end: what design/3 promises of every allow (T1, T2). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Check, Seen } from '../support/history.ts';
import type { Sabotage } from '../support/sabotage.ts';
import { type Fleet, type Member, startFleet } from './fleet.ts';
import { byLength } from './length.ts';
import { revokeUnderLoad } from './revokes.ts';

/** Each way. */
const FAR_MS = 12;
/** Far enough for a revoke to return while a barrier's answer is on its way, also on a busy machine. */
const FARTHER_MS = 60;

let fleet: Fleet;
let near: Member;
let members: readonly Member[];
beforeAll(async () => {
  fleet = await startFleet();
  members = await Promise.all([{}, {}, { delay_ms: FAR_MS }].map(fleet.join));
  [near] = members as [Member];
});
afterAll(() => fleet?.stop());

const isCheck = (seen: Seen): seen is Check => seen.kind === 'check';
const shown = (check: Check): string =>
  `${check.budget_ms === 0 ? 'proven' : 'cached'} ${check.effect ?? ''} ${check.state ?? ''}`;

test('no allow starts too long after a revoke returned', { timeout: byLength(60_000, 300_000) }, async () => {
  const revokes = byLength(120, 1000);
  const { faults, seen } = await revokeUnderLoad(fleet, { revokes, members, writers: members });
  expect(faults).toEqual([]);
  // All of it was under way.
  const counts = Object.groupBy(seen.filter(isCheck), shown);
  for (const each of [
    'proven allow active',
    'cached allow active',
    'proven deny revoked',
    'cached deny cascaded',
  ])
    expect(counts[each]?.length, each).toBeGreaterThan(5);
  expect(seen.filter((each) => each.kind === 'write' && each.outcome === 'ok')).toHaveLength(revokes);
});

const broken: readonly (readonly [Sabotage, string])[] = [
  ['a barrier joins the call in flight', 'late allow'],
  ['a proof is of when its answer came', 'incomplete view'],
];

test.each(broken)('%s: it fails', async (sabotage, fault) => {
  const far = await fleet.join({ sabotage, delay_ms: FARTHER_MS });
  const { faults } = await revokeUnderLoad(fleet, {
    revokes: byLength(40, 100),
    members: [far],
    writers: [near],
  });
  await far.leave();
  expect(faults).toContainEqual(expect.stringMatching(new RegExp(`^${fault}: ${far.name} `)));
});
