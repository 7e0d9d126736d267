/** The life of a mandate: which state holds now, which transitions exist, and what each asks of those who act on it. */
import { parseTime } from '../time.ts';
import { conditionedState } from './condition-standing.ts';
import { ACTION_CLASSES, type ActionClass } from '../classes.ts';
import type { AskedOperation, MandateRecord, MandateState, Revocation } from './record.ts';

/** Root first, the mandate itself last; never empty. */
export type Lineage = readonly [MandateRecord, ...MandateRecord[]];

export function ownOf(lineage: Lineage): MandateRecord {
  return lineage[lineage.length - 1]!;
}

/** The lineage of a record as it is stored; undefined while an ancestor is not there. */
export function lineageOf(
  record: MandateRecord,
  lookup: (id: string) => MandateRecord | undefined,
): Lineage | undefined {
  if (record.lineage.length === 1) return [record];
  const ancestors = record.lineage.slice(0, -1).map(lookup);
  return ancestors.includes(undefined) ? undefined : ([...ancestors, record] as unknown as Lineage);
}

/** When a mandate ends by itself, epoch ms: as approved, or sooner where it was shortened. Unreadable is at once. */
export function ownEnd({ expires_at, overlay }: MandateRecord): number {
  const approved = parseTime(expires_at) ?? -Infinity;
  return overlay.expires_at === undefined
    ? approved
    : Math.min(approved, parseTime(overlay.expires_at) ?? -Infinity);
}

/** When a mandate that goes on as it is has ended by itself, epoch ms: by its end, or by that of its suspension. */
export function endsBy(record: MandateRecord): number {
  const { state, suspend_until, on_expiry } = record;
  const isDoomed = state === 'suspended' && suspend_until !== undefined && on_expiry === 'revoke';
  return isDoomed ? Math.min(ownEnd(record), parseTime(suspend_until) ?? Infinity) : ownEnd(record);
}

/** The earliest end of a mandate and its ancestors, epoch ms. */
export function effectiveEnd(lineage: Lineage): number {
  return Math.min(...lineage.map(ownEnd));
}

/**
 * The state of one mandate at `wall_ms` by itself. Expiry is tested before what is stored, but a stored terminal state
 * stays what it was; a suspension with an end has the outcome that it was given.
 */
export function ownState(record: MandateRecord, wall_ms: number): MandateState {
  const { state, suspend_until, on_expiry } = record;
  if (isTerminal(state)) return state;
  const ends = ownEnd(record);
  const until = state === 'suspended' && suspend_until !== undefined ? parseTime(suspend_until) : undefined;
  // Of two ends the first is the one that came.
  if (wall_ms >= ends && (until === undefined || on_expiry !== 'revoke' || ends <= until)) return 'expired';
  if (until === undefined || wall_ms < until) return state;
  return on_expiry === 'resume' ? 'active' : 'revoked';
}

/** The same with what its conditions make of it, its ancestors aside. */
export function standingState(record: MandateRecord, wall_ms: number): MandateState {
  const own = ownState(record, wall_ms);
  return isTerminal(own) ? own : (conditionedState(record, wall_ms) ?? own);
}

/** The state that counts: an ancestor that ended makes the child `cascaded`, one that is suspended suspends it. */
export function effectiveState(lineage: Lineage, wall_ms: number): MandateState {
  const own = standingState(ownOf(lineage), wall_ms);
  if (isTerminal(own) || lineage.length === 1) return own;
  const ancestors = lineage.slice(0, -1).map((record) => standingState(record, wall_ms));
  if (ancestors.some(isTerminal)) return 'cascaded';
  return ancestors.includes('suspended') ? 'suspended' : own;
}

export function isTerminal(state: MandateState): boolean {
  return state !== 'active' && state !== 'suspended';
}

/** The four stop problems, apart. */
interface Stops {
  readonly stop_issuance: boolean;
  readonly revoke_tokens: boolean;
  readonly cancel_queued: boolean;
  readonly interrupt_in_flight: boolean;
}

