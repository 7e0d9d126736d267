/**
 * The contracts that the check needs fulfilled, types only. Adapters fulfil them and never import each other; none of
 * them throws towards the check: what fails outside comes back as a fact.
 */
import type { CredentialFact, Presented, UsableCredential } from '../core/credential.ts';
import type { RecordedDecision } from '../core/decision.ts';
import type { MandateFact } from '../core/facts.ts';
import type { JsonObject } from '../core/json.ts';
import type { ViewProof } from '../core/freshness.ts';
import type { LogEntry, Position } from '../core/mandate/events.ts';
import type { Lineage } from '../core/mandate/life.ts';
import type { Command, Receipt, Refusal } from '../core/mandate/commands.ts';
import type { MandateRecord, Proposal } from '../core/mandate/record.ts';
import type { Reserved, StoredDecision } from '../core/mandate/stored-decision.ts';
import type { PolicySet } from '../core/policy.ts';
import type { Reference } from '../core/reference.ts';
import type { Instant } from '../core/time.ts';

/** `src/credentials`: verifies what a request presents. Resolves at once where nothing must be fetched. */
export interface Credentials {
  /** `is_current`: what an issuer has said of a token before `at` is not good enough. */
  readonly verify: (
    presented: Presented,
    at: Instant,
    is_current: boolean,
  ) => CredentialFact | Promise<CredentialFact>;
}

export interface TokenInspector {
  /** What a token says, verified now, whoever holds it: what it is bound to is for others to look at. */
  readonly inspect: (token: string, at: Instant) => Promise<Inspected>;
}

export type Inspected =
  | { readonly verdict: 'usable'; readonly credential: UsableCredential; readonly claims: JsonObject }
  | Exclude<CredentialFact, UsableCredential>;

/** A DPoP proof as it is remembered. */
export interface ShownProof {
  /** Digest of the key that has signed it. */
  readonly holder: string;
  /** Digest of its `jti`. */
  readonly jti: string;
  /** How long it is remembered, milliseconds. */
  readonly lifetime_ms: number;
  /** Digest of the proof and the id under which a proxy asks again: for so long the two together are one showing. */
  readonly again?: { readonly request: string; readonly lifetime_ms: number };
}

export type Shown =
  | { readonly kind: 'first' }
  | { readonly kind: 'replayed' }
  /** The memory is full, or as full of this holder as one may be, or away: nothing can be said. */
  | { readonly kind: 'unknown'; readonly detail: string };

/** Remembers proofs, so that none counts twice (RFC 9449 section 11.1). */
export interface ProofMemory {
  readonly show: (proof: ShownProof, at: Instant) => Shown | Promise<Shown>;
}

/** What is to be done elsewhere, for as long as it takes and whatever becomes of this process: the outbox. */
export interface Errands {
  /** Oldest first. */
  readonly list: () => readonly { readonly number: number; readonly text: string }[];
  /** Resolves once it is on disk: true, or false where it cannot be kept. */
  readonly entrust: (text: string) => Promise<boolean>;
  readonly done: (number: number) => Promise<void>;
}

/** A token that was used, or tried, under a mandate. */
export interface SeenToken {
  readonly mandate: string;
  /** Its issuer. */
  readonly issuer: string;
  readonly token: string;
  readonly expires_at_ms: number;
  /** The mandate has ended in a way that its tokens should not outlive. */
  readonly is_to_be_revoked: boolean;
}

/** Remembers the tokens of mandates, to have them revoked where they came from once their mandate ends. */
export interface TokenRevoking {
  readonly seen: (token: SeenToken) => void;
}

export interface ViewNeed {
  /** Staleness budget of the action's class, milliseconds; 0 asks for a barrier sent after `arrived`. */
  readonly budget_ms: number;
  readonly arrived: Instant;
  /** The lowest version of the mandate that the caller accepts: a view that has less is not young enough. */
  readonly min_version?: number;
  /** A position that the view must have reached. */
  readonly token?: Position;
  /** An allow would be reserved, which proves the mandate by itself where it is metered: no barrier is waited for. */
  readonly may_reserve?: boolean;
}

/** `src/mandates`, as checks see it: the one read path, whatever the engine, and what holds an allow. */
export type MandateView = Pick<MandateStore, 'prove' | 'decision' | 'write' | 'unsafe'>;

export interface Proving {
  /** The mandate and its ancestors as the view has them, with what it can prove of its age; at once where it can. */
  readonly find: (reference: Reference) => MandateFact | Promise<MandateFact>;
}

/** How far a write must have come before it is answered. */
export const ACKNOWLEDGEMENTS = ['applied', 'durable', 'enforced'] as const;
export type Acknowledgement = (typeof ACKNOWLEDGEMENTS)[number];

/** A write that is in the log. */
export interface Committed {
  readonly ok: true;
  /** Freshness token: a view at or past this position has seen the write. */
  readonly position: Position;
  readonly mandate?: MandateRecord;
  readonly proposal?: Proposal;
  /** Of an operation; the first answer again where a nonce was repeated. */
  readonly receipt?: Receipt;
  /** Of a reservation or a settlement. */
  readonly reserved?: Reserved;
}

/** `acknowledged`: the level that was reached; `enforced_at`: when every sidecar had it, RFC 3339. */
export type WriteResult =
  | (Committed & { readonly acknowledged: Acknowledgement; readonly enforced_at?: string })
  | ({ readonly ok: false } & Refusal);

/** A sidecar that shares the log. */
export interface FleetMember {
  readonly id: string;
  readonly is_self: boolean;
  readonly version: string;
  readonly epoch: number;
  readonly seq: number;
  /** Entries of the log that it has not said to have applied. */
  readonly lag: number;
  /** How long it has said nothing, by this sidecar's clock. */
  readonly silent_ms: number;
}

