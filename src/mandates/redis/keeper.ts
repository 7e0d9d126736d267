/** Puts on this sidecar's own disk what it must be able to say again: every end it has applied, and how far it has come. */
import { isEnding } from '../../core/mandate/heal.ts';
import type { LogEntry, Position } from '../../core/mandate/events.ts';
import type { Outbox } from '../outbox/outbox.ts';

export interface Keeper {
  /** Entries that were applied, up to a position. */
  readonly applied: (entries: readonly LogEntry[], position: Position) => void;
  /** A heartbeat: how far it has come is kept now and then. */
  readonly beat: (position: Position) => void;
  /** How far everything applied is also remembered: what the others are told. */
  readonly kept: () => Position | undefined;
}

export interface KeeperParts {
  readonly outbox: Outbox;
  readonly run: () => string | undefined;
  readonly fleet: () => readonly string[];
  /** Told when ends were kept, so that whoever waits for them is told at once. */
  readonly onKept: () => void;
  readonly complain: (what: string) => void;
}

export function createKeeper({ outbox, run, fleet, onKept, complain }: KeeperParts): Keeper {
  let kept: Position | undefined;
  let last: Position | undefined;
  let pending = 0;
  let written = '';
  let isComplained = false;
  const keep = async (endings: readonly LogEntry[], position: Position): Promise<void> => {
    pending += 1;
    const memory = { position, run: run(), fleet: fleet() };
    written = JSON.stringify(memory);
    const isKept = await outbox.keep(endings, memory);
    pending -= 1;
    if (isKept) {
      // Answers come in order: what was asked before this one is on disk as well.
      kept = pending === 0 ? last : position;
      if (endings.length > 0) onKept();
    } else if (!isComplained) complain('the outbox cannot keep what was applied');
    isComplained = !isKept;
  };
  return {
    applied: (entries, position) => {
      last = position;
      const endings = entries.filter(({ event }) => isEnding(event));
      if (endings.length > 0) void keep(endings, position);
      else if (pending === 0 && !isComplained) kept = position;
    },
    beat: (position) => {
      last = position;
      const isNew = written !== JSON.stringify({ position, run: run(), fleet: fleet() });
      if (pending === 0 && (isNew || isComplained)) void keep([], position);
    },
    kept: () => kept,
  };
}
