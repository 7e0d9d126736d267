/** The distributed engine: the contract, over a real Redis. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Opened, acceptance } from '../store/acceptance.ts';
import { commands, committed } from '../support/authority.ts';
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

test('a user with the rights that docs/freshness.md names can do all of it', async () => {
  const docs = readFileSync(join(import.meta.dirname, '../../docs/freshness.md'), 'utf8');
  const [, keys, most, config] =
    /An ACL user needs: `(~\{TENANT\}:\*) ([^`]+)` and, for the look at its settings, `([^`]+)`/.exec(docs)!;
  const rights = [keys!.replace('TENANT', 'limited'), ...most!.split(' '), config!];
  await redis.call('ACL', 'SETUSER', 'limited', 'on', '>secret', ...rights);
  const credential = { port: redis.port, username: 'limited', password: 'secret' };
  const { store, outbox, said } = await openStore(redis, {
    redis: credential,
    tenant: 'limited',
    keep_entries: 1,
  });
  const { proposal } = await committed(store.write(commands().propose(), 'durable'));
  const approval = commands().approve(proposal!.submission_id, proposal!.proposal_hash);
  const { mandate } = await committed(store.write(approval, 'durable'));
  await committed(store.write(commands().operate('revoke', mandate!.id), 'enforced'));
  await expect.poll(() => redis.call('HGET', '{limited}:head', 'floor'), { timeout: 3000 }).not.toBe('0');
  expect(store.health()).toEqual({ ok: true });
  expect(said).toEqual([]);
  await store.close();
  expect(await redis.call('ACL', 'LOG')).toEqual([]);
  rmSync(outbox, { recursive: true });
});
