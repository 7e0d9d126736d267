/** What the writer thread and the process say to each other. Everything here crosses by structured clone. */
import type { Committed, LogPage, LogPlace } from '../../check/ports.ts';
import type { LogEntry, Position } from '../../core/mandate/events.ts';
import type { Command, Refusal } from '../../core/mandate/commands.ts';
import type { MandateRecord, Observation, Proposal } from '../../core/mandate/record.ts';
import type { StoredDecision } from '../../core/mandate/stored-decision.ts';

export interface WriterOptions {
  readonly file: string;
  readonly issuer: string;
}

export type ToWriter =
  | { readonly kind: 'write'; readonly call: number; readonly command: Command }
  | { readonly kind: 'proposal'; readonly call: number; readonly submission_id: string }
  | { readonly kind: 'decision'; readonly call: number; readonly decision_id: string }
  | { readonly kind: 'version'; readonly call: number; readonly id: string; readonly version: number }
  | { readonly kind: 'entries'; readonly call: number; readonly after: LogPlace; readonly limit: number }
  | { readonly kind: 'close' };

export type WriterResult = Committed | ({ readonly ok: false } & Refusal);

export type FromWriter =
  | {
      readonly kind: 'loaded';
      readonly records: readonly MandateRecord[];
      readonly observations: readonly Observation[];
    }
  | { readonly kind: 'ready'; readonly position: Position }
  | { readonly kind: 'refused'; readonly detail: string }
  /** One commit: what it appended, then what each command in it came to. */
  | {
      readonly kind: 'committed';
      readonly entries: readonly LogEntry[];
      readonly results: readonly { readonly call: number; readonly result: WriterResult }[];
    }
  /** Nothing of these commands is on disk. `fatal`: the file is never written again. */
  | {
      readonly kind: 'not_committed';
      readonly calls: readonly number[];
      readonly fatal: boolean;
      readonly detail: string;
    }
  | { readonly kind: 'disk_full' }
  | { readonly kind: 'writable_again' }
  | { readonly kind: 'proposal'; readonly call: number; readonly proposal: Proposal | undefined }
  | { readonly kind: 'decision'; readonly call: number; readonly decision: StoredDecision | undefined }
  | { readonly kind: 'version'; readonly call: number; readonly record: MandateRecord | undefined }
  | { readonly kind: 'entries'; readonly call: number; readonly page: LogPage }
  | { readonly kind: 'closed' };
