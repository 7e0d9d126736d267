/** `POST /v1/check`: the native question of harnesses, gateways and orchestrators; always answered with a decision. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Check } from '../check/check.ts';
import { ACTION_CLASSES } from '../core/classes.ts';
import { readAuthorization } from '../core/credential.ts';
import { CHECK_POINTS, type Question, VOUCHED_POINTS } from '../core/request.ts';
import type { Now } from '../core/time.ts';
import { MAX_URI_LENGTH } from '../core/uri.ts';
import { Refused, readBody } from './bodies.ts';
import { bearerOf } from './caller.ts';
import { controlProblem } from './problem.ts';

const text = (most: number) => z.string().min(1).max(most);

/** Members of the contract that belong to check points of a later version: refused, never ignored. */
const later = z.never('this member is not served by this version').optional();

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
  action: z.strictObject({
    name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,255}$/, 'expected an action name'),
    class: z.enum(ACTION_CLASSES).optional(),
  }),
  resource: text(MAX_URI_LENGTH),
  parameters: z.record(z.string(), z.json()).optional(),
  method: text(32).optional(),
  url: text(MAX_URI_LENGTH).optional(),
  // Only a claim: it is never looked at.
  actor: z.json().optional(),
  min_version: z.int().min(1).optional(),
  approval: later,
  idempotency_key: later,
  retry_of: later,
  decision_id: later,
  outcome: later,
  queued_at: later,
  items: later,
  child: later,
});

export interface NativeDoor {
  readonly check: Check;
  readonly now: Now;
  /** True for the operator's token; compared in constant time. */
  readonly isOperator: (token: string) => boolean;
}

export function openNativeDoor(server: FastifyInstance, door: NativeDoor): void {
  server.post('/v1/check', async (request, reply) => {
    const arrived = door.now();
    const asked = toQuestion(readBody(question, request.body), arrived, isVouched(request, door));
    const decision = await door.check(asked);
    return reply.code(200).header('cache-control', 'no-store').send(decision);
  });
}

/** The caller's own credential, which is not the agent's: the operator may ask on its own. One that is no good is refused. */
function isVouched(request: FastifyRequest, door: NativeDoor): boolean {
  const token = bearerOf(request);
  if (token === undefined) return false;
  if (door.isOperator(token)) return true;
  throw new Refused(controlProblem('unauthorized', 'the caller`s own credential is not good'));
}

function toQuestion(
  asked: z.output<typeof question>,
  arrived: Question['arrived'],
  isCallerTrusted: boolean,
): Question {
  const { check_point, mandate, credential, action, resource, parameters, min_version } = asked;
  return {
    door: 'native',
    check_point,
    arrived,
    presented: readAuthorization(credential === undefined ? [] : [`Bearer ${credential.token}`]),
    selected: mandate ?? 'absent',
    is_vouched: isCallerTrusted && VOUCHED_POINTS.has(check_point),
    ...(min_version === undefined ? {} : { min_version }),
    action: action.class === undefined ? { name: action.name } : { name: action.name, class: action.class },
    resource,
    parameters: parameters ?? {},
  };
}
