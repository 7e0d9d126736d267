/** How a server must be set for a sidecar to start on it (design/3, What must be checked at start). */
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { type RedisConfig, type RedisServer, startRedis } from '../support/redis.ts';
import { approve, operate } from '../support/authority.ts';
import { started } from './history.ts';
import { openLocal, refusalOf } from './member.ts';
import { beside } from './scope.ts';

const UNSAFE: readonly (readonly [string, RedisConfig])[] = [
  ['appendfsync everysec', { appendfsync: 'everysec' }],
  ['appendfsync no', { appendfsync: 'no' }],
  ['appendonly no', { appendonly: 'no' }],
  ['maxmemory-policy allkeys-lru', { 'maxmemory-policy': 'allkeys-lru' }],
  ['no-appendfsync-on-rewrite yes', { 'no-appendfsync-on-rewrite': 'yes' }],
];

describe.concurrent(
  'a server that is set unsafely is refused, and served only where that is asked for by name',
  () => {
    for (const [name, config] of UNSAFE) {
      beside(name, async () => {
        const { port } = await started({ config });
        expect(await refusalOf(port)).toContain(name);
        const { local, refused } = await openLocal({ port, unsafe_store: true });
        expect(refused).toBe('');
        expect((await local.standing()).unsafe).toEqual([name]);
        const id = await approve(local);
        for (const level of ['durable', 'enforced'] as const) {
          const written = await operate(local, id, { operation: 'suspend' }, level);
          expect(written).toMatchObject({ ok: true, acknowledged: 'applied' });
        }
      });
    }
  },
);

const SAFE_REPLICAS = { 'min-replicas-to-write': 1, 'min-replicas-max-lag': 2 };
const BESIDE_REPLICAS: readonly (readonly [string, RedisConfig])[] = [
  ['min-replicas-to-write 0', { 'min-replicas-to-write': 0 }],
  ['min-replicas-max-lag 10', { 'min-replicas-max-lag': 10 }],
  ['min-replicas-max-lag 0', { 'min-replicas-max-lag': 0 }],
  ['replica-read-only no', { 'replica-read-only': 'no' }],
];

describe.concurrent('with replicas', () => {
  for (const [name, config] of BESIDE_REPLICAS) {
    beside(`${name} is refused`, async () => {
      const server = await started({ config: { ...SAFE_REPLICAS, ...config } });
      await started({ replica_of: server });
      expect(await refusalOf(server.port)).toContain(name);
    });
  }

  beside('one of three is too few to wait for', async () => {
    const server = await started({ config: SAFE_REPLICAS });
    for (let replica = 0; replica < 3; replica += 1) await started({ replica_of: server });
    expect(await refusalOf(server.port)).toContain('min-replicas-to-write 1');
    await server.call('CONFIG', 'SET', 'min-replicas-to-write', 2);
    expect(await refusalOf(server.port)).toBe('');
  });

  beside('one of them in place of the primary is refused, whatever is asked for', async () => {
    const server = await started({ config: SAFE_REPLICAS });
    const replica = await started({ replica_of: server });
    for (const unsafe_store of [false, true]) {
      const refused = await refusalOf(replica.port, { unsafe_store });
      expect(refused).toContain('the server is a replica, not the primary');
    }
  });
});

describe.concurrent('where the server does not say how it is set', () => {
  const ASSUMED = ['appendfsync always', 'no-appendfsync-on-rewrite no'];
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
    await server.call('ACL', 'SETUSER', 'sidecar', 'on', '>secret', '~*', '+@all', '-config');
  });
  afterAll(() => server.stop());
  const refusedWith = (assume: readonly string[]): Promise<string> => {
    const { port } = server;
    const redis = { port, username: 'sidecar', password: 'secret' };
    return refusalOf(port, { redis, assume, tenant: `t${assume.length}` });
  };

  beside('an operator must vouch for it, for each setting', async () => {
    const refused = await refusedWith([]);
    expect(refused).toContain('appendfsync unknown');
    expect(refused).toContain('no-appendfsync-on-rewrite unknown');
    const half = await refusedWith(ASSUMED.slice(0, 1));
    expect([
      half.includes('no-appendfsync-on-rewrite unknown'),
      half.includes('appendfsync unknown'),
    ]).toEqual([true, false]);
    expect(await refusedWith(ASSUMED)).toBe('');
  });

  beside('what is vouched for must be what it should be', async () => {
    expect(await refusedWith(['appendfsync everysec', ASSUMED[1]!])).toContain('appendfsync everysec');
  });

  beside('nobody vouches for what a server says otherwise', async () => {
    const other = await started({ config: { appendfsync: 'everysec' } });
    expect(await refusalOf(other.port, { assume: ASSUMED })).toContain('appendfsync everysec');
    await other.call('ACL', 'SETUSER', 'sidecar', 'on', '>secret', '~*', '+@all', '-config');
    await other.call('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    const redis = { port: other.port, username: 'sidecar', password: 'secret' };
    const assume = [...ASSUMED, 'maxmemory-policy noeviction'];
    expect(await refusalOf(other.port, { redis, assume })).toContain('maxmemory-policy allkeys-lru');
  });
});
