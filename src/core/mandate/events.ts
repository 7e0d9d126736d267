/** What the log holds, and the fold that turns it into records. */
import { parseTime } from '../time.ts';
import type { StoredDecision } from './stored-decision.ts';
import type { Usage } from './usage.ts';
import type {
  ActionApproval,
  ApprovedTerms,
  HistoryItem,
  MandateRecord,
  MandateState,
  Observation,
  Operation,
  Party,
  Proposal,
  ProposalTerms,
  RecordChange,
} from './record.ts';

interface Committed {
  readonly at: string;
  readonly by: Party;
}

export type MandateEvent =
  | ({ readonly kind: 'proposed'; readonly proposal: ProposalTerms } & Committed)
  | ({ readonly kind: 'denied'; readonly submission_id: string; readonly reason?: string } & Committed)
  | ({ readonly kind: 'approved'; readonly submission_id: string; readonly terms: ApprovedTerms } & Committed)
  | ({ readonly kind: 'derived'; readonly terms: ApprovedTerms } & Committed)
  | ({
      readonly kind: 'changed';
      readonly id: string;
      readonly operation: Exclude<Operation, 'approve' | 'derive'>;
      readonly prior_state: MandateState;
      readonly state: MandateState;
      readonly version: number;
      readonly change: RecordChange;
      readonly reason?: string;
      readonly nonce?: string;
      readonly cascaded_from?: string;
    } & Committed)
  /** The meters of a mandate as they stand from now on; its terms and its version are as before. */
  | ({ readonly kind: 'metered'; readonly id: string; readonly usage: Usage } & Committed)
  /** A decision that is kept, as it stands from now on, and the meters that it was charged to. */
  | ({ readonly kind: 'decided'; readonly decision: StoredDecision; readonly usage?: Usage } & Committed)
  /** A condition held the mandate up until now, by itself. */
  | ({ readonly kind: 'held_up'; readonly id: string; readonly until: string } & Committed)
  | ({ readonly kind: 'observed'; readonly observation: Observation } & Committed)
  | ({
      readonly kind: 'action_approved';
      readonly id: string;
      readonly approval: ActionApproval;
    } & Committed)
  /** Tokens under the mandate were revoked where they came from; its version is as before. */
  | ({
      readonly kind: 'tokens_revoked';
      readonly id: string;
      readonly issuer: string;
      readonly tokens: number;
    } & Committed);

const KINDS: Readonly<Record<MandateEvent['kind'], true>> = {
  proposed: true,
  denied: true,
  approved: true,
  derived: true,
  changed: true,
  metered: true,
  decided: true,
  held_up: true,
  observed: true,
  action_approved: true,
  tokens_revoked: true,
};

/** False of what a newer build may have written. */
export function isKnownKind(kind: string): boolean {
  return Object.hasOwn(KINDS, kind);
}

/** Where an event stands: ids may be reused after a failover, so all three are compared, never `seq` alone. */
export interface Position {
  readonly epoch: number;
  readonly seq: number;
  readonly eid: string;
}

/** One entry of the log. `prev` is the `eid` before it: the chain that makes lost history visible. */
export interface LogEntry extends Position {
  readonly prev: string;
  readonly event: MandateEvent;
}

/** The state of the fold that one event touches. */
export interface Folded {
  readonly mandate?: MandateRecord;
  readonly proposal?: Proposal;
  readonly decision?: StoredDecision;
  readonly observation?: Observation;
}

export interface Lookup {
  readonly mandate: (id: string) => MandateRecord | undefined;
  readonly proposal: (submission_id: string) => Proposal | undefined;
}

/** Applies one event. Total: an event about something unknown, or out of order, changes nothing and says so. */
export function apply(event: MandateEvent, seq: number, lookup: Lookup): Folded | 'inapplicable' {
  switch (event.kind) {
    case 'proposed':
      return { proposal: { ...event.proposal, status: 'pending' } };
    case 'denied': {
      const proposal = lookup.proposal(event.submission_id);
      if (proposal === undefined) return 'inapplicable';
      const why = event.reason === undefined ? {} : { denied_reason: event.reason };
      return { proposal: { ...proposal, status: 'denied', ...why } };
    }
    case 'approved':
      return approved(event, seq, lookup);
    case 'derived':
      return { mandate: begun(event.terms, 'derive', event, seq) };
    case 'changed':
      return changed(event, seq, lookup);
    case 'metered':
      return replaced(event.id, { usage: event.usage }, lookup);
    case 'decided':
      return decided(event, lookup);
    case 'held_up':
      return replaced(event.id, { held_until: event.until }, lookup);
    case 'observed':
      return { observation: event.observation };
    case 'action_approved':
      return approvedAction(event, lookup);
    case 'tokens_revoked':
      return tokensRevoked(event, seq, lookup);
  }
}