export type FleetResult =
  | {
      readonly ok: true;
      /** How long one that says nothing may still decide from what it holds. */
      readonly lease_ms: number;
      readonly head: Position;
      readonly members: readonly FleetMember[];
    }
  | ({ readonly ok: false } & Refusal);

/** What the store says of itself, for the metrics. */
export interface StoreFigures {
  readonly position: Position | undefined;
  /** How old the view is known to be at most, milliseconds; undefined while nothing is proven. */
  readonly age_ms: number | undefined;
  readonly latch: string | undefined;
  /** Mandates held in memory. */
  readonly held: number;
  /** Ends that were asked for and are not in the log yet; undefined where there is no outbox. */
  readonly outbox: number | undefined;
  /** Entries that the last heartbeat brought before the tail did; undefined where there is no tail. */
  readonly tail_lag: number | undefined;
  readonly sidecars: number;
}

/** Told of each round trip that proves the view: how many checks it was for, how long it took, how it ended. */
export type BarrierObserver = (joined: number, duration_ms: number, outcome: 'ok' | 'refused') => void;

export type ProposalResult =
  { readonly ok: true; readonly proposal: Proposal | undefined } | ({ readonly ok: false } & Refusal);

export type DecisionResult =
  { readonly ok: true; readonly decision: StoredDecision | undefined } | ({ readonly ok: false } & Refusal);

export type VersionResult =
  { readonly ok: true; readonly record: MandateRecord | undefined } | ({ readonly ok: false } & Refusal);

export type LineageResult =
  { readonly ok: true; readonly lineage: Lineage | undefined } | ({ readonly ok: false } & Refusal);

export type TreeResult =
  { readonly ok: true; readonly records: readonly MandateRecord[] } | ({ readonly ok: false } & Refusal);

export type ListResult = { readonly ok: true; readonly page: Page } | ({ readonly ok: false } & Refusal);

export interface Page {
  readonly items: readonly MandateRecord[];
  readonly next_cursor?: string;
}

/** A place in the log as a reader keeps it. */
export interface LogPlace {
  readonly epoch: number;
  readonly seq: number;
}

export type LogPage =
  | { readonly ok: true; readonly entries: readonly LogEntry[] }
  /** The place is not in this log, or its entries are no longer kept. */
  | { readonly ok: false; readonly refused: 'not_found' }
  | ({ readonly ok: false } & Refusal);

export interface Paging {
  readonly limit: number;
  readonly cursor: string | undefined;
  /** Records that the reader may not see are passed over as if they were not there. */
  readonly isSeen: (lineage: Lineage) => boolean;
}

export interface MandateFilter {
  readonly subject?: string;
  readonly client_id?: string;
  readonly state?: string;
  readonly parent?: string;
}

export type StoreHealth =
  { readonly ok: true } | { readonly ok: false; readonly fatal: boolean; readonly detail: string };

/**
 * `src/mandates`, whole. Every engine fulfils it and passes `test/store/acceptance.ts`. Asynchronous throughout: an
 * engine may be a network away. A write is durable before it resolves, and a failure of the store is a refusal with
 * reason `unavailable`, never an exception.
 */
export interface MandateStore {
  /**
   * Starts establishing that the view is recent enough; for budget 0 that is a barrier, begun at arrival, beside
   * the verification of the credential.
   */
  readonly prove: (need: ViewNeed) => Proving;
  /** `timeout_ms`: how long to wait for `enforced`; twice the lease of a sidecar where it is absent. */
  readonly write: (
    command: Command,
    acknowledge: Acknowledgement,
    timeout_ms?: number,
  ) => Promise<WriteResult>;
  /** A round trip to the owner of the log: proof that the view is current as of now, or the reason why not. */
  readonly barrier: () => Promise<ViewProof | { readonly refused: string }>;
  /** The record as it was at a version, by itself; undefined where there is none of that number. */
  readonly version: (id: string, version: number) => Promise<VersionResult>;
  /**
   * Root first; undefined where there is no such mandate. `may_be_old`: where the store does not answer, what is held
   * here is good enough, as it is to decide who may end a mandate.
   */
  readonly lineage: (id: string, may_be_old?: boolean) => Promise<LineageResult>;
  /** The mandate and all below it, each parent before its children; empty where there is none. */
  readonly tree: (id: string) => Promise<TreeResult>;
  readonly proposal: (submission_id: string) => Promise<ProposalResult>;
  readonly decision: (decision_id: string) => Promise<DecisionResult>;
  readonly list: (filter: MandateFilter, paging: Paging, at: Instant) => Promise<ListResult>;
  /** Entries of the log after a position, oldest first, at most `limit`. */
  readonly entriesAfter: (after: LogPlace, limit: number) => Promise<LogPage>;
  /** Calls after every commit that this process has applied; returns how to stop that. */
  readonly onCommit: (listener: () => void) => () => void;
  /** What is not as it must be for acknowledgements to hold, of a store that was asked for all the same. */
  readonly unsafe: () => readonly string[];
  /** The sidecars that share this log. */
  readonly fleet: () => Promise<FleetResult>;
  readonly figures: () => StoreFigures;
  readonly health: () => StoreHealth;
  readonly close: () => Promise<void>;
}

/** `src/engines`: the policy set that serves now; a reload replaces it whole, and a check keeps the one it began with. */
export interface Policies {
  readonly current: () => PolicySet;
}

export interface Recorded {
  readonly decision: RecordedDecision;
  readonly duration_ms: number;
}

/** `src/audit`: where decisions go. A sink that cannot take one throws, and the decision is then not an allow. */
export interface DecisionSink {
  readonly write: (recorded: Recorded) => void;
}

/** Random identifiers, 128 bits or more. */
export interface Ids {
  readonly decision: () => string;
}
