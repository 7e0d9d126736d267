/** Approvals of one action, and decisions whose outcome a person settles. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { MAX_URI_LENGTH } from '../core/uri.ts';
import { OUTCOMES, type StoredDecision, standingStatus } from '../core/mandate/stored-decision.ts';
import { Refused, digestText, identifier, readBody, time } from './bodies.ts';
import { notFound } from './access.ts';
import { callerOf } from './callers.ts';
import { type ById, type MandateApi, attributed, commit } from './api.ts';
import type { ControlAction, Principal } from '../core/control.ts';
import { controlProblem } from './problem.ts';

const approvalBody = z.strictObject({
  mandate: identifier,
  action: identifier,
  resource: z.string().min(1).max(MAX_URI_LENGTH),
  parameter_digest: digestText,
  approved_until: time,
});

const settlementBody = z.strictObject({ outcome: z.enum(OUTCOMES) });

export function openDecisions(scope: FastifyInstance, api: MandateApi): void {
  scope.post('/v1/approvals', async (request, reply) => {
    const caller = callerOf(request);
    const body = readBody(approvalBody, request.body);
    await api.access.mandate(caller, body.mandate, 'action.approve');
    const approval_id = api.ids.approval();
    const { mandate } = await commit(api, 'approve_action', {
      kind: 'approve_action',
      approval_id,
      ...body,
      ...attributed(caller, api),
    });
    const approval = mandate!.action_approvals!.find(({ id }) => id === approval_id)!;
    return reply.code(201).send({ ...approval, mandate: mandate!.id });
  });

  scope.get<ById>('/v1/decisions/:id', async (request) => {
    return shown(await decisionOf(api, callerOf(request), request.params.id, 'decision.read'), api);
  });

  scope.post<ById>('/v1/decisions/:id/settle', async (request) => {
    const caller = callerOf(request);
    const { outcome } = readBody(settlementBody, request.body);
    const { decision_id } = await decisionOf(api, caller, request.params.id, 'decision.settle');
    const { reserved } = await commit(api, 'settle', {
      kind: 'settle',
      decision_id,
      outcome,
      ...attributed(caller, api),
    });
    if (reserved!.outcome === 'held') return shown(reserved!.decision, api);
    const detail = reserved!.outcome === 'refused' ? reserved!.detail : 'it cannot be settled';
    throw new Refused(controlProblem('conflict', detail));
  });
}

/** A decision is seen by whoever sees its mandate. */
async function decisionOf(
  api: MandateApi,
  caller: Principal,
  id: string,
  action: ControlAction,
): Promise<StoredDecision> {
  const read = await api.store.decision(id);
  if (!read.ok) throw new Refused(controlProblem(read.refused, read.detail));
  if (read.decision === undefined) throw notFound();
  await api.access.mandate(caller, read.decision.mandate, action);
  return read.decision;
}

/** Its status as it counts now; what keys and parameters it had is nobody's business here. */
function shown(decision: StoredDecision, api: MandateApi) {
  const { key: _key, parameters: _parameters, ...rest } = decision;
  return { ...rest, status: standingStatus(decision, api.now().wall_ms) };
}
