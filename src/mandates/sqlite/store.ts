/**
 * The embedded engine: one file, one writer thread, and a replica in this process. Whatever was acknowledged was
 * applied here first, so the replica's head *is* the log's head, and proving it current costs nothing.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type {
  DecisionResult,
  LogPage,
  MandateStore,
  Page,
  ProposalResult,
  StoreHealth,
  VersionResult,
  WriteResult,
} from '../../check/ports.ts';
import { lineageOf } from '../../core/mandate/life.ts';
import { type Now, elapsed } from '../../core/time.ts';
import { type Follower, createFollower } from '../follower.ts';
import { type Pager, createPager, createdSeq } from '../list.ts';
import { type Calls, createCalls } from '../calls.ts';
import type { FromWriter, ToWriter, WriterOptions, WriterResult } from './protocol.ts';

export interface SqliteOptions {
  /** Folder of the store; made when it is not there. */
  readonly path: string;
  readonly issuer: string;
  readonly version: string;
  readonly now: Now;
  /** Told of each change of health: for the log. */
  readonly complain: (what: string) => void;
}

export type OpenedStore =
  { readonly ok: true; readonly store: MandateStore } | { readonly ok: false; readonly error: string };

export async function openSqliteStore(options: SqliteOptions): Promise<OpenedStore> {
  try {
    mkdirSync(options.path, { recursive: true, mode: 0o700 });
  } catch (error) {
    return { ok: false, error: `the folder \`${options.path}\` cannot be made: ${(error as Error).message}` };
  }
  const workerData: WriterOptions = { file: join(options.path, 'mandates.db'), issuer: options.issuer };
  const worker = new Worker(new URL('./writer.ts', import.meta.url), { workerData });
  const writer = createWriter(worker, options);
  const refusal = await writer.opened;
  if (refusal === undefined) return { ok: true, store: storeOf(writer, options) };
  await worker.terminate();
  return { ok: false, error: refusal };
}

type WriterAnswer = WriterResult | ProposalResult | DecisionResult | VersionResult | LogPage;

/** The writer thread as this process knows it. */
interface Writer {
  /** Resolves when the store can be used, or with why it cannot. */
  readonly opened: Promise<string | undefined>;
  readonly follower: Follower;
  /** Told after each commit that appended something. */
  readonly listeners: Set<() => void>;
  readonly health: () => StoreHealth;
  readonly ask: (message: (call: number) => ToWriter) => Promise<WriterAnswer>;
  readonly close: () => Promise<void>;
}

const unavailable = (detail: string) => ({ ok: false, refused: 'unavailable', detail }) as const;

/** A disk that hangs must not hold the shutdown: what was not acknowledged by then is not on it. */
const LAST_COMMIT_MS = 5000;

function createWriter(worker: Worker, { now, complain }: SqliteOptions): Writer {
  const follower = createFollower((latch) => complain(`the replica latched: ${latch}`));
  const calls: Calls<WriterAnswer> = createCalls();
  const listeners = new Set<() => void>();
  const opening = Promise.withResolvers<string | undefined>();
  const closing = Promise.withResolvers<void>();
  let phase: 'opening' | 'open' | 'closing' = 'opening';
  let state: StoreHealth = { ok: true };
  const health = (): StoreHealth => {
    const { latch } = follower.state();
    return state.ok && latch !== undefined
      ? { ok: false, fatal: true, detail: `the replica latched: ${latch}` }
      : state;
  };

  const fail = (detail: string): void => {
    closing.resolve();
    opening.resolve(detail);
    if (phase !== 'open' || (!state.ok && state.fatal)) return;
    complain(`the store failed for good: ${detail}`);
    state = { ok: false, fatal: true, detail };
    follower.feed({ kind: 'latched', latch: 'failed' });
    calls.settleAll(unavailable('the store failed'));
  };

  const receive = (message: FromWriter): void => {
    switch (message.kind) {
      case 'loaded':
        return follower.load(message.records, message.observations);
      case 'ready':
        phase = 'open';
        follower.feed({ kind: 'snapshot', position: message.position, at: now() });
        return opening.resolve(undefined);
      case 'refused':
        return opening.resolve(message.detail);
      case 'committed':
        // Applied before it is answered: a revoke that returned is seen by every check that begins afterwards.
        follower.feed({ kind: 'entries', entries: message.entries });
        for (const { call, result } of message.results) calls.settle(call, result);
        if (message.entries.length > 0) for (const listener of listeners) listener();
        return undefined;
      case 'not_committed':
        for (const call of message.calls) calls.settle(call, unavailable(message.detail));
        return message.fatal ? fail(message.detail) : undefined;
      case 'disk_full':
        state = { ok: false, fatal: false, detail: 'the disk is full' };
        return complain('the disk is full: writes are refused');
      case 'writable_again':
        state = { ok: true };
        return complain('the store can be written again');
      case 'proposal':
        return calls.settle(message.call, { ok: true, proposal: message.proposal });
      case 'decision':
        return calls.settle(message.call, { ok: true, decision: message.decision });
      case 'version':
        return calls.settle(message.call, { ok: true, record: message.record });
      case 'entries':
        return calls.settle(message.call, message.page);
      case 'closed':
        return closing.resolve();
    }
  };
  worker.on('message', receive);
  worker.on('error', (error) => fail((error as Error).message));
  worker.on('exit', () => fail('the writer thread ended'));

  return {
    opened: opening.promise,
    follower,
    listeners,
    health,
    ask: (message) => {
      const current = health();
      if (!current.ok && current.fatal) return Promise.resolve(unavailable('the store failed'));
      return calls.ask((call) => worker.postMessage(message(call)), unavailable);
    },
    close: async () => {
      phase = 'closing';
      worker.postMessage({ kind: 'close' } satisfies ToWriter);
      const patience = setTimeout(closing.resolve, LAST_COMMIT_MS);
      await closing.promise;
      clearTimeout(patience);
      await worker.terminate();
    },
  };
}

