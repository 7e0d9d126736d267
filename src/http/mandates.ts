/** Mandates: their records, and the operations that change them. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  ACKNOWLEDGEMENTS,
  type Acknowledgement,
  type MandateFilter,
  type MandateStore,
  type WriteResult,
} from '../check/ports.ts';
import type { Principal } from '../core/control.ts';
import { canonicalJson } from '../core/json.ts';
import { type Lineage, effectiveEnd, effectiveState, ownOf, stopAfter } from '../core/mandate/life.ts';
import type { Command, DeriveCommand, OperateCommand, OperationDetails } from '../core/mandate/commands.ts';
import {
  type Digest,
  MANDATE_STATES,
  type MandateRecord,
  OPERATIONS,
  type AskedOperation,
  type Party,
  type Proposal,
} from '../core/mandate/record.ts';
import { type Now, formatTime } from '../core/time.ts';
import {
  Refused,
  child,
  constraints,
  defined,
  digestText,
  entries,
  identifier,
  intent,
  readBody,
  readJson,
  readShape,
  reason,
  time,
} from './bodies.ts';
import { type Access, notFound } from './access.ts';
import { callerOf } from './callers.ts';
import { controlProblem } from './problem.ts';

export interface MandateApi {
  readonly store: MandateStore;
  readonly now: Now;
  readonly digest: Digest;
  readonly access: Access;
  readonly ids: {
    readonly submission: () => string;
    readonly mandate: () => string;
    readonly approval: () => string;
  };
  readonly policy_revision: () => string;
  readonly clock_tolerance_ms: number;
  /** Told of every write: for metrics. */
  readonly written: (operation: string, outcome: string) => void;
}

/** Members that every operation takes. */
const common = {
  reason: reason.optional(),
  expected_version: z.int().min(1).optional(),
  nonce: identifier.optional(),
  acknowledge: z.enum(ACKNOWLEDGEMENTS).default('durable'),
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

const listQuery = z.strictObject({
  subject: identifier.optional(),
  client_id: identifier.optional(),
  state: z.enum(MANDATE_STATES).optional(),
  parent: identifier.optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, 'expected a cursor of an earlier answer')
    .optional(),
});

interface ById {
  Params: { id: string };
}

interface ByVersion {
  Params: { id: string; version: string };
}

export function openMandates(scope: FastifyInstance, api: MandateApi): void {
  const seen = (request: FastifyRequest<ById>): Promise<Lineage> =>
    api.access.mandate(callerOf(request), request.params.id, 'mandate.read');

  scope.get('/v1/mandates', async (request) => {
    const caller = callerOf(request);
    const { limit, cursor, ...filter } = readShape(listQuery, request.query);
    const at = api.now();
    const isSeen = (lineage: Lineage): boolean => api.access.maySee(caller, lineage);
    const page = await api.store.list(filter as MandateFilter, { limit, cursor, isSeen }, at);
    const items = await Promise.all(
      page.items.map(async ({ id }) => present(await lineageOf(api, id), at.wall_ms)),
    );
    return { ...page, items };
  });

  scope.get<ById>('/v1/mandates/:id', async (request) => present(await seen(request), api.now().wall_ms));

  scope.get<ById>('/v1/mandates/:id/history', async (request) => {
    return { items: ownOf(await seen(request)).history };
  });

  scope.get<ByVersion>('/v1/mandates/:id/versions/:version', async (request) => {
    await api.access.mandate(callerOf(request), request.params.id, 'mandate.read');
    const { id, version } = request.params;
    const number = /^[1-9]\d{0,8}$/.test(version) ? Number(version) : 0;
    const read = await api.store.version(id, number);
    if (!read.ok) throw new Refused(controlProblem(read.refused, read.detail));
    if (read.record === undefined) throw notFound();
    return read.record;
  });

  scope.get<ById>('/v1/mandates/:id/lineage', async (request) => {
    const lineage = await seen(request);
    const { wall_ms } = api.now();
    // Of those above only what the caller may see of them by themselves.
    const visible = lineage
      .map((_, depth) => lineage.slice(0, depth + 1) as unknown as Lineage)
      .filter((each) => api.access.maySee(callerOf(request), each));
    return { items: visible.map((each) => present(each, wall_ms)) };
  });

  scope.get<ById>('/v1/mandates/:id/tree', async (request) => {
    const above = (await seen(request)).slice(0, -1);
    const records = await api.store.tree(request.params.id);
    return { items: treeNodes(records, above, api.now().wall_ms) };
  });

  scope.post<ById>('/v1/mandates/:id/children', async (request, reply) => {
    const caller = callerOf(request);
    const body = readBody(child, request.body);
    await api.access.mandate(caller, request.params.id, 'mandate.derive');
    const { mandate } = await commit(api, 'derive', {
      kind: 'derive',
      parent: request.params.id,
      mandate_id: api.ids.mandate(),
      policy_version: api.policy_revision(),
      ...(defined(body) as Pick<DeriveCommand, 'client_id' | 'authorization_details'>),
      ...attributed(caller, api),
    });
    return reply.code(201).send(present(await lineageOf(api, mandate!.id), api.now().wall_ms));
  });

  for (const operation of OPERATIONS) openOperation(scope, api, operation);
}

