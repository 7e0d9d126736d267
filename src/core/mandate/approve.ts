/** Approval: of what was shown or less of it, once, and with the end of what it supersedes in the same commit. */
import { formatTime, parseTime } from '../time.ts';
import { anchor } from './anchors.ts';
import { replaces } from './attenuation.ts';
import { type EffectiveEntry, approvedEntry } from './authority.ts';
import { type ApproveCommand, type Refusal, type Writing, type Written, refuse } from './commands.ts';
import type { MandateEvent } from './events.ts';
import { ownOf } from './life.ts';
import { proposalStatus } from './proposals.ts';
import type { ApprovedTerms, Digest, Proposal } from './record.ts';
import { type Budget, unmeteredBound, usageOf } from './usage.ts';
import { predecessorOf, successorOf, supersede } from './renew.ts';

export function approve(command: ApproveCommand, { issuer, stored, digest }: Writing): Written {
  const proposal = stored.proposal(command.submission_id);
  if (proposal === undefined) return refuse('not_found', 'no such proposal');
  if (command.proposal_hash !== proposal.proposal_hash) {
    return refuse('conflict', 'another proposal was shown to the approver', 'proposal_hash');
  }
  if (proposal.status === 'approved' && proposal.approval_event_id === command.approval_event_id) {
    return { events: [], about: { mandate: proposal.mission_id! } };
  }
  const status = proposalStatus(proposal, command.at_ms);
  if (status !== 'pending') return refuse('conflict', `the proposal is ${status}`);
  if (stored.approved(command.approval_event_id) !== undefined) {
    return refuse('conflict', 'this approval has been given to another proposal', 'approval_event_id');
  }
  const refusal = unapprovable(command, proposal);
  if (refusal !== undefined) return refusal;
  const predecessor = predecessorOf(proposal, command.at_ms, stored);
  if (predecessor !== undefined && 'refused' in predecessor) return predecessor;
  const asked = approvedTerms(command, issuer, proposal, digest);
  const successor =
    predecessor === undefined
      ? { terms: asked, events: [] }
      : successorOf(asked, predecessor, command, stored);
  if ('refused' in successor) return successor;
  const { terms, events } = successor;
  const { submission_id, by } = command;
  const begun: MandateEvent = { kind: 'approved', submission_id, terms, at: formatTime(command.at_ms), by };
  const ended = predecessor === undefined ? [] : supersede(ownOf(predecessor), terms.id, command, stored);
  return { events: [begun, ...ended, ...events], about: { mandate: terms.id } };
}

function unapprovable(command: ApproveCommand, proposal: Proposal): Refusal | undefined {
  // A bound that nobody enforces must not look like one that somebody does.
  const control = unmeteredBound(proposal.intent.controls ?? {});
  if (control !== undefined) {
    const refusal = refuse(
      'invalid_request',
      'this control cannot be enforced here',
      `intent.controls.${control}`,
    );
    return { ...refusal, status: 422 };
  }
  const proposed: readonly EffectiveEntry[] = proposal.authorization_details.map(approvedEntry);
  const fit = replaces(command.authorization_details ?? [], proposed);
  if (!fit.ok) return refuse('not_strict_subset', fit.why, `authorization_details.${fit.index}`);
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
    ...(proposal.revocation === undefined ? {} : { revocation: proposal.revocation }),
    ...(proposal.conditions === undefined ? {} : { conditions: proposal.conditions }),
    ...metered(proposal.intent.controls ?? {}),
  };
}

function metered(budget: Budget): Pick<ApprovedTerms, 'usage'> {
  const usage = usageOf(budget);
  return usage === undefined ? {} : { usage };
}
