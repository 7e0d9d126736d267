/** Ten thousand barriers at once: about duration / RTT scripts, nobody starves, and memory comes back. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { MandateStore } from '../../src/check/ports.ts';
import { type FaultProxy, createFaultProxy } from '../support/fault-proxy.ts';
import { openStore } from '../support/redis-store.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { sabotaged } from '../support/sabotage.ts';

const CROWD = 10_000;
const DELAY_MS = 10;
const RTT_MS = 2 * DELAY_MS;
const BEAT_MS = 250;
/** Longest that anybody waits, and on a busy machine some do. */
const DEADLINE_MS = 250;
const MIB = 2 ** 20;

let redis: RedisServer;
let network: FaultProxy;
beforeAll(async () => {
  redis = await startRedis();
  network = await createFaultProxy({ target_port: redis.port });
});
afterAll(async () => {
  await network?.close();
  await redis?.stop();
});

type Open = Parameters<typeof openStore>[2];

interface Opened {
  readonly store: MandateStore;
  /** How many calls have come to an end. */
  readonly ended: () => number;
}

/** Far from its server, so that many come while one call is under way. */
async function opened(open?: Open): Promise<Opened> {
  let calls = 0;
  await network.heal();
  const tenant = `t${Math.random()}`;
  const { store, outbox } = await openStore(network, { tenant, onBarrier: () => (calls += 1) }, open);
  onTestFinished(async () => {
    await network.heal();
    await store.close();
    rmSync(outbox, { recursive: true, force: true });
  });
  network.delay(DELAY_MS);
  return { store, ended: () => calls };
}

/** By the server's own count. */
async function scriptsRun(): Promise<number> {
  const stats = String(await redis.call('INFO', 'commandstats'));
  return ['evalsha', 'eval'].reduce((sum, name) => {
    return sum + Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  }, 0);
}

interface Came {
  /** Refused although there was time. */
  readonly too_soon: number;
  /** Most calls that anybody has waited for. */
  readonly most_waited: number;
  readonly scripts: number;
  readonly lasted_ms: number;
}

/** `per_turn` at once, then a pause of a millisecond, until all have come. */
async function crowd({ store, ended }: Opened, per_turn: number): Promise<Came> {
  const [before, began] = [await scriptsRun(), performance.now()];
  let [too_soon, most_waited] = [0, 0];
  const ask = async () => {
    const [from, since] = [ended(), performance.now()];
    const proof = await store.barrier();
    if ('refused' in proof && performance.now() - since < DEADLINE_MS - 5) too_soon += 1;
    most_waited = Math.max(most_waited, ended() - from);
  };
  const asked: Promise<void>[] = [];
  while (asked.length < CROWD) {
    for (let each = 0; each < per_turn; each += 1) asked.push(ask());
    await sleep(1);
  }
  await Promise.all(asked);
  const lasted_ms = performance.now() - began;
  return { too_soon, most_waited, scripts: (await scriptsRun()) - before, lasted_ms };
}

/** What one call after the other makes, and the heartbeats beside them. */
const scriptsFor = (ms: number): number => Math.ceil(ms / RTT_MS) + 2 + Math.ceil(ms / BEAT_MS) + 1;

test('all at once: two calls, and nobody waits for more', async () => {
  const { too_soon, most_waited, scripts, lasted_ms } = await crowd(await opened(), CROWD);
  expect(too_soon).toBe(0);
  expect(most_waited).toBeLessThanOrEqual(2);
  expect(scripts).toBeLessThanOrEqual(2 + Math.ceil(lasted_ms / BEAT_MS) + 1);
});

test('one after the other: one call for each round trip, and nobody starves', async () => {
  const { too_soon, most_waited, scripts, lasted_ms } = await crowd(await opened(), 20);
  expect(too_soon).toBe(0);
  expect(most_waited).toBeLessThanOrEqual(2);
  expect(scripts).toBeLessThanOrEqual(scriptsFor(lasted_ms));
  expect(CROWD / scripts).toBeGreaterThan(20);
});

test('memory is bounded, and comes back', async () => {
  const store = await opened();
  await crowd(store, CROWD);
  const before = heapUsed();
  for (let time = 0; time < 5; time += 1) await crowd(store, CROWD);
  expect(heapUsed() - before).toBeLessThan(8 * MIB);
});

/** What is left when nobody needs it any more was collected. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

test('every barrier is a call of its own: it fails', async () => {
  const root = sabotaged('every barrier is a call of its own');
  const broken = (await import(join(root, 'src/mandates/redis/store.ts'))) as { openRedisStore: Open };
  const { scripts, lasted_ms } = await crowd(await opened(broken.openRedisStore), 200);
  expect(scripts).toBeGreaterThan(scriptsFor(lasted_ms));
});
