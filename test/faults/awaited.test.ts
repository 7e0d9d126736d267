/**
 * After history was lost, what cannot be undone waits for every sidecar of the last known fleet: for its memory, or for the
 * end of its lease (design/3, Failover). Whoever remembers an ending must not come second.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { approve, committed, operate, recordOf } from '../support/authority.ts';
import { type Place, copiedDisk } from './history.ts';
import { byLength } from './length.ts';
import { type Member, type Starting, freshFolder, startMember } from './member.ts';
import { beside } from './scope.ts';
import { keepVigil, untilAllowed, untilAnswered, untilKept } from './vigil.ts';

const LEASE_MS = 1500;
/** A lease is renewed so often. */
const BEAT_MS = 300;
const LONG_LEASE_MS = 20_000;
const WAITING = 'have yet to say what they remember';

/** How much later than it could something may come: two heartbeats, a sweep, and a busy machine. */
const LATER_MS = 1500;

function join(place: Place, options: Starting = {}): Promise<Member> {
  return startMember({ port: place.server().port, lease_ms: LEASE_MS, ...options });
}

/** The server is killed and comes back as it was before. */
async function loseHistory(place: Place): Promise<number> {
  await place.fail();
  await place.recover();
  return performance.now();
}

describe.concurrent('while somebody of the fleet has not compared', () => {
  interface Scene {
    readonly members: readonly Member[];
    readonly ended: string;
    readonly untouched: string;
    /** When the last of them said last that it lives, at the earliest. */
    readonly silent_ms: number;
    readonly lost_ms: number;
  }

  /** Three sidecars, the last of them frozen before history is lost. */
  async function scene(): Promise<Scene> {
    const place = await copiedDisk();
    const members = await Promise.all([join(place), join(place), join(place)]);
    const [ended, untouched] = [await approve(members[0]), await approve(members[0])];
    for (const member of members) {
      await untilAllowed(member, untouched);
      expect(await member.check(ended, 60_000)).toMatchObject({ effect: 'allow' });
    }
    // Each has said so to its own disk as well: who the others are.
    await sleep(600);
    await place.forgetFromNow();
    await committed(operate(members[0], ended, { operation: 'revoke' }));
    await untilAnswered(members[1], ended, ({ why }) => why === 'revoked');
    members[2].freeze();
    const silent_ms = performance.now() - BEAT_MS;
    return { members, ended, untouched, silent_ms, lost_ms: await loseHistory(place) };
  }

  beside(
    'what cannot be undone is denied and cached classes go on, until its lease has run out',
    async () => {
      const { members, ended, untouched, silent_ms, lost_ms } = await scene();
      const awake = members.slice(0, 2);
      const [forbidden, held_back] = [keepVigil(awake, ended), keepVigil(awake, untouched)];
      for (const member of awake) {
        await untilAnswered(
          member,
          untouched,
          ({ effect, why }) => effect === 'allow' || why.includes(WAITING),
        );
        expect(await member.check(untouched, 60_000)).toMatchObject({ effect: 'allow' });
        expect(await member.check(ended, 60_000)).toMatchObject({ effect: 'deny', why: 'revoked' });
      }
      await Promise.all(awake.map((member) => untilAllowed(member, untouched)));
      const allowed_ms = performance.now();
      expect(allowed_ms).toBeGreaterThan(silent_ms + LEASE_MS);
      expect(allowed_ms).toBeLessThan(lost_ms + LEASE_MS + LATER_MS);
      await Promise.all([forbidden.stop(), held_back.stop()]);
      expect(forbidden.allowsAfter(0)).toEqual([]);
      expect(
        held_back.allowsAfter(0).filter(({ answered_ms }) => answered_ms < silent_ms + LEASE_MS),
      ).toEqual([]);
    },
  );

  beside('its memory is enough as well, and it is not asked twice', async () => {
    const { members, ended, untouched, lost_ms } = await scene();
    await sleep(300);
    expect(await members[0]!.check(untouched, 0)).toMatchObject({ effect: 'deny' });
    members[2]!.thaw();
    await Promise.all(members.map((member) => untilAllowed(member, untouched)));
    expect(performance.now() - lost_ms).toBeLessThan(LEASE_MS);
    for (const member of members)
      expect(await member.check(ended, 0)).toMatchObject({ effect: 'deny', why: 'revoked' });
  });
});

