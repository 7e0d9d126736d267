/** A store that fails while it serves: nothing is acknowledged that is not on disk, and every check says no. */
import { spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { member } from '../../src/core/json.ts';
import { PUSH, ask, askEnvoyDoor } from '../support/ask.ts';
import { ROOT, type Sidecar, createIssuer, proposalBody, startSidecar } from '../support/sidecar.ts';

const sidecars: Sidecar[] = [];
afterEach(async () => {
  for (const sidecar of sidecars.splice(0)) await sidecar.discard();
});

const started = async (options: Parameters<typeof startSidecar>[0]): Promise<Sidecar> => {
  const sidecar = await startSidecar(options);
  sidecars.push(sidecar);
  return sidecar;
};

/** Proposes until a write fails; answers how it was refused. */
async function writeUntilRefused(
  sidecar: Sidecar,
): Promise<{ status: number; reason: unknown; written: number }> {
  const goal = 'x'.repeat(4000);
  for (let written = 0; written < 3000; written += 1) {
    const proposal = proposalBody();
    const intent = { ...(proposal.intent as object), goal };
    const { status, body } = await sidecar.control('POST', '/v1/proposals', { ...proposal, intent });
    if (status !== 202) return { status, reason: member(body, 'reason'), written };
  }
  throw new Error('no write was ever refused');
}

describe('design/4 Shutdown: a store that fails for good', () => {
  test('denies state_unavailable, turns /livez and /readyz 503, and acknowledges nothing', async () => {
    // The file may not grow beyond this, which SQLite sees as an I/O error on write.
    const sidecar = await started({ file_limit_kib: 600 });
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor(record);
    expect((await askEnvoyDoor(sidecar.check_port, token, PUSH)).status).toBe(200);

    expect(await writeUntilRefused(sidecar)).toMatchObject({ status: 503, reason: 'unavailable' });

    for (const asking of [PUSH, { path: '/repos/example/app/contents' }]) {
      const { status, body } = await askEnvoyDoor(sidecar.check_port, token, asking);
      expect([status, body.reason, body.next_action]).toEqual([403, 'state_unavailable', 'retry']);
      expect(body.mandate).toMatchObject({ verdict: 'unproven', reason: 'state_unavailable' });
      expect(member(body.credential, 'verdict')).toBe('usable');
    }
    expect((await askEnvoyDoor(sidecar.check_port, undefined, { path: '/healthz' })).status).toBe(200);
    for (const path of ['/livez', '/readyz'])
      expect((await ask(sidecar.control_port, { path })).status).toBe(503);

    const revoke = await sidecar.control('POST', `/v1/mandates/${String(record.id)}/revoke`, {});
    expect([revoke.status, member(revoke.body, 'reason')]).toEqual([503, 'unavailable']);
    expect(sidecar.stderr()).toContain('the store failed for good');

    await sidecar.stop('SIGKILL');
    const again = await started({ folder: sidecar.folder, issuer: sidecar.issuer });
    const { status } = await askEnvoyDoor(again.check_port, token, PUSH);
    expect(status).toBe(200);
    expect((await again.control('GET', `/v1/mandates/${String(record.id)}`)).body).toMatchObject({
      state: 'active',
      version: 1,
    });
  }, 60_000);
});

/** A small file system of its own, so that the disk can be full. Needs to be root, as CI is. */
async function smallDisk(): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'mandated-disk-'));
  const mounted = await new Promise<number | null>((resolve) => {
    spawn('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder])
      .on('close', resolve)
      .on('error', () => resolve(1));
  });
  if (mounted === 0) return folder;
  rmSync(folder, { recursive: true });
  return undefined;
}

const disk = await smallDisk();

describe('design/3 Faults: disk full', () => {
  test.skipIf(disk === undefined)(
    'writes are refused and what needs a barrier is denied, until there is room again',
    async () => {
      const ballast = join(disk!, 'ballast');
      await run('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=1024', 'count=300']);
      const issuer = await createIssuer();
      const sidecar = await started({ issuer, store_path: join(disk!, 'data') });
      const record = await sidecar.mandate();
      const token = await sidecar.tokenFor(record);
      expect(await writeUntilRefused(sidecar)).toMatchObject({ status: 503, reason: 'unavailable' });

      const push = await askEnvoyDoor(sidecar.check_port, token, PUSH);
      expect([push.status, push.body.reason]).toEqual([403, 'state_unavailable']);
      const read = await askEnvoyDoor(sidecar.check_port, token);
      expect(read.status).toBe(200);
      expect((await ask(sidecar.control_port, { path: '/livez' })).status).toBe(200);
      expect((await ask(sidecar.control_port, { path: '/readyz' })).status).toBe(503);

      rmSync(ballast);
      await expect
        .poll(async () => (await ask(sidecar.control_port, { path: '/readyz' })).status, { timeout: 10_000 })
        .toBe(200);
      expect((await askEnvoyDoor(sidecar.check_port, token, PUSH)).status).toBe(200);
      expect((await sidecar.control('POST', `/v1/mandates/${String(record.id)}/revoke`, {})).status).toBe(
        200,
      );
      await sidecar.stop('SIGKILL');
      await run('umount', [disk!]);
      expect(existsSync(join(disk!, 'data'))).toBe(false);
    },
    60_000,
  );
});

function run(program: string, args: readonly string[]): Promise<unknown> {
  return new Promise((resolve) => spawn(program, args, { cwd: ROOT }).on('close', resolve));
}
