/** Decisions that are kept with their mandate until what came of them is known: repeats, budgets, approvals of one action. */
import type { ActionClass } from '../classes.ts';
import type { CredentialFact } from '../credential.ts';
import type { JsonObject } from '../json.ts';
import type { NextAction, Reason } from '../reasons.ts';
import type { CheckPoint, Door } from '../check-points.ts';
import { parseTime } from '../time.ts';
import type { Party } from './record.ts';
import type { Charge } from './usage.ts';

export const OUTCOMES = ['completed', 'failed', 'unknown'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export type DecisionStatus = 'decided' | Outcome;

/** Who was given the decision, and who alone may renew or commit it. */
export interface Caller {
  readonly credential?: { readonly issuer: string; readonly client_id: string; readonly subject: string };
  /** Principal of the control policies: `Operator::"local"`. */
  readonly principal?: string;
}

export interface StoredDecision {
  readonly decision_id: string;
  readonly mandate: string;
  readonly check_point: CheckPoint;
  readonly door: Door;
  readonly caller: Caller;
  readonly action: { readonly name: string; readonly class: ActionClass };
  readonly resource: string;
  /** Digest of the normalised parameters, also of a read. */
  readonly binding: string;
  /** The parameters themselves, for a renewal; absent where they are too large to keep. */
  readonly parameters?: JsonObject;
  /** Digest of the idempotency key and its scope; the key itself is not kept. */
  readonly key?: string;
  /** When the key stops standing for this decision, RFC 3339; absent: never. */
  readonly key_until?: string;
  /** The approval of this one action that it used up. */
  readonly approval?: string;
  readonly charge: Charge;
  /** Until when running time is paid for, RFC 3339; only under a bound of duration. */
  readonly leased_until?: string;
  readonly decided_at: string;
  /** When it becomes `unknown` by itself, RFC 3339; only of the classes that cannot be undone. */
  readonly settle_by?: string;
  readonly status: DecisionStatus;
  readonly settled_at?: string;
  readonly settled_by?: Party;
}

interface LifeRow {
  /** The same question again: is it checked anew, or suppressed? */
  readonly asked_again: 'checked_anew' | 'suppressed';
  /** What the caller of a suppressed one should do. */
  readonly next_action: Extract<NextAction, 'none' | 'retry'>;
  readonly settles_to: readonly Outcome[];
}

/** The life of a decision (design/2, Parameters, repeats, approvals). */
export const DECISION_LIFE: Readonly<Record<DecisionStatus, LifeRow>> = {
  decided: {
    asked_again: 'checked_anew',
    next_action: 'none',
    settles_to: ['completed', 'failed', 'unknown'],
  },
  unknown: { asked_again: 'suppressed', next_action: 'retry', settles_to: ['completed', 'failed'] },
  completed: { asked_again: 'suppressed', next_action: 'none', settles_to: [] },
  failed: { asked_again: 'suppressed', next_action: 'none', settles_to: [] },
};

/** The status that counts at `wall_ms`: one that should have been settled by then is unknown, stored or not. */
export function standingStatus({ status, settle_by }: StoredDecision, wall_ms: number): DecisionStatus {
  if (status !== 'decided' || settle_by === undefined) return status;
  return wall_ms >= (parseTime(settle_by) ?? -Infinity) ? 'unknown' : status;
}

export function callerOf(credential: CredentialFact, principal: string | undefined): Caller {
  const own =
    credential.verdict === 'usable'
      ? {
          credential: {
            issuer: credential.issuer,
            client_id: credential.client_id,
            subject: credential.subject,
          },
        }
      : {};
  return principal === undefined ? own : { ...own, principal };
}

/** The same credential's owner, or the same principal of the control policies. */
export function isSameCaller(a: Caller, b: Caller): boolean {
  if (a.principal !== undefined && a.principal === b.principal) return true;
  const [one, other] = [a.credential, b.credential];
  return (
    one !== undefined &&
    other !== undefined &&
    one.issuer === other.issuer &&
    one.client_id === other.client_id &&
    one.subject === other.subject
  );
}

/** What a reservation or a settlement came to. */
export type Reserved =
  | { readonly outcome: 'held'; readonly decision: StoredDecision }
  /** The mandate is not what the decision was made from: it must be made again. */
  | { readonly outcome: 'moved' }
  /** There is no such decision, or it is another caller's: one answer. */
  | { readonly outcome: 'unknown_decision' }
  | {
      readonly outcome: 'refused';
      readonly reason: Reason;
      readonly detail: string;
      readonly next_action?: NextAction;
    };
