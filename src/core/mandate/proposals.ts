/** Proposals: made, denied, or left to lapse. */
import { formatTime, parseTime } from '../time.ts';
import { anchor } from './anchors.ts';
import {
  type DenyCommand,
  type ProposeCommand,
  type Stored,
  type Writing,
  type Written,
  refuse,
} from './commands.ts';
import type { MandateEvent } from './events.ts';
import type { Party, Proposal, ProposalTerms } from './record.ts';

const PROPOSAL_LIFETIME_MS = 24 * 3_600_000;

export function propose(command: ProposeCommand, writing: Writing): Written {
  const { kind: _, by, at_ms, ...asked } = command;
  if ((parseTime(asked.intent.expires_at) ?? 0) <= at_ms) {
    return refuse('invalid_request', 'the mission would end before it begins', 'intent.expires_at');
  }
  const event = proposalEvent(asked, { by, at_ms }, writing);
  return { events: [event], about: { proposal: asked.submission_id } };
}

type Asked = Omit<ProposalTerms, 'proposal_hash' | 'submitted_at' | 'submitted_by' | 'expires_at'>;

export function proposalEvent(
  asked: Asked,
  { by, at_ms }: { readonly by: Party; readonly at_ms: number },
  { issuer, digest }: Writing,
): MandateEvent {
  const proposal = {
    ...asked,
    proposal_hash: anchor(digest, issuer, 'mission-proposed-authority', asked.authorization_details),
    submitted_at: formatTime(at_ms),
    submitted_by: by,
    expires_at: formatTime(at_ms + PROPOSAL_LIFETIME_MS),
  };
  return { kind: 'proposed', proposal, at: formatTime(at_ms), by };
}

/** A proposal's status now: pending ones lapse by themselves. */
export function proposalStatus(proposal: Proposal, wall_ms: number): Proposal['status'] {
  const hasLapsed = wall_ms >= (parseTime(proposal.expires_at) ?? 0);
  return proposal.status === 'pending' && hasLapsed ? 'expired' : proposal.status;
}

export function deny(command: DenyCommand, stored: Stored): Written {
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
