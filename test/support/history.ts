/**
 * What a test has seen of a fleet from outside, and whether a fleet that keeps its promises (design/3, Why it is right)
 * could have shown it. Each mandate is a monotone register: once it has ended it has ended for ever.
 *
 * Nothing here trusts what a sidecar says of time: calls are timed by the test that makes them.
 */
import type { Instant } from '../../src/core/time.ts';

/** A place in the log, as answers name it. */
export interface Place {
  readonly epoch: number;
  readonly seq: number;
  readonly eid: string;
}

/** A write that ends mandates. Without `ended` no answer came: it may take effect at any later moment, or never. */
export interface Write {
  readonly kind: 'write';
  /** The mandates that it ends. */
  readonly ends: readonly string[];
  readonly began: Instant;
  readonly ended?: Instant;
  /** `unknown` also where the answer leaves it open: nothing can be concluded from it. */
  readonly outcome: 'ok' | 'refused' | 'unknown';
  readonly place?: Place;
}

export interface Check {
  readonly kind: 'check';
  /** One process: its view may not go back. */
  readonly sidecar: string;
  readonly mandate: string;
  /** The staleness budget of its class. */
  readonly budget_ms: number;
  readonly began: Instant;
  readonly ended?: Instant;
  readonly effect?: 'allow' | 'deny';
  /** Of the mandate, as it was shown: only where the view was proven. */
  readonly state?: string;
  readonly freshness?: Freshness;
  /** The sidecar's wall clock is not the test's. */
  readonly is_clock_own?: boolean;
}

export interface Freshness extends Place {
  readonly source: string;
  readonly as_of_ms: number;
  readonly evaluated_ms: number;
  readonly age_ms: number;
  readonly budget_ms: number;
}

export type Seen = Write | Check;

/** What is there when all is over. */
export interface Final {
  readonly ended: ReadonlySet<string>;
  /** `eid` by `EPOCH-SEQ`, of every entry that is kept. */
  readonly log: ReadonlyMap<string, string>;
}

export type Rule =
  | 'late allow' // T1 and T2: a mandate that had ended, longer ago than the class's budget
  | 'unproven allow' // without a view whose proof the class demands
  | 'false age' // freshness fields that contradict themselves or the clock
  | 'incomplete view' // what was in the log before `as_of` is not in the view
  | 'gone back' // a sidecar whose view is behind what it has shown
  | 'two histories' // one place in the log, two entries
  | 'lost' // acknowledged, and not there
  | 'end of nothing'; // a mandate that nobody has ended

/** `at`: the index of the operation that cannot be explained. */
export interface Fault {
  readonly rule: Rule;
  readonly at: number;
  readonly why: string;
}

const TERMINAL = new Set(['revoked', 'expired', 'completed', 'superseded', 'cascaded']);

export const isEnd = (state: string | undefined): boolean => state !== undefined && TERMINAL.has(state);
export const placeName = ({ epoch, seq }: Omit<Place, 'eid'>): string => `${epoch}-${seq}`;
/** Places of one history, in its order. */
export const isBefore = (a: Place, b: Place): boolean =>
  a.epoch < b.epoch || (a.epoch === b.epoch && a.seq < b.seq);

/** Where an operation shows the log to be. */
export function placeOf(seen: Seen): Place | undefined {
  if (seen.kind === 'check') return seen.freshness;
  return seen.outcome === 'ok' ? seen.place : undefined;
}

/** The mandates that an answer shows to have ended. */
export function endsOf(seen: Seen): readonly string[] {
  if (seen.kind === 'write') return seen.outcome === 'ok' ? seen.ends : [];
  return isEnd(seen.state) ? [seen.mandate] : [];
}

/** A check's view was found good enough, whatever it then said. */
export const isJudged = ({ effect, state }: Check): boolean => effect === 'allow' || state !== undefined;
