/** What must be remembered, by whom, and for how long: cases in which history is lost more than once, or out of order. */
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { expect } from 'vitest';
import { approve, committed, operate, propose, recordOf } from '../support/authority.ts';
import { type Place, copiedDisk, started, untilSame } from './history.ts';
import { type Member, type Starting, startMember } from './member.ts';
import { beside, until } from './scope.ts';
import { keepVigil, untilAllowed, untilAnswered, untilKept } from './vigil.ts';

const starting = (place: Place, options: Starting = {}): Promise<Member> =>
  startMember({ port: place.server().port, ...options });

async function lose(place: Place): Promise<void> {
  await place.fail();
  await place.recover();
}

const epochOf = async (place: Place): Promise<number> =>
  Number(await place.server().call('HGET', '{acme}:head', 'epoch'));

beside(
  'what was said again is lost again, and is said again: ends, suspensions, and with a new epoch each time',
  async () => {
    const place = await copiedDisk();
    const member = await starting(place);
    const [ended, narrowed, untouched] = [
      await approve(member),
      await approve(member),
      await approve(member),
    ];
    await place.forgetFromNow();
    await committed(operate(member, narrowed, { operation: 'shorten', expires_at: soon() }));
    await committed(operate(member, ended, { operation: 'revoke' }));
    for (const time of [1, 2, 3]) {
      const epoch = await epochOf(place);
      await lose(place);
      await untilAllowed(member, untouched);
      expect([time, (await recordOf(member, ended)).state]).toEqual([time, 'revoked']);
      expect([time, (await recordOf(member, narrowed)).state]).toEqual([time, 'suspended']);
      expect(await epochOf(place)).toBeGreaterThan(epoch);
    }
  },
);

const soon = (): string => new Date(Date.now() + 1_800_000).toISOString();

beside('an end whose entry has been trimmed since is said again', () => trimmed(false));

beside('an end whose entry has been trimmed since is said again after a restart as well', () =>
  trimmed(true),
);

async function trimmed(is_restarted: boolean): Promise<void> {
  const place = await copiedDisk();
  const member = await starting(place, { keep_entries: 20 });
  const [ended, untouched] = [await approve(member), await approve(member)];
  await place.forgetFromNow();
  const { position } = await committed(operate(member, ended, { operation: 'revoke' }));
  for (let more = 0; more < 30; more += 1) await propose(member);
  const floor = async () => Number(await place.server().call('HGET', '{acme}:head', 'floor'));
  await until(floor, (seen) => seen > position.seq);
  await untilKept(member);
  if (is_restarted) await member.kill();
  await lose(place);
  const then = is_restarted ? await starting(place, { outbox: member.outbox }) : member;
  await untilAllowed(then, untouched);
  expect((await recordOf(then, ended)).state).toBe('revoked');
  expect(await then.check(ended, 0)).toMatchObject({ effect: 'deny', why: 'revoked' });
}

beside(
  'a sidecar starts that remembers a place that was lost, and no end that was, and the log went on',
  async () => {
    const { one, other, untouched, restart } = await twoOfWhichOneIsDown(async (writer) => {
      await propose(writer);
    });
    for (let more = 0; more < 3; more += 1) await propose(one);
    const again = await restart(other);
    await untilAllowed(again, untouched);
  },
);

beside(
  'a sidecar starts that remembers an end that was said again by another, and the log went on',
  async () => {
    const { one, other, ended, untouched, restart } = await twoOfWhichOneIsDown(async (writer, id) => {
      await committed(operate(writer, id, { operation: 'revoke' }));
    });
    for (let more = 0; more < 3; more += 1) await propose(one);
    const again = await restart(other);
    await untilAllowed(again, untouched);
    expect((await recordOf(again, ended)).state).toBe('revoked');
  },
);

/** What `act` writes is seen by both, and lost while the second is down. */
async function twoOfWhichOneIsDown(act: (writer: Member, id: string) => Promise<void>) {
  const place = await copiedDisk();
  const options = { lease_ms: 1000 };
  const [one, other] = [await starting(place, options), await starting(place, options)];
  const [ended, untouched] = [await approve(one), await approve(one)];
  await untilAllowed(other, untouched);
  await place.forgetFromNow();
  await act(one, ended);
  // How far it has come is kept with a heartbeat.
  await sleep(600);
  await untilKept(other);
  await other.kill();
  await lose(place);
  await untilAllowed(one, untouched);
  const restart = ({ outbox }: Member) => starting(place, { ...options, outbox });
  return { one, other, ended, untouched, restart };
}

