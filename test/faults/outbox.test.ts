/** Ends that are asked for while the store is away: on this sidecar's own disk, and carried out when it is back. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { failDisk } from '../support/disk.ts';
import { approve, operate, recordOf } from '../support/authority.ts';
import { started } from './history.ts';
import { byLength } from './length.ts';
import { startMember, tryMember } from './member.ts';
import { beside, until } from './scope.ts';
import { keepVigil, untilAllowed } from './vigil.ts';

const AWAY = { ok: false, refused: 'unavailable', detail: expect.stringContaining('kept on this sidecar') };

beside('an end that was asked for while the store was away is carried out when it is back', async () => {
  const server = await started();
  const member = await startMember({ port: server.port });
  const [revoked, completed, kept] = [await approve(member), await approve(member), await approve(member)];
  await server.kill();
  expect(await operate(member, revoked, { operation: 'revoke' })).toMatchObject(AWAY);
  expect(await operate(member, completed, { operation: 'complete' })).toMatchObject(AWAY);
  // What is no end may be asked for again by whoever wants it.
  const suspended = await operate(member, kept, { operation: 'suspend' });
  expect(suspended).toMatchObject({ ok: false, refused: 'unavailable' });
  expect((await member.standing()).figures.outbox).toBe(2);
  await server.restart();
  await until(
    async () => (await member.standing()).figures.outbox,
    (count) => count === 0,
  );
  expect((await recordOf(member, revoked)).state).toBe('revoked');
  expect((await recordOf(member, completed)).state).toBe('completed');
  await untilAllowed(member, kept);
});

beside('also after the sidecar was killed meanwhile, and before anything is allowed under it', async () => {
  const server = await started();
  const { port } = server;
  const member = await startMember({ port });
  const id = await approve(member);
  await untilAllowed(member, id);
  await server.kill();
  expect(await operate(member, id, { operation: 'revoke' })).toMatchObject(AWAY);
  await member.kill();
  await server.restart();
  const again = await startMember({ port, outbox: member.outbox });
  await until(
    async () => (await recordOf(again, id)).state,
    (state) => state === 'revoked',
  );
  await until(
    async () => (await again.standing()).figures.outbox,
    (count) => count === 0,
  );
});

beside('one whose answer was lost is carried out once', async () => {
  const server = await started();
  const member = await startMember({ port: server.port });
  const id = await approve(member);
  server.freeze();
  const asked = operate(member, id, { operation: 'revoke' });
  expect(await asked).toMatchObject(AWAY);
  server.thaw();
  await until(
    async () => (await member.standing()).figures.outbox,
    (count) => count === 0,
  );
  const { state, history } = await recordOf(member, id);
  expect([state, history.filter(({ operation }) => operation === 'revoke').length]).toEqual(['revoked', 1]);
});

beside('another process on the same outbox is refused, and so is another tenant', async () => {
  const server = await started();
  const { port } = server;
  const member = await startMember({ port });
  const second = await tryMember({ port, outbox: member.outbox });
  expect(second.refused).toMatch(/outbox: .*another process/);
  await member.kill();
  const other = await tryMember({ port, outbox: member.outbox, tenant: 'other' });
  expect(other.refused).toContain('the outbox is of the tenant `acme`, not of `other`');
  expect((await tryMember({ port, outbox: member.outbox })).refused).toBe('');
});
beside('intents are bounded, in number and on disk', async () => {
  const server = await started();
  const member = await startMember({ port: server.port });
  await approve(member);
  await server.kill();
  const count = byLength(4200, 20_000);
  const asked = Array.from({ length: count }, (_, each) =>
    operate(member, `msn_${each}`, { operation: 'revoke' }),
  );
  const answers = await Promise.all(asked);
  const kept = answers.filter((each) => !each.ok && each.detail.includes('kept on this sidecar'));
  expect(answers.every((each) => !each.ok && each.refused === 'unavailable')).toBe(true);
  expect(kept.length).toBeLessThanOrEqual(4096);
  expect(kept.length).toBeGreaterThan(1000);
  expect((await member.standing()).figures.outbox).toBe(kept.length);
  const size =
    statSync(join(member.outbox, 'outbox.db')).size + statSync(join(member.outbox, 'outbox.db-wal')).size;
  expect(size).toBeLessThan(64 * 1024 * 1024);
});

beside('an outbox whose disk fails takes no end, is never written again, and says so', async () => {
  const server = await started();
  const { port } = server;
  const member = await startMember({ port });
  const [id, other] = [await approve(member), await approve(member)];
  await untilAllowed(member, id);
  const broken = await failDisk(member.pid);
  const refused = await operate(member, id, { operation: 'revoke' });
  expect(refused).toMatchObject({ ok: false, refused: 'unavailable' });
  await until(
    async () => (await member.standing()).health,
    ({ ok }) => !ok,
  );
  expect((await member.standing()).health).toMatchObject({ detail: expect.stringContaining('outbox') });
  await broken.heal();
  await sleep(300);
  // What the disk said once about what it was given cannot be taken back.
  expect(await operate(member, other, { operation: 'revoke' })).toMatchObject({
    ok: false,
    refused: 'unavailable',
  });
  expect((await member.standing()).health.ok).toBe(false);
  await member.kill();
  const again = await startMember({ port, outbox: member.outbox });
  expect(await operate(again, other, { operation: 'revoke' })).toMatchObject({ ok: true });
});

beside('an outbox without room takes no end until there is room again', async () => {
  const server = await started();
  const member = await startMember({ port: server.port });
  const [id, other] = [await approve(member), await approve(member)];
  await untilAllowed(member, id);
  const broken = await failDisk(member.pid, { calls: ['pwrite64'], error: 'ENOSPC' });
  const refused = await operate(member, id, { operation: 'revoke' });
  expect(refused).toMatchObject({ ok: false, refused: 'unavailable' });
  await broken.heal();
  const revoked = async () => (await operate(member, other, { operation: 'revoke' })).ok;
  await until(revoked, (done) => done);
  const vigil = keepVigil([member], other);
  await sleep(100);
  await vigil.stop();
  expect(vigil.allowsAfter(0)).toEqual([]);
});
