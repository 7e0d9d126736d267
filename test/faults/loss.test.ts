/** A server that is killed, replies that are lost, scripts that are forgotten: nothing acknowledged goes, nothing is done twice. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Sabotage } from '../support/sabotage.ts';
import { faultsOf } from './final.ts';
import { type Fleet, type Member, startFleet } from './fleet.ts';
import { isKept, killInTheMiddle } from './killed.ts';
import { byLength } from './length.ts';
import { startLoad } from './load.ts';
import type { Checked, Revoked } from './recorder.ts';
import { loseReservation, loseRevocation } from './replies.ts';
import { RECOVERY_MS, complaintsOf, watch } from './silence.ts';

const broken: readonly Sabotage[] = [
  'a script is taken to be known',
  'a write is asked again as another',
  'a write is acknowledged before it is done',
];

let fleet: Fleet;
let well: Member;
let ignorant: Member;
let forgetful: Member;
let hasty: Member;

beforeAll(async () => {
  fleet = await startFleet();
  // The first tells the server the scripts: one that takes them to be known cannot start before.
  well = await fleet.join({ delay_ms: 0 });
  const joining = broken.map((sabotage) => fleet.join({ sabotage, delay_ms: 0 }));
  [ignorant, forgetful, hasty] = (await Promise.all(joining)) as unknown as [Member, Member, Member];
}, 90_000);
afterAll(() => fleet?.stop());

describe('scripts that the server has forgotten', () => {
  /** What the members answered while the scripts were forgotten again and again. */
  async function answers(members: readonly Member[]): Promise<readonly (readonly string[])[]> {
    const mandate = await members[0]!.approve();
    const watches = members.map((each) => watch(each, mandate));
    const flushing = startLoad({ per_second: 25, act: () => fleet.redis.call('SCRIPT', 'FLUSH') });
    await sleep(byLength(1000, 10_000));
    const revoked = await Promise.all(members.map(async (each) => each.revoke(await members[0]!.approve())));
    await flushing.stop();
    const watched = await Promise.all(watches.map((each) => each.stop()));
    return watched.map(({ checks }, index) => [...checks, revoked[index]!].map(toldBy));
  }
  const toldBy = ({ outcome, body }: Checked | Revoked) => `${outcome} ${String(body.detail ?? '')}`.trim();

  test('by a restart: all is well a second after', async () => {
    const mandate = await well.approve();
    const watched = watch(well, mandate);
    await sleep(500);
    const from = performance.now();
    await fleet.redis.restart();
    const to = performance.now();
    await sleep(RECOVERY_MS + 500);
    const fault = { from, to, is_unproven: true, is_unbeaten: true };
    expect(complaintsOf(await watched.stop(), fault)).toEqual([]);
  });

  test('are told to it again, and nobody notices; else many do', async () => {
    const [told, untold] = await answers([well, ignorant]);
    expect(told!.at(-1)).toBe('ok');
    // A machine that is busy may be too slow for a few.
    const refused = told!.slice(0, -1).filter((each) => each !== 'allow');
    expect(refused.length, refused.join('\n')).toBeLessThan(told!.length / 4);
    expect(refused).not.toContainEqual(expect.stringContaining('NOSCRIPT'));
    expect(untold).toContainEqual(expect.stringContaining('NOSCRIPT'));
    await ignorant.leave();
  });
});

test('a reply that is lost after its write ran', { timeout: byLength(60_000, 300_000) }, async () => {
  for (let time = 0; time < byLength(4, 100); time += 1) {
    expect(await loseRevocation(fleet, well)).toEqual([]);
    expect(await loseReservation(fleet, well)).toEqual([]);
  }
  expect(await faultsOf(fleet)).toEqual([]);
});

test('a server that is killed in the middle of writes', { timeout: byLength(60_000, 600_000) }, async () => {
  const kills = byLength(8, 200);
  const { faults, revoked } = await killInTheMiddle(fleet, { member: well, kills });
  expect(faults).toEqual([]);
  expect(revoked.filter(({ outcome }) => outcome === 'ok').length).toBeGreaterThan(kills);
  expect(revoked.filter(isKept).length).toBeGreaterThan(0);
});

test('a write that is acknowledged before it is done: it fails', async () => {
  // What it acknowledges is on its way for so long.
  hasty.network().delay(15);
  const { faults } = await killInTheMiddle(fleet, { member: hasty, maker: well, kills: byLength(2, 10) });
  expect(faults).toContainEqual(expect.stringMatching(/^lost: /));
  await hasty.leave();
});

// The last: what stands twice in the log can be read by nobody.
test('a write that is asked again as another: it fails', async () => {
  expect(await loseReservation(fleet, forgetful)).toContainEqual(expect.stringMatching(/stands 2 times/));
  expect(await loseRevocation(fleet, forgetful)).toContainEqual(expect.stringMatching(/stands 2 times/));
});
