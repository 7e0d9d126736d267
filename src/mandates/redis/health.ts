/** Whether anything may be decided from, and written to, the store now. */
import type { StoreHealth } from '../../check/ports.ts';
import type { Standing } from './open.ts';
import type { Recovering } from './recovering.ts';
import type { View } from './view.ts';

/** Denied until it is over; for good where this sidecar could not remember what it sees end. */
export function healthOf(
  view: View,
  recovering: Recovering,
  refusal: string | undefined,
  { guard, links, outbox }: Standing,
): StoreHealth {
  const detail =
    guard.trouble() ??
    latchOf(view, recovering) ??
    (links.beat.run() === undefined ? 'the store cannot be reached' : refusal);
  if (outbox.isBroken()) return { ok: false, fatal: true, detail: OUTBOX_FAILED };
  return detail === undefined ? { ok: true } : { ok: false, fatal: false, detail };
}

export const OUTBOX_FAILED = 'the outbox failed for good';

function latchOf(view: View, recovering: Recovering): string | undefined {
  const { latch } = view.state();
  if (latch === undefined) return undefined;
  const stuck = recovering.stuck();
  return `the replica latched: ${latch}${stuck === undefined ? '' : ` (${stuck})`}`;
}
