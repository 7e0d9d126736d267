/** The parts of one sidecar's side of a shared log, tied together: each is told of what another has found. */
import type { StoreHealth } from '../../check/ports.ts';
import type { LogEntry } from '../../core/mandate/events.ts';
import { sha256 } from '../../digest.ts';
import { fetchCells } from './fetch.ts';
import { healthOf, troubleOf } from './health.ts';
import { type Intents, createIntents } from './intents.ts';
import { type Fleet, createFleet } from './fleet.ts';
import { type Keeper, createKeeper } from './keeper.ts';
import type { Link } from './link.ts';
import type { Standing } from './open.ts';
import type { RedisStoreOptions } from './options.ts';
import { type Recovering, createRecovering } from './recovering.ts';
import { recover } from './recovery.ts';
import { type Sync, createSync } from './sync.ts';
import { type View, createView } from './view.ts';
import { type Writer, createWriter } from './writer.ts';

export interface Engine {
  readonly view: View;
  readonly fleet: Fleet;
  readonly sync: Sync;
  readonly write: Writer['write'];
  readonly health: () => StoreHealth;
  readonly intents: Intents;
  readonly recovering: Recovering;
  /** Told after each commit that was applied. */
  readonly listeners: Set<() => void>;
  /** Entries that the last heartbeat brought before the tail did. */
  readonly tail_lag: () => number;
  readonly stopping: AbortController;
  /** Compares what this sidecar remembers, and joins the fleet; says why it cannot. */
  readonly join: () => Promise<string | undefined>;
}

const CONFIRM_MS = 1000;