beside('what the others had ended before one began anew is remembered by that one as well', async () => {
  const place = await copiedDisk();
  const [first, second] = [
    await starting(place, { lease_ms: 1000 }),
    await starting(place, { lease_ms: 1000 }),
  ];
  const [one, other, untouched] = [await approve(first), await approve(first), await approve(first)];
  await place.forgetFromNow();
  second.door.blackhole('both');
  await committed(operate(first, one, { operation: 'revoke' }));
  first.door.refuse();
  await lose(place);
  await second.door.heal();
  await untilAnswered(second, untouched, ({ source }) => source !== 'none', 60_000);
  // Behind where the first begins anew, so that it never applies it.
  await committed(operate(second, other, { operation: 'revoke' }));
  await first.door.heal();
  await untilAllowed(first, untouched);
  await second.kill();
  await lose(place);
  await untilAllowed(first, untouched);
  expect((await recordOf(first, one)).state).toBe('revoked');
  expect((await recordOf(first, other)).state).toBe('revoked');
});

beside(
  'an end that was acknowledged, and that only the intent remembers, is said again before anything is allowed',
  async () => {
    const place = await copiedDisk();
    const member = await starting(place);
    const ended = await approve(member);
    await untilAllowed(member, ended);
    await place.forgetFromNow();
    await committed(operate(member, ended, { operation: 'revoke' }));
    await untilKept(member);
    await member.kill();
    asKilledJustAfterTheAnswer(member.outbox);
    await lose(place);
    const again = await starting(place, { outbox: member.outbox });
    const vigil = keepVigil([again], ended);
    await untilAnswered(again, ended, ({ why }) => why === 'revoked');
    await vigil.stop();
    expect(vigil.allowsAfter(0)).toEqual([]);
  },
);

/** The end that was applied is not on disk yet, and its intent still is, behind others that people have asked for. */
function asKilledJustAfterTheAnswer(outbox: string): void {
  const db = new DatabaseSync(join(outbox, 'outbox.db'));
  const { entry } = db.prepare('SELECT entry FROM ending').get() as { entry: string };
  const { event, prev } = JSON.parse(entry) as {
    readonly event: { readonly id: string; readonly by: object };
    readonly prev: string;
  };
  db.exec('DELETE FROM ending');
  const position = db.prepare("SELECT value FROM memory WHERE name = 'position'").get() as { value: string };
  const before = { ...(JSON.parse(position.value) as { seq: number }), eid: prev };
  db.prepare("UPDATE memory SET value = ? WHERE name = 'position'").run(
    JSON.stringify({ ...before, seq: before.seq - 1 }),
  );
  const intend = db.prepare('INSERT INTO intent (command) VALUES (?)');
  const details = { operation: 'revoke' };
  const intent = (id: string) =>
    JSON.stringify({
      kind: 'operate',
      id,
      details,
      may_resume: true,
      fingerprint: 'f',
      by: event.by,
      at_ms: Date.now(),
    });
  for (let other = 0; other < 30; other += 1) intend.run(intent(`msn_other_${other}`));
  intend.run(intent(event.id));
  db.close();
}

beside(
  'a server that lost history without being another process is noticed before anything is allowed on it',
  async () => {
    const primary = await started();
    const { port } = primary;
    const other = await started({ replica_of: primary });
    await other.call('REPLICAOF', 'NO', 'ONE');
    const [knowing, forgetful] = [await startMember({ port }), await startMember({ port })];
    const ended = await approve(knowing);
    await untilAllowed(forgetful, ended);
    // The other has what there is until now; whoever operates it will serve from there for a while, and come back.
    await other.call('REPLICAOF', '127.0.0.1', String(port));
    await untilSame(primary, other);
    await other.call('REPLICAOF', 'NO', 'ONE');
    forgetful.door.blackhole('both');
    await committed(operate(knowing, ended, { operation: 'revoke' }));
    const vigil = keepVigil([knowing, forgetful], ended);
    await primary.call('REPLICAOF', '127.0.0.1', String(other.port));
    await untilSame(primary, other);
    // Whoever remembers is held up on its way.
    knowing.door.blackhole('both');
    await forgetful.door.heal();
    await primary.call('REPLICAOF', 'NO', 'ONE');
    await untilAnswered(
      forgetful,
      ended,
      ({ effect, why }) => effect === 'allow' || why.includes('say what they remember'),
    );
    await knowing.door.heal();
    await untilAnswered(forgetful, ended, ({ why }) => why === 'revoked');
    await vigil.stop();
    expect(vigil.allowsAfter(0)).toEqual([]);
  },
);
