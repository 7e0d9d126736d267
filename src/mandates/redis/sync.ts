/**
 * Keeps the view in step with the log: the tail brings what is new, the heartbeat proves that this is all, and a barrier
 * proves it as of now. Each has a connection of its own, so that none waits for another.
 */
import type { BarrierObserver } from '../../check/ports.ts';
import type { Position } from '../../core/mandate/events.ts';
import { type AskingParts, readFrom } from './asking.ts';
import type { Instant, Now } from '../../core/time.ts';
import { type Slots, createSlots } from '../slots.ts';
import type { Link } from './link.ts';
import { pause } from './pause.ts';
import { type Read, readLineage } from './replies.ts';
import { follow } from './tail.ts';
import type { View } from './view.ts';

/** A proof that the view was all there was at a moment since it was asked for, or why there is none. */
export type Barriered =
  | {
      readonly ok: true;
      readonly sent: Instant;
      readonly position: Position;
      /** What came of the mandates that were to be brought along. */
      readonly read: ReadonlyMap<string, Found>;
      /** Sidecars that have yet to say what they remember. */
      readonly roster: readonly string[];
    }
  | { readonly ok: false; readonly why: string };

export type Found = 'held' | 'absent' | 'corrupt' | 'unread';

export interface Links {
  readonly barrier: Link;
  readonly beat: Link;
  readonly tail: Link;
}

export interface SyncParts extends AskingParts {
  readonly links: Links;
  readonly now: Now;
  /** The row by which this sidecar says that it lives, and its id. */
  readonly row: () => readonly [id: string, row: string];
  /** Told of each heartbeat that was answered. */
  readonly onBeat: (read: Extract<Read, { kind: 'ok' }>) => void;
  /** Told of each heartbeat why it was not answered; undefined where it was. */
  readonly onRefused: (why: string | undefined) => void;
  readonly onBarrier: BarrierObserver;
  /** Told of defects: nothing that comes over a wire ends the process. */
  readonly complain: (what: string, error: unknown) => void;
}

export interface Sync {
  /** `id`: a mandate that is to be brought along. */
  readonly barrier: (id?: string) => Promise<Barriered>;
  /** One heartbeat at once. */
  readonly beat: () => Promise<boolean>;
  readonly start: () => void;
  readonly stop: () => Promise<void>;
}

/** Most mandates that one call brings along. */
const MOST_WANTED = 128;
const BEAT_MS = 250;
const TAIL_RETRY_MS = 100;

export function createSync(parts: SyncParts): Sync {
  const { links, now } = parts;
  const stopping = new AbortController();
  let joined = 0;
  const slots: Slots<string, Barriered> = createSlots(
    async (wanted) => {
      const [began, waiting] = [now(), joined];
      const answer = await barrier(parts, wanted).catch((error: unknown): Barriered => {
        parts.complain('a barrier failed', error);
        return { ok: false, why: 'the barrier failed' };
      });
      parts.onBarrier(waiting, now().mono_ms - began.mono_ms, answer.ok ? 'ok' : 'refused');
      return answer;
    },
    (waiting) => (joined = waiting),
  );
  const beats: Slots<never, boolean> = createSlots(() =>
    beatOnce(parts).catch((error: unknown) => {
      parts.complain('a heartbeat failed', error);
      return false;
    }),
  );
  const beating = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await beats.ask();
      await pause(BEAT_MS, stopping.signal);
    }
  };
  const tailing = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const isThere = await follow(parts).catch((error: unknown) => {
        parts.complain('the tail failed', error);
        return false;
      });
      if (!isThere) await pause(TAIL_RETRY_MS, stopping.signal);
    }
  };
  let running: readonly Promise<void>[] = [];
  return {
    barrier: (id) => bounded(slots.ask(id)),
    beat: () => beats.ask(),
    start: () => {
      running = [beating(), tailing()];
    },
    stop: async () => {
      stopping.abort();
      for (const link of Object.values(links)) link.close();
      await Promise.all(running);
    },
  };
}

/** Nobody waits longer for a proof; the call goes on, and serves whoever comes meanwhile. */
const BARRIER_MS = 250;
const LATE: Barriered = { ok: false, why: `the store did not prove it within ${BARRIER_MS} ms` };

function bounded(pending: Promise<Barriered>): Promise<Barriered> {
  const late = Promise.withResolvers<Barriered>();
  const timer = setTimeout(() => late.resolve(LATE), BARRIER_MS);
  return Promise.race([pending, late.promise]).finally(() => clearTimeout(timer));
}

/** Says that this sidecar lives, and learns whether the view is all there is. */
async function beatOnce(parts: SyncParts): Promise<boolean> {
  const { links, view, now } = parts;
  const [sent, asked] = [now(), view.state().position];
  const read = await readFrom(links.beat, parts, parts.row(), []);
  parts.onRefused(read.kind === 'ok' ? undefined : read.why);
  if (read.kind !== 'ok' || asked === undefined) return false;
  view.feed({ kind: 'proof', sent, asked, head: read.head, missing: read.entries });
  parts.onBeat(read);
  return true;
}

/** Asks what is missing until nothing is; the last question is the one that proves. */
async function barrier(parts: SyncParts, wanted: ReadonlySet<string>): Promise<Barriered> {
  const { links, view, now } = parts;
  const read = new Map<string, Found>();
  let ahead = [...wanted];
  for (;;) {
    const { latch } = view.state();
    if (latch !== undefined) return { ok: false, why: `the view is latched: ${latch}` };
    const sent = now();
    const ids = ahead.slice(0, MOST_WANTED);
    const answer = await readFrom(links.barrier, parts, ['', ''], ids);
    if (answer.kind !== 'ok') return { ok: false, why: answer.why };
    view.feed({ kind: 'entries', entries: answer.entries });
    const { position, latch: now_latched } = view.state();
    if (now_latched !== undefined) return { ok: false, why: `the view is latched: ${now_latched}` };
    // More entries were missing than one answer holds; or the view went on meanwhile, on who knows which history.
    if (!view.agrees(answer.head)) continue;
    for (const [index, id] of ids.entries()) read.set(id, load(view, answer.head, answer.cells[index]));
    ahead = ahead.slice(MOST_WANTED);
    if (ahead.length === 0) return { ok: true, sent, position: position!, read, roster: answer.roster };
  }
}

function load(view: View, at: Position, cell: unknown): Found {
  const lineage = readLineage(cell);
  if (typeof lineage === 'string') return lineage;
  return view.load({ at, ...lineage }) ? 'held' : 'unread';
}
