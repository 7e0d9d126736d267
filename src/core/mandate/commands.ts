/** What can be asked of a store, and what a command comes to before it is committed. */
import type { JsonObject } from '../json.ts';
import type { ControlReason } from '../reasons.ts';
import type { Lookup, MandateEvent, Position } from './events.ts';
import type {
  AskedOperation,
  AuthorityEntry,
  Digest,
  Intent,
  MandateState,
  Observation,
  Party,
  ProposalTerms,
} from './record.ts';
import type { Caller, Outcome, Reserved, StoredDecision } from './stored-decision.ts';
import type { Budget } from './usage.ts';

interface Attributed {
  readonly by: Party;
  /** The writer's clock when the command arrived, epoch ms. */
  readonly at_ms: number;
}

export interface ProposeCommand
  extends
    Attributed,
    Pick<
      ProposalTerms,
      | 'submission_id'
      | 'intent'
      | 'authorization_details'
      | 'subject'
      | 'client_id'
      | 'client_issuer'
      | 'revocation'
      | 'conditions'
    > {
  readonly kind: 'propose';
}

export interface ApproveCommand extends Attributed {
  readonly kind: 'approve';
  readonly submission_id: string;
  readonly proposal_hash: string;
  /** What the new mandate is called; drawn by the caller, 128 bits of entropy or more. */
  readonly mandate_id: string;
  readonly approval_event_id: string;
  readonly policy_version: string;
  readonly authorization_details?: readonly AuthorityEntry[];
  readonly expires_at?: string;
}

export interface DenyCommand extends Attributed {
  readonly kind: 'deny';
  readonly submission_id: string;
  readonly reason?: string;
}

/** A child of a mandate: an actor of its own, with no more than its parent has now. */
export interface DeriveCommand extends Attributed {
  readonly kind: 'derive';
  readonly parent: string;
  readonly mandate_id: string;
  readonly client_id: string;
  readonly client_issuer?: string;
  readonly authorization_details: readonly AuthorityEntry[];
  readonly expires_at?: string;
  readonly budget?: Budget;
  readonly policy_version: string;
  /** Say what would come of it, and make nothing. */
  readonly is_dry?: boolean;
}

/** Members of an operation's own. */
export type OperationDetails =
  | {
      readonly operation: 'suspend';
      readonly suspend_until?: string;
      readonly on_expiry?: 'resume' | 'revoke';
    }
  | { readonly operation: 'resume' | 'complete' | 'revoke' }
  | { readonly operation: 'contain'; readonly entries: readonly string[] }
  | {
      readonly operation: 'discharge';
      readonly entry: string;
      readonly event_type: string;
      readonly event_id: string;
    }
  | { readonly operation: 'tighten'; readonly entry: string; readonly constraints: JsonObject }
  | { readonly operation: 'shorten'; readonly expires_at: string }
  | { readonly operation: 'extend'; readonly expires_at: string; readonly approval_event_id: string }
  | {
      readonly operation: 'amend';
      readonly authorization_details: readonly AuthorityEntry[];
      readonly approval_event_id: string;
    }
  | {
      readonly operation: 'renew';
      /** What the proposal is called; drawn by the caller. */
      readonly submission_id: string;
      readonly intent?: Intent;
      readonly authorization_details?: readonly AuthorityEntry[];
    };

export interface OperateCommand extends Attributed {
  readonly kind: 'operate';
  readonly id: string;
  readonly details: OperationDetails;
  readonly reason?: string;
  readonly expected_version?: number;
  readonly nonce?: string;
  /** Whoever asks may resume as well: without it a suspension that stands is not made to end sooner, or better. */
  readonly may_resume: boolean;
  /** Digest of the whole body: a nonce that comes back with another body is refused. */
  readonly fingerprint: string;
}

/** A person's approval of one action (design/2, Parameters, repeats, approvals). */
export interface ApproveActionCommand extends Attributed {
  readonly kind: 'approve_action';
  readonly approval_id: string;
  readonly mandate: string;
  readonly action: string;
  readonly resource: string;
  readonly parameter_digest: string;
  readonly approved_until: string;
}

