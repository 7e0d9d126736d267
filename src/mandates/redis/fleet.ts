/**
 * The sidecars that share a log. Each says with every heartbeat that it lives and how far it has come; one that says
 * nothing for as long as its lease lasts can no longer decide from what it holds, whatever it does.
 */
import type { Position } from '../../core/mandate/events.ts';
import type { Now } from '../../core/time.ts';
import { fieldsOf } from './cells.ts';
import { pause } from './pause.ts';
import { readReply } from './replies.ts';
import type { Keys } from './keys.ts';
import type { Link, Reply } from './link.ts';

/** What a sidecar says of itself. */
export interface Row {
  /** How many heartbeats it has sent: a row that does not change is of one that does not live. */
  readonly beat: number;
  readonly epoch: number;
  readonly seq: number;
  /** Its own clock, epoch ms: for people, never compared. */
  readonly at_ms: number;
  readonly version: string;
}

export interface Member extends Row {
  readonly id: string;
  /** How long it has said nothing, by this process's clock, milliseconds. */
  readonly silent_ms: number;
}

/** The fleet as the server that serves now has it. */
interface Looked {
  readonly head: Position;
  /** Ids that are awaited, and since when, monotonic ms. */
  readonly waiting: readonly (readonly [string, number])[];
}

export interface FleetParts {
  readonly keys: Keys;
  readonly link: Link;
  readonly now: Now;
  /** Own id, which stays with the outbox. */
  readonly id: string;
  /** As long as the widest staleness budget. */
  readonly lease_ms: number;
}

export interface Fleet {
  /** Takes the rows and the roster that a heartbeat brought. */
  readonly learn: (rows: ReadonlyMap<string, string>, roster: readonly string[]) => void;
  readonly members: () => readonly Member[];
  /** Learns anew; answers the head of the log, or undefined where the server does not answer. */
  readonly head: () => Promise<Position | undefined>;
  /** Those of a roster that have yet to say what they remember, but for those whose lease has run out since. */
  readonly awaited: (roster: readonly string[]) => readonly string[];
  /** True of one that has yet to say what it remembers. */
  readonly isAwaited: (id: string) => boolean;
  /** Makes a server known that is not the one before: nobody is trusted to remember all alone. */
  readonly arrive: (on: Link, from: string, remembered: readonly string[]) => Promise<boolean>;
  /** This sidecar has compared what it remembers with what that server has. */
  readonly compared: (on: Link) => Promise<boolean>;
  /** Gives up the lease. */
  readonly leave: () => Promise<void>;
  /** Takes those out whose lease has run out. */
  readonly sweep: () => Promise<void>;
  /** Resolves when every sidecar that lives has applied a position, or its lease has run out; false at the deadline. */
  readonly enforced: (position: Position, timeout_ms: number, signal: AbortSignal) => Promise<boolean>;
}

/** First and longest pause between two looks at how far the others have come. */
const LOOK_MS = 2;
const LONGEST_LOOK_MS = 50;

interface Seen {
  readonly text: string;
  readonly row: Row | undefined;
  /** When it changed last, monotonic ms. */
  readonly since_ms: number;
}

