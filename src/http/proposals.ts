/** Proposals: what is asked for, shown, and then approved or denied by a person. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { proposalTarget } from '../core/control.ts';
import type { ApproveCommand, ProposeCommand } from '../core/mandate/commands.ts';
import { proposalStatus } from '../core/mandate/proposals.ts';
import type { AuthorityEntry, Intent, Proposal } from '../core/mandate/record.ts';
import {
  conditions,
  defined,
  entries,
  identifier,
  intent,
  party,
  readBody,
  reason,
  revocation,
  time,
} from './bodies.ts';
import { callerOf } from './callers.ts';
import { type ById, type MandateApi, attributed, commit, lineageOf, present, submitted } from './api.ts';

const proposalBody = z.strictObject({
  intent,
  authorization_details: entries,
  subject: party,
  client_id: identifier,
  client_issuer: z.string().min(1).max(512).optional(),
  revocation: revocation.optional(),
  conditions: conditions.optional(),
});

const approvalBody = z.strictObject({
  proposal_hash: identifier,
  authorization_details: entries.optional(),
  expires_at: time.optional(),
  approval_event_id: identifier.optional(),
});

/** Members that may be left out. */
type Further = Pick<ProposeCommand, 'revocation' | 'conditions'>;

const denialBody = z.strictObject({ reason: reason.optional() });

export function openProposals(scope: FastifyInstance, api: MandateApi): void {
  scope.post('/v1/proposals', async (request, reply) => {
    const caller = callerOf(request);
    const body = readBody(proposalBody, request.body);
    const proposed = {
      intent: body.intent as Intent,
      authorization_details: body.authorization_details as readonly AuthorityEntry[],
      subject: body.subject,
      client_id: body.client_id,
      client_issuer: body.client_issuer ?? body.subject.iss,
      ...(defined({ revocation: body.revocation, conditions: body.conditions }) as Further),
    };
    const { wall_ms } = api.now();
    api.access.require(caller, 'mandate.propose', proposalTarget(proposed, undefined, wall_ms));
    const { proposal } = await commit(api, 'propose', {
      kind: 'propose',
      submission_id: api.ids.submission(),
      ...proposed,
      ...attributed(caller, api),
    });
    return reply.code(202).send(submitted(proposal!));
  });

  scope.get<ById>('/v1/proposals/:id', async (request) => {
    const proposal = await api.access.proposal(callerOf(request), request.params.id, 'mandate.read');
    return shown(proposal, api.now().wall_ms);
  });

  scope.post<ById>('/v1/proposals/:id/approve', async (request, reply) => {
    const caller = callerOf(request);
    const body = readBody(approvalBody, request.body);
    await api.access.proposal(caller, request.params.id, 'mandate.approve');
    const { mandate } = await commit(api, 'approve', {
      kind: 'approve',
      submission_id: request.params.id,
      proposal_hash: body.proposal_hash,
      mandate_id: api.ids.mandate(),
      approval_event_id: body.approval_event_id ?? api.ids.approval(),
      policy_version: api.policy_revision(),
      ...(defined({
        authorization_details: body.authorization_details,
        expires_at: body.expires_at,
      }) as Pick<ApproveCommand, 'authorization_details' | 'expires_at'>),
      ...attributed(caller, api),
    });
    return reply.code(201).send(present(await lineageOf(api, mandate!.id), api.now().wall_ms));
  });

  scope.post<ById>('/v1/proposals/:id/deny', async (request) => {
    const caller = callerOf(request);
    const body = readBody(denialBody, request.body);
    await api.access.proposal(caller, request.params.id, 'mandate.deny');
    const { proposal } = await commit(api, 'deny', {
      kind: 'deny',
      submission_id: request.params.id,
      ...(body.reason === undefined ? {} : { reason: body.reason }),
      ...attributed(caller, api),
    });
    return shown(proposal!, api.now().wall_ms);
  });
}

/** Everything that an approver must see before approving. */
function shown(proposal: Proposal, wall_ms: number): Proposal {
  return { ...proposal, status: proposalStatus(proposal, wall_ms) };
}
