/**
 * The distributed engine: a log in Redis that a fleet of sidecars shares. Each keeps a replica of what it is asked for,
 * knows how old that is, and proves it current where an action cannot be undone.
 */
import type { Errands, MandateStore, ProofMemory, StoreFigures } from '../../check/ports.ts';
import { elapsed } from '../../core/time.ts';
import { createAcknowledging } from './acknowledging.ts';
import { type Engine, createEngine } from './engine.ts';
import { awaiting } from './fleet.ts';
import { type Standing, stand } from './open.ts';
import type { RedisStoreOptions } from './options.ts';
import { OUTBOX_FAILED } from './health.ts';
import { pause } from './pause.ts';
import { createSharedProofs } from './proofs.ts';
import { createProving } from './proving.ts';
import { createReads } from './reads.ts';
import { trim } from './trimming.ts';

export type OpenedStore =
  | {
      readonly ok: true;
      readonly store: MandateStore;
      readonly proofs: ProofMemory;
      readonly errands: Errands;
    }
  | { readonly ok: false; readonly error: string };

/** The server, its replicas, the fleet and what is to be asked again are looked at so often. */
const WATCH_MS = 500;

export async function openRedisStore(options: RedisStoreOptions): Promise<OpenedStore> {
  const standing = await stand(options);
  if (!standing.ok) return standing;
  const engine = createEngine(standing, options);
  const why = await engine.join();
  if (why !== undefined) {
    await close(engine, standing);
    return { ok: false, error: why };
  }
  engine.sync.start();
  const proofs = createSharedProofs(standing.links.writer, standing.keys);
  return { ok: true, store: storeOf(engine, standing, options), proofs, errands: standing.outbox.errands };
}

function storeOf(engine: Engine, standing: Standing, options: RedisStoreOptions): MandateStore {
  const { view, sync, fleet, write, intents, health, listeners, stopping } = engine;
  const { links, keys, guard, outbox } = standing;
  const { now, issuer, lease_ms } = options;
  const watching = watch(engine, standing, options);
  const acknowledging = createAcknowledging({
    write,
    intents,
    guard,
    fleet,
    lease_ms,
    now,
    signal: stopping.signal,
  });
  const reads = createReads({ link: links.reader, keys });
  const trouble = (): string | undefined => (outbox.isBroken() ? OUTBOX_FAILED : guard.trouble());
  const reserve = (roster: readonly string[]): string | undefined => {
    const awaited = fleet.awaited(roster);
    return awaited.length === 0 ? undefined : awaiting(awaited);
  };
  return {
    ...createProving({ view, sync, now, issuer, trouble, reserve }),
    ...reads,
    lineage: async (id, may_be_old = false) => {
      const read = await reads.lineage(id);
      const held = read.ok || !may_be_old ? undefined : view.lineage(id);
      return held === undefined ? read : { ok: true, lineage: held };
    },
    ...acknowledging,
    unsafe: guard.unsafe,
    fleet: () => membersOf(engine, standing, lease_ms),
    figures: () => figuresOf(engine, standing, options),
    onCommit: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    health,
    close: async () => {
      stopping.abort();
      await watching;
      await close(engine, standing);
    },
  };
}

async function close(
  { stopping, fleet, sync, recovering }: Engine,
  { links, outbox }: Standing,
): Promise<void> {
  stopping.abort();
  await recovering.ended();
  await fleet.leave();
  await sync.stop();
  for (const link of Object.values(links)) link.close();
  await outbox.close();
}

/** What is done now and then, beside the checks. */
async function watch(
  { view, fleet, intents, stopping }: Engine,
  { guard, links, keys }: Standing,
  options: RedisStoreOptions,
): Promise<void> {
  const look = async (): Promise<void> => {
    await guard.watch();
    await fleet.sweep();
    await intents.retry();
    const { position, latch } = view.state();
    if (latch === undefined && position !== undefined) await trim(links.reader, keys, position, options);
  };
  while (!stopping.signal.aborted) {
    await look().catch((error: unknown) => options.complain('the store could not be looked after', error));
    await pause(WATCH_MS, stopping.signal);
  }
}

function figuresOf(
  { view, fleet, tail_lag }: Engine,
  { outbox }: Standing,
  { now, lease_ms }: RedisStoreOptions,
): StoreFigures {
  const { position, proven, latch } = view.state();
  return {
    position,
    age_ms: proven === undefined ? undefined : elapsed(proven, now()),
    latch,
    held: view.size(),
    outbox: outbox.intents().length,
    tail_lag: tail_lag(),
    sidecars: fleet.members().filter(({ silent_ms }) => silent_ms <= lease_ms).length,
  };
}

async function membersOf(
  { fleet }: Engine,
  { outbox }: Standing,
  lease_ms: number,
): ReturnType<MandateStore['fleet']> {
  const head = await fleet.head();
  if (head === undefined) return { ok: false, refused: 'unavailable', detail: 'the store does not answer' };
  const members = fleet.members().map(({ id, version, epoch, seq, silent_ms }) => ({
    id,
    is_self: id === outbox.memory.id,
    version,
    epoch,
    seq,
    lag: Math.max(0, head.seq - seq),
    silent_ms: Math.round(silent_ms),
  }));
  return { ok: true, lease_ms, head, members };
}
