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
  readonly genesis: string;
  readonly fleet: () => readonly string[];
  /** Told when ends were kept, so that whoever waits for them is told at once. */
  readonly onKept: () => void;
  readonly complain: (what: string) => void;
}

export function createKeeper({ outbox, run, genesis, fleet, onKept, complain }: KeeperParts): Keeper {
  let kept: Position | undefined;
  let last: Position | undefined;
  /** Ends that are not known to be on disk: nothing behind them counts as kept. */
  let owed: readonly LogEntry[] = [];
  let isKeeping = false;
  let written = '';
  let isComplained = false;

  const keep = async (): Promise<void> => {
    isKeeping = true;
    const [endings, position] = [owed, last!];
    const memory = { position, run: run(), genesis, fleet: fleet() };
    const isKept = await outbox.keep(endings, memory);
    isKeeping = false;
    if (!isKept && !isComplained) complain('the outbox cannot keep what was applied');
    isComplained = !isKept;
    if (!isKept) return;
    written = JSON.stringify(memory);
    owed = owed.slice(endings.length);
    kept = owed.length === 0 ? last : position;
    if (endings.length > 0) onKept();
    if (owed.length > 0) void keep();
  };
  return {
    applied: (entries, position) => {
      last = position;
      // Nothing is decided any more; what can never be kept would only pile up.
      if (outbox.isBroken()) return;
      const endings = entries.filter(({ event }) => isEnding(event));
      owed = [...owed, ...endings];
      if (owed.length === 0) kept = position;
      else if (!isKeeping && !isComplained) void keep();
    },
    beat: (position) => {
      last = position;
      const isNew = written !== JSON.stringify({ position, run: run(), genesis, fleet: fleet() });
      if (!isKeeping && (isNew || owed.length > 0)) void keep();
    },
    kept: () => kept,
  };
}
