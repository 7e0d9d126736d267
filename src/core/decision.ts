/** The decision: one shape for answers, deny bodies and the decision log. */
import type { Chain } from './actors.ts';
import type { ActionClass } from './classes.ts';
import type { ClassSource } from './action-table.ts';
import type { ProofFault, SenderConstraint } from './credential.ts';
import type { FreshnessSource } from './freshness.ts';
import type { Stop } from './mandate/life.ts';
import type { AuthorityEntry, MandateState } from './mandate/record.ts';
import type { EngineAnswer } from './policy.ts';
import type { ControlReason, NextAction, Reason } from './reasons.ts';
import type { MissionClaim, NamedBy } from './reference.ts';
import type { CheckPoint } from './check-points.ts';

export interface CredentialPart {
  readonly verdict: 'usable' | 'unusable' | 'unverifiable' | 'not_presented' | 'not_evaluated';
  readonly reason?: Reason;
  readonly issuer?: string;
  readonly subject?: string;
  readonly client_id?: string;
  readonly expires_at?: string;
  /** The actors behind it, oldest first; the last one acts now. */
  readonly actors?: Chain;
  /** How it was proven to be its holder's; absent of an unbound bearer token. */
  readonly bound_by?: readonly SenderConstraint[];
  /** What was wrong with the DPoP proof, and the nonce that the next one must have (RFC 9449 sections 7.1 and 9). */
  readonly dpop_error?: ProofFault['error'];
  readonly dpop_nonce?: string;
}

export interface MandatePart {
  readonly verdict: 'legitimate' | 'illegitimate' | 'unproven' | 'not_required' | 'not_evaluated';
  readonly reason?: Reason;
  readonly id?: string;
  readonly state?: MandateState;
  readonly version?: number;
  readonly lineage?: readonly string[];
  readonly named_by?: NamedBy;
}

export interface EnginePart {
  readonly decision: EngineAnswer['decision'];
  readonly determining: readonly string[];
  readonly errors?: readonly string[];
}

export interface RequestPart {
  readonly verdict: 'permitted' | 'forbidden' | 'undetermined' | 'not_evaluated';
  readonly reason?: Reason;
  readonly engines?: Readonly<Record<string, EnginePart>>;
}

export type FreshnessPart = Unsafe &
  (
    | { readonly source: 'none' }
    | {
        readonly source: Exclude<FreshnessSource, 'none'>;
        readonly epoch: number;
        readonly seq: number;
        readonly eid: string;
        readonly as_of: string;
        readonly age_ms: number;
        readonly budget_ms: number;
      }
  );

interface Unsafe {
  /** A store that was asked for although it is not safe (design/8, Freshness): what is not as it must be. */
  readonly unsafe_store?: readonly string[];
}

export interface Decision {
  readonly decision_id: string;
  readonly effect: 'allow' | 'deny';
  /** Only of a deny. */
  readonly reason?: Reason;
  /** For people; carries no secret and nothing of a mandate that is not the caller's. */
  readonly detail?: string;
  readonly check_point: CheckPoint;
  readonly credential: CredentialPart;
  readonly mandate: MandatePart;
  readonly request: RequestPart;
  readonly action: { readonly name: string; readonly class: ActionClass; readonly class_source: ClassSource };
  readonly resource?: string;
  readonly entry_digest?: string;
  readonly parameter_digest?: string;
  /** The approval of this one action that it rests on. */
  readonly approval?: string;
  readonly policy_revision: string;
  readonly freshness: FreshnessPart;
  readonly stop: Stop;
  /** Of a delegation that is refused: the reason that creating the child would get. */
  readonly child?: { readonly reason: ControlReason; readonly field?: string };
  /** Of an issuance: what the token may carry, until when at most, and the version that it is of. */
  readonly authorization_details?: readonly AuthorityEntry[];
  readonly max_exp?: string;
  readonly version?: number;
  /** The claim that names the mandate in the token, and by which it joins. */
  readonly mission?: MissionClaim;
  /** Of an issuance that is refused: the OAuth error, and what became of the mission where it has ended. */
  readonly error?: 'invalid_grant' | 'invalid_authorization_details' | 'temporarily_unavailable';
  readonly mission_error?: string;
  /** Of a drain: one answer for each item. */
  readonly items?: readonly DrainItem[];
  readonly obligations: readonly never[];
  readonly next_action: NextAction;
  /**
   * Until when it may be relied on, RFC 3339: of a deny its own moment, since the next question is judged anew. Absent
   * where no mandate was judged.
   */
  readonly valid_until?: string;
  readonly evaluated_at: string;
}

/** One queued item of a drain. */
export interface DrainItem {
  readonly id: string;
  readonly effect: 'allow' | 'hold' | 'cancel';
  readonly reason?: Reason;
  readonly decision_id: string;
}

/** A decision as it was recorded: which sidecar made it, and as its how manieth. */
export interface RecordedDecision extends Decision {
  readonly emitter: string;
  readonly sequence: number;
}
