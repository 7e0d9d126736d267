/**
 * The distributed engine: a log in Redis that a fleet of sidecars shares. Each keeps a replica of what it is asked for,
 * knows how old that is, and proves it current where an action cannot be undone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Acknowledgement, MandateStore, StoreHealth, WriteResult } from '../../check/ports.ts';
import type { Command } from '../../core/mandate/commands.ts';
import type { LogEntry } from '../../core/mandate/events.ts';
import { elapsed, formatTime } from '../../core/time.ts';
import { sha256 } from '../../digest.ts';
import { type RedisStoreOptions, type Standing, stand } from './begin.ts';
import { type Fleet, createFleet } from './fleet.ts';
import { fetchCells } from './fetch.ts';
import { type Intents, createIntents } from './intents.ts';
import { type Keeper, createKeeper } from './keeper.ts';
import { createProving } from './proving.ts';
import { createReads } from './reads.ts';
import { recover } from './recovery.ts';
import { type Sync, createSync } from './sync.ts';
import { trim } from './trimming.ts';
import { type View, createView } from './view.ts';
import { type Writer, createWriter } from './writer.ts';

export type OpenedStore =
  { readonly ok: true; readonly store: MandateStore } | { readonly ok: false; readonly error: string };

/** The server, its replicas and the fleet are looked at anew so often. */
const WATCH_MS = 500;
const CONFIRM_MS = 1000;
const RECOVERY_RETRY_MS = 100;

export async function openRedisStore(options: RedisStoreOptions): Promise<OpenedStore> {
  const standing = await stand(options);
  if (!standing.ok) return standing;
  const engine = new Engine(standing, options);
  const why = await engine.begin();
  if (why === undefined) return { ok: true, store: engine.store() };
  await engine.close();
  return { ok: false, error: why };
}

/** What a sidecar keeps running beside its checks. */
class Engine {
  readonly #options: RedisStoreOptions;
  readonly #standing: Standing;
  readonly #view: View;
  readonly #fleet: Fleet;
  readonly #keeper: Keeper;
  readonly #sync: Sync;
  readonly #writer: Writer;
  readonly #intents: Intents;
  readonly #stopping = new AbortController();
  readonly #listeners = new Set<() => void>();
  #beats = 0;
  #compared = '';
  #tail_lag = 0;
  #recovering: Promise<void> | undefined;
  #stuck: string | undefined;
  #watching: Promise<void> | undefined;

