/** One connection of a sidecar that nothing comes through, while the others go on: each is for something else. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Sabotage } from '../support/sabotage.ts';
import { faultsOf } from './final.ts';
import { type Fleet, type LinkName, type Member, startFleet } from './fleet.ts';
import { byLength } from './length.ts';
import { type Fault, RECOVERY_MS, askedDuring, complaintsOf, watch } from './silence.ts';

/** Beyond the widest budget. */
const LONG_MS = byLength(2200, 10_000);

let fleet: Fleet;
let near: Member;
let far: Member;
/** Goes on from what the tail brings. */
let proud: Member;
/** Goes on only from what the tail brings. */
let patient: Member;

beforeAll(async () => {
  fleet = await startFleet();
  const broken: readonly Sabotage[] = ['the tail is a proof', 'what is missing comes by the tail alone'];
  const behind = broken.map((sabotage) => ({ sabotage, delay_ms: 0 }));
  const members = await Promise.all([{}, { delay_ms: 0 }, ...behind].map(fleet.join));
  [near, far, proud, patient] = members as [Member, Member, Member, Member];
}, 90_000);
afterAll(() => fleet?.stop());

interface Blackholed {
  readonly links: readonly [LinkName, ...LinkName[]];
  readonly lasts_ms: number;
  readonly takes: Pick<Fault, 'is_unproven' | 'is_unbeaten'>;
}

/** What each of the members did wrong, in their order. */
async function complaints(members: readonly Member[], { links, lasts_ms, takes }: Blackholed) {
  const mandate = await near.approve();
  const others = await Promise.all([1, 2, 3].map(() => near.approve()));
  const watches = members.map((each) => watch(each, mandate));
  await sleep(500);
  for (const each of members) each.networkOf(...links).blackhole('both');
  const from = performance.now();
  const heels: Promise<unknown>[] = [];
  for (const other of others) {
    await near.revoke(other);
    heels.push(...members.map((each) => each.check(other, 'repo.push')));
  }
  await sleep(lasts_ms - (performance.now() - from));
  const to = performance.now();
  await Promise.all(members.map((each) => each.network().heal()));
  await sleep(RECOVERY_MS + 300);
  await Promise.all(heels);
  const checks = await Promise.all(watches.map((each) => each.stop()));
  const fault = { from, to, ...takes };
  for (const each of checks) expect(askedDuring(each, fault)).toHaveLength(3);
  return checks.map((each) => complaintsOf(each, fault));
}

const told = (member: Member, faults: readonly string[]) =>
  faults.filter((each) => each.includes(member.name));

test('neither barrier nor heartbeat: cached classes deny after N, although the tail delivers', async () => {
  const links = ['barrier', 'heartbeat'] as const;
  const takes = { is_unproven: true, is_unbeaten: true };
  const [well, broken] = await complaints([far, proud], { links, lasts_ms: LONG_MS, takes });
  expect(well).toEqual([]);
  expect(broken).toContainEqual(expect.stringMatching(/^too old: .*allow/));
});

test('no tail: all is decided as ever, and on a view that is whole', async () => {
  const takes = { is_unproven: false, is_unbeaten: false };
  const from = fleet.history.length;
  const [well, broken] = await complaints([far, patient], {
    links: ['tail'],
    lasts_ms: 1200,
    takes,
  });
  expect(well).toEqual([]);
  expect(told(far, await faultsOf(fleet, from))).toEqual([]);
  expect(broken).toContainEqual(expect.stringMatching(/^(needless|slow): budget 0/));
});

test('no barrier: budget 0 denies, the heartbeat keeps the others going', async () => {
  const takes = { is_unproven: true, is_unbeaten: false };
  const [well] = await complaints([far], { links: ['barrier'], lasts_ms: LONG_MS, takes });
  expect(well).toEqual([]);
});

test('no heartbeat: what is too old is decided by a barrier', async () => {
  const takes = { is_unproven: false, is_unbeaten: true };
  const [well] = await complaints([far], { links: ['heartbeat'], lasts_ms: LONG_MS, takes });
  expect(well).toEqual([]);
});

test('whatever was said meanwhile was true', async () => {
  expect(told(far, await faultsOf(fleet))).toEqual([]);
});
