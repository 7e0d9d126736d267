/** The operations on a mandate: what each takes, and what all of them answer. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { ACKNOWLEDGEMENTS } from '../check/ports.ts';
import { canonicalJson } from '../core/json.ts';
import type { OperateCommand, OperationDetails } from '../core/mandate/commands.ts';
import { isEndingBy, stopAfter } from '../core/mandate/life.ts';
import { type AskedOperation, OPERATIONS } from '../core/mandate/record.ts';
import { type ById, type MandateApi, attributed, commit, submitted } from './api.ts';
import {
  constraints,
  defined,
  digestText,
  entries,
  identifier,
  intent,
  readBody,
  readJson,
  reason,
  time,
} from './bodies.ts';
import { callerOf } from './callers.ts';

/** Members that every operation takes. */
const common = {
  reason: reason.optional(),
  expected_version: z.int().min(1).optional(),
  nonce: identifier.optional(),
  acknowledge: z.enum(ACKNOWLEDGEMENTS).optional(),
  /** How long to wait for `enforced`. */
  timeout_ms: z.int().min(1).max(600_000).optional(),
};

/** Members of each operation's own (design/7, Operations). */
const OWN_MEMBERS = {
  suspend: { suspend_until: time.optional(), on_expiry: z.enum(['resume', 'revoke']).optional() },
  resume: {},
  contain: { entries: z.array(digestText).min(1).max(256) },
  discharge: { entry: digestText, event_type: identifier, event_id: identifier },
  tighten: { entry: digestText, constraints },
  shorten: { expires_at: time },
  extend: { expires_at: time, approval_event_id: identifier.optional() },
  amend: { authorization_details: entries, approval_event_id: identifier.optional() },
  renew: { intent: intent.optional(), authorization_details: entries.optional() },
  complete: {},
  revoke: {},
} as const satisfies Readonly<Record<AskedOperation, z.core.$ZodShape>>;

/** `POST /v1/mandates/{id}/{operation}`, one route for each. */
export function openOperations(scope: FastifyInstance, api: MandateApi): void {
  for (const operation of OPERATIONS) openOperation(scope, api, operation);
}

function openOperation(scope: FastifyInstance, api: MandateApi, operation: AskedOperation): void {
  const schema = z.strictObject({ ...common, ...OWN_MEMBERS[operation] });
  scope.post<ById>(`/v1/mandates/:id/${operation}`, async (request, reply) => {
    const caller = callerOf(request);
    const {
      acknowledge,
      timeout_ms,
      reason: why,
      expected_version,
      nonce,
      ...own
    } = readBody(schema, request.body);
    const { id: asked } = request.params;
    const lineage = await api.access[isEndingBy(operation) ? 'ending' : 'mandate'](
      caller,
      asked,
      `mandate.${operation}`,
    );
    const command: OperateCommand = {
      kind: 'operate',
      id: asked,
      details: {
        ...(NEEDS_APPROVAL.has(operation) ? { approval_event_id: api.ids.approval() } : {}),
        ...(operation === 'renew' ? { submission_id: api.ids.submission() } : {}),
        ...defined(own),
        operation,
      } as OperationDetails,
      may_resume: lineage !== undefined && api.access.may(caller, 'mandate.resume', lineage),
      fingerprint: api.digest(`${operation} ${canonicalJson(readJson(request.body))}`),
      ...defined({ reason: why, expected_version, nonce }),
      ...attributed(caller, api),
    };
    const written = await commit(api, operation, command, acknowledge, timeout_ms);
    const { receipt, acknowledged, enforced_at, mandate, proposal } = written;
    if (proposal !== undefined) return reply.code(202).send(submitted(proposal));
    const { id, state, version, position, cascaded } = receipt!;
    return {
      id,
      state,
      version,
      stop: stopAfter(operation, state, mandate?.revocation),
      acknowledged,
      ...(enforced_at === undefined ? {} : { enforced_at }),
      freshness: position,
      cascaded,
    };
  });
}

/** Operations that are approvals themselves. */
const NEEDS_APPROVAL: ReadonlySet<AskedOperation> = new Set(['extend', 'amend']);
