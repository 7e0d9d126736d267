/** `POST /v1/check`: the native question of harnesses, gateways and orchestrators; always answered with a decision. */
import { setImmediate } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Check } from '../check/check.ts';
import { ACTION_CLASSES } from '../core/classes.ts';
import { type Presented, shown } from '../core/credential.ts';
import type { RecordedDecision } from '../core/decision.ts';
import { drained } from '../core/drain.ts';
import { OUTCOMES } from '../core/mandate/stored-decision.ts';
import { CHECK_POINTS, type CheckPoint, POINTS } from '../core/check-points.ts';
import type { Question, Repeat } from '../core/request.ts';
import { type Instant, type Now, parseTime } from '../core/time.ts';
import { MAX_URI_LENGTH } from '../core/uri.ts';
import { Refused, child, defined, entries, readBody, time } from './bodies.ts';
import type { Access } from './access.ts';
import { controlProblem } from './problem.ts';

const text = (most: number) => z.string().min(1).max(most);

const MAX_ITEMS = 256;

const action = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,255}$/, 'expected an action name'),
  class: z.enum(ACTION_CLASSES).optional(),
});

const parameters = z.record(z.string(), z.json());

const item = z.strictObject({
  id: text(256),
  action,
  resource: text(MAX_URI_LENGTH),
  parameters: parameters.optional(),
  queued_at: time.optional(),
});

const question = z.strictObject({
  check_point: z.enum(CHECK_POINTS),
  mandate: z.strictObject({ id: text(256), issuer: text(512) }).optional(),
  // `dpop` and the certificate can only make a credential usable that is refused without them.
  credential: z
    .strictObject({
      token: text(16_384),
      dpop: text(16_384).optional(),
      certificate_sha256: text(128).optional(),
    })
    .optional(),
  action: action.optional(),
  resource: text(MAX_URI_LENGTH).optional(),
  parameters: parameters.optional(),
  method: text(32).optional(),
  url: text(MAX_URI_LENGTH).optional(),
  // Only a claim: it is never looked at.
  actor: z.json().optional(),
  approval: text(256).optional(),
  min_version: z.int().min(1).optional(),
  /** A freshness token: what an operation was answered with. */
  freshness: z.strictObject({ epoch: z.int().min(1), seq: z.int().min(0), eid: text(128) }).optional(),
  idempotency_key: text(256).optional(),
  retry_of: text(256).optional(),
  decision_id: text(256).optional(),
  outcome: z.enum(OUTCOMES).optional(),
  queued_at: time.optional(),
  items: z.array(item).min(1).max(MAX_ITEMS).optional(),
  child: child.optional(),
  authorization_details: entries.max(64).optional(),
  client_id: text(512).optional(),
  cnf: z.record(z.string(), z.json()).optional(),
});

type Asked = z.output<typeof question>;

/** Members that belong to some points alone: one that is out of place says that the caller means something else. */
const OWN_MEMBERS: Readonly<Partial<Record<keyof Asked, readonly CheckPoint[]>>> = {
  decision_id: ['renew', 'commit'],
  outcome: ['commit'],
  items: ['drain'],
  queued_at: ['drain'],
  child: ['delegate'],
  authorization_details: ['issue', 'refresh'],
  client_id: ['issue', 'refresh'],
  cnf: ['issue', 'refresh'],
};

/** Members that a point cannot do without. */
function requiredAt({ check_point, items }: Asked): readonly (keyof Asked)[] {
  switch (check_point) {
    case 'renew':
      return ['decision_id'];
    case 'commit':
      return ['decision_id', 'outcome'];
    case 'delegate':
      return ['child'];
    case 'issue':
    case 'refresh':
      return [];
    case 'drain':
      return items === undefined ? ['action', 'resource'] : [];
    default:
      return ['action', 'resource'];
  }
}

export interface NativeDoor {
  readonly check: Check;
  readonly now: Now;
  readonly access: Access;
}