/** A mandate as one line of its tree. */
function treeNodes(records: readonly MandateRecord[], above: readonly MandateRecord[], wall_ms: number) {
  const known = new Map([...above, ...records].map((record) => [record.id, record]));
  return records.map((record) => {
    const lineage = record.lineage.map((id) => known.get(id)!) as unknown as Lineage;
    const { id, parent, depth, version, client_id } = record;
    const state = effectiveState(lineage, wall_ms);
    const expires_at = formatTime(effectiveEnd(lineage));
    return { id, ...(parent === undefined ? {} : { parent }), depth, state, version, client_id, expires_at };
  });
}

function openOperation(scope: FastifyInstance, api: MandateApi, operation: AskedOperation): void {
  const schema = z.strictObject({ ...common, ...OWN_MEMBERS[operation] });
  scope.post<ById>(`/v1/mandates/:id/${operation}`, async (request, reply) => {
    const caller = callerOf(request);
    const { acknowledge, reason: why, expected_version, nonce, ...own } = readBody(schema, request.body);
    await api.access.mandate(caller, request.params.id, `mandate.${operation}`);
    const command: OperateCommand = {
      kind: 'operate',
      id: request.params.id,
      details: {
        ...(NEEDS_APPROVAL.has(operation) ? { approval_event_id: api.ids.approval() } : {}),
        ...(operation === 'renew' ? { submission_id: api.ids.submission() } : {}),
        ...defined(own),
        operation,
      } as OperationDetails,
      fingerprint: api.digest(`${operation} ${canonicalJson(readJson(request.body))}`),
      ...defined({ reason: why, expected_version, nonce }),
      ...attributed(caller, api),
    };
    const { receipt, acknowledged, mandate, proposal } = await commit(api, operation, command, acknowledge);
    if (proposal !== undefined) return reply.code(202).send(submitted(proposal));
    const { id, state, version, position, cascaded } = receipt!;
    return {
      id,
      state,
      version,
      stop: stopAfter(operation, state, mandate?.revocation),
      acknowledged,
      freshness: position,
      cascaded,
    };
  });
}

/** What is answered to whoever has proposed. */
export function submitted({ submission_id, status, proposal_hash, expires_at }: Proposal) {
  return { submission_id, status, proposal_hash, expires_at };
}

/** Operations that are approvals themselves. */
const NEEDS_APPROVAL: ReadonlySet<AskedOperation> = new Set(['extend', 'amend']);

/** Writes, or throws the refusal as the problem that the caller gets. */
export async function commit(
  api: MandateApi,
  operation: string,
  command: Command,
  acknowledge: Acknowledgement = 'durable',
): Promise<Extract<WriteResult, { ok: true }>> {
  const result = await api.store.write(command, acknowledge);
  api.written(operation, result.ok ? 'ok' : result.refused);
  if (result.ok) return result;
  const problem = controlProblem(result.refused, result.detail, result.field);
  throw new Refused({ ...problem, status: result.status ?? problem.status });
}

/** Who asks for a write, and when. */
export function attributed(
  { party }: Principal,
  api: MandateApi,
): { readonly by: Party; readonly at_ms: number } {
  return { by: party, at_ms: api.now().wall_ms };
}

export async function lineageOf(api: MandateApi, id: string): Promise<Lineage> {
  const lineage = await api.store.lineage(id);
  if (lineage === undefined) throw notFound();
  return lineage as Lineage;
}

/** A record as it is shown: its state is the one that counts now, whether or not that is stored yet. */
export function present(lineage: Lineage, wall_ms: number): MandateRecord {
  return { ...ownOf(lineage), state: effectiveState(lineage, wall_ms) };
}
