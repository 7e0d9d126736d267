/** Whether a condition holds at a moment, from the last that was seen of it. */
import { formatTime, parseTime } from '../time.ts';
import type { Condition, MandateRecord, Observation } from './record.ts';

/** `unseen`: nothing was ever seen of it, so that nothing has been lost either. */
export type Standing = 'holds' | 'unseen' | 'false' | 'stale';

export function standingOf(condition: Condition, wall_ms: number): Standing {
  if (condition.last === undefined) return 'unseen';
  if (isStale(condition, wall_ms)) return 'stale';
  return condition.last.value === condition.expect ? 'holds' : 'false';
}

/** Something was seen of it, too long ago. */
export function isStale({ last, max_stale_s }: Condition, wall_ms: number): boolean {
  return last !== undefined && wall_ms - (parseTime(last.observed_at) ?? -Infinity) > max_stale_s * 1000;
}

/** What the conditions of a record make of it by themselves; undefined where they leave it as it is. */
export function conditionedState(
  { conditions = [], parent }: MandateRecord,
  wall_ms: number,
): 'revoked' | 'suspended' | undefined {
  // A child has them from its root, and follows it.
  if (parent !== undefined) return undefined;
  const failing = conditions.filter((each) => standingOf(each, wall_ms) !== 'holds');
  const isLost = failing.some((each) => each.on_false === 'revoke' && each.last !== undefined);
  if (isLost) return 'revoked';
  // What was never seen cannot be relied on, whatever it is to do later.
  const isHeld = failing.some((each) => each.on_false !== 'contain' || each.last === undefined);
  return isHeld ? 'suspended' : undefined;
}

/** Entries of a mandate, or of one above it, are withdrawn while a condition that contains does not hold. */
export function isWithheld(lineage: readonly MandateRecord[], wall_ms: number): boolean {
  return lineage.some(({ conditions = [] }) =>
    conditions.some((each) => each.on_false === 'contain' && isFailing(standingOf(each, wall_ms))),
  );
}

function isFailing(standing: Standing): boolean {
  return standing === 'false' || standing === 'stale';
}

/** When something was seen, epoch ms: not later than it was reported. */
export function seenAt({ observed_at, received_at }: Observation): number {
  return Math.min(parseTime(observed_at) ?? -Infinity, parseTime(received_at) ?? -Infinity);
}

/** True where `next` says more of now than `last`: what is seen at the same moment is as it was reported last. */
export function isLaterOrSame(next: Observation, last: Observation | undefined): boolean {
  return last === undefined || seenAt(next) >= seenAt(last);
}

/** The record with the last that was seen of each of its conditions. */
export function withObservations(
  record: MandateRecord,
  find: (event_type: string, key: string) => Observation | undefined,
): MandateRecord {
  if (record.conditions === undefined) return record;
  const conditions = record.conditions.map((each): Condition => {
    const { last: _last, ...condition } = each;
    const seen = find(condition.event_type, condition.key);
    if (seen === undefined) return condition;
    return { ...condition, last: { value: seen.value, observed_at: formatTime(seenAt(seen)) } };
  });
  return { ...record, conditions };
}
