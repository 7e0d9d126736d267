/** Mandates: their records, and the operations that change them. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import {
  ACKNOWLEDGEMENTS,
  type Acknowledgement,
  type MandateStore,
  type WriteResult,
} from '../check/ports.ts';
import { canonicalJson } from '../core/json.ts';
import { type Lineage, TRANSITIONS, effectiveState, ownOf, stopAfter } from '../core/mandate/life.ts';
import type { Command } from '../core/mandate/commands.ts';
import {
  type Digest,
  MANDATE_STATES,
  type MandateRecord,
  type Operation,
  type Party,
} from '../core/mandate/record.ts';
import type { Now } from '../core/time.ts';
import { Refused, identifier, readBody, readJson, readShape, reason } from './bodies.ts';
import { controlProblem } from './problem.ts';

export interface MandateApi {
  readonly store: MandateStore;
  readonly now: Now;
  readonly digest: Digest;
  /** Who acts through the operator token. */
  readonly operator: Party;
  readonly ids: {
    readonly submission: () => string;
    readonly mandate: () => string;
    readonly approval: () => string;
  };
  readonly policy_revision: () => string;
  /** Told of every write: for metrics. */
  readonly written: (operation: string, outcome: string) => void;
}

const OPERATIONS = Object.keys(TRANSITIONS) as Exclude<Operation, 'approve'>[];

const operationBody = z.strictObject({
  reason: reason.optional(),
  expected_version: z.int().min(1).optional(),
  nonce: identifier.optional(),
  acknowledge: z.enum(ACKNOWLEDGEMENTS).default('durable'),
});

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

export function openMandates(scope: FastifyInstance, api: MandateApi): void {
  scope.get('/v1/mandates', async (request) => {
    const { limit, cursor, ...filter } = readShape(listQuery, request.query);
    const at = api.now();
    const page = await api.store.list(filter as Parameters<MandateStore['list']>[0], limit, cursor, at);
    const items = await Promise.all(
      page.items.map(async ({ id }) => present(await lineageOf(api, id), at.wall_ms)),
    );
    return { ...page, items };
  });

  scope.get<ById>('/v1/mandates/:id', async (request) => {
    return present(await lineageOf(api, request.params.id), api.now().wall_ms);
  });

  scope.get<ById>('/v1/mandates/:id/history', async (request) => {
    return { items: ownOf(await lineageOf(api, request.params.id)).history };
  });

  for (const operation of OPERATIONS) {
    scope.post<ById>(`/v1/mandates/:id/${operation}`, async (request) => {
      const { acknowledge, ...body } = readBody(operationBody, request.body);
      const result = await commit(
        api,
        operation,
        {
          kind: 'operate',
          operation,
          id: request.params.id,
          fingerprint: api.digest(`${operation} ${canonicalJson(readJson(request.body))}`),
          ...defined(body),
          by: api.operator,
          at_ms: api.now().wall_ms,
        },
        acknowledge,
      );
      const { id, state, version, position, cascaded } = result.receipt!;
      const { acknowledged } = result;
      return {
        id,
        state,
        version,
        stop: stopAfter(operation, state),
        acknowledged,
        freshness: position,
        cascaded,
      };
    });
  }
}

function defined<T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}

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

export function notFound(): Refused {
  return new Refused(controlProblem('not_found', 'there is no such resource'));
}

async function lineageOf(api: MandateApi, id: string): Promise<Lineage> {
  const lineage = await api.store.lineage(id);
  if (lineage === undefined) throw notFound();
  return lineage as Lineage;
}

/** A record as it is shown: its state is the one that counts now, whether or not that is stored yet. */
export function present(lineage: Lineage, wall_ms: number): MandateRecord {
  return { ...ownOf(lineage), state: effectiveState(lineage, wall_ms) };
}