type EventOf<K extends MandateEvent['kind']> = Extract<MandateEvent, { kind: K }>;

/** A record as it begins: active, at version 1, with one version of its terms. */
function begun(
  terms: ApprovedTerms,
  operation: 'approve' | 'derive',
  { at, by }: Committed,
  seq: number,
): MandateRecord {
  const { authority_set, authority_hash, expires_at, approver, approval_event_id } = terms;
  return {
    ...terms,
    state: 'active',
    version: 1,
    overlay: { contained: [], discharged: [], tightened: [] },
    approved_versions: [
      { version: 1, authority_set, authority_hash, expires_at, approver, approval_event_id, approved_at: at },
    ],
    history: [{ seq, at, by, operation, state: 'active', version: 1 }],
  };
}

function approved(event: EventOf<'approved'>, seq: number, lookup: Lookup): Folded {
  const { terms } = event;
  const mandate = begun(terms, 'approve', event, seq);
  const proposal = lookup.proposal(event.submission_id);
  // A replica that does not keep proposals still learns of the mandate.
  if (proposal === undefined) return { mandate };
  const { approval_event_id } = terms;
  return { mandate, proposal: { ...proposal, status: 'approved', mission_id: terms.id, approval_event_id } };
}

function changed(event: EventOf<'changed'>, seq: number, lookup: Lookup): Folded | 'inapplicable' {
  const before = lookup.mandate(event.id);
  if (before === undefined || event.version !== before.version + 1) return 'inapplicable';
  const { at, by, operation, prior_state, state, version, reason, nonce, cascaded_from } = event;
  const item: HistoryItem = {
    seq,
    at,
    by,
    operation,
    prior_state,
    state,
    version,
    ...(reason === undefined ? {} : { reason }),
    ...(nonce === undefined ? {} : { nonce }),
    ...(cascaded_from === undefined ? {} : { cascaded_from }),
  };
  const kept = Object.entries({ ...before, ...event.change }).filter(([, value]) => value !== null);
  const record = Object.fromEntries(kept) as unknown as MandateRecord;
  return { mandate: { ...record, state, version, history: [...before.history, item] } };
}

/** What is not a change of the mandate: its version and its history stay. */
function replaced(id: string, part: Partial<MandateRecord>, lookup: Lookup): Folded | 'inapplicable' {
  const before = lookup.mandate(id);
  return before === undefined ? 'inapplicable' : { mandate: { ...before, ...part } };
}

function decided({ decision, usage }: EventOf<'decided'>, lookup: Lookup): Folded | 'inapplicable' {
  const before = lookup.mandate(decision.mandate);
  if (before === undefined) return 'inapplicable';
  if (usage === undefined && decision.approval === undefined) return { decision };
  const { approval, decision_id: used_by } = decision;
  const approvals = before.action_approvals?.map((each) =>
    each.id === approval ? { ...each, used_by } : each,
  );
  return {
    decision,
    mandate: {
      ...before,
      ...(usage === undefined ? {} : { usage }),
      ...(approvals === undefined ? {} : { action_approvals: approvals }),
    },
  };
}

function approvedAction(
  { id, approval, at }: EventOf<'action_approved'>,
  lookup: Lookup,
): Folded | 'inapplicable' {
  // By the event's own time, so that every fold forgets the same ones.
  const wall_ms = parseTime(at) ?? Infinity;
  const open = (lookup.mandate(id)?.action_approvals ?? []).filter(
    ({ approved_until }) => (parseTime(approved_until) ?? -Infinity) > wall_ms,
  );
  return replaced(id, { action_approvals: [...open, approval] }, lookup);
}

/** More notes say nothing new; what ends a mandate is bounded, what tokens it had is not. */
const MOST_NOTES = 256;

function tokensRevoked(
  { id, issuer, tokens, at, by }: EventOf<'tokens_revoked'>,
  seq: number,
  lookup: Lookup,
): Folded | 'inapplicable' {
  const notes = [...(lookup.mandate(id)?.tokens_revoked ?? []), { seq, at, by, issuer, tokens }];
  return replaced(id, { tokens_revoked: notes.slice(-MOST_NOTES) }, lookup);
}
