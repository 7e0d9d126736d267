/** How old a view may be, and whether it is young enough: the staleness judge. */
import { type Instant, elapsed } from './time.ts';
import type { Latch } from './replica.ts';
import type { Position } from './mandate/events.ts';

export type FreshnessSource = 'embedded' | 'barrier' | 'replica' | 'none';

/** What the view of mandate state can say for itself. */
export interface ViewProof {
  readonly source: Exclude<FreshnessSource, 'none'>;
  readonly position: Position;
  /** The moment at which the view is proven to have been all there was. */
  readonly proven: Instant;
  readonly latch: Latch | undefined;
  /** Nothing is proven yet: the reservation will, which holds only where the mandate is what this view shows. */
  readonly awaits_reservation?: true;
}

export interface Need {
  /** Milliseconds; 0 asks for a view proven current after the request arrived. */
  readonly budget_ms: number;
  readonly arrived: Instant;
}

export type Judgement =
  | { readonly fresh: true; readonly age_ms: number }
  | { readonly fresh: false; readonly age_ms: number; readonly why: string };

/** T1 and T2 of the design: budget 0 has seen all that returned before arrival; a budget N, all before now - N. */
export function judge(proof: ViewProof, need: Need, at: Instant): Judgement {
  const age_ms = elapsed(proof.proven, at);
  if (proof.latch !== undefined) return { fresh: false, age_ms, why: `the view is latched: ${proof.latch}` };
  if (need.budget_ms === 0 && proof.awaits_reservation !== true) {
    const isAfterArrival =
      proof.proven.mono_ms >= need.arrived.mono_ms && proof.proven.wall_ms >= need.arrived.wall_ms;
    return isAfterArrival
      ? { fresh: true, age_ms }
      : { fresh: false, age_ms, why: 'the view is not proven current since the request arrived' };
  }
  return age_ms <= need.budget_ms || proof.awaits_reservation === true
    ? { fresh: true, age_ms }
    : { fresh: false, age_ms, why: `the view is older than ${need.budget_ms} ms` };
}

/**
 * True where a view at `position` has seen what a freshness token stands for. A token of an epoch that is over was told
 * of before a failover: what was lost of it has been said again, or the mandate waits for a person.
 */
export function hasReached(position: Position, token: Position): boolean {
  if (position.epoch !== token.epoch) return position.epoch > token.epoch;
  return position.seq > token.seq || (position.seq === token.seq && position.eid === token.eid);
}
