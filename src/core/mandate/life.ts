/** The life of a mandate: which state holds now, which transitions exist, and what each asks of those who act on it. */
import { parseTime } from '../time.ts';
import type { MandateRecord, MandateState, Operation } from './record.ts';

/** Root first, the mandate itself last; never empty. */
export type Lineage = readonly [MandateRecord, ...MandateRecord[]];

export function ownOf(lineage: Lineage): MandateRecord {
  return lineage[lineage.length - 1]!;
}

/** The earliest end of a mandate and its ancestors, epoch ms. An unreadable time ends at once. */
export function effectiveEnd(lineage: Lineage): number {
  let end = Infinity;
  for (const record of lineage) end = Math.min(end, parseTime(record.expires_at) ?? -Infinity);
  return end;
}

/**
 * The state that counts at `wall_ms`. Expiry is tested before what is stored, but a stored terminal state stays what
 * it was; an ancestor that ended makes the child `cascaded`, one that is suspended suspends it.
 */
export function effectiveState(lineage: Lineage, wall_ms: number): MandateState {
  const own = ownOf(lineage);
  if (isTerminal(own.state)) return own.state;
  if (hasEnded(own, wall_ms)) return 'expired';
  const ancestors = lineage.slice(0, -1);
  if (ancestors.some((record) => isTerminal(record.state) || hasEnded(record, wall_ms))) return 'cascaded';
  // An ancestor in a state this build does not know is not active, so nothing below it is.
  if (lineage.some((record) => record.state !== 'active')) return 'suspended';
  return 'active';
}

function hasEnded(record: MandateRecord, wall_ms: number): boolean {
  return wall_ms >= (parseTime(record.expires_at) ?? -Infinity);
}

export function isTerminal(state: MandateState): boolean {
  return state !== 'active' && state !== 'suspended';
}

/** What those who act under a mandate must do: the four stop problems apart, and two that are not stops. */
export interface Stop {
  readonly stop_issuance: boolean;
  readonly revoke_tokens: boolean;
  readonly cancel_queued: boolean;
  readonly interrupt_in_flight: boolean;
  readonly pause: boolean;
  readonly reevaluate: boolean;
}

const NO_STOP: Stop = {
  stop_issuance: false,
  revoke_tokens: false,
  cancel_queued: false,
  interrupt_in_flight: false,
  pause: false,
  reevaluate: false,
};
const END: Stop = {
  ...NO_STOP,
  stop_issuance: true,
  revoke_tokens: true,
  cancel_queued: true,
  interrupt_in_flight: true,
};

/** The consequences of standing in a state, for the whole mandate. */
const STOPS: Readonly<Record<MandateState, Stop>> = {
  active: NO_STOP,
  suspended: { ...NO_STOP, stop_issuance: true, pause: true },
  revoked: END,
  cascaded: END,
  // Tokens are capped by the same end, so there is nothing left to revoke.
  expired: { ...END, revoke_tokens: false },
  // What was committed is finished, and nothing new is started.
  completed: { ...END, interrupt_in_flight: false },
  // Queued work moves to the successor after a check; work in flight finishes inside its permit.
  superseded: { ...NO_STOP, stop_issuance: true, revoke_tokens: true, reevaluate: true },
};

export function stopFor(state: MandateState): Stop {
  // A state written by a newer build is unknown here, and unknown means ended.
  return (STOPS as Readonly<Record<string, Stop>>)[state] ?? END;
}

/** What must be done after an operation: a resume asks for every held item to be judged again. */
export function stopAfter(operation: Operation, state: MandateState): Stop {
  return operation === 'resume' ? { ...NO_STOP, reevaluate: true } : stopFor(state);
}

interface Transition {
  readonly from: readonly MandateState[];
  readonly to: MandateState;
  /** The operation on a mandate that is in `to` already changes nothing and succeeds. */
  readonly repeatable: boolean;
  /** `expected_version` must be given: these operations give back or extend authority. */
  readonly needs_version: boolean;
}

/** Every transition of a mandate after its approval. Nothing leads out of a terminal state. */
export const TRANSITIONS: Readonly<Record<Exclude<Operation, 'approve'>, Transition>> = {
  suspend: { from: ['active'], to: 'suspended', repeatable: true, needs_version: false },
  resume: { from: ['suspended'], to: 'active', repeatable: false, needs_version: true },
  revoke: { from: ['active', 'suspended'], to: 'revoked', repeatable: true, needs_version: false },
};
