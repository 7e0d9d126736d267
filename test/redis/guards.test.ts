/** Guards of the Redis engine, each of something that a reviewer could once do. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { MandateStore, WriteResult } from '../../src/check/ports.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { LogEntry } from '../../src/core/mandate/events.ts';
import type { OperateCommand } from '../../src/core/mandate/commands.ts';
import { type Outbox, openOutbox } from '../../src/mandates/outbox/outbox.ts';
import { createIntents } from '../../src/mandates/redis/intents.ts';
import { createKeeper } from '../../src/mandates/redis/keeper.ts';
import { createRecovering } from '../../src/mandates/redis/recovering.ts';
import { createSlots } from '../../src/mandates/slots.ts';
import { approve, commands, decisionOf, reservation, soon } from '../support/authority.ts';
import { MANDATES, chain, revoked } from '../support/records.ts';
import { type RedisStore, openStore } from '../support/redis-store.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

let redis: RedisServer;
let opened: RedisStore;
let store: MandateStore;
let tenants = 0;
let tenant = '';

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
beforeEach(async () => {
  tenant = `guards${(tenants += 1)}`;
  opened = await openStore(redis, { tenant, lease_ms: 600, keep_entries: 2 });
  ({ store } = opened);
});
afterEach(async () => {
  await store.close();
  rmSync(opened.outbox, { recursive: true });
});

const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });
const find = (id: string, more: object = {}) =>
  store.prove({ budget_ms: 0, arrived: now(), ...more }).find({ id, issuer: MANDATES });

const begin = (controls: JsonObject = {}): Promise<string> => approve(store, controls);

const reserve = (mandate: string): Promise<WriteResult> => {
  const settle_by = soon(60_000);
  return store.write(reservation(decisionOf(mandate, { settle_by }), { settle_by }), 'applied');
};

describe('while a sidecar is awaited that may remember more', () => {
  test('nothing that cannot be undone is decided or reserved, and a lease later it is', async () => {
    const id = await begin({ max_calls: 5 });
    expect((await reserve(id)).ok).toBe(true);
    await redis.call('HSET', `{${tenant}}:roster`, 'sc_somebody', '1');
    expect(await find(id)).toMatchObject({
      kind: 'unreadable',
      detail: expect.stringContaining('1 sidecars'),
    });
    expect(await reserve(id)).toMatchObject({ ok: false, refused: 'unavailable' });
    // What is read, and what only narrows, goes on.
    expect(await find(id, { budget_ms: 60_000 })).toMatchObject({ kind: 'found' });
    expect((await store.write(commands().operate('suspend', id), 'durable')).ok).toBe(true);
    await expect.poll(async () => (await find(id)).kind, { timeout: 3000 }).toBe('found');
    await expect.poll(() => redis.call('HLEN', `{${tenant}}:roster`), { timeout: 3000 }).toBe(0);
  });

  test('`enforced` waits for it too', async () => {
    const id = await begin();
    await redis.call('HSET', `{${tenant}}:roster`, 'sc_somebody', '1');
    const result = await store.write(commands().operate('revoke', id), 'enforced', 200);
    expect(result).toMatchObject({ ok: true, acknowledged: 'durable' });
  });
});

test('a row that says nothing holds `enforced` up for one lease, and is then no longer of the fleet', async () => {
  const id = await begin();
  const row = JSON.stringify({ beat: 1, epoch: 1, seq: 0, at_ms: 0, version: 'x' });
  await redis.call('HSET', `{${tenant}}:fleet`, 'sc_gone', row);
  const begun = performance.now();
  const result = await store.write(commands().operate('revoke', id), 'enforced');
  expect(result).toMatchObject({ ok: true, acknowledged: 'enforced' });
  expect(performance.now() - begun).toBeGreaterThan(590);
  await expect.poll(() => redis.call('HEXISTS', `{${tenant}}:fleet`, 'sc_gone'), { timeout: 3000 }).toBe(0);
});

test('closing does not wait for what waits for others', async () => {
  const id = await begin();
  await redis.call('HSET', `{${tenant}}:roster`, 'sc_somebody', '1');
  const pending = store.write(commands().operate('revoke', id), 'enforced', 60_000);
  await sleep(50);
  const begun = performance.now();
  await store.close();
  expect(performance.now() - begun).toBeLessThan(2000);
  expect(await pending).toMatchObject({ ok: true, acknowledged: 'durable' });
});

test('a sidecar that stands where the kept log begins goes on from there', async () => {
  await begin();
  await store.close();
  const head = Number(await redis.call('HGET', `{${tenant}}:head`, 'seq'));
  // The rest of the fleet went on, and trimmed up to where this one had come.
  const other = await openStore(redis, { tenant, keep_entries: 1 });
  ({ store } = other);
  await begin();
  await expect.poll(() => redis.call('HGET', `{${tenant}}:head`, 'floor'), { timeout: 3000 }).not.toBe('0');
  expect(head).toBe(2);
  await store.close();
  opened = await openStore(redis, { tenant, outbox: opened.outbox });
  ({ store } = opened);
  expect(store.health()).toEqual({ ok: true });
});

test.each(['usage', 'action_approvals', 'held_until', 'last', '2'])(
  'a record whose `%s` was written over is not decided from, and nothing breaks',
  async (field) => {
    const id = await begin({ max_calls: 5 });
    await redis.call('HSET', `{${tenant}}:m:${id}`, field, '{');
    expect(await find(id)).toMatchObject({ kind: 'unreadable' });
    expect(await store.lineage(id)).toMatchObject({ ok: false, refused: 'unavailable' });
    expect(await store.write(commands().operate('revoke', id), 'durable')).toMatchObject({
      ok: false,
      refused: 'unavailable',
    });
    expect((await store.barrier()) as object).not.toHaveProperty('refused');
  },
);

test('an end that cannot be written keeps no other one waiting', async () => {
  const [spoiled, other] = [await begin(), await begin()];
  await store.close();
  opened = await openStore(redis, { tenant, outbox: opened.outbox });
  ({ store } = opened);
  await redis.call('DEL', `{${tenant}}:m:${spoiled}`);
  await redis.call('SET', `{${tenant}}:m:${spoiled}`, 'something else');
  const outbox = (await openOutbox(mkdtempSync(join(tmpdir(), 'mandated-outbox-')), tenant)) as {
    outbox: Outbox;
  };
  const asked = [spoiled, other].map((id) => commands().operate('revoke', id) as OperateCommand);
  for (const each of asked) await outbox.outbox.intend(each);
  const written: string[] = [];
  const intents = createIntents({
    outbox: outbox.outbox,
    write: async (command) => {
      const result = await store.write(command, 'applied');
      written.push(`${command.id === other ? 'other' : 'spoiled'} ${result.ok ? 'ok' : result.refused}`);
      return { outcome: result, is_confirmed: false };
    },
    isThere: () => store.health().ok,
    now,
    complain: (what) => written.push(what.slice(0, 34)),
  });
  await intents.retry();
  await intents.retry();
  expect(written).toEqual([
    'spoiled unavailable',
    'an end that was asked for is still',
    'other ok',
    'spoiled unavailable',
  ]);
  expect(intents.waiting()).toBe(1);
  await outbox.outbox.close();
});

test('a key of another type spoils what it is of, and not the questions that share the call', async () => {
  const [id, other] = [await begin(), await begin()];
  await store.close();
  opened = await openStore(redis, { tenant, outbox: opened.outbox });
  ({ store } = opened);
  await redis.call('DEL', `{${tenant}}:m:${id}`);
  await redis.call('SET', `{${tenant}}:m:${id}`, 'something else');
  const [spoiled, good] = await Promise.all([find(id), find(other)]);
  expect([spoiled.kind, good.kind]).toEqual(['unreadable', 'found']);
  const writes = [id, other].map((each) => store.write(commands().operate('revoke', each), 'durable'));
  expect((await Promise.all(writes)).map(({ ok }) => ok)).toEqual([false, true]);
});

test('a database that cannot be had is not another one', async () => {
  const asked = openStore(redis, { tenant: 'elsewhere', redis: { port: redis.port, db: 99 } });
  await expect(asked).rejects.toThrow(/the database 99 cannot be had|DB index is out of range/);
  expect(await redis.call('EXISTS', '{elsewhere}:head')).toBe(0);
});

const position = { epoch: 1, seq: 2, eid: 'e' };

describe('what is to be kept on disk', () => {
  const entries = chain([revoked('a', 2), revoked('b', 2)]);

  function keeperOf(answers: readonly boolean[]) {
    const kept: (readonly LogEntry[])[] = [];
    const left = [...answers];
    const outbox = {
      keep: (endings: readonly LogEntry[]) => {
        kept.push(endings);
        return Promise.resolve(left.shift() ?? true);
      },
      isBroken: () => left[0] === false && answers.length === 1,
    };
    const keeper = createKeeper({
      outbox: outbox as never,
      run: () => 'r',
      genesis: 'g',
      fleet: () => [],
      onKept: () => undefined,
      complain: () => undefined,
    });
    return { keeper, kept };
  }

  test('an end that could not be kept is kept later, and nothing behind it counts before', async () => {
    const { keeper, kept } = keeperOf([false, true]);
    keeper.applied(entries, position);
    await sleep(0);
    keeper.applied([], { ...position, seq: 3 });
    expect(keeper.kept()).toBeUndefined();
    keeper.beat({ ...position, seq: 3 });
    await sleep(0);
    expect(kept).toEqual([entries, entries]);
    expect(keeper.kept()).toMatchObject({ seq: 3 });
  });

  test('nothing is kept for an outbox that failed for good, and nothing counts as kept', async () => {
    const { keeper, kept } = keeperOf([false]);
    keeper.applied(entries, position);
    keeper.applied([], { ...position, seq: 3 });
    await sleep(0);
    expect(kept).toEqual([]);
    expect(keeper.kept()).toBeUndefined();
  });
});

test('a recovery that throws is complained of once, and tried again until it is through', async () => {
  let latch: string | undefined = 'FORK';
  const said: string[] = [];
  let tries = 0;
  const recovering = createRecovering({
    view: { state: () => ({ position, latch }), recent: () => [], adopt: () => (latch = undefined) } as never,
    signal: new AbortController().signal,
    arrive: () => Promise.resolve(true),
    recover: () => {
      tries += 1;
      if (tries < 4) throw new Error('not what was expected');
      return Promise.resolve({ ok: true, head: position, lost: new Set<string>(), passed: [] });
    },
    onPassedOver: () => undefined,
    onBegun: () => Promise.resolve(),
    complain: (what) => said.push(what),
  });
  recovering.start();
  await expect.poll(recovering.stuck).toBe('the recovery failed');
  await recovering.ended();
  expect(tries).toBe(4);
  expect(said).toEqual(['the recovery failed', expect.stringContaining('began anew')]);
});

test('whoever joins a call that fails is told, and the next call is made', async () => {
  let calls = 0;
  const slots = createSlots(() => {
    calls += 1;
    return calls === 1 ? Promise.reject(new Error('broken')) : Promise.resolve(calls);
  });
  const [first, second] = [slots.ask(), slots.ask()];
  await expect(first).rejects.toThrow('broken');
  expect(await second).toBe(2);
});

test('keys that may end by themselves and cannot be looked for: refused, until somebody vouches for them', async () => {
  await redis.call('ACL', 'SETUSER', 'blind', 'on', '>secret', '~*', '+@all', '-scan');
  await redis.call('SET', 'of-somebody-else', '1', 'EX', '1000');
  const credential = { port: redis.port, username: 'blind', password: 'secret' };
  const blind = { redis: credential, tenant: 'blind' };
  await expect(openStore(redis, blind)).rejects.toThrow('the store is not safe: TTL unknown');
  const vouched = await openStore(redis, { ...blind, assume: ['TTL none'] });
  expect(vouched.store.unsafe()).toEqual([]);
  await vouched.store.close();
  rmSync(vouched.outbox, { recursive: true });
  await redis.call('DEL', 'of-somebody-else');
});
