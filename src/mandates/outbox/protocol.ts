/** What a sidecar keeps on its own disk, and what its thread and the process say to each other. */
import type { OperateCommand } from '../../core/mandate/commands.ts';
import type { LogEntry, Position } from '../../core/mandate/events.ts';

/** What was known when it was kept last: enough to see, after a restart, that a server has lost something. */
export interface Memory {
  /** Who this is, to the others: as long as the folder stays. */
  readonly id: string;
  readonly position: Position | undefined;
  /** The server that `position` was of. */
  readonly run: string | undefined;
  /** The log that `position` is of. */
  readonly genesis: string | undefined;
  /** Ids of the other sidecars that lived. */
  readonly fleet: readonly string[];
}

/** An end that somebody has asked for, and that the log does not have yet. */
export interface Intent {
  readonly number: number;
  readonly command: OperateCommand;
}

/** Entries that ended a mandate, as they stood in the log. */
export type Ending = LogEntry;

/** What must be done elsewhere, for as long as it takes; the text is whoever's it is. */
export interface Errand {
  readonly number: number;
  readonly text: string;
}

export type ToOutbox =
  | {
      readonly kind: 'keep';
      readonly call: number;
      readonly endings: readonly Ending[];
      readonly memory: Omit<Memory, 'id'>;
    }
  | { readonly kind: 'intend'; readonly call: number; readonly command: OperateCommand }
  | { readonly kind: 'done'; readonly call: number; readonly number: number }
  | { readonly kind: 'entrust'; readonly call: number; readonly text: string }
  | { readonly kind: 'run'; readonly call: number; readonly number: number }
  | { readonly kind: 'endings'; readonly call: number; readonly offset: number; readonly limit: number }
  | { readonly kind: 'close' };

export type FromOutbox =
  | {
      readonly kind: 'ready';
      readonly memory: Memory;
      readonly intents: readonly Intent[];
      readonly errands: readonly Errand[];
    }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'kept'; readonly calls: readonly number[] }
  | { readonly kind: 'numbered'; readonly call: number; readonly number: number }
  | { readonly kind: 'endings'; readonly call: number; readonly endings: readonly Ending[] }
  | {
      readonly kind: 'failed';
      readonly calls: readonly number[];
      readonly is_broken: boolean;
      readonly detail: string;
    }
  | { readonly kind: 'closed' };
