/** Parameters of an action: where they come from, and what makes them unreadable. */
import { type Json, type JsonObject, isObject, parseJson } from './json.ts';
import {
  type ParameterType,
  type ParameterValue,
  type ParameterValues,
  byJsonType,
  typedJson,
  typedText,
} from './parameter-types.ts';
import { type HttpRequest, headerValues } from './request.ts';

export type ParameterSource =
  /** RFC 6901 tokens into the JSON body. */
  | { readonly from: 'body'; readonly pointer: readonly string[] }
  | { readonly from: 'query' | 'header' | 'path'; readonly name: string };

export interface ParameterRule {
  readonly name: string;
  readonly type: ParameterType;
  readonly optional: boolean;
  /** Absent for parameters that only a native question gives. */
  readonly source?: ParameterSource;
}

/** Ambiguity is malformed; absence, and a value that is not of its type, is a violation. */
export interface ParameterFault {
  readonly reason: 'malformed_request' | 'parameter_violation';
  readonly detail: string;
}

export type Read =
  { readonly values: ParameterValues; readonly plain: JsonObject } | { readonly fault: ParameterFault };

const malformed = (detail: string): ParameterFault => ({ reason: 'malformed_request', detail });
const violation = (detail: string): ParameterFault => ({ reason: 'parameter_violation', detail });

/** Parameters of a request at a proxy's door. `path` holds the values of the matched path's templates. */
export function readHttpParameters(
  rules: readonly ParameterRule[],
  request: HttpRequest,
  query: string | undefined,
  path: ReadonlyMap<string, string>,
): Read {
  const body = rules.some((rule) => rule.source?.from === 'body') ? readBody(request) : undefined;
  if (body !== undefined && 'fault' in body) return body;
  return readAll(rules, (rule) => {
    const { source } = rule;
    switch (source?.from) {
      case 'body':
        return fromBody(body!.json, source.pointer);
      case 'query':
        return fromQuery(query ?? '', source.name);
      case 'header':
        return fromHeader(request.headers, source.name, rule.type);
      case 'path':
        return asText(path.get(source.name));
      case undefined:
        return { json: undefined };
    }
  });
}

/** Parameters of a native question: those that operations declare are typed, the others keep their JSON type. */
export function readQuestionParameters(rules: readonly ParameterRule[], parameters: JsonObject): Read {
  const names = Object.keys(parameters);
  for (const rule of rules) {
    const variant = names.find((name) => isCaseVariant(name, rule.name));
    if (variant !== undefined)
      return { fault: malformed(`a case variant of the parameter \`${rule.name}\``) };
  }
  const declared = readAll(rules, (rule) => ({
    json: Object.hasOwn(parameters, rule.name) ? parameters[rule.name] : undefined,
  }));
  if ('fault' in declared) return declared;
  const values = new Map(Object.entries(declared.values));
  for (const name of names) {
    const value = values.has(name) ? undefined : byJsonType(parameters[name]!);
    if (value !== undefined) values.set(name, value);
  }
  return { values: Object.fromEntries(values), plain: parameters };
}

type Found =
  { readonly json: Json | undefined } | { readonly text: string } | { readonly fault: ParameterFault };

function readAll(rules: readonly ParameterRule[], find: (rule: ParameterRule) => Found): Read {
  const values = new Map<string, ParameterValue>();
  const plain = new Map<string, Json>();
  for (const rule of rules) {
    const found = find(rule);
    if ('fault' in found) return found;
    if ('json' in found && found.json === undefined) {
      if (rule.optional) continue;
      return { fault: violation(`the parameter \`${rule.name}\` is absent`) };
    }
    const value = 'text' in found ? typedText(found.text, rule.type) : typedJson(found.json!, rule.type);
    if (value === undefined)
      return { fault: violation(`the parameter \`${rule.name}\` is not a ${rule.type}`) };
    values.set(rule.name, value);
    plain.set(rule.name, value.value);
  }
  return { values: Object.fromEntries(values), plain: Object.fromEntries(plain) };
}

/** True when the proxy says, however often, that it did not forward all of the body. */
export function isPartial({ headers }: HttpRequest): boolean {
  return headerValues(headers, 'x-envoy-auth-partial-body').some((value) => value !== 'false');
}

function readBody(request: HttpRequest): { readonly json: Json } | { readonly fault: ParameterFault } {
  const { body, headers } = request;
  if (body.kind !== 'whole' || isPartial(request))
    return { fault: violation('the body was not forwarded whole') };
  const types = headerValues(headers, 'content-type');
  const isJson =
    types.length === 1 &&
    /^application\/(?:[a-z0-9.+-]+\+)?json *(?:; *charset="?utf-8"?)?$/i.test(types[0]!);
  if (!isJson) return { fault: violation('the body has not one JSON content type') };
  if (headerValues(headers, 'content-encoding').length > 0)
    return { fault: violation('the body has a content encoding') };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body.bytes);
  } catch {
    return { fault: malformed('the body is not UTF-8') };
  }
  const parsed = parseJson(text);
  return parsed.ok ? { json: parsed.value } : { fault: malformed(`the body is ${parsed.error}`) };
}

function fromBody(root: Json, pointer: readonly string[]): Found {
  let at: Json | undefined = root;
  for (const token of pointer) {
    if (isObject(at)) {
      const variant = Object.keys(at).find((name) => isCaseVariant(name, token));
      if (variant !== undefined) return { fault: malformed(`a case variant of the member \`${token}\``) };
      at = Object.hasOwn(at, token) ? at[token] : undefined;
    } else {
      at =
        Array.isArray(at) && /^(?:0|[1-9]\d{0,5})$/.test(token)
          ? (at as readonly Json[])[Number(token)]
          : undefined;
    }
  }
  return { json: at };
}

/** Through capitals, since some parsers fold `ſ` to `s` as well. */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase();
}

function isCaseVariant(name: string, used: string): boolean {
  return name !== used && fold(name) === fold(used);
}

/** `application/x-www-form-urlencoded` reading of the raw query; anything that decodes to the name counts. */
function fromQuery(query: string, name: string): Found {
  const found: string[] = [];
  for (const pair of query === '' ? [] : query.split('&')) {
    const at = pair.indexOf('=');
    const [key, value] = at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    const [decodedKey, decoded] = [decodeForm(key), decodeForm(value)];
    if (decodedKey === undefined) return { fault: malformed('the query has a bad percent escape') };
    if (decodedKey !== name) continue;
    if (decoded === undefined) return { fault: malformed(`the query parameter \`${name}\` is not UTF-8`) };
    found.push(decoded);
  }
  if (found.length > 1) return { fault: malformed(`the query parameter \`${name}\` occurs twice`) };
  return asText(found[0]);
}

function decodeForm(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

/** A proxy joins two lines of one header with a comma, so a comma is the trace of a duplicate. */
function fromHeader(headers: readonly string[], name: string, type: ParameterType): Found {
  const values = headerValues(headers, name);
  if (values.length > 1 || (type !== 'strings' && values[0]?.includes(',') === true)) {
    return { fault: malformed(`the header \`${name}\` occurs twice`) };
  }
  return asText(values[0]);
}

function asText(text: string | undefined): Found {
  return text === undefined ? { json: undefined } : { text };
}
