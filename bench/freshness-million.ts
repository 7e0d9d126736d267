/** `million` (design/6): many mandates stored, of which a sidecar holds those that it is asked about. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { member } from '../src/core/json.ts';
import { keysOf } from '../src/mandates/redis/keys.ts';
import { openLink } from '../src/mandates/redis/link.ts';
import { createSync } from '../src/mandates/redis/sync.ts';
import { createView } from '../src/mandates/redis/view.ts';
import { question } from '../test/support/question.ts';
import { type RedisServer, startRedis } from '../test/support/redis.ts';
import { type Sidecar, startSidecar } from '../test/support/sidecar.ts';
import type { Figure } from './figure.ts';
import { now } from './store.ts';
import { plantRedis, plantedId } from './redis-plant.ts';

const TENANT = 'million';
const AT_ONCE = 16;

export async function million(isShort: boolean): Promise<readonly Figure[]> {
  const [stored, working] = isShort ? [4000, 200] : [1_000_000, 10_000];
  const redis = await startRedis({ config: { appendfsync: 'everysec' } });
  const few = await startOn(redis, 'few');
  await plantRedis(redis.port, 'few', working);
  const few_mib = await memoryOf(few, working);
  const first = await startOn(redis, TENANT);
  const idle_mib = residentMib(first.sidecar);
  await first.sidecar.stop('SIGTERM');
  await plantRedis(redis.port, TENANT, stored);
  const caught_up_ms = await catchUp(redis, stored);
  const many = await startOn(redis, TENANT, first.sidecar);
  const many_mib = await memoryOf(many, working);
  for (const { sidecar } of [few, many]) await sidecar.discard();
  await redis.stop();
  const [all, some] = [stored, working].map((count) => count.toLocaleString('en'));
  return [
    { what: `catch-up of ${all} entries`, value: caught_up_ms, unit: 'ms' },
    { what: `start until it serves, ${all} stored, its log verified`, value: many.start_ms, unit: 'ms' },
    { what: 'resident memory, nothing stored', value: idle_mib, unit: 'MiB' },
    { what: `resident memory, ${some} working of ${some} stored`, value: few_mib, unit: 'MiB' },
    { what: `resident memory, ${some} working of ${all} stored`, value: many_mib, unit: 'MiB' },
  ];
}

interface Started {
  readonly sidecar: Sidecar;
  readonly start_ms: number;
}

async function startOn({ port }: RedisServer, tenant: string, earlier?: Sidecar): Promise<Started> {
  const begun = performance.now();
  const store = `{ engine: redis, url: "redis://127.0.0.1:${port}", tenant: ${tenant}, unsafe_store: true }`;
  const again = earlier === undefined ? {} : { folder: earlier.folder, issuer: earlier.issuer };
  const sidecar = await startSidecar({ store, ...again });
  return { sidecar, start_ms: performance.now() - begun };
}

/** A view that has nothing, asked for a proof: it takes every entry there is, and verifies each. */
async function catchUp({ port }: RedisServer, stored: number): Promise<number> {
  const link = (name: string) => openLink({ redis: { port }, name });
  const links = { barrier: link('barrier'), beat: link('heartbeat'), tail: link('tail') };
  while (links.barrier.run() === undefined) await sleep(5);
  const keys = keysOf(TENANT);
  const view = createView({ most: 1, onLatch: refuse, onApplied: () => undefined });
  const genesis = await links.barrier.call('HGET', keys.head, 'genesis');
  view.adopt({ epoch: 1, seq: 0, eid: String(genesis.ok && genesis.value) }, []);
  const sync = createSync({
    links,
    keys,
    view,
    now,
    row: () => ['', ''],
    arrived: () => links.barrier.run()!,
    arrive: () => Promise.resolve(false),
    onBeat: () => undefined,
    onRefused: () => undefined,
    onBarrier: () => undefined,
    complain: refuse,
  });
  const begun = performance.now();
  let answer = await sync.barrier();
  // Nobody waits so long for one proof; they follow each other until one comes.
  while (!answer.ok) answer = await sync.barrier();
  const took_ms = performance.now() - begun;
  await sync.stop();
  if (answer.position.seq !== stored) throw new Error(`it came to ${answer.position.seq}, not to ${stored}`);
  return took_ms;
}

function refuse(latch: string): never {
  throw new Error(`the view latched: ${latch}`);
}

/** Resident memory once as many mandates are held as may be. */
async function memoryOf({ sidecar }: Started, working: number): Promise<number> {
  const ids = Array.from({ length: working }, (_, index) => plantedId(index));
  for (let from = 0; from < ids.length; from += AT_ONCE)
    await Promise.all(ids.slice(from, from + AT_ONCE).map((id) => resume(sidecar, id)));
  return residentMib(sidecar);
}

/** The operator may ask whether work may go on without showing the agent's credential. */
async function resume(sidecar: Sidecar, id: string): Promise<void> {
  const { body } = await question(sidecar, { point: 'resume', of: { id }, caller: 'operator' });
  if (member(body.mandate, 'state') !== 'active') throw new Error(`\`${id}\`: ${JSON.stringify(body)}`);
}

function residentMib({ process: own }: Sidecar): number {
  const status = readFileSync(`/proc/${own.pid!}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024;
}
