/** The parts of a compact JWS (RFC 7515 section 3.1), looked at before anything of it is believed. */
import { type JsonObject, isObject, parseJson } from '../core/json.ts';

export interface Jws {
  readonly header: JsonObject;
  readonly payload: JsonObject;
}

/** RFC 7515 section 2: base64url has no padding; a lenient decoder would take a second spelling of one token. */
const BASE64URL = /^[A-Za-z0-9_-]+$/;
/** As deep as a token of the longest length can be: what lies too deep is refused for what it is, not here. */
const MAX_DEPTH = 16_384;

/** undefined where it is not three parts of which two are JSON objects without a name that occurs twice. */
export function readJws(text: string): Jws | undefined {
  const parts = text.split('.', 4);
  if (parts.length !== 3 || !BASE64URL.test(parts[2]!)) return undefined;
  const header = decode(parts[0]!);
  const payload = header === undefined ? undefined : decode(parts[1]!);
  return header === undefined || payload === undefined ? undefined : { header, payload };
}

function decode(part: string): JsonObject | undefined {
  if (!BASE64URL.test(part)) return undefined;
  const parsed = parseJson(Buffer.from(part, 'base64url').toString('utf8'), MAX_DEPTH);
  return parsed.ok && isObject(parsed.value) ? parsed.value : undefined;
}

/** RFC 7515 section 4.1.9: compared without regard to case, and `application/` may be left out. */
export function mediaType(typ: unknown): string {
  return typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : '';
}
