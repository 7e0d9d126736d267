/** Bodies of the native question and of control calls: strict JSON, strict shapes, and errors that name the field. */
import { z } from 'zod';
import { type Json, type JsonObject, parseJson } from '../core/json.ts';
import { ACTION_CLASSES } from '../core/classes.ts';
import { readDelegation } from '../core/mandate/delegation.ts';
import { isAmount } from '../core/mandate/decimal.ts';
import { unmeteredBound } from '../core/mandate/usage.ts';
import { malformedConstraint } from '../core/mandate/constraints.ts';
import { parseTime } from '../core/time.ts';
import { parseResource } from '../core/uri.ts';
import { type Problem, controlProblem } from './problem.ts';

/** Thrown by handlers, answered as problem+json by the listener. */
export class Refused extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** The JSON of a body that Fastify has handed on as text. An absent body is an empty object. */
export function readJson(body: unknown): Json {
  if (body === undefined || body === null || body === '') return {};
  const parsed = parseJson(String(body));
  if (parsed.ok) return parsed.value;
  throw new Refused(controlProblem('invalid_request', `the body is ${parsed.error}`));
}

export function readBody<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  return readShape(schema, readJson(body));
}

export function readShape<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const parsed = schema.safeParse(value, { reportInput: false });
  if (parsed.success) return parsed.data;
  const issue = deepest(parsed.error.issues[0]!);
  const unknown = issue.code === 'unrecognized_keys' ? [issue.keys[0]!] : [];
  const field = [...issue.path, ...unknown].map(String).join('.');
  throw new Refused(controlProblem('invalid_request', issue.message, field === '' ? undefined : field));
}

/** Of a union that fits no member, the issue that got furthest says most. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().toSorted((a, b) => b.path.length - a.path.length)[0];
  return inner === undefined ? issue : { ...deepest(inner), path: [...issue.path, ...inner.path] };
}

const name = (most: number) => z.string().min(1).max(most);
const MAX_PROSE = 4096;
const MAX_ENTRIES = 256;
const MAX_ACTIONS = 128;

export const time = z
  .string()
  .max(64)
  .refine((text) => parseTime(text) !== undefined, 'expected an RFC 3339 date-time');

const resource = z.string().superRefine((text, context) => {
  const parsed = parseResource(text);
  if ('refused' in parsed)
    context.addIssue({ code: 'custom', message: `expected a resource URI: ${parsed.refused}` });
});

const jsonObject = z.record(z.string(), z.json());

export const constraints = jsonObject
  .refine((keys) => Object.keys(keys).length <= 32, 'expected at most 32 constraints')
  .superRefine((keys, context) => {
    const key = malformedConstraint(keys);
    if (key !== undefined)
      context.addIssue({ code: 'custom', path: [key], message: 'not of this constraint`s shape' });
  });

const delegation = jsonObject.refine(
  (value) => readDelegation(value as JsonObject) !== undefined,
  'expected `{max_depth, allowed_delegates: [{sub}], children?: {max_children, max_child_depth}}`',
);

export const party = z.strictObject({ iss: name(512), sub: name(512) });

export const entry = z.strictObject({
  type: z.literal('mission_resource_access'),
  resource,
  resource_match: z.enum(['exact', 'prefix']).optional(),
  actions: z
    .array(
      z
        .string()
        .max(256)
        .regex(
          /^[A-Za-z0-9_-]+(?:[.:/][A-Za-z0-9_-]+)*(?:\.\*)?$/,
          'expected an action, or a family such as `repo.*`',
        ),
    )
    .min(1)
    .max(MAX_ACTIONS),
  constraints: constraints.optional(),
  delegation: delegation.optional(),
});

export const entries = z.array(entry).min(1).max(MAX_ENTRIES);

/** A bound on use, as in `intent.controls`. */
const budget = z.strictObject({
  max_calls: z.int().min(0).optional(),
  max_budget: z
    .strictObject({
      amount: z.string().refine(isAmount, 'expected a decimal amount'),
      currency: z.string().regex(/^[A-Z]{3}$/, 'expected a currency code'),
    })
    .optional(),
  max_duration: z
    .string()
    .refine(
      (text) => unmeteredBound({ max_duration: text }) === undefined,
      'expected a duration such as `PT8H` or `8h`',
    )
    .optional(),
});

/** What a child is made from. */
export const child = z.strictObject({
  client_id: name(256),
  client_issuer: z.string().min(1).max(512).optional(),
  authorization_details: entries,
  expires_at: time.optional(),
  budget: budget.optional(),
});

const prose = z.array(z.string().min(1).max(MAX_PROSE)).max(64);

export const intent = z.strictObject({
  goal: name(MAX_PROSE),
  goal_lang: z
    .string()
    .max(64)
    .regex(/^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*$/, 'expected a language tag')
    .optional(),
  resources: z.array(resource).min(1).max(64),
  constraints: prose.optional(),
  success_criteria: prose.optional(),
  purpose: name(1024).optional(),
  expires_at: time,
  controls: jsonObject.optional(),
});

export const reason = z.string().max(MAX_PROSE);
export const identifier = name(256);

/** `{CLASS: {issuance?, tokens?, queued?, in_flight?}}`: `false` spares that class of work when the mandate ends. */
export const revocation = z.partialRecord(
  z.enum(ACTION_CLASSES),
  z.strictObject({
    issuance: z.boolean().optional(),
    tokens: z.boolean().optional(),
    queued: z.boolean().optional(),
    in_flight: z.boolean().optional(),
  }),
);

/** Without the members that are not there. */
export function defined<T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}

export const digestText = z.string().regex(/^sha-256:[A-Za-z0-9_-]{43}$/, 'expected a digest, `sha-256:…`');

export const observedValue = z.union(
  [z.string().max(1024), z.number(), z.boolean()],
  'expected a string, a number or a boolean',
);

/** What is observed, and where: `branch.frozen` of `example/app#main`. */
export const thing = { event_type: name(256), key: name(1024) };

/** What must keep holding; `expect` is `true` where it is left out. */
export const conditions = z
  .array(
    z.strictObject({
      id: name(128),
      ...thing,
      expect: observedValue.default(true),
      on_false: z.enum(['suspend', 'contain', 'revoke']),
      max_stale_s: z.int().min(1).max(31_536_000),
    }),
  )
  .max(16)
  .superRefine((all, context) => {
    const twice = all.findIndex(({ id }, index) => all.findIndex((each) => each.id === id) !== index);
    if (twice !== -1) context.addIssue({ code: 'custom', path: [twice, 'id'], message: 'the same id twice' });
  });