/** What those who act under a mandate must do: the four stop problems, and two things that are not stops. */
export interface Stop extends Stops {
  readonly pause: boolean;
  readonly reevaluate: boolean;
  /** Classes that the record's `revocation` spares something; the members above are the widest over all classes. */
  readonly by_class?: Readonly<Partial<Record<ActionClass, Stops>>>;
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

export function stopFor(state: MandateState, revocation?: Revocation): Stop {
  // A state written by a newer build is unknown here, and unknown means ended.
  const stop = (STOPS as Readonly<Record<string, Stop>>)[state] ?? END;
  return revocation === undefined || !SPARING.has(state) ? stop : spared(stop, revocation);
}

/** Endings that come over the work from outside; the others say themselves what is finished. */
const SPARING: ReadonlySet<MandateState> = new Set(['revoked', 'cascaded', 'expired']);

/** `revocation` may spare a class something that the ending would stop; it never stops more. */
function spared(stop: Stop, revocation: Revocation): Stop {
  const of = (name: ActionClass): Stops => {
    const { issuance, tokens, queued, in_flight } = revocation[name] ?? {};
    return {
      stop_issuance: stop.stop_issuance && issuance !== false,
      revoke_tokens: stop.revoke_tokens && tokens !== false,
      cancel_queued: stop.cancel_queued && queued !== false,
      interrupt_in_flight: stop.interrupt_in_flight && in_flight !== false,
    };
  };
  const all = ACTION_CLASSES.map(of);
  const refined = ACTION_CLASSES.filter((name) => revocation[name] !== undefined);
  return {
    ...stop,
    stop_issuance: all.some((each) => each.stop_issuance),
    revoke_tokens: all.some((each) => each.revoke_tokens),
    cancel_queued: all.some((each) => each.cancel_queued),
    interrupt_in_flight: all.some((each) => each.interrupt_in_flight),
    by_class: Object.fromEntries(refined.map((name) => [name, of(name)])),
  };
}

interface Transition {
  readonly from: readonly MandateState[];
  /** The state it leads to; undefined where it stays what it is. */
  readonly to?: MandateState;
  /** Where the mandate is in `to` already: succeed and change nothing. */
  readonly repeatable: boolean;
  /** `expected_version` must be given: these operations give back or extend authority. */
  readonly needs_version: boolean;
  /** Takes authority away, so that what is under way must be judged again. */
  readonly narrows: boolean;
}

const LIVING: readonly MandateState[] = ['active', 'suspended'];
const NARROWING: Transition = { from: LIVING, repeatable: false, needs_version: false, narrows: true };

/** Every operation on a mandate (design/2, Life; design/8, Operations). Nothing leads out of a terminal state. */
export const TRANSITIONS: Readonly<Record<AskedOperation, Transition>> = {
  suspend: { from: LIVING, to: 'suspended', repeatable: true, needs_version: false, narrows: false },
  resume: { from: ['suspended'], to: 'active', repeatable: false, needs_version: true, narrows: false },
  contain: NARROWING,
  discharge: NARROWING,
  tighten: NARROWING,
  shorten: NARROWING,
  extend: { from: ['active'], repeatable: false, needs_version: true, narrows: false },
  amend: { from: LIVING, repeatable: false, needs_version: true, narrows: true },
  // Asks for a successor; the mandate stays what it is until that is approved.
  renew: { from: ['active'], repeatable: false, needs_version: true, narrows: false },
  complete: { from: LIVING, to: 'completed', repeatable: true, needs_version: false, narrows: false },
  revoke: { from: LIVING, to: 'revoked', repeatable: true, needs_version: false, narrows: false },
};

/** True of an operation after which there is no other. */
export function isEndingBy(operation: AskedOperation): boolean {
  const { to } = TRANSITIONS[operation];
  return to !== undefined && isTerminal(to);
}

/** What must be done after an operation, for the whole mandate. */
export function stopAfter(operation: AskedOperation, state: MandateState, revocation?: Revocation): Stop {
  const stop = stopFor(state, revocation);
  // A resume has every held item judged again, a narrowing everything that may have fallen outside.
  return operation === 'resume' || TRANSITIONS[operation].narrows ? { ...stop, reevaluate: true } : stop;
}
