/** The mandate record (draft-mcguinness-oauth-mission, "Mission Record"; members of ours are named in docs). */
import type { ActionClass } from '../classes.ts';
import type { Json, JsonObject } from '../json.ts';
import type { Usage } from './usage.ts';

/** Only exactly `active` permits. */
export type MandateState =
  'active' | 'suspended' | 'revoked' | 'expired' | 'completed' | 'superseded' | 'cascaded';

export const MANDATE_STATES = [
  'active',
  'suspended',
  'revoked',
  'expired',
  'completed',
  'superseded',
  'cascaded',
] as const satisfies readonly MandateState[];

/** A person or a client, always qualified by who knows it. */
export interface Party {
  readonly iss: string;
  readonly sub: string;
}

export interface AuthorityEntry {
  readonly type: 'mission_resource_access';
  readonly resource: string;
  readonly resource_match?: 'exact' | 'prefix';
  readonly actions: readonly string[];
  readonly constraints?: JsonObject;
  readonly delegation?: JsonObject;
}

export interface Intent {
  readonly goal: string;
  readonly goal_lang?: string;
  readonly resources: readonly string[];
  readonly constraints?: readonly string[];
  readonly success_criteria?: readonly string[];
  readonly purpose?: string;
  readonly expires_at: string;
  readonly controls?: JsonObject;
}

export interface HistoryItem {
  readonly seq: number;
  readonly at: string;
  readonly by: Party;
  readonly operation: Operation;
  readonly reason?: string;
  /** Absent only for the approval that began the mandate. */
  readonly prior_state?: MandateState;
  readonly state: MandateState;
  readonly version: number;
  readonly nonce?: string;
  /** The ancestor whose end this follows. */
  readonly cascaded_from?: string;
}

/** Operations that people ask for, on a mandate that exists. */
export const OPERATIONS = [
  'suspend',
  'resume',
  'contain',
  'discharge',
  'tighten',
  'shorten',
  'extend',
  'amend',
  'renew',
  'complete',
  'revoke',
] as const;
export type AskedOperation = (typeof OPERATIONS)[number];

/**
 * `approve` and `derive` begin a mandate; `cascade` follows the end of an ancestor; `expire` stores an end that has
 * counted since it passed.
 */
export type Operation = AskedOperation | 'approve' | 'derive' | 'cascade' | 'expire';

export interface Discharge {
  /** Digest of the entry as it was approved. */
  readonly entry: string;
  readonly event_type: string;
  readonly event_id: string;
  readonly at: string;
}

export interface Tightening {
  readonly entry: string;
  readonly constraints: JsonObject;
}

/** Narrowing in place: the approved entries stay as they were. */
export interface Overlay {
  readonly contained: readonly string[];
  readonly discharged: readonly Discharge[];
  /** At most one for an entry; its constraints hold beside the approved ones. */
  readonly tightened: readonly Tightening[];
  readonly expires_at?: string;
}

/** Terms that were approved under this id; the last are the current ones, and none is ever lost. */
export interface ApprovedVersion {
  /** Version of the record that they came with. */
  readonly version: number;
  readonly authority_set: readonly AuthorityEntry[];
  readonly authority_hash: string;
  readonly expires_at: string;
  readonly approver: Party;
  readonly approval_event_id: string;
  readonly approved_at: string;
}

/** What a source reports, and a condition expects. */
export type ObservedValue = string | number | boolean;

/** One report of a source about something that conditions speak of. */
export interface Observation {
  readonly event_id: string;
  readonly event_type: string;
  readonly key: string;
  readonly value: ObservedValue;
  readonly observed_at: string;
  /** When it was reported: a source whose clock is ahead has seen nothing later than this. */
  readonly received_at: string;
}

/** Something that must keep holding. */
export interface Condition {
  readonly id: string;
  readonly event_type: string;
  readonly key: string;
  readonly expect: ObservedValue;
  readonly on_false: 'suspend' | 'contain' | 'revoke';
  readonly max_stale_s: number;
  /** The last that was seen of it, and when. Not of the record itself: it is put there when the record is read. */
  readonly last?: { readonly value: ObservedValue; readonly observed_at: string };
}

/** What an ending spares of one class of work; what is not named is stopped. */
export interface Spared {
  readonly issuance?: boolean;
  readonly tokens?: boolean;
  readonly queued?: boolean;
  readonly in_flight?: boolean;
}

/** What ending means for each kind of work: `false` spares it. */
export type Revocation = Readonly<Partial<Record<ActionClass, Spared>>>;

