/** Mandates as they are read, and the children that are made under them. */
import { setImmediate } from 'node:timers/promises';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { MandateFilter } from '../check/ports.ts';
import type { Principal } from '../core/control.ts';
import type { DeriveCommand } from '../core/mandate/commands.ts';
import { type Lineage, effectiveEnd, effectiveState, ownOf } from '../core/mandate/life.ts';
import { type HistoryItem, MANDATE_STATES, type MandateRecord } from '../core/mandate/record.ts';
import { formatTime } from '../core/time.ts';
import { notFound } from './access.ts';
import { type ById, type MandateApi, attributed, commit, lineageOf, present } from './api.ts';
import { Refused, child, defined, identifier, readBody, readShape } from './bodies.ts';
import { callerOf } from './callers.ts';
import { controlProblem } from './problem.ts';

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
    const isSeen = (lineage: Lineage): boolean => api.access.may(caller, 'mandate.read', lineage);
    const listed = await api.store.list(filter as MandateFilter, { limit, cursor, isSeen }, at);
    if (!listed.ok) throw new Refused(controlProblem(listed.refused, listed.detail));
    const { page } = listed;
    const items = await Promise.all(
      page.items.map(async ({ id }) => present(await lineageOf(api, id), at.wall_ms)),
    );
    return { ...page, items };
  });

  scope.get<ById>('/v1/mandates/:id', async (request) => present(await seen(request), api.now().wall_ms));

  scope.get<ById>('/v1/mandates/:id/history', async (request) => {
    return { items: historyOf(ownOf(await seen(request))) };
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
      .filter((each) => api.access.may(callerOf(request), 'mandate.read', each));
    return { items: visible.map((each) => present(each, wall_ms)) };
  });

  scope.get<ById>('/v1/mandates/:id/tree', async (request) => {
    const above = (await seen(request)).slice(0, -1);
    const tree = await api.store.tree(request.params.id);
    if (!tree.ok) throw new Refused(controlProblem(tree.refused, tree.detail));
    return { items: await visibleNodes(tree.records, above, callerOf(request), api) };
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
}

type ShownItem = Omit<HistoryItem, 'operation'> & {
  readonly operation: HistoryItem['operation'] | 'revoke_tokens';
};

/** Its changes, and between them what was done about its tokens elsewhere, in the order of the log. */
function historyOf({ history, tokens_revoked = [] }: MandateRecord): readonly ShownItem[] {
  const notes = tokens_revoked.map(({ seq, at, by, issuer, tokens }): ShownItem => {
    const { state, version } = history.findLast((item) => item.seq < seq) ?? history[0]!;
    const reason = `${tokens} at ${issuer}`;
    return { seq, at, by, operation: 'revoke_tokens', reason, prior_state: state, state, version };
  });
  return notes.length === 0 ? history : [...history, ...notes].toSorted((a, b) => a.seq - b.seq);
}

/** Policies are asked about each node; after so many the checks have their turn. */
const NODES_IN_A_ROW = 64;

/** Mandates as lines of their tree, as far as the caller may see them. */
async function visibleNodes(
  records: readonly MandateRecord[],
  above: readonly MandateRecord[],
  caller: Principal,
  api: MandateApi,
) {
  const known = new Map([...above, ...records].map((record) => [record.id, record]));
  const nodes = [];
  for (const [index, record] of records.entries()) {
    if (index % NODES_IN_A_ROW === NODES_IN_A_ROW - 1) await setImmediate();
    const lineage = record.lineage.map((id) => known.get(id)!) as unknown as Lineage;
    if (api.access.may(caller, 'mandate.read', lineage)) nodes.push(nodeOf(lineage, api.now().wall_ms));
  }
  return nodes;
}

function nodeOf(lineage: Lineage, wall_ms: number) {
  const { id, parent, depth, version, client_id } = ownOf(lineage);
  const state = effectiveState(lineage, wall_ms);
  const expires_at = formatTime(effectiveEnd(lineage));
  return { id, ...(parent === undefined ? {} : { parent }), depth, state, version, client_id, expires_at };
}