export function createEngine(standing: Standing, options: RedisStoreOptions): Engine {
  const { links, keys, outbox, guard } = standing;
  const { now, issuer, complain, lease_ms } = options;
  const { id } = outbox.memory;
  const stopping = new AbortController();
  const listeners = new Set<() => void>();
  let beats = 0;
  /** Why the last heartbeats were not answered, two at most: one may be lost. */
  let refusals: readonly string[] = [];
  let tail_lag = 0;
  /** The server with which what is remembered was compared last. */
  let compared = '';
  /** The server at which this sidecar has made itself known last. */
  let arrived = outbox.memory.run ?? '';

  const view = createView({
    most: options.working_set,
    onLatch: (latch) => {
      complain(`the replica latched: ${latch}`);
      recovering.start();
    },
    onApplied: (entries) => {
      keeper.applied(entries, view.state().position!);
      for (const listener of listeners) listener();
    },
  });
  const fleet = createFleet({ keys, link: links.reader, now, id, lease_ms });
  const known = (): readonly string[] => {
    const members = fleet.members();
    const ids = members.length === 0 ? outbox.memory.fleet : members.map((each) => each.id);
    return ids.filter((each) => each !== id).toSorted();
  };
  /** Nothing is relied on that another server says before it was seen how that one is set. */
  const arrive = async (on: Link): Promise<boolean> => {
    await guard.watch();
    const run = on.run();
    if (run === undefined || guard.safety().run !== run) return false;
    const hasArrived = await fleet.arrive(on, arrived, known());
    if (hasArrived) arrived = run;
    return hasArrived;
  };
  const keeper: Keeper = createKeeper({
    outbox,
    run: links.beat.run,
    genesis: standing.genesis,
    fleet: known,
    onKept: () => void sync.beat(),
    complain,
  });

  let isSettling = false;
  /** After each heartbeat: what this sidecar has is in the history of the server that answered. */
  const settled = async (): Promise<void> => {
    if (isSettling) return;
    isSettling = true;
    await settle().catch((error: unknown) => complain('a comparison failed', error));
    isSettling = false;
  };
  const settle = async (): Promise<void> => {
    const { position, latch } = view.state();
    const run = links.beat.run();
    if (latch !== undefined || position === undefined || run === undefined) return;
    keeper.beat(position);
    if (compared === run && !fleet.isAwaited(id)) return;
    // What was asked for here and is not in the log is a part of what is remembered.
    await intents.retry();
    if (intents.waiting() === 0 && (await fleet.compared(links.beat))) compared = run;
  };
  const sync = createSync({
    links,
    keys,
    view,
    now,
    row: () => {
      const { epoch, seq } = keeper.kept() ?? { epoch: 0, seq: 0 };
      const row = { beat: (beats += 1), epoch, seq, at_ms: now().wall_ms, version: options.version };
      return [id, JSON.stringify(row)];
    },
    arrived: () => arrived,
    arrive,
    onBeat: (read) => {
      tail_lag = read.entries.length;
      fleet.learn(read.fleet, read.roster);
      void settled();
    },
    onRefused: (why) => (refusals = why === undefined ? [] : [...refusals.slice(-1), why]),
    onBarrier: options.onBarrier,
    complain,
  });

  const writing = {
    link: links.writer,
    keys,
    issuer,
    digest: sha256,
    now,
    fetch: (names: Parameters<typeof fetchCells>[2]) => fetchCells(links.writer, keys, names),
    confirm: async () => {
      const { replicas_needed } = guard.safety();
      if (replicas_needed === 0) return true;
      const reply = await links.writer.call('WAIT', replicas_needed, CONFIRM_MS);
      return reply.ok && Number(reply.value) >= replicas_needed;
    },
    onDoubt: () => void sync.barrier(),
    complain,
  };
  const writer = createWriter({
    ...writing,
    held: view.held,
    position: () => view.state().position,
    onAppended: (entries) => appended(entries, view, sync),
  });
  const health = (): StoreHealth => healthOf(view, recovering, refusals[1], standing);
  /** Nothing is written over what cannot be read; whether the server takes it, it says best itself. */
  const write: Writer['write'] = (command, must_confirm) => {
    const detail = troubleOf(view, recovering, standing);
    if (detail === undefined) return writer.write(command, must_confirm);
    const outcome = { ok: false, refused: 'unavailable', detail } as const;
    return Promise.resolve({ outcome, is_confirmed: false });
  };
  const intents = createIntents({ outbox, write, isThere: () => health().ok, now, complain });
  const recovery = {
    link: links.writer,
    keys,
    outbox,
    writer: writing,
    genesis: standing.genesis,
    by: { iss: issuer, sub: 'reconcile' },
    now,
  };
  const recovering: Recovering = createRecovering({
    view,
    signal: stopping.signal,
    arrive: () => arrive(links.writer),
    recover: (position) => recover(position, { entries: view.recent(), ended: view.ended() }, recovery),
    onPassedOver: keeper.applied,
    onBegun: async () => {
      await sync.beat();
    },
    complain,
  });

  const join = async (): Promise<string | undefined> => {
    const { fleet: remembered, position } = outbox.memory;
    if (!(await fleet.arrive(links.writer, arrived, remembered))) return 'the server does not answer';
    arrived = links.writer.run() ?? '';
    keeper.applied(standing.endings, standing.head);
    view.adopt(standing.head, []);
    if (position !== undefined) {
      const recovered = await recover(position, { entries: [], ended: [] }, recovery);
      if (!recovered.ok) return `what is remembered cannot be compared with the log: ${recovered.why}`;
      if (recovered.lost.size > 0)
        complain(`the log had lost ${recovered.lost.size} entries, which were said again`);
      keeper.applied(recovered.passed, recovered.head);
      view.adopt(recovered.head, recovered.passed);
    }
    return (await sync.beat()) ? undefined : 'the server does not answer';
  };
  return {
    view,
    fleet,
    sync,
    write,
    health,
    intents,
    recovering,
    listeners,
    tail_lag: () => tail_lag,
    stopping,
    join,
  };
}

/** Applied before it is answered, so that who wrote sees it; others may have written in between. */
async function appended(entries: readonly LogEntry[], view: View, sync: Sync): Promise<void> {
  if (entries.length === 0) return;
  if (view.state().position!.seq === entries[0]!.seq - 1) view.feed({ kind: 'entries', entries });
  if (view.state().position!.seq < entries.at(-1)!.seq) await sync.barrier();
}
