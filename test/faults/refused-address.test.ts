/** Who a sidecar takes for its server: credentials, certificates, and what it says where it does not start. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, vi } from 'vitest';
import { redisOptions } from '../../src/redis-options.ts';
import { type Certificate, certify } from '../support/certificate.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { started } from './history.ts';
import { refusalOf } from './member.ts';
import { afterwards, beside } from './scope.ts';

describe.concurrent('credentials', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
    await server.call('ACL', 'SETUSER', 'sidecar', 'on', '>secret', '~*', '+@all');
    await server.call('ACL', 'SETUSER', 'blind', 'on', '>secret', '~*', '+@all', '-info');
    await server.call('ACL', 'SETUSER', 'narrow', 'on', '>secret', '~elsewhere:*', '+@all');
  });
  afterAll(() => server.stop());

  const refusedAs = (username: string, password = 'secret'): Promise<string> =>
    refusalOf(server.port, { redis: { port: server.port, username, password } });

  beside('that are good let it start', async () => {
    expect(await refusedAs('sidecar')).toBe('');
  });

  beside('that are wrong are said to be so', async () => {
    const locked = await started({ config: { requirepass: 'secret' } });
    const asked = [refusedAs('sidecar', 'wrong'), refusedAs('nobody'), refusalOf(locked.port)];
    const refusals = await Promise.all(asked);
    for (const [index, reason] of ['WRONGPASS', 'WRONGPASS', 'NOAUTH'].entries())
      expect(refusals[index]).toContain(reason);
  });

  beside('of a user who may not touch these keys do not let it start', async () => {
    expect(await refusedAs('narrow')).toMatch(/NOPERM/);
  });
  beside('of a user who may not ask which server it is do not let it start, and it says why', async () => {
    const quiet = vi.spyOn(console, 'warn').mockReturnValue(undefined);
    afterwards(() => quiet.mockRestore());
    expect(await refusedAs('blind')).toMatch(/NOPERM/);
  });

  beside('nobody there is said to be so', async () => {
    const gone = await started();
    await gone.kill();
    expect(await refusalOf(gone.port)).toContain('ECONNREFUSED');
  });
});

describe.concurrent('a server that speaks TLS', () => {
  let folder: string;
  let own: Certificate;
  let other: Certificate;
  let server: RedisServer;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mandated-tls-'));
    own = certify(folder, 'redis');
    other = certify(folder, 'other');
    server = await startRedis({ tls: own });
  });
  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  const refusedAt = (url: string, ca?: string): Promise<string> => {
    const config = { url, ...(ca === undefined ? {} : { ca }) } as Parameters<typeof redisOptions>[0];
    return refusalOf(server.port, { redis: redisOptions(config) });
  };

  beside('is served from where its authority is the one that is named', async () => {
    expect(await refusedAt(`rediss://127.0.0.1:${server.port}`, own.cert_file)).toBe('');
  });

  beside(
    'is refused under another authority, under that of the machine, and under another name',
    async () => {
      const url = `rediss://127.0.0.1:${server.port}`;
      const elsewhere = `rediss://localhost:${server.port}`;
      const asked = [refusedAt(url, other.cert_file), refusedAt(url), refusedAt(elsewhere, own.cert_file)];
      for (const refused of await Promise.all(asked)) expect(refused).toMatch(/certificate/i);
    },
  );

  beside('is not served from in the clear', async () => {
    expect(await refusedAt(`redis://127.0.0.1:${server.port}`)).not.toBe('');
  });
});
