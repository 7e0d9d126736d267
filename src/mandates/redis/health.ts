/** Whether anything may be decided from, and written to, the store now. */
import type { StoreHealth } from '../../check/ports.ts';
import type { Standing } from './open.ts';
import type { Recovering } from './recovering.ts';
import type { View } from './view.ts';

export const OUTBOX_FAILED = 'the outbox failed for good';

/** Denied until it is over; for good where this sidecar could not remember what it sees end. `refusal`: of heartbeats. */
export function healthOf(
  view: View,
  recovering: Recovering,
  refusal: string | undefined,
  standing: Standing,
): StoreHealth {
  const { links, outbox } = standing;
  const away = links.beat.run() === undefined ? 'the store cannot be reached' : refusal;
  const detail = troubleOf(view, recovering, standing) ?? away;
  return detail === undefined ? { ok: true } : { ok: false, fatal: outbox.isBroken(), detail };
}

/** Why nothing may be written, whether or not the server takes it. */
export function troubleOf(
  view: View,
  recovering: Recovering,
  { guard, outbox }: Standing,
): string | undefined {
  if (outbox.isBroken()) return OUTBOX_FAILED;
  return guard.trouble() ?? latchOf(view, recovering);
}

function latchOf(view: View, recovering: Recovering): string | undefined {
  const { latch } = view.state();
  if (latch === undefined) return undefined;
  const stuck = recovering.stuck();
  return `the replica latched: ${latch}${stuck === undefined ? '' : ` (${stuck})`}`;
}
