/** What the log holds, and the fold that turns it into records. */
import type {
  ApprovedTerms,
  HistoryItem,
  MandateRecord,
  MandateState,
  Operation,
  Party,
  Proposal,
  ProposalTerms,
} from './record.ts';

interface Committed {
  readonly at: string;
  readonly by: Party;
}

export type MandateEvent =
  | ({ readonly kind: 'proposed'; readonly proposal: ProposalTerms } & Committed)
  | ({ readonly kind: 'denied'; readonly submission_id: string; readonly reason?: string } & Committed)
  | ({ readonly kind: 'approved'; readonly submission_id: string; readonly terms: ApprovedTerms } & Committed)
  | ({
      readonly kind: 'transition';
      readonly id: string;
      readonly operation: Exclude<Operation, 'approve'>;
      readonly prior_state: MandateState;
      readonly state: MandateState;
      readonly version: number;
      readonly reason?: string;
      readonly nonce?: string;
    } & Committed);

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
    case 'transition':
      return transitioned(event, seq, lookup);
  }
}

type EventOf<K extends MandateEvent['kind']> = Extract<MandateEvent, { kind: K }>;

function approved(event: EventOf<'approved'>, seq: number, lookup: Lookup): Folded | 'inapplicable' {
  const { terms } = event;
  const proposal = lookup.proposal(event.submission_id);
  const first: HistoryItem = {
    seq,
    at: event.at,
    by: event.by,
    operation: 'approve',
    state: 'active',
    version: 1,
  };
  const mandate: MandateRecord = { ...terms, state: 'active', version: 1, history: [first] };
  // A replica that does not keep proposals still learns of the mandate.
  if (proposal === undefined) return { mandate };
  const { approval_event_id } = terms;
  return { mandate, proposal: { ...proposal, status: 'approved', mission_id: terms.id, approval_event_id } };
}

function transitioned(event: EventOf<'transition'>, seq: number, lookup: Lookup): Folded | 'inapplicable' {
  const before = lookup.mandate(event.id);
  if (before === undefined || event.version !== before.version + 1) return 'inapplicable';
  const item: HistoryItem = {
    seq,
    at: event.at,
    by: event.by,
    operation: event.operation,
    prior_state: event.prior_state,
    state: event.state,
    version: event.version,
    ...(event.reason === undefined ? {} : { reason: event.reason }),
    ...(event.nonce === undefined ? {} : { nonce: event.nonce }),
  };
  const { state, version } = event;
  return { mandate: { ...before, state, version, history: [...before.history, item] } };
}
