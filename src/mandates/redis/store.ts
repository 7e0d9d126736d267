/**
 * The distributed engine: a log in Redis that a fleet of sidecars shares. Each keeps a replica of what it is asked for,
 * knows how old that is, and proves it current where an action cannot be undone.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisOptions } from 'ioredis';
import type { MandateStore, StoreHealth } from '../../check/ports.ts';
import type { LogEntry } from '../../core/mandate/events.ts';
import type { Now } from '../../core/time.ts';
import { sha256 } from '../../digest.ts';
import { type CellName, type Cell, readCell } from './cells.ts';
import { type Keys, keysOf } from './keys.ts';
import { type Link, openLink } from './link.ts';
import { createProving } from './proving.ts';
import { createReads } from './reads.ts';
import { type Safety, inspect, judgeSafety } from './safety.ts';
import { begin } from './begin.ts';
import { createSync } from './sync.ts';
import { createView } from './view.ts';
import { createWriter } from './writer.ts';

export interface RedisStoreOptions {
  readonly redis: RedisOptions;
  readonly tenant: string;
  readonly issuer: string;
  readonly now: Now;
  /** Most mandates that are held in memory. */
  readonly working_set: number;
  readonly unsafe_store: boolean;
  readonly assume: readonly string[];
  /** Told of each change of health: for the log. */
  readonly complain: (what: string, error?: unknown) => void;
}

export type OpenedStore =
  { readonly ok: true; readonly store: MandateStore } | { readonly ok: false; readonly error: string };

const CONNECT_MS = 5000;
/** The barrier's connection is given up after this silence, which is what a check can wait for and a little more. */
const BARRIER_SILENCE_MS = 300;
const BEAT_SILENCE_MS = 1000;
const WRITER_SILENCE_MS = 2000;
const CONFIRM_MS = 1000;