/** What a mandate is when it begins. */
export interface ApprovedTerms {
  readonly id: string;
  readonly issuer: string;
  readonly intent: Intent;
  readonly proposed_authority: readonly AuthorityEntry[];
  readonly authority_set: readonly AuthorityEntry[];
  /** Commitment of each entry of `authority_set`, in its order; cited by decisions. */
  readonly entry_digests: readonly string[];
  readonly authority_hash: string;
  readonly intent_hash: string;
  readonly proposal_hash: string;
  readonly subject: Party;
  readonly approver: Party;
  readonly client_id: string;
  readonly client_issuer: string;
  /** `delegated`: made under a parent, on the parent's approval. */
  readonly approval_basis: { readonly type: 'direct' | 'delegated' };
  readonly approval_event_id: string;
  readonly policy_version: string;
  readonly created_at: string;
  readonly expires_at: string;
  readonly parent?: string;
  /** Root first, this mandate last. */
  readonly lineage: readonly string[];
  readonly depth: number;
  /** The mandate that this one took the place of. */
  readonly predecessor?: string;
  readonly revocation?: Revocation;
  /** A child has those of its parent. */
  readonly conditions?: readonly Condition[];
  /** Meters of what is bounded, as they stand when it begins. */
  readonly usage?: Usage;
}

/** A person's approval of one action, once. */
export interface ActionApproval {
  readonly id: string;
  readonly action: string;
  readonly resource: string;
  readonly parameter_digest: string;
  readonly approver: Party;
  readonly approved_at: string;
  readonly approved_until: string;
  /** The decision that used it. */
  readonly used_by?: string;
}

/** Tokens of a mandate that were revoked at the authorization server that they came from. */
export interface RevokedTokens {
  readonly seq: number;
  readonly at: string;
  readonly by: Party;
  readonly issuer: string;
  readonly tokens: number;
}

export interface MandateRecord extends ApprovedTerms {
  readonly state: MandateState;
  readonly version: number;
  readonly overlay: Overlay;
  readonly approved_versions: readonly ApprovedVersion[];
  /** Of a suspension: when it ends by itself, and how. */
  readonly suspend_until?: string;
  readonly on_expiry?: 'resume' | 'revoke';
  /** The mandate that took the place of this one. */
  readonly successor?: string;
  /** Until when a condition of it did not hold, the last time that this was over by itself. */
  readonly held_until?: string;
  /** Those that have not run out. */
  readonly action_approvals?: readonly ActionApproval[];
  readonly history: readonly HistoryItem[];
  /** Not of `history`, whose items are changes of the mandate: these are shown among them. */
  readonly tokens_revoked?: readonly RevokedTokens[];
}

/** Members that an operation replaces; null removes one. */
export interface RecordChange {
  readonly overlay?: Overlay;
  readonly expires_at?: string;
  readonly authority_set?: readonly AuthorityEntry[];
  readonly entry_digests?: readonly string[];
  readonly authority_hash?: string;
  readonly approved_versions?: readonly ApprovedVersion[];
  readonly suspend_until?: string | null;
  readonly on_expiry?: 'resume' | 'revoke' | null;
  readonly successor?: string;
}

export interface ProposalTerms {
  readonly submission_id: string;
  readonly intent: Intent;
  readonly authorization_details: readonly AuthorityEntry[];
  readonly subject: Party;
  readonly client_id: string;
  readonly client_issuer: string;
  readonly proposal_hash: string;
  readonly submitted_at: string;
  readonly submitted_by: Party;
  /** When the proposal lapses unanswered, RFC 3339. */
  readonly expires_at: string;
  /** The mandate that its approval supersedes. */
  readonly predecessor?: string;
  readonly revocation?: Revocation;
  readonly conditions?: readonly Condition[];
}

export interface Proposal extends ProposalTerms {
  readonly status: 'pending' | 'approved' | 'denied' | 'expired';
  readonly mission_id?: string;
  readonly approval_event_id?: string;
  readonly denied_reason?: string;
}

/**
 * `sha-256:` and the unpadded base64url digest of bytes, or of a text's UTF-8. Passed in: core has no crypto.
 */
export type Digest = (data: string | Uint8Array) => string;

export type AnchorType =
  'mission-intent' | 'mission-proposed-authority' | 'mission-authority-set' | 'mission-authority-entry';

export type AnchoredValue = Json | Intent | AuthorityEntry | readonly AuthorityEntry[];
