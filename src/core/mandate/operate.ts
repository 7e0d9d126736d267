/**
 * Every write as a pure function of what is stored: the events it adds, or why it is refused. An engine runs it
 * inside its own atomic section, so that what was read is what is written over.
 */
import type { ControlReason } from '../reasons.ts';
import { formatTime, parseTime } from '../time.ts';
import { anchor } from './anchors.ts';
import { isSubset } from './attenuation.ts';
import type { Lookup, MandateEvent, Position } from './events.ts';
import { type Lineage, TRANSITIONS, effectiveState, isTerminal } from './life.ts';
import type {
  ApprovedTerms,
  AuthorityEntry,
  Digest,
  Intent,
  MandateRecord,
  MandateState,
  Operation,
  Party,
  Proposal,
} from './record.ts';

interface Attributed {
  readonly by: Party;
  /** The writer's clock when the command arrived, epoch ms. */
  readonly at_ms: number;
}

export interface ProposeCommand extends Attributed {
  readonly kind: 'propose';
  readonly submission_id: string;
  readonly intent: Intent;
  readonly authorization_details: readonly AuthorityEntry[];
  readonly subject: Party;
  readonly client_id: string;
  readonly client_issuer: string;
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

export interface OperateCommand extends Attributed {
  readonly kind: 'operate';
  readonly operation: Exclude<Operation, 'approve'>;
  readonly id: string;
  readonly reason?: string;
  readonly expected_version?: number;
  readonly nonce?: string;
  /** Digest of the whole body: a nonce that comes back with another body is refused. */
  readonly fingerprint: string;
}

export type Command = ProposeCommand | ApproveCommand | DenyCommand | OperateCommand;

export interface Refusal {
  readonly refused: ControlReason;
  readonly detail: string;
  /** The member of the body at fault, dotted. */
  readonly field?: string;
}

/** What an operation came to. Kept under its nonce, so that the same call gets the same answer. */
export interface Receipt {
  readonly id: string;
  readonly operation: Operation;
  readonly state: MandateState;
  readonly version: number;
  readonly position: Position;
  /** How many descendants ended with it. */
  readonly cascaded: number;
}

export type Written =
  | {
      /** Nothing to append when the state is already what was asked for. */
      readonly events: readonly MandateEvent[];
      readonly about: { readonly mandate: string } | { readonly proposal: string };
      readonly remember?: { readonly nonce: string; readonly fingerprint: string };
    }
  | { readonly replay: Receipt }
  | Refusal;

export interface Stored extends Lookup {
  /** What an earlier operation on this mandate under the same nonce did. */
  readonly nonce: (
    mandate_id: string,
    nonce: string,
  ) => { readonly fingerprint: string; readonly receipt: Receipt } | undefined;
}

const PROPOSAL_LIFETIME_MS = 24 * 3_600_000;

export function operate(command: Command, issuer: string, stored: Stored, digest: Digest): Written {
  switch (command.kind) {
    case 'propose':
      return propose(command, issuer, digest);
    case 'approve':
      return approve(command, issuer, stored, digest);
    case 'deny':
      return deny(command, stored);
    case 'operate':
      return transition(command, stored);
  }
}

function refuse(refused: ControlReason, detail: string, field?: string): Refusal {
  return field === undefined ? { refused, detail } : { refused, detail, field };
}

function propose(command: ProposeCommand, issuer: string, digest: Digest): Written {
  const { submission_id, intent, authorization_details, subject, client_id, client_issuer, by, at_ms } =
    command;
  if ((parseTime(intent.expires_at) ?? 0) <= at_ms) {
    return refuse('invalid_request', 'the mission would end before it begins', 'intent.expires_at');
  }
  const proposal = {
    submission_id,
    intent,
    authorization_details,
    subject,
    client_id,
    client_issuer,
    proposal_hash: anchor(digest, issuer, 'mission-proposed-authority', authorization_details),
    submitted_at: formatTime(at_ms),
    submitted_by: by,
    expires_at: formatTime(at_ms + PROPOSAL_LIFETIME_MS),
  };
  const event: MandateEvent = { kind: 'proposed', proposal, at: formatTime(at_ms), by };
  return { events: [event], about: { proposal: submission_id } };
}

/** A proposal's status now: pending ones lapse by themselves. */
export function proposalStatus(proposal: Proposal, wall_ms: number): Proposal['status'] {
  const hasLapsed = wall_ms >= (parseTime(proposal.expires_at) ?? 0);
  return proposal.status === 'pending' && hasLapsed ? 'expired' : proposal.status;
}

function approve(command: ApproveCommand, issuer: string, stored: Stored, digest: Digest): Written {
  const proposal = stored.proposal(command.submission_id);
  if (proposal === undefined) return refuse('not_found', 'no such proposal');
  if (proposal.status === 'approved' && proposal.approval_event_id === command.approval_event_id) {
    return { events: [], about: { mandate: proposal.mission_id! } };
  }
  const status = proposalStatus(proposal, command.at_ms);
  if (status !== 'pending') return refuse('conflict', `the proposal is ${status}`);
  if (command.proposal_hash !== proposal.proposal_hash) {
    return refuse('conflict', 'another proposal was shown to the approver', 'proposal_hash');
  }
  const refusal = unapprovable(command, proposal);
  if (refusal !== undefined) return refusal;
  const terms = approvedTerms(command, issuer, proposal, digest);
  const { submission_id, by } = command;
  const event: MandateEvent = { kind: 'approved', submission_id, terms, at: formatTime(command.at_ms), by };
  return { events: [event], about: { mandate: terms.id } };
}

function unapprovable(command: ApproveCommand, proposal: Proposal): Refusal | undefined {
  // A bound that nobody enforces must not look like one that somebody does.
  const control = Object.keys(proposal.intent.controls ?? {})[0];
  if (control !== undefined) {
    return refuse('invalid_request', 'this control cannot be enforced here', `intent.controls.${control}`);
  }
  const subset = isSubset(command.authorization_details ?? [], proposal.authorization_details);
  if (!subset.ok) return refuse('not_strict_subset', subset.detail, `authorization_details.${subset.index}`);
  const ceiling = parseTime(proposal.intent.expires_at) ?? 0;
  const end = parseTime(command.expires_at ?? proposal.intent.expires_at) ?? 0;
  if (end <= command.at_ms)
    return refuse('invalid_request', 'the mission would end before it begins', 'expires_at');
  return end > ceiling
    ? refuse('not_strict_subset', 'later than the end that was proposed', 'expires_at')
    : undefined;
}

function approvedTerms(
  command: ApproveCommand,
  issuer: string,
  proposal: Proposal,
  digest: Digest,
): ApprovedTerms {
  const authority_set = command.authorization_details ?? proposal.authorization_details;
  return {
    id: command.mandate_id,
    issuer,
    intent: proposal.intent,
    proposed_authority: proposal.authorization_details,
    authority_set,
    entry_digests: authority_set.map((entry) => anchor(digest, issuer, 'mission-authority-entry', entry)),
    authority_hash: anchor(digest, issuer, 'mission-authority-set', authority_set),
    intent_hash: anchor(digest, issuer, 'mission-intent', proposal.intent),
    proposal_hash: proposal.proposal_hash,
    subject: proposal.subject,
    approver: command.by,
    client_id: proposal.client_id,
    client_issuer: proposal.client_issuer,
    approval_basis: { type: 'direct' },
    approval_event_id: command.approval_event_id,
    policy_version: command.policy_version,
    created_at: formatTime(command.at_ms),
    expires_at: command.expires_at ?? proposal.intent.expires_at,
    lineage: [command.mandate_id],
    depth: 0,
  };
}

function deny(command: DenyCommand, stored: Stored): Written {
  const { submission_id, reason, by, at_ms } = command;
  const proposal = stored.proposal(submission_id);
  if (proposal === undefined) return refuse('not_found', 'no such proposal');
  const status = proposalStatus(proposal, at_ms);
  if (status === 'denied') return { events: [], about: { proposal: submission_id } };
  if (status !== 'pending') return refuse('conflict', `the proposal is ${status}`);
  const why = reason === undefined ? {} : { reason };
  const event: MandateEvent = { kind: 'denied', submission_id, ...why, at: formatTime(at_ms), by };
  return { events: [event], about: { proposal: submission_id } };
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

/** Order of checks on a write: nonce, expected version, same state, transition. */
function transition(command: OperateCommand, stored: Stored): Written {
  const { id, operation, nonce, expected_version } = command;
  const record = stored.mandate(id);
  if (record === undefined) return refuse('not_found', 'no such mandate');
  const earlier = nonce === undefined ? undefined : stored.nonce(id, nonce);
  if (earlier !== undefined) {
    return earlier.fingerprint === command.fingerprint
      ? { replay: earlier.receipt }
      : refuse('conflict', 'this nonce was used with another body', 'nonce');
  }
  const rule = TRANSITIONS[operation];
  if (expected_version === undefined && rule.needs_version) {
    return refuse(
      'invalid_request',
      `\`${operation}\` needs the version it was decided on`,
      'expected_version',
    );
  }
  if (expected_version !== undefined && expected_version !== record.version) {
    return refuse('stale_version', `the mandate is at version ${record.version}`, 'expected_version');
  }
  const lineage = lineageOf(record, stored.mandate);
  if (lineage === undefined) return refuse('unavailable', 'an ancestor of the mandate cannot be read');
  const state = effectiveState(lineage, command.at_ms);
  const about = { mandate: id };
  const remember = nonce === undefined ? {} : { remember: { nonce, fingerprint: command.fingerprint } };
  if (rule.repeatable && record.state === rule.to) return { events: [], about, ...remember };
  if (isTerminal(state) || !rule.from.includes(record.state)) {
    return refuse('conflict', `\`${operation}\` of a mandate that is ${state}`);
  }
  return { events: [transitionEvent(command, record, rule.to)], about, ...remember };
}

function transitionEvent(command: OperateCommand, record: MandateRecord, to: MandateState): MandateEvent {
  return {
    kind: 'transition',
    id: record.id,
    operation: command.operation,
    prior_state: record.state,
    state: to,
    version: record.version + 1,
    at: formatTime(command.at_ms),
    by: command.by,
    ...(command.reason === undefined ? {} : { reason: command.reason }),
    ...(command.nonce === undefined ? {} : { nonce: command.nonce }),
  };
}