export async function openRedisStore(options: RedisStoreOptions): Promise<OpenedStore> {
  const { complain, now } = options;
  const keys = keysOf(options.tenant);
  let lastError = '';
  const onError = (error: Error): void => {
    if (error.message !== lastError) complain(`the store's server: ${error.message}`);
    lastError = error.message;
  };
  const link = (name: string, silence_ms?: number): Link =>
    openLink({
      redis: options.redis,
      name,
      onError,
      onReady: () => (lastError = ''),
      ...(silence_ms === undefined ? {} : { silence_ms }),
    });
  const links = {
    barrier: link('barrier', BARRIER_SILENCE_MS),
    beat: link('heartbeat', BEAT_SILENCE_MS),
    tail: link('tail'),
    writer: link('writer', WRITER_SILENCE_MS),
    reader: link('reader', WRITER_SILENCE_MS),
  };
  const closeLinks = (): void => Object.values(links).forEach((each) => each.close());
  const refuse = (error: string): OpenedStore => {
    closeLinks();
    return { ok: false, error };
  };

  const isThere = await connected(Object.values(links));
  if (!isThere) return refuse(`the server does not answer: ${lastError || 'no connection in time'}`);
  const facts = await inspect(links.writer, [keys.head, keys.log]);
  if (typeof facts === 'string') return refuse(`the server cannot be asked how it is set: ${facts}`);
  const safety: Safety = judgeSafety(facts, options.assume);
  if (safety.refused.length > 0) return refuse(safety.refused.join('; '));
  if (safety.unsafe.length > 0 && !options.unsafe_store) return refuse(unsafeText(safety.unsafe));
  const begun = await begin(links.writer, keys, options);
  if (!begun.ok) return begun.error === undefined ? refuse('the log cannot be begun') : refuse(begun.error);

  const listeners = new Set<() => void>();
  const view = createView({
    most: options.working_set,
    onLatch: (latch) => complain(`the replica latched: ${latch}`),
    onApplied: () => listeners.forEach((listener) => listener()),
  });
  view.adopt(begun.head);
  const id = `sc_${randomBytes(9).toString('base64url')}`;
  const arrive = async (on: Link): Promise<boolean> => {
    const run = on.run();
    if (run === undefined) return false;
    const reply = await on.script('roster', [keys.head, keys.fleet, keys.roster, keys.compared], [run, 'arrive']);
    return reply.ok && (reply.value as readonly string[])[0] === 'OK';
  };
  const sync = createSync({
    links,
    keys,
    view,
    now,
    row: () => [id, JSON.stringify({ at: now().wall_ms, ...view.state().position })],
    arrive,
    onBeat: () => undefined,
    onBarrier: () => undefined,
    complain,
  });
  const writer = createWriter({
    link: links.writer,
    keys,
    issuer: options.issuer,
    digest: sha256,
    now,
    held: view.held,
    position: () => view.state().position,
    fetch: (names) => fetchCells(links.writer, keys, names),
    onAppended: (entries) => appended(entries),
    confirm: async (on) => {
      if (safety.replicas_needed === 0) return true;
      const reply = await on.call('WAIT', safety.replicas_needed, CONFIRM_MS);
      return reply.ok && Number(reply.value) >= safety.replicas_needed;
    },
    onDoubt: () => void sync.barrier(),
    complain,
  });
  /** Applied before it is answered, so that who wrote sees it; others may have written in between. */
  const appended = async (entries: readonly LogEntry[]): Promise<void> => {
    if (entries.length === 0) return;
    if (view.state().position!.seq === entries[0]!.seq - 1) view.feed({ kind: 'entries', entries });
    if (view.state().position!.seq < entries.at(-1)!.seq) await sync.barrier();
  };
  await sync.beat();
  sync.start();
  const health = (): StoreHealth => {
    const { latch } = view.state();
    if (latch !== undefined) return { ok: false, fatal: false, detail: `the replica latched: ${latch}` };
    return links.beat.run() === undefined
      ? { ok: false, fatal: false, detail: 'the store cannot be reached' }
      : { ok: true };
  };
  const reads = createReads({ link: links.reader, keys });
  return {
    ok: true,
    store: {
      ...createProving({ view, sync, now, issuer: options.issuer }),
      ...reads,
      write: async (command, acknowledge) => {
        const wantsMore = acknowledge !== 'applied';
        const { outcome, is_confirmed } = await writer.write(command, wantsMore);
        if (!outcome.ok) return outcome;
        const isDurable = wantsMore && is_confirmed && safety.unsafe.length === 0;
        return { ...outcome, acknowledged: isDurable ? 'durable' : 'applied' };
      },
      onCommit: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      health,
      close: async () => {
        await sync.stop();
        closeLinks();
      },
    },
  };
}

function unsafeText(unsafe: readonly string[]): string {
  return (
    `the server is not set so that what is acknowledged stays: ${unsafe.join(', ')}; ` +
    'set it so, say what it cannot tell under `store.assume`, or ask for `store.unsafe_store: true`'
  );
}

async function connected(links: readonly Link[]): Promise<boolean> {
  const until = performance.now() + CONNECT_MS;
  while (performance.now() < until) {
    if (links.every((each) => each.run() !== undefined)) return true;
    await sleep(10);
  }
  return false;
}

/** Cells as of now, from the primary. */
async function fetchCells(
  link: Link,
  keys: Keys,
  names: readonly CellName[],
): Promise<readonly Cell[] | undefined> {
  const run = link.run();
  if (run === undefined) return undefined;
  const fixed = [keys.head, keys.log, keys.fleet, keys.roster];
  const wanted = names.flatMap(({ kind, argument }) => [kind, argument]);
  const reply = await link.script(
    'read',
    [...fixed, ...names.map(({ key }) => key)],
    [run, '', '', '', 0, '', '', ...wanted],
  );
  const answer = reply.ok ? (reply.value as readonly unknown[]) : [];
  if (answer[0] !== 'OK') return undefined;
  const cells = (answer[6] as readonly unknown[]).map((cell, index) => readCell(names[index]!.kind, cell));
  return cells.includes(undefined) ? undefined : (cells as readonly Cell[]);
}
