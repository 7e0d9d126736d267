/** Sidecars that leave and come: who is awaited after history was lost, and who is not (design/3, Failover). */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { approve, committed, operate } from '../support/authority.ts';
import { copiedDisk, started } from './history.ts';
import { startMember } from './member.ts';
import { keepVigil, untilAllowed, untilAnswered } from './vigil.ts';

const LEASE_MS = 20_000;

test('whoever left with an end that the server then lost is awaited: that it left was lost as well', async () => {
  const place = await copiedDisk();
  const join = (outbox?: string) =>
    startMember({
      port: place.server().port,
      lease_ms: LEASE_MS,
      ...(outbox === undefined ? {} : { outbox }),
    });
  const [first, last] = [await join(), await join()];
  const [ended, untouched] = [await approve(first), await approve(first)];
  await untilAllowed(last, untouched);
  await sleep(600);
  await place.forgetFromNow();
  await first.close();
  await committed(operate(last, ended, { operation: 'revoke' }));
  await last.close();
  await place.fail();
  await place.recover();
  const [back] = [await join(first.outbox)];
  const vigil = keepVigil([back], ended);
  await sleep(500);
  expect(await back.check(ended, 0)).toMatchObject({ effect: 'deny' });
  await join(last.outbox);
  await untilAnswered(back, ended, ({ why }) => why === 'revoked', 10_000);
  await untilAllowed(back, untouched);
  await vigil.stop();
  expect(vigil.allowsAfter(0)).toEqual([]);
});

test('a sidecar that was away for long keeps nobody waiting for those that left meanwhile', async () => {
  const server = await started();
  const join = (outbox?: string) =>
    startMember({ port: server.port, lease_ms: 3000, ...(outbox === undefined ? {} : { outbox }) });
  const [stays, away, leaves] = [await join(), await join(), await join()];
  const id = await approve(stays);
  await untilAllowed(away, id);
  await sleep(600);
  await away.kill();
  await leaves.close();
  // Its lease runs out, and the server is another one since, with which all who are there have compared.
  await expect.poll(() => server.call('HLEN', '{acme}:fleet'), { timeout: 10_000 }).toBe(1);
  // The one that stays has heard of it as well.
  await sleep(600);
  await server.kill();
  await server.restart();
  await untilAllowed(stays, id);
  const vigil = keepVigil([stays], id);
  const begun_ms = performance.now();
  const returned = await join(away.outbox);
  await untilAllowed(returned, id);
  await sleep(300);
  await vigil.stop();
  const denied = vigil.answers.filter(({ asked_ms, effect }) => asked_ms > begun_ms && effect === 'deny');
  expect(denied.map(({ why }) => why)).toEqual([]);
});

test('a server that others served meanwhile, and that knows nothing of it, is not believed before all have compared', async () => {
  const [old, other] = [await copiedDisk(), await copiedDisk()];
  const member = await startMember({ port: old.server().port, lease_ms: LEASE_MS });
  const slow = await startMember({ port: old.server().port, lease_ms: LEASE_MS });
  const [ended, untouched] = [await approve(member), await approve(member)];
  for (const each of [member, slow]) await untilAllowed(each, untouched);
  await sleep(600);
  // The other server takes over with all that the old one had, and the old one comes back as it was.
  const copy = other.server();
  await copy.call('REPLICAOF', '127.0.0.1', String(old.server().port));
  await expect.poll(() => copy.call('EXISTS', '{acme}:log'), { timeout: 10_000 }).toBe(1);
  await copy.call('REPLICAOF', 'NO', 'ONE');
  for (const { door } of [member, slow]) {
    door.retarget(copy.port);
    door.cut();
  }
  for (const each of [member, slow]) await untilAllowed(each, untouched, 20_000);
  slow.door.blackhole('both');
  const revoke = () => operate(member, ended, { operation: 'revoke' });
  await expect.poll(async () => (await revoke()).ok, { timeout: 5000 }).toBe(true);
  await sleep(600);
  member.freeze();
  await slow.door.heal();
  slow.door.retarget(old.server().port);
  slow.door.cut();
  const vigil = keepVigil([slow], ended);
  await sleep(1500);
  expect(await slow.check(untouched, 0)).toMatchObject({
    effect: 'deny',
    why: expect.stringContaining('have yet to say what they remember'),
  });
  member.door.retarget(old.server().port);
  member.door.cut();
  member.thaw();
  await untilAnswered(slow, ended, ({ why }) => why === 'revoked', 20_000);
  await vigil.stop();
  expect(vigil.allowsAfter(0)).toEqual([]);
});
