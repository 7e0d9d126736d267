/** A primary that is frozen, as a machine is that does not answer any more: TCP goes on, and silence is no freshness. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Sabotage } from '../support/sabotage.ts';
import { faultsOf, readLog } from './final.ts';
import { type Fleet, type Member, startFleet } from './fleet.ts';
import { byLength } from './length.ts';
import type { Revoked } from './recorder.ts';
import { type Fault, RECOVERY_MS, type Watched, askedDuring, complaintsOf, watch } from './silence.ts';

const broken: readonly (readonly [Sabotage, RegExp])[] = [
  ['a heartbeat without an answer is a proof', /^too old: /],
  ['a check has no deadline', /^slow: budget 0/],
  ['a lost connection is made again late', /^not back: /],
];

let fleet: Fleet;
let member: Member;
let fault: Fault;
let watched: readonly Watched[];
let revoked: Revoked;

beforeAll(async () => {
  fleet = await startFleet();
  const joining = [{}, ...broken.map(([sabotage]) => ({ sabotage }))];
  const members = await Promise.all(joining.map(fleet.join));
  [member] = members as [Member];
  const [mandate, other] = [await member.approve(), await member.approve()];
  const watches = members.map((each) => watch(each, mandate));
  await sleep(1000);
  fleet.redis.freeze();
  const from = performance.now();
  const revoking = member.revoke(other);
  await sleep(byLength(2500, 10_000));
  const to = performance.now();
  fleet.redis.thaw();
  await sleep(RECOVERY_MS + 500);
  watched = await Promise.all(watches.map((each) => each.stop()));
  revoked = await revoking;
  fault = { from, to, is_unproven: true, is_unbeaten: true };
}, 90_000);
afterAll(() => fleet?.stop());

test('budget 0 denies within its deadline, others after N, and all is well a second after', async () => {
  expect(askedDuring(watched[0]!, fault)).toHaveLength(3);
  expect(complaintsOf(watched[0]!, fault)).toEqual([]);
});

test('what it has said of itself is true', async () => {
  const own = (await faultsOf(fleet)).filter((each) => each.includes(member.name));
  expect(own).toEqual([]);
});

test('an end that is asked for meanwhile is refused as unavailable, if at all', () => {
  expect([200, 503]).toContain(revoked.status);
});

test('an end that was asked for meanwhile comes about', async () => {
  const [mandate] = revoked.ends as [string];
  expect((await readLog(fleet.redis)).ended).toContain(mandate);
  expect((await member.check(mandate, 'repo.push')).outcome).toBe('mission_inactive');
});

test.each(broken)('%s: it fails', (name, complaint) => {
  const index = 1 + broken.findIndex(([each]) => each === name);
  expect(complaintsOf(watched[index]!, fault)).toContainEqual(expect.stringMatching(complaint));
});
