/** What a request means: its check point, action, resource, class and parameters. A table, not branches. */
import {
  type ActionTable,
  type ClassSource,
  type Graded,
  expand,
  familiesOf,
  findOperation,
  floorOf,
  grade,
  raise,
  unmappedClass,
} from './action-table.ts';
import type { ActionClass } from './classes.ts';
import { type JsonObject, canonicalJson } from './json.ts';
import type { Digest } from './mandate/record.ts';
import { type ParameterValues, fitsCedarDecimal } from './parameter-types.ts';
import { type Read, isPartial, readHttpParameters, readQuestionParameters } from './parameters.ts';
import { type CheckPoint, POINTS } from './check-points.ts';
import { type CheckRequest, type HttpRequest, type Question } from './request.ts';
import {
  type ResourceUri,
  hierarchical,
  judgePath,
  normaliseAuthority,
  parseResource,
  splitTarget,
} from './uri.ts';

export interface ActionFault {
  readonly reason: 'malformed_request' | 'parameter_violation' | 'resource_policy';
  readonly detail: string;
}

export interface Action {
  readonly check_point: CheckPoint;
  readonly name: string;
  /** Families it belongs to, nearest first: `repo.*`. */
  readonly families: readonly string[];
  readonly class: ActionClass;
  readonly class_source: ClassSource;
  /** An operation of the action table says what its parameters are. */
  readonly is_mapped: boolean;
  /** Undefined where the request is malformed. */
  readonly resource: ResourceUri | undefined;
  readonly request: {
    readonly method: string;
    readonly scheme: string;
    readonly host: string;
    readonly path: string;
  };
  readonly parameters: ParameterValues;
  /** What a decision is bound to: the parameters as they came, or what would be sent of an unmapped request. */
  readonly bound: JsonObject;
  /** Its digest, from `consequential_write` up. */
  readonly parameter_digest: string | undefined;
  readonly fault: ActionFault | undefined;
}

const NO_REQUEST = { method: '', scheme: '', host: '', path: '' };

/** Total: whatever arrives has a meaning, if only that of a fault. */
export function classify(request: CheckRequest, table: ActionTable, digest: Digest): Action {
  return request.door === 'envoy'
    ? classifyHttp(request, table, digest)
    : classifyQuestion(request, table, digest);
}

function classifyHttp(request: HttpRequest, table: ActionTable, digest: Digest): Action {
  const { path: rawPath, query } = splitTarget(request.target);
  const path = judgePath(rawPath);
  const authority =
    request.host === undefined ? { refused: 'no host' } : normaliseAuthority(request.host, table.scheme);
  if (request.malformed !== undefined) return malformedAction(request, request.malformed);
  if (typeof path !== 'string') return malformedAction(request, path.refused);
  if (typeof authority !== 'string') return malformedAction(request, authority.refused);

  const target = hierarchical(table.scheme, authority, path);
  const found = findOperation(request.method, target, table);
  const { name, ...graded } = grade(request, found?.rule, table);
  const resource = found?.rule.resource === undefined ? target : expand(found.rule.resource, found.names);
  const read: Read =
    found === undefined
      ? readUnmapped(request, graded.class)
      : readHttpParameters(found.rule.parameters, request, query, found.names);
  const bound =
    'plain' in read && found !== undefined ? read.plain : unmappedParameters(request, target, query, digest);
  return {
    check_point: request.check_point,
    name,
    families: familiesOf(name),
    is_mapped: found !== undefined,
    ...graded,
    resource: 'refused' in resource ? undefined : resource,
    request: { method: request.method, scheme: table.scheme, host: authority, path },
    ...parametersOf(read, bound, graded.class, table, digest),
    ...(found === undefined && table.unmapped === 'deny'
      ? { fault: { reason: 'resource_policy' as const, detail: 'the request is not mapped to an action' } }
      : {}),
    ...('refused' in resource
      ? { fault: { reason: 'malformed_request' as const, detail: `the resource is ${resource.refused}` } }
      : {}),
  };
}

