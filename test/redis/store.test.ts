/** The distributed engine: the contract, over a real Redis. */
import { afterAll, beforeAll } from 'vitest';
import { openRedisStore } from '../../src/mandates/redis/store.ts';
import { type Opened, acceptance } from '../store/acceptance.ts';
import { useAcceptance } from '../store/acceptance-use.ts';
import { MANDATES } from '../support/records.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

let redis: RedisServer;
let tenants = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

async function openTenant(tenant: string): Promise<Opened> {
  const result = await openRedisStore({
    redis: { port: redis.port },
    tenant,
    issuer: MANDATES,
    now: () => ({ wall_ms: Date.now(), mono_ms: performance.now() }),
    working_set: 100,
    unsafe_store: false,
    assume: [],
    complain: (what, error) => console.error(what, error ?? ''),
  });
  if (!result.ok) throw new Error(result.error);
  const { store } = result;
  return {
    store,
    reopen: async () => {
      await store.close();
      return openTenant(tenant);
    },
    discard: () => store.close(),
  };
}

const fresh = (): Promise<Opened> => openTenant(`t${(tenants += 1)}`);
acceptance('redis', fresh);
useAcceptance('redis', fresh);