describe.concurrent('the whole fleet restarts on a server that lost an ending', () => {
  interface Down {
    readonly place: Place;
    readonly ended: string;
    readonly untouched: string;
    /** Folders of what each remembers: the first alone has seen the end. */
    readonly outboxes: readonly string[];
  }

  /** `stranger`: the copy is from before whoever remembers had come. */
  async function wentDown(is_stranger = false, lease_ms = LONG_LEASE_MS): Promise<Down> {
    const place = await copiedDisk();
    const forgetful = await join(place, { lease_ms });
    const [ended, untouched] = [await approve(forgetful), await approve(forgetful)];
    if (is_stranger) await place.forgetFromNow();
    const knowing = await join(place, { lease_ms });
    await untilAllowed(forgetful, untouched);
    // Both have heard of each other, and said so to their disks.
    await sleep(600);
    if (!is_stranger) await place.forgetFromNow();
    forgetful.door.blackhole('both');
    await committed(operate(knowing, ended, { operation: 'revoke' }));
    await untilKept(knowing);
    await Promise.all([knowing.kill(), forgetful.kill()]);
    await loseHistory(place);
    return { place, ended, untouched, outboxes: [knowing.outbox, forgetful.outbox] };
  }

  const knowers = [
    ['its disk and the server name who remembers', false, 'kept'],
    ['only its disk names who remembers', true, 'kept'],
    ['only the server names who remembers', false, 'fresh'],
  ] as const;
  for (const [name, is_stranger, disk] of byLength<readonly (typeof knowers)[number][]>(
    knowers.slice(0, 2),
    knowers,
  )) {
    beside(`who does not remember comes first, and waits: ${name}`, () => comesFirst(is_stranger, disk));
  }

  async function comesFirst(is_stranger: boolean, disk: 'kept' | 'fresh'): Promise<void> {
    const { place, ended, untouched, outboxes } = await wentDown(is_stranger);
    const lease_ms = LONG_LEASE_MS;
    const outbox = disk === 'kept' ? outboxes[1]! : freshFolder();
    const forgetful = await join(place, { outbox, lease_ms });
    const vigil = keepVigil([forgetful], ended);
    await untilAllowed(forgetful, ended, 60_000);
    expect(await forgetful.check(ended, 0)).toMatchObject({
      effect: 'deny',
      why: expect.stringContaining(WAITING),
    });
    const knowing = await join(place, { outbox: outboxes[0]!, lease_ms });
    vigil.add(knowing);
    await untilAnswered(forgetful, ended, ({ why }) => why === 'revoked', 60_000);
    // Whose disk is gone is waited for as well, for as long as its lease lasts.
    if (disk === 'kept') await untilAllowed(forgetful, untouched);
    await vigil.stop();
    expect(vigil.allowsAfter(0)).toEqual([]);
    expect(vigil.answers.length).toBeGreaterThan(10);
    expect((await recordOf(forgetful, ended)).state).toBe('revoked');
    expect(await place.server().call('HGET', '{acme}:head', 'epoch')).toBe('2');
  }

  beside(
    'who does not remember waits a whole lease, counted from then, where the other never comes',
    async () => {
      const { place, untouched, outboxes } = await wentDown(false, LEASE_MS);
      const began = performance.now();
      const forgetful = await join(place, { outbox: outboxes[1]! });
      const started_ms = performance.now();
      await untilAllowed(forgetful, untouched);
      expect(performance.now() - began).toBeGreaterThan(LEASE_MS);
      expect(performance.now() - started_ms).toBeLessThan(LEASE_MS + LATER_MS);
    },
  );
});
