/** Pages of records, oldest first, as the control listener shows them. */
import type { MandateFilter, Page, Paging } from '../check/ports.ts';
import { type Lineage, effectiveState, ownOf } from '../core/mandate/life.ts';
import type { MandateRecord } from '../core/mandate/record.ts';
import type { Instant } from '../core/time.ts';

/** Whether a record may be seen is a policy's answer and costs time; beyond this the page ends short, with a cursor. */
const MAX_PASSED_OVER = 256;

export interface Pager {
  /** Records up to here were on pages before. */
  readonly after: number;
  /** The next record, in order of creation; true once the page is full. */
  readonly offer: (lineage: Lineage) => boolean;
  readonly page: () => Page;
}

/** The cursor is the log position of the last record looked at, so pages stay right while records are added. */
export function createPager(filter: MandateFilter, { limit, cursor, isSeen }: Paging, at: Instant): Pager {
  const after = cursor === undefined ? 0 : Number(cursor);
  let last = after;
  let looked = 0;
  let isFull = false;
  const items: MandateRecord[] = [];
  return {
    after,
    offer: (lineage) => {
      const record = ownOf(lineage);
      if (!matches(record, filter)) return false;
      if (filter.state !== undefined && effectiveState(lineage, at.wall_ms) !== filter.state) return false;
      looked += 1;
      // Only one more that may be seen is a next page: a cursor must not tell of others.
      const isShown = looked <= limit + MAX_PASSED_OVER && isSeen(lineage);
      isFull = looked > limit + MAX_PASSED_OVER || (items.length === limit && isShown);
      if (isFull) return true;
      if (items.length < limit) last = createdSeq(record);
      if (isShown) items.push(record);
      return false;
    },
    page: () => (isFull ? { items, next_cursor: String(last) } : { items }),
  };
}

/** Where in the log a record begins. */
export function createdSeq(record: MandateRecord): number {
  return record.history[0]!.seq;
}

function matches(record: MandateRecord, { subject, client_id, parent }: MandateFilter): boolean {
  return (
    (subject === undefined || record.subject.sub === subject) &&
    (client_id === undefined || record.client_id === client_id) &&
    (parent === undefined || record.parent === parent)
  );
}