  constructor(standing: Standing, options: RedisStoreOptions) {
    this.#standing = standing;
    this.#options = options;
    const { links, keys, outbox } = standing;
    const { now, complain } = options;
    this.#view = createView({
      most: options.working_set,
      onLatch: (latch) => {
        complain(`the replica latched: ${latch}`);
        this.#recovering ??= this.#recover();
      },
      onApplied: (entries) => this.#applied(entries),
    });
    this.#fleet = createFleet({
      keys,
      link: links.reader,
      now,
      id: outbox.memory.id,
      lease_ms: options.lease_ms,
    });
    this.#keeper = createKeeper({
      outbox,
      run: links.beat.run,
      fleet: () => this.#known(),
      onKept: () => void this.#sync.beat(),
      complain,
    });
    this.#sync = createSync({
      links,
      keys,
      view: this.#view,
      now,
      row: () => this.#row(),
      arrive: (on) => this.#fleet.arrive(on, this.#known()),
      onBeat: ({ fleet, roster, entries }) => {
        this.#tail_lag = entries.length;
        this.#fleet.learn(fleet, roster);
        void this.#settled();
      },
      onBarrier: options.onBarrier,
    });
    this.#writer = createWriter({
      ...this.#writing(),
      held: this.#view.held,
      position: () => this.#view.state().position,
      onAppended: (entries) => this.#appended(entries),
    });
    this.#intents = createIntents({ outbox, write: (...asked) => this.#append(...asked), now, complain });
  }

  /** Compares what this sidecar remembers, and joins the fleet; says why it cannot. */
  async begin(): Promise<string | undefined> {
    const { head, links, outbox } = this.#standing;
    const { memory } = outbox;
    if (!(await this.#fleet.arrive(links.writer, memory.fleet))) return 'the server does not answer';
    this.#view.adopt(head);
    if (memory.position !== undefined) {
      const recovered = await recover(memory.position, [], this.#recovery());
      if (!recovered.ok) return `what is remembered cannot be compared with the log: ${recovered.why}`;
      if (recovered.said_again > 0)
        this.#options.complain(`the log had lost ${recovered.said_again} entries: said again`);
      this.#view.adopt(recovered.head);
    }
    if (!(await this.#sync.beat())) return 'the server does not answer';
    await this.#settled();
    this.#sync.start();
    this.#watching = this.#watch();
    return undefined;
  }

  store(): MandateStore {
    const { links, keys, guard, outbox } = this.#standing;
    const { now, issuer, lease_ms } = this.#options;
    const proving = createProving({
      view: this.#view,
      sync: this.#sync,
      now,
      issuer,
      trouble: guard.trouble,
      reserve: (roster) => {
        const awaited = this.#fleet.awaited(roster);
        return awaited.length === 0
          ? undefined
          : `${awaited.length} sidecars have yet to say what they remember of the server before`;
      },
    });
    return {
      ...proving,
      ...createReads({ link: links.reader, keys }),
      write: (command, acknowledge, timeout_ms) => this.#write(command, acknowledge, timeout_ms),
      unsafe: guard.unsafe,
      fleet: () => this.#members(),
      figures: () => {
        const { position, proven, latch } = this.#view.state();
        return {
          position,
          age_ms: proven === undefined ? undefined : elapsed(proven, now()),
          latch,
          held: this.#view.size(),
          outbox: outbox.intents().length,
          tail_lag: this.#tail_lag,
          sidecars: this.#fleet.members().filter(({ silent_ms }) => silent_ms <= lease_ms).length,
        };
      },
      onCommit: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      health: () => this.#health(),
      close: () => this.close(),
    };
  }

  async close(): Promise<void> {
    const { links, outbox } = this.#standing;
    this.#stopping.abort();
    await this.#fleet.leave();
    await this.#sync.stop();
    await Promise.all([this.#watching, this.#recovering]);
    for (const link of Object.values(links)) link.close();
    await outbox.close();
  }

  #health(): StoreHealth {
    const { guard, links, outbox } = this.#standing;
    const { latch } = this.#view.state();
    const trouble = guard.trouble();
    if (trouble !== undefined) return unhealthy(trouble);
    if (latch !== undefined) {
      return unhealthy(
        `the replica is latched: ${latch}${this.#stuck === undefined ? '' : ` (${this.#stuck})`}`,
      );
    }
    if (links.beat.run() === undefined) return unhealthy('the store cannot be reached');
    return outbox.isBroken() ? unhealthy('the outbox cannot be written') : { ok: true };
  }

  #known(): readonly string[] {
    const own = this.#standing.outbox.memory.id;
    const members = this.#fleet.members().map(({ id }) => id);
    const known = members.length === 0 ? this.#standing.outbox.memory.fleet : members;
    return known.filter((id) => id !== own).toSorted();
  }

  #row(): readonly [string, string] {
    const { epoch, seq } = this.#keeper.kept() ?? { epoch: 0, seq: 0 };
    const row = {
      beat: (this.#beats += 1),
      epoch,
      seq,
      at_ms: this.#options.now().wall_ms,
      version: this.#options.version,
    };
    return [this.#standing.outbox.memory.id, JSON.stringify(row)];
  }

  #applied(entries: readonly LogEntry[]): void {
    this.#keeper.applied(entries, this.#view.state().position!);
    for (const listener of this.#listeners) listener();
  }

  /** After each heartbeat: what this sidecar has is in the history of the server that answered. */
  async #settled(): Promise<void> {
    const { position, latch } = this.#view.state();
    const run = this.#standing.links.beat.run();
    if (latch !== undefined || position === undefined || run === undefined) return;
    this.#keeper.beat(position);
    if (this.#compared !== run && (await this.#fleet.compared())) this.#compared = run;
  }

  /** Applied before it is answered, so that who wrote sees it; others may have written in between. */
  async #appended(entries: readonly LogEntry[]): Promise<void> {
    if (entries.length === 0) return;
    if (this.#view.state().position!.seq === entries[0]!.seq - 1)
      this.#view.feed({ kind: 'entries', entries });
    if (this.#view.state().position!.seq < entries.at(-1)!.seq) await this.#sync.barrier();
  }

  #writing() {
    const { links, keys, guard } = this.#standing;
    const { issuer, now, complain } = this.#options;
    return {
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
      onDoubt: () => void this.#sync.barrier(),
      complain,
    };
  }

  #recovery() {
    const { links, keys, outbox } = this.#standing;
    const { issuer, now } = this.#options;
    return {
      link: links.writer,
      keys,
      outbox,
      writer: this.#writing(),
      by: { iss: issuer, sub: 'reconcile' },
      now,
    };
  }

  /** Until the view can begin anew; what does not verify needs a person. */
  async #recover(): Promise<void> {
    const { links } = this.#standing;
    for (;;) {
      const { position, latch } = this.#view.state();
      if (latch === undefined || latch === 'corrupt' || this.#stopping.signal.aborted) break;
      if (await this.#fleet.arrive(links.writer, this.#known())) {
        const recovered = await recover(position!, this.#view.recent(), this.#recovery());
        this.#stuck = recovered.ok ? undefined : recovered.why;
        if (recovered.ok) {
          this.#view.adopt(recovered.head);
          await this.#sync.beat();
          this.#options.complain(
            `the replica began anew after ${latch}; ${recovered.said_again} entries were said again`,
          );
          continue;
        }
      }
      await pause(RECOVERY_RETRY_MS, this.#stopping.signal);
    }
    this.#recovering = undefined;
  }

  async #watch(): Promise<void> {
    const { guard, links, keys, outbox } = this.#standing;
    while (!this.#stopping.signal.aborted) {
      await guard.watch();
      await this.#fleet.sweep();
      await this.#intents.retry();
      const floor = await trim(links.reader, keys, this.#view.state().position, this.#options);
      if (floor > 0) await outbox.forget(floor);
      await pause(WATCH_MS, this.#stopping.signal);
    }
  }

  async #write(command: Command, acknowledge: Acknowledgement, timeout_ms?: number): Promise<WriteResult> {
    const { guard } = this.#standing;
    const { now, lease_ms } = this.#options;
    const level = guard.unsafe().length > 0 ? 'applied' : acknowledge;
    const isMore = level !== 'applied';
    const { outcome, is_confirmed } = await this.#writeNow(command, isMore);
    if (!outcome.ok || !isMore || !is_confirmed)
      return outcome.ok ? { ...outcome, acknowledged: 'applied' } : outcome;
    // A server that was just promoted may have a primary beside it that does not know yet.
    await pause(guard.durable_from_ms() - now().mono_ms, this.#stopping.signal);
    if (level === 'durable') return { ...outcome, acknowledged: 'durable' };
    const wait = (ms: number) => pause(ms, this.#stopping.signal);
    const isEnforced = await this.#fleet.enforced(outcome.position, timeout_ms ?? 2 * lease_ms, wait);
    return isEnforced
      ? { ...outcome, acknowledged: 'enforced', enforced_at: formatTime(now().wall_ms) }
      : { ...outcome, acknowledged: 'durable' };
  }

  #writeNow(command: Command, must_confirm: boolean): ReturnType<Writer['write']> {
    const isEnd = command.kind === 'operate' && ['revoke', 'complete'].includes(command.details.operation);
    return isEnd ? this.#intents.write(command, must_confirm) : this.#append(command, must_confirm);
  }

  /** Nothing is written over what cannot be read. */
  async #append(command: Command, must_confirm: boolean): ReturnType<Writer['write']> {
    const health = this.#health();
    if (health.ok || this.#standing.outbox.isBroken()) return this.#writer.write(command, must_confirm);
    return {
      outcome: { ok: false, refused: 'unavailable', detail: health.detail },
      is_confirmed: false,
    };
  }

  async #members(): ReturnType<MandateStore['fleet']> {
    const { outbox } = this.#standing;
    const answer = await this.#sync.barrier();
    if (!answer.ok) return { ok: false, refused: 'unavailable', detail: answer.why };
    const head = answer.position;
    const members = this.#fleet.members().map(({ id, version, epoch, seq, silent_ms }) => ({
      id,
      is_self: id === outbox.memory.id,
      version,
      epoch,
      seq,
      lag: Math.max(0, head.seq - seq),
      silent_ms: Math.round(silent_ms),
    }));
    return { ok: true, lease_ms: this.#options.lease_ms, head, members };
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
}

/** Denied until it is over; the process goes on. */
function unhealthy(detail: string): StoreHealth {
  return { ok: false, fatal: false, detail };
}