/** Holds an allow: charges it, uses up its approval, and remembers it for repeats. */
export interface ReserveCommand extends Attributed {
  readonly kind: 'reserve';
  /** As it is kept when it is the first of its kind. */
  readonly decision: StoredDecision;
  /** Versions of the lineage that the decision was made from, root first. */
  readonly versions: readonly number[];
  /** How long running time is paid for ahead, where it is bounded. */
  readonly lease_ms: number;
  /** The decision whose lease is renewed. */
  readonly renews?: string;
  /** The decision whose action is tried again. */
  readonly retry_of?: string;
  /** New `settle_by` of a renewal, RFC 3339. */
  readonly settle_by?: string;
  /** Nothing is done yet: say what would come of it, and keep nothing. */
  readonly is_dry: boolean;
}

/** What came of a decision. */
export interface SettleCommand extends Attributed {
  readonly kind: 'settle';
  readonly decision_id: string;
  readonly outcome: Outcome;
  /** Who says so: must be whom the decision was given to. Absent: a person who may settle any. */
  readonly caller?: Caller;
}

/** A source's report about something that conditions speak of. */
export interface ObserveCommand extends Attributed {
  readonly kind: 'observe';
  readonly observation: Observation;
  /** How far ahead of ours the source's clock may be. */
  readonly clock_tolerance_ms: number;
}

/** What a failover lost of what somebody had seen, in the order in which it had been written. */
export interface HealCommand extends Attributed {
  readonly kind: 'heal';
  readonly lost: readonly MandateEvent[];
}

/** Tokens under the mandate that were revoked where they came from. */
export interface NoteRevokedCommand extends Attributed {
  readonly kind: 'note_revoked';
  readonly id: string;
  /** The authorization server that was told. */
  readonly issuer: string;
  readonly tokens: number;
}

export type Command =
  | ProposeCommand
  | ApproveCommand
  | DenyCommand
  | DeriveCommand
  | OperateCommand
  | ApproveActionCommand
  | ReserveCommand
  | SettleCommand
  | ObserveCommand
  | HealCommand
  | NoteRevokedCommand;

export interface Refusal {
  readonly refused: ControlReason;
  readonly detail: string;
  /** The member of the body at fault, dotted. */
  readonly field?: string;
  /** Well-formed, and refused for what it asks: not the status that the reason has otherwise. */
  readonly status?: 422;
}

/** What an operation came to. Kept under its nonce, so that the same call gets the same answer. */
export interface Receipt {
  readonly id: string;
  readonly operation: AskedOperation;
  readonly state: MandateState;
  readonly version: number;
  readonly position: Position;
  /** How many descendants ended with it. */
  readonly cascaded: number;
  /** Of a renewal: the proposal that it made. */
  readonly submission_id?: string;
}

export type Written =
  | {
      /** Nothing to append when the state is already what was asked for. */
      readonly events: readonly MandateEvent[];
      readonly about: { readonly mandate?: string; readonly proposal?: string };
      readonly remember?: { readonly nonce: string; readonly fingerprint: string };
      readonly reserved?: Reserved;
    }
  | { readonly replay: Receipt }
  | Refusal;

export interface Stored extends Lookup {
  /** What an earlier operation on this mandate under the same nonce did. */
  readonly nonce: (
    mandate_id: string,
    nonce: string,
  ) => { readonly fingerprint: string; readonly receipt: Receipt } | undefined;
  /** Ids of a mandate's children, whatever their state. */
  readonly children: (mandate_id: string) => readonly string[];
  /** How many children live at a moment. */
  readonly living: (mandate_id: string, at_ms: number) => number;
  /** Children that had ended by themselves by then without that it is stored. */
  readonly expired: (mandate_id: string, at_ms: number) => readonly string[];
  /** The mandate that an approval event has made. */
  readonly approved: (approval_event_id: string) => string | undefined;
  /** The last that was seen of this. */
  readonly observation: (event_type: string, key: string) => Observation | undefined;
  /** The report under this id. */
  readonly observed: (event_id: string) => Observation | undefined;
  /** Root mandates with a condition on this. */
  readonly conditioned: (event_type: string, key: string) => readonly string[];
  readonly decision: (decision_id: string) => StoredDecision | undefined;
  /** The latest decision under the digest of an idempotency key. */
  readonly keyed: (key: string) => StoredDecision | undefined;
}

/** What a write is made with: who keeps the mandates, what is stored, and the digest of commitments. */
export interface Writing {
  readonly issuer: string;
  readonly stored: Stored;
  readonly digest: Digest;
}

export function refuse(refused: ControlReason, detail: string, field?: string): Refusal {
  return field === undefined ? { refused, detail } : { refused, detail, field };
}
