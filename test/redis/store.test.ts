/** The distributed engine: the contract, over a real Redis. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type Opened, acceptance } from '../store/acceptance.ts';
import { useAcceptance } from '../store/acceptance-use.ts';
import { openStore } from '../support/redis-store.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

let redis: RedisServer;
let tenants = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

async function openTenant(tenant: string, outbox: string): Promise<Opened> {
  const { store } = await openStore(redis, { tenant, outbox });
  return {
    store,
    reopen: async () => {
      await store.close();
      return openTenant(tenant, outbox);
    },
    discard: async () => {
      await store.close();
      rmSync(outbox, { recursive: true });
    },
  };
}

const fresh = (): Promise<Opened> =>
  openTenant(`t${(tenants += 1)}`, mkdtempSync(join(tmpdir(), 'mandated-outbox-')));
acceptance('redis', fresh);
useAcceptance('redis', fresh);
