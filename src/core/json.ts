/** JSON as evidence: strict reading (RFC 8259 with unique names, as RFC 7493 asks) and RFC 8785 canonical form. */
import canonicalize from 'canonicalize';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export interface JsonObject {
  readonly [name: string]: Json;
}

export type JsonResult =
  { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly error: string };

/** Deeper documents are refused, so that nothing recursive can be made to overflow. */
const MAX_DEPTH = 64;

/** Parses JSON and refuses what an ordinary parser hides: a name that occurs twice in one object. */
export function parseJson(text: string, max_depth = MAX_DEPTH): JsonResult {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    return { ok: false, error: 'not valid JSON' };
  }
  const error = scan(text, max_depth);
  return error === undefined ? { ok: true, value } : { ok: false, error };
}

/** Walks text that JSON.parse has accepted, so only structure needs watching. */
function scan(text: string, max_depth: number): string | undefined {
  const names: (Set<string> | undefined)[] = [];
  let at = 0;
  while (at < text.length) {
    const char = text[at]!;
    if (char === '{' || char === '[') {
      if (names.length >= max_depth) return `nested deeper than ${max_depth}`;
      names.push(char === '{' ? new Set() : undefined);
    } else if (char === '}' || char === ']') {
      names.pop();
    } else if (char === '"') {
      const end = endOfString(text, at);
      // A lone surrogate has no UTF-8 form, hence no canonical one.
      if (!(JSON.parse(text.slice(at, end)) as string).isWellFormed()) return 'a string is not Unicode text';
      const scope = names.at(-1);
      if (scope !== undefined && isMemberName(text, end)) {
        const name = JSON.parse(text.slice(at, end)) as string;
        if (scope.has(name)) return 'a member name occurs twice';
        // What copies the object would lose it, or worse.
        if (name === '__proto__') return 'a member is called `__proto__`';
        scope.add(name);
      }
      at = end;
      continue;
    } else if (char === '-' || (char >= '0' && char <= '9')) {
      const number = /^[-+.eE0-9]+/.exec(text.slice(at, at + 400))![0];
      if (!Number.isFinite(Number(number))) return 'a number is out of range';
      at += number.length;
      continue;
    }
    at += 1;
  }
  return undefined;
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

function isMemberName(text: string, end: number): boolean {
  let at = end;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\n' || text[at] === '\r') at += 1;
  return text[at] === ':';
}

/** RFC 8785 text of a value. */
export function canonicalJson(value: Json): string {
  return canonicalize(value)!;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const MAX_NAME_LENGTH = 512;

/** What may name somebody or something: text of at most 512 characters, and some. */
export function isName(value: Json | undefined): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_NAME_LENGTH && value.isWellFormed();
}

/** An own member, or undefined: `constructor` is a name like any other. */
export function member(value: Json | undefined, name: string): Json | undefined {
  return isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}