export function openNativeDoor(server: FastifyInstance, door: NativeDoor): void {
  server.post('/v1/check', async (request, reply) => {
    const arrived = door.now();
    const asked = readQuestion(request.body);
    const caller = await door.access.asking(request, asked.mandate?.id);
    const decided = asked.check_point === 'drain' ? drain : one;
    const asking = { arrived, now: door.now, presented: presentedBy(asked), ...caller };
    const decision = await decided(door.check, asked, asking);
    return reply.code(200).header('cache-control', 'no-store').send(decision);
  });
}

function readQuestion(body: unknown): Asked {
  const asked = readBody(question, body);
  const missing = requiredAt(asked).find((name) => asked[name] === undefined);
  if (missing !== undefined)
    throw new Refused(controlProblem('invalid_request', `needed at \`${asked.check_point}\``, missing));
  const misplaced = (Object.keys(OWN_MEMBERS) as (keyof Asked)[]).find((name) => {
    return asked[name] !== undefined && !OWN_MEMBERS[name]!.includes(asked.check_point);
  });
  if (misplaced === undefined) return asked;
  throw new Refused(
    controlProblem('invalid_request', `has no meaning at \`${asked.check_point}\``, misplaced),
  );
}

interface Asking {
  readonly arrived: Instant;
  readonly now: Now;
  readonly presented: Presented;
  readonly principal: string | undefined;
  /** The control policies let this caller ask without the agent's credential. */
  readonly may_ask: boolean;
}

function one(check: Check, asked: Asked, asking: Asking): Promise<RecordedDecision> {
  return check(toQuestion(asked, asking));
}

/** Each item is a check of its own, so that each has its own three verdicts and stands in the log. */
async function drain(check: Check, asked: Asked, asking: Asking): Promise<RecordedDecision> {
  const { items: batch, ...common } = asked;
  const items = batch ?? [{ id: '0', action: asked.action!, resource: asked.resource! }];
  const answered: { readonly id: string; readonly decision: RecordedDecision }[] = [];
  for (const { id, ...own } of items) {
    // Each has its own time, and leaves others theirs.
    await setImmediate();
    const queued = toQuestion({ ...common, ...own }, { ...asking, arrived: asking.now() });
    answered.push({ id, decision: await check(queued) });
  }
  return drained(answered);
}

function toQuestion(asked: Asked, { arrived, presented, principal, may_ask }: Asking): Question {
  const { check_point, mandate, action: named, resource, min_version, approval, queued_at } = asked;
  const { decision_id, outcome, child: derived, authorization_details, freshness: token } = asked;
  const optional = {
    principal,
    resource,
    min_version,
    token,
    approval,
    decision_id,
    outcome,
    action: named,
    child: derived,
    authorization_details,
    client_id: asked.client_id,
    queued_at_ms: queued_at === undefined ? undefined : parseTime(queued_at),
  };
  return {
    door: 'native',
    check_point,
    arrived,
    presented,
    selected: mandate ?? 'absent',
    is_vouched: may_ask && POINTS[check_point].is_vouched,
    parameters: asked.parameters ?? {},
    ...repeatOf(asked),
    ...(defined(optional) as Omit<Partial<Question>, 'is_vouched'>),
  };
}

/** One showing for all the checks of a question: its proof is judged once. */
function presentedBy({ credential, method, url }: Asked): Presented {
  if (credential === undefined) return { kind: 'none' };
  const { token, dpop: proof, certificate_sha256 } = credential;
  const beside = {
    ...(proof === undefined ? {} : { proof }),
    ...(certificate_sha256 === undefined ? {} : { certificate_sha256 }),
    ...(method === undefined || url === undefined ? {} : { target: { method, url } }),
  };
  return shown(token, 'unnamed', beside);
}

function repeatOf({ idempotency_key, retry_of }: Asked): { readonly repeat?: Repeat } {
  if (idempotency_key === undefined && retry_of === undefined) return {};
  return {
    repeat: {
      ...(idempotency_key === undefined ? {} : { key: { text: idempotency_key } }),
      ...(retry_of === undefined ? {} : { retry_of }),
    },
  };
}
