/** Clocks that jump, and processes that sleep: age is by whichever clock says more, and nothing is said from an old view. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createClock } from '../support/clock.ts';
import type { Sabotage } from '../support/sabotage.ts';
import { ACTIONS, LEASE_MS } from './classes.ts';
import { faultsOf } from './final.ts';
import { type Fleet, type Member, startFleet } from './fleet.ts';
import type { Checked } from './recorder.ts';
import { RECOVERY_MS } from './silence.ts';

const HOUR_MS = 3_600_000;
/** Of a budget-0 class: how long an allow may be relied on. */
const PERMIT_MS = 1000;

const clock = createClock();
let fleet: Fleet;
let near: Member;
/** Their clock is not that of the others. */
let skewed: readonly Member[];
let well: Member;
let careless: Member;
let mandate: string;

beforeAll(async () => {
  fleet = await startFleet();
  const broken: readonly Sabotage[] = [
    'age is by the wall clock alone',
    'age is by the monotonic clock alone',
    'a permit is not looked at again',
  ];
  const joining = [{}, ...broken.map((sabotage) => ({ sabotage }))];
  const jumping = joining.map((each) => ({ ...each, delay_ms: 0, clock: clock.environment }));
  const [first, ...others] = await Promise.all([{}, ...jumping].map(fleet.join));
  [near, skewed] = [first!, others];
  [well, careless] = [others[0]!, others.at(-1)!];
}, 90_000);
afterAll(async () => {
  await fleet?.stop();
  clock.remove();
});

/** All are well, and hold a mandate that lives. */
beforeEach(async () => {
  mandate = await near.approve();
  for (const each of skewed) {
    while ((await each.check(mandate, 'repo.push')).outcome !== 'allow') await sleep(20);
    expect((await each.check(mandate, 'repo.read')).outcome).toBe('allow');
  }
});

const blackhole = () => skewed.forEach((each) => each.network().blackhole('both'));
const heal = () => Promise.all(skewed.map((each) => each.network().heal()));

async function askAll(members: readonly Member[]): Promise<readonly Checked[]> {
  return (
    await Promise.all(members.flatMap((each) => ACTIONS.map((action) => each.check(mandate, action))))
  ).flat();
}

/** What each of those with another clock did wrong since then. */
async function faults(from: number): Promise<readonly (readonly string[])[]> {
  const all = await faultsOf(fleet, from);
  return skewed.map(({ name }) => all.filter((each) => each.includes(name)));
}

test('an hour back, behind a network that lets nothing through: denied after N all the same', async () => {
  const from = fleet.history.length;
  blackhole();
  clock.shift(-HOUR_MS);
  await near.revoke(mandate);
  for (const end = performance.now() + LEASE_MS + 500; performance.now() < end; await sleep(100))
    await askAll(skewed);
  const [right, by_wall] = await faults(from);
  clock.shift(0);
  await heal();
  expect(right).toEqual([]);
  expect(by_wall).toContainEqual(expect.stringMatching(/^late allow/));
});

test('a machine that slept: what its monotonic clock did not see, the wall clock did', async () => {
  const from = fleet.history.length;
  skewed.forEach((each) => each.freeze());
  blackhole();
  clock.shift(10 * LEASE_MS);
  skewed.forEach((each) => each.thaw());
  await askAll(skewed);
  const [right, , by_monotonic] = await faults(from);
  clock.shift(0);
  await heal();
  expect(right).toEqual([]);
  expect(by_monotonic).toContainEqual(expect.stringMatching(/^false age/));
});

test('an hour ahead and an hour back: all is well within a second', async () => {
  const from = fleet.history.length;
  for (const offset of [HOUR_MS, -HOUR_MS, 0]) {
    clock.shift(offset);
    const end = performance.now() + RECOVERY_MS;
    const isWell = async () => (await askAll([well])).every(({ outcome }) => outcome === 'allow');
    while (!(await isWell()) && performance.now() < end) await sleep(50);
    expect(await isWell()).toBe(true);
  }
  expect((await faults(from))[0]).toEqual([]);
});

test('a process that slept while a mandate ended: what was asked meanwhile is denied', async () => {
  const from = fleet.history.length;
  well.freeze();
  await near.revoke(mandate);
  await sleep(LEASE_MS);
  const asked = askAll([well]);
  await sleep(100);
  well.thaw();
  for (const { outcome } of await asked) expect(outcome).not.toBe('allow');
  expect((await faults(from))[0]).toEqual([]);
  await sleep(RECOVERY_MS);
  for (const { outcome } of await askAll([well])) expect(outcome).toBe('mission_inactive');
});

test('a process that slept while its decision was held: the permit is looked at again', async () => {
  const [right, wrong] = await Promise.all([well, careless].map(sleepOverHolding));
  expect([right!.outcome, wrong!.outcome]).toEqual(['state_unavailable', 'allow']);
});

/** Decided from a view that was proven a moment ago, and answered when that permits nothing any more. */
async function sleepOverHolding(member: Member): Promise<Checked> {
  const network = member.networkOf('writer');
  const held = Promise.withResolvers<void>();
  network.delay(100);
  network.dropReply(1, (request) => {
    if (request.includes('"kind":"decided"')) held.resolve();
    return false;
  });
  const asked = member.check(mandate, 'repo.push', { idempotency_key: member.name });
  // The answer is on its way now.
  await held.promise;
  member.freeze();
  await sleep(PERMIT_MS + 100);
  member.thaw();
  const answered = await asked;
  await network.heal();
  return answered;
}
