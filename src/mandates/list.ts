/** Pages of records, oldest first, as the control listener shows them. */
import type { MandateFilter, Page } from '../check/ports.ts';
import { effectiveState, lineageOf } from '../core/mandate/life.ts';
import type { MandateRecord } from '../core/mandate/record.ts';
import type { Instant } from '../core/time.ts';
import type { Follower } from './follower.ts';

/** The cursor is the log position of the last record shown, so pages stay right while records are added. */
export function listRecords(
  follower: Follower,
  filter: MandateFilter,
  limit: number,
  cursor: string | undefined,
  at: Instant,
): Page {
  const after = cursor === undefined ? 0 : Number(cursor);
  const items: MandateRecord[] = [];
  for (const record of follower.records()) {
    if (createdSeq(record) <= after || !matches(record, filter, follower, at)) continue;
    if (items.length === limit) return { items, next_cursor: String(createdSeq(items.at(-1)!)) };
    items.push(record);
  }
  return { items };
}

function createdSeq(record: MandateRecord): number {
  return record.history[0]!.seq;
}

function matches(record: MandateRecord, filter: MandateFilter, follower: Follower, at: Instant): boolean {
  const { subject, client_id, state, parent } = filter;
  if (subject !== undefined && record.subject.sub !== subject) return false;
  if (client_id !== undefined && record.client_id !== client_id) return false;
  if (parent !== undefined && record.parent !== parent) return false;
  if (state === undefined) return true;
  const lineage = lineageOf(record, follower.record);
  return lineage !== undefined && effectiveState(lineage, at.wall_ms) === state;
}