function storeOf(
  { follower, listeners, health, ask, close }: Writer,
  { now, version }: SqliteOptions,
): MandateStore {
  /** The head is this process's own; only a store that takes no writes leaves its age unproven. */
  const prove = (): void => {
    const position = follower.state().position!;
    if (health().ok)
      follower.feed({ kind: 'proof', sent: now(), asked: position, head: position, missing: [] });
  };
  return {
    prove: () => {
      prove();
      return { find: (reference) => follower.find(reference, 'embedded') };
    },
    barrier: () => {
      prove();
      const current = health();
      if (!current.ok) return Promise.resolve({ refused: current.detail });
      const { position, proven, latch } = follower.state();
      return Promise.resolve({ source: 'embedded', position: position!, proven: proven!, latch });
    },
    write: async (command, acknowledge): Promise<WriteResult> => {
      const result = (await ask((call) => ({ kind: 'write', call, command }))) as WriterResult;
      // One process, synchronous commits: what is committed is durable, and enforced once it was applied above.
      return result.ok ? { ...result, acknowledged: acknowledge } : result;
    },
    proposal: async (submission_id) =>
      (await ask((call) => ({ kind: 'proposal', call, submission_id }))) as ProposalResult,
    decision: async (decision_id) =>
      (await ask((call) => ({ kind: 'decision', call, decision_id }))) as DecisionResult,
    version: async (id, number) =>
      (await ask((call) => ({ kind: 'version', call, id, version: number }))) as VersionResult,
    lineage: (id) => {
      const record = follower.record(id);
      const lineage = record === undefined ? undefined : lineageOf(record, follower.record);
      return Promise.resolve({ ok: true, lineage });
    },
    tree: (id) => Promise.resolve({ ok: true, records: follower.tree(id) }),
    list: (filter, paging, at) =>
      Promise.resolve({ ok: true, page: listHeld(follower, createPager(filter, paging, at)) }),
    entriesAfter: async (after, limit) =>
      (await ask((call) => ({ kind: 'entries', call, after, limit }))) as LogPage,
    unsafe: () => [],
    fleet: () => {
      const { position } = follower.state();
      const { epoch, seq } = position!;
      const own = { id: 'embedded', is_self: true, version, epoch, seq, lag: 0, silent_ms: 0 };
      return Promise.resolve({ ok: true, lease_ms: 0, head: position!, members: [own] });
    },
    figures: () => {
      const { position, proven, latch } = follower.state();
      return {
        position,
        age_ms: proven === undefined ? undefined : elapsed(proven, now()),
        latch,
        held: follower.size(),
        outbox: undefined,
        tail_lag: undefined,
        sidecars: 1,
      };
    },
    onCommit: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    health,
    close,
  };
}

function listHeld(follower: Follower, { after, offer, page }: Pager): Page {
  for (const record of follower.records()) {
    if (createdSeq(record) <= after) continue;
    const lineage = lineageOf(record, follower.record);
    if (lineage !== undefined && offer(lineage)) break;
  }
  return page();
}
