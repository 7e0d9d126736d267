/** Disks that fail or are full: under Redis, and under the embedded engine. The outbox's is in `outbox.test.ts`. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { member as memberOf } from '../../src/core/json.ts';
import { PUSH, ask, askEnvoyDoor } from '../support/ask.ts';
import { type DiskFault, failDisk } from '../support/disk.ts';
import { createIssuer, startSidecar } from '../support/sidecar.ts';
import { approve, operate, recordOf } from '../support/authority.ts';
import { started } from './history.ts';
import { BUILD, openLocal } from './member.ts';
import { afterwards, beside, until } from './scope.ts';
import { keepVigil, untilAllowed, untilAnswered } from './vigil.ts';

const FAULTS: Readonly<Record<string, DiskFault>> = {
  'that says EIO to fdatasync': {},
  'that has no room': { calls: ['write', 'pwrite64'], error: 'ENOSPC' },
};

describe.concurrent('a disk under Redis', () => {
  for (const [name, fault] of Object.entries(FAULTS)) {
    beside(`${name}: nothing is acknowledged, everything that cannot be undone is denied`, async () => {
      const server = await started();
      const { local } = await openLocal({ port: server.port });
      const [id, acknowledged] = [await approve(local), await approve(local)];
      expect(await operate(local, acknowledged, { operation: 'revoke' })).toMatchObject({
        acknowledged: 'durable',
      });
      await untilAllowed(local, id);
      const failing = await failDisk(server.pid(), fault);
      const refused = await operate(local, id, { operation: 'suspend' });
      expect(refused).toMatchObject({ ok: false, refused: 'unavailable' });
      const failed_ms = performance.now();
      const vigil = keepVigil([local], id);
      await server.gone();
      await failing.heal();
      await untilAnswered(local, id, ({ effect }) => effect === 'deny', 1000);
      await vigil.stop();
      expect(vigil.allowsAfter(failed_ms)).toEqual([]);
      await server.restart();
      await untilAnswered(local, acknowledged, ({ why }) => why === 'revoked');
      // What was not acknowledged may have been done or not; it is one of the two.
      expect(['active', 'suspended']).toContain((await recordOf(local, id)).state);
      await until(
        () => local.standing(),
        ({ health }) => health.ok,
      );
    });
  }

  beside(
    'that could not be saved to (MISCONF), and memory that is full (OOM): denied, until they are not',
    async () => {
      const server = await started({ config: { save: '3600 100000' } });
      const { local } = await openLocal({ port: server.port });
      const id = await approve(local);
      await untilAllowed(local, id);
      await server.call('CONFIG', 'SET', 'rdb-key-save-delay', '10000000');
      await server.call('BGSAVE');
      const info = async () => String(await server.call('INFO', 'persistence'));
      await until(info, (text) => text.includes('rdb_bgsave_in_progress:1'));
      killChildren(server.pid());
      await until(info, (text) => text.includes('rdb_last_bgsave_status:err'));
      await untilAnswered(local, id, ({ why }) => why.includes('MISCONF'));
      await untilAnswered(local, id, ({ effect }) => effect === 'deny', 1000);
      expect(await operate(local, id, { operation: 'suspend' })).toMatchObject({
        ok: false,
        refused: 'unavailable',
      });
      await server.call('CONFIG', 'SET', 'rdb-key-save-delay', '0');
      await server.call('BGSAVE');
      expect(await untilAllowed(local, id)).toBeLessThan(1500);
      await server.call('CONFIG', 'SET', 'maxmemory', '1mb');
      await untilAnswered(local, id, ({ why }) => why.includes('OOM'));
      expect(await operate(local, id, { operation: 'suspend' })).toMatchObject({
        ok: false,
        refused: 'unavailable',
      });
      await server.call('CONFIG', 'SET', 'maxmemory', '0');
      expect(await untilAllowed(local, id)).toBeLessThan(1000);
      const suspend = () => operate(local, id, { operation: 'suspend' });
      expect(await until(suspend, ({ ok }) => ok)).toBeLessThan(1000);
    },
  );
});

function killChildren(pid: number): void {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  for (const child of children) process.kill(Number(child), 'SIGKILL');
}

describe.concurrent('a disk under the embedded engine', () => {
  beside('that says EIO to fdatasync: latched for good, and the file is never written again', async () => {
    const issuer = await createIssuer();
    const sidecar = await startSidecar({ issuer, root: BUILD });
    afterwards(sidecar.discard);
    const [record, other] = [await sidecar.mandate(), await sidecar.mandate()];
    const token = await sidecar.tokenFor(record);
    expect((await askEnvoyDoor(sidecar.check_port, token, PUSH)).status).toBe(200);
    const failing = await failDisk(sidecar.process.pid!);
    const path = `/v1/mandates/${String(record.id)}/revoke`;
    const refused = await sidecar.control('POST', path, {});
    expect([refused.status, memberOf(refused.body, 'reason')]).toEqual([503, 'unavailable']);
    const denied = await askEnvoyDoor(sidecar.check_port, token, PUSH);
    expect([denied.status, denied.body.reason]).toEqual([403, 'state_unavailable']);
    for (const each of ['/livez', '/readyz'])
      expect((await ask(sidecar.control_port, { path: each })).status).toBe(503);
    await failing.heal();
    const file = join(sidecar.folder, 'data/mandates.db-wal');
    const before = statSync(file).mtimeMs;
    const again = await sidecar.control('POST', `/v1/mandates/${String(other.id)}/revoke`, {});
    expect(again.status).toBe(503);
    await sleep(300);
    expect((await askEnvoyDoor(sidecar.check_port, token)).status).toBe(403);
    expect((await ask(sidecar.control_port, { path: '/livez' })).status).toBe(503);
    expect(statSync(file).mtimeMs).toBe(before);
    await sidecar.stop('SIGKILL');
    const next = await startSidecar({ issuer, root: BUILD, folder: sidecar.folder });
    afterwards(next.stop);
    expect((await next.control('POST', `/v1/mandates/${String(other.id)}/revoke`, {})).status).toBe(200);
  });
});
