/** Pages of records, oldest first, as the control listener shows them. */
import type { MandateFilter, Page, Paging } from '../check/ports.ts';
import { effectiveState, lineageOf } from '../core/mandate/life.ts';
import type { MandateRecord } from '../core/mandate/record.ts';
import type { Instant } from '../core/time.ts';
import type { Follower } from './follower.ts';

/** Whether a record may be seen is a policy's answer and costs time; beyond this the page ends short, with a cursor. */
const MAX_PASSED_OVER = 256;

/** The cursor is the log position of the last record looked at, so pages stay right while records are added. */
export function listRecords(
  follower: Follower,
  filter: MandateFilter,
  { limit, cursor, isSeen }: Paging,
  at: Instant,
): Page {
  let last = cursor === undefined ? 0 : Number(cursor);
  const after = last;
  let looked = 0;
  const items: MandateRecord[] = [];
  for (const record of follower.records()) {
    if (createdSeq(record) <= after || !matches(record, filter)) continue;
    const lineage = lineageOf(record, follower.record);
    if (lineage === undefined) continue;
    if (filter.state !== undefined && effectiveState(lineage, at.wall_ms) !== filter.state) continue;
    if (looked === limit + MAX_PASSED_OVER) return { items, next_cursor: String(last) };
    looked += 1;
    // Only one more that may be seen is a next page: a cursor must not tell of others.
    const isShown = isSeen(lineage);
    if (items.length === limit && isShown) return { items, next_cursor: String(last) };
    if (items.length < limit) last = createdSeq(record);
    if (isShown) items.push(record);
  }
  return { items };
}

function createdSeq(record: MandateRecord): number {
  return record.history[0]!.seq;
}

function matches(record: MandateRecord, { subject, client_id, parent }: MandateFilter): boolean {
  return (
    (subject === undefined || record.subject.sub === subject) &&
    (client_id === undefined || record.client_id === client_id) &&
    (parent === undefined || record.parent === parent)
  );
}