function malformedAction(request: HttpRequest, detail: string): Action {
  const name = `http.${request.method.toLowerCase()}`;
  return {
    check_point: request.check_point,
    name,
    families: familiesOf(name),
    class: unmappedClass(request.method),
    class_source: 'unmapped',
    is_mapped: false,
    resource: undefined,
    request: NO_REQUEST,
    parameters: {},
    bound: {},
    parameter_digest: undefined,
    fault: { reason: 'malformed_request', detail },
  };
}

function classifyQuestion(question: Question, table: ActionTable, digest: Digest): Action {
  const { check_point } = question;
  const name = question.action?.name ?? `mandate.${check_point}`;
  const named = table.named.get(name);
  const isRead = name === 'http.get' || name === 'http.head';
  let graded: Graded =
    named === undefined
      ? { name, class: isRead ? 'consequential_read' : 'irreversible_action', class_source: 'unmapped' }
      : { name, class: named.class, class_source: 'operation' };
  // What is harmless on one mapped path is not so on whatever resource a question names.
  graded = raise(graded, 'consequential_read', 'floor');
  graded = raise(graded, floorOf(name, table), 'floor');
  graded = raise(graded, question.action?.class, 'question');
  // Authority is handed on here, whatever it is that is asked about.
  if (POINTS[check_point].is_about_mandate) graded = raise(graded, 'privileged_administration', 'floor');
  const resource = question.resource === undefined ? undefined : parseResource(question.resource);
  const rules = isAboutRequest(question) ? (named?.parameters ?? []) : [];
  const read = readQuestionParameters(rules, question.parameters);
  return {
    check_point,
    name,
    families: familiesOf(name),
    class: graded.class,
    class_source: graded.class_source,
    is_mapped: named !== undefined,
    resource: resource === undefined || 'refused' in resource ? undefined : resource,
    request: NO_REQUEST,
    ...parametersOf(read, question.parameters, graded.class, table, digest),
    ...(resource !== undefined && 'refused' in resource
      ? { fault: { reason: 'malformed_request' as const, detail: `the resource is ${resource.refused}` } }
      : {}),
  };
}

/** A delegation and a token have no parameters of an action; a commit that names nothing known has none either. */
function isAboutRequest({ check_point, resource }: Question): boolean {
  return !POINTS[check_point].is_about_mandate && resource !== undefined;
}

function parametersOf(
  read: Read,
  bound: JsonObject,
  name: ActionClass,
  table: ActionTable,
  digest: Digest,
): Pick<Action, 'parameters' | 'bound' | 'parameter_digest' | 'fault'> {
  const parameter_digest = isBound(name) ? digest(canonicalJson(bound)) : undefined;
  if ('fault' in read) return { parameters: {}, bound, parameter_digest, fault: read.fault };
  const unheld = table.is_cedar_bound ? Object.entries(read.values).find(isUnheldDecimal)?.[0] : undefined;
  if (unheld === undefined) return { parameters: read.values, bound, parameter_digest, fault: undefined };
  const detail = `the parameter \`${unheld}\` has more digits than Cedar's decimal holds`;
  return { parameters: {}, bound, parameter_digest, fault: { reason: 'parameter_violation', detail } };
}

/** From `consequential_write` up a decision is bound to its parameters. */
export function isBound(name: ActionClass): boolean {
  return name !== 'non_consequential' && name !== 'consequential_read';
}

function isUnheldDecimal([, value]: [string, ParameterValues[string]]): boolean {
  return value.type === 'decimal' && !fitsCedarDecimal(value.value);
}

/** What binds an unmapped write to its body is the whole of it, so a part will not do. */
function readUnmapped(request: HttpRequest, name: ActionClass): Read {
  const isWhole = !isBound(name) || !isPartial(request);
  if (isWhole) return { values: {}, plain: {} };
  return { fault: { reason: 'parameter_violation', detail: 'the body was not forwarded whole' } };
}

/** An unmapped write is bound to what would be sent: its method, its whole target, and its body. */
function unmappedParameters(
  request: HttpRequest,
  target: ResourceUri,
  query: string | undefined,
  digest: Digest,
): JsonObject {
  return {
    method: request.method,
    target: query === undefined ? target.uri : `${target.uri}?${query}`,
    body_digest: request.body.kind === 'whole' ? digest(request.body.bytes) : null,
  };
}