export function createFleet({ keys, link, now, id, lease_ms }: FleetParts): Fleet {
  const rows = new Map<string, Seen>();
  /** When an id was first seen on a roster, monotonic ms. */
  const waiting = new Map<string, number>();
  const mono = (): number => now().mono_ms;

  const call = async (on: Link, what: string, ...args: readonly string[]): Promise<boolean> => {
    const run = on.run();
    if (run === undefined) return false;
    const names = [keys.head, keys.fleet, keys.roster, keys.compared, keys.pasts];
    const reply: Reply = await on.script('roster', names, [run, what, ...args]);
    return reply.ok && (reply.value as readonly string[])[0] === 'OK';
  };

  const learnRows = (fresh: ReadonlyMap<string, string>): void => {
    const at = mono();
    for (const each of rows.keys()) if (!fresh.has(each)) rows.delete(each);
    for (const [each, text] of fresh) {
      if (rows.get(each)?.text !== text) rows.set(each, { text, row: parseRow(text), since_ms: at });
    }
  };
  const learnRoster = (roster: readonly string[]): readonly (readonly [string, number])[] => {
    for (const each of waiting.keys()) if (!roster.includes(each)) waiting.delete(each);
    for (const each of roster) if (!waiting.has(each)) waiting.set(each, mono());
    return [...waiting];
  };
  /** Rows and roster of the server that serves now, never of one that did. */
  const look = async (): Promise<Looked | undefined> => {
    const run = link.run();
    if (run === undefined) return undefined;
    const names = [keys.head, keys.log, keys.fleet, keys.roster, keys.fleet];
    const reply = await link.script('read', names, [run, '', '', '', 0, '', '', 'hash', '']);
    const read = reply.ok ? readReply(reply.value) : undefined;
    if (read?.kind !== 'ok') return undefined;
    learnRows(fieldsOf(read.cells[0] as readonly string[]));
    return { head: read.head, waiting: learnRoster(read.roster) };
  };
  const isOver = (since_ms: number): boolean => mono() - since_ms > lease_ms;

  return {
    learn: (fresh, roster) => {
      learnRows(fresh);
      learnRoster(roster);
    },
    members: () =>
      [...rows].flatMap(([each, { row, since_ms }]) =>
        row === undefined ? [] : [{ ...row, id: each, silent_ms: mono() - since_ms }],
      ),
    head: async () => (await look())?.head,
    awaited: (roster) => {
      learnRoster(roster);
      return roster.filter((each) => !isOver(waiting.get(each)!));
    },
    isAwaited: (each) => waiting.has(each),
    arrive: (on, from, remembered) => call(on, 'arrive', from, id, ...remembered),
    compared: (on) => call(on, 'compared', id),
    leave: async () => void (await call(link, 'leave', id)),
    sweep: async () => {
      const silent = [...rows].filter(([each, { since_ms }]) => each !== id && isOver(since_ms));
      const gone = silent.map(([each, { text }]) => [each, text] as const);
      const absent = [...waiting].filter(([each, since]) => each !== id && !rows.has(each) && isOver(since));
      const all = [...gone, ...absent.map(([each]) => [each, ''] as const)];
      if (all.length > 0) await call(link, 'gone', ...all.flat());
    },
    enforced: async (position, timeout_ms, signal) => {
      const began = mono();
      for (let wait_ms = LOOK_MS; ; wait_ms = Math.min(2 * wait_ms, LONGEST_LOOK_MS)) {
        const now_there = await look();
        if (now_there !== undefined) {
          const awaited = now_there.waiting.filter(([, since]) => !isOver(Math.max(since, began)));
          // A lease that was renewed before the write ends no later than one lease after it.
          const behind = [...rows.values()].filter(
            ({ row, since_ms }) => !hasReached(row, position) && !isOver(Math.max(since_ms, began)),
          );
          if (behind.length === 0 && awaited.length === 0) return true;
        }
        if (signal.aborted || mono() - began + wait_ms > timeout_ms) return false;
        await pause(wait_ms, signal);
      }
    },
  };
}

/** Why what cannot be undone is not: for people. */
export function awaiting({ length }: readonly string[]): string {
  return `${length} sidecars have yet to say what they remember of the server before`;
}

/** A row that cannot be read is of a build that is not known: it has reached nothing. */
function parseRow(text: string): Row | undefined {
  try {
    const row = JSON.parse(text) as Partial<Row>;
    const isWhole = [row.beat, row.epoch, row.seq, row.at_ms].every((each) => Number.isFinite(each));
    return isWhole ? (row as Row) : undefined;
  } catch {
    return undefined;
  }
}

function hasReached(row: Row | undefined, { epoch, seq }: Position): boolean {
  return row !== undefined && (row.epoch > epoch || (row.epoch === epoch && row.seq >= seq));
}
