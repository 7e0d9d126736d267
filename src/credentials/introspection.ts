/** Tokens that only their issuer can read: it is asked (RFC 7662), and may have to sign what it says (RFC 9701). */
import { hash } from 'node:crypto';
import { jwtVerify } from 'jose';
import { type Json, type JsonObject, isObject, member, parseJson } from '../core/json.ts';
import { type Instant, type Now, elapsed } from '../core/time.ts';
import { type ClientAuthentication, authenticate } from './client-authentication.ts';
import { mediaType, readJws } from './jws.ts';
import type { Keys } from './keys.ts';
import type { Answer, Poster } from './outbound.ts';

export type Introspected = {
  /** When it was asked. */
  readonly asked: Instant;
} & (
  | { readonly kind: 'active'; readonly claims: JsonObject }
  | { readonly kind: 'inactive' }
  | { readonly kind: 'away'; readonly detail: string }
);

export interface Introspection {
  /** `is_current`: what was asked before this call is not good enough. One token has one question under way at a time. */
  readonly ask: (token: string, is_current: boolean) => Promise<Introspected>;
  /** How long what was said of a token counts, milliseconds. */
  readonly cache_ms: number;
  /** Why the last one that was asked for has failed, for `/readyz`; undefined while all is well. */
  readonly trouble: () => string | undefined;
  readonly close: () => void;
}

export interface IntrospectionParts {
  readonly poster: Poster;
  readonly client: ClientAuthentication;
  readonly cache_ms: number;
  /** Whose signature an answer must have; undefined where TLS is enough. */
  readonly signed_by: SignedBy | undefined;
  readonly now: Now;
  /** Told of the first failure, and of the recovery after it. */
  readonly complain: (what: string) => void;
}

export interface SignedBy {
  readonly keys: Keys;
  readonly issuer: string;
  readonly algorithms: readonly string[];
  readonly clock_tolerance_s: number;
}

/** Tokens that are asked of at once; more are refused, so that a flood of them is not passed on. */
const MAX_UNDER_WAY = 64;
/** How old a signed answer may be: it answers what was asked just now. */
const MAX_ANSWER_AGE_S = 60;

/** The question about a token that is under way, and the one that begins when it has ended. */
interface Slots {
  readonly asked: Instant;
  readonly now: Promise<Introspected>;
  next?: Promise<Introspected>;
}

export function createIntrospection(parts: IntrospectionParts): Introspection {
  const { poster, cache_ms, complain, now } = parts;
  const underWay = new Map<string, Slots>();
  let failure: string | undefined;
  const settle = (why: string | undefined): void => {
    if (why !== undefined && failure === undefined) complain(`a token could not be introspected: ${why}`);
    if (why === undefined && failure !== undefined) complain('tokens can be introspected again');
    failure = why;
  };
  const send = async (token: string, asked: Instant): Promise<Introspected> => {
    try {
      const said = await introspect(token, parts, asked);
      settle(undefined);
      return said.active === true ? { kind: 'active', claims: said, asked } : { kind: 'inactive', asked };
    } catch (error) {
      const detail = (error as Error).message;
      // A refusal of this one token says nothing of the others: who shows what is none must not raise an alarm.
      if (!(error instanceof RefusedToken)) settle(detail);
      return { kind: 'away', detail, asked };
    }
  };
  const begin = (token: string, key: string): Promise<Introspected> => {
    const asked = now();
    const slots: Slots = { asked, now: send(token, asked) };
    underWay.set(key, slots);
    void slots.now.then(() => {
      if (slots.next === undefined) underWay.delete(key);
    });
    return slots.now;
  };
  return {
    cache_ms,
    trouble: () => failure,
    close: poster.close,
    ask: (token, is_current) => {
      const key = hash('sha256', token, 'base64url');
      const slots = underWay.get(key);
      if (slots !== undefined && !is_current && elapsed(slots.asked, now()) <= cache_ms) return slots.now;
      // Answers come in the order of their questions, so that an older one never undoes a newer.
      if (slots !== undefined) return (slots.next ??= slots.now.then(() => begin(token, key)));
      if (underWay.size < MAX_UNDER_WAY) return begin(token, key);
      const detail = 'too many tokens are being introspected';
      return Promise.resolve({ kind: 'away', detail, asked: now() });
    },
  };
}

class RefusedToken extends Error {}

async function introspect(
  token: string,
  { poster, client, signed_by }: IntrospectionParts,
  at: Instant,
): Promise<JsonObject> {
  const { headers, form } = await authenticate(client, at);
  const accept = signed_by === undefined ? 'application/json' : SIGNED;
  const answer = await poster.post(
    { ...form, token, token_type_hint: 'access_token' },
    { ...headers, accept },
  );
  if (answer.status === 400) throw new RefusedToken('the issuer does not take the token');
  if (answer.status !== 200) throw new Error(`the answer has status ${answer.status}`);
  const said =
    signed_by === undefined ? plain(answer) : await signed(answer, client.client_id, signed_by, at);
  if (typeof member(said, 'active') !== 'boolean')
    throw new Error('the answer does not say whether it is active');
  return said as JsonObject;
}

function plain({ content_type, body }: Answer): Json | undefined {
  if (content_type !== 'application/json') throw new Error('the answer is not JSON');
  const parsed = parseJson(body);
  return parsed.ok ? parsed.value : undefined;
}

const SIGNED = 'application/token-introspection+jwt';

/** RFC 9701 section 5: typed, by the issuer, for us, and of now. */
async function signed(
  { content_type, body }: Answer,
  audience: string,
  { keys, issuer, algorithms, clock_tolerance_s }: SignedBy,
  at: Instant,
): Promise<Json | undefined> {
  const header = content_type === SIGNED ? readJws(body.trim())?.header : undefined;
  if (header === undefined || mediaType(header.typ) !== 'token-introspection+jwt')
    throw new Error('the answer is not a signed introspection');
  const alg = typeof header.alg === 'string' ? header.alg : '';
  const found = await keys.find({ ...header, alg }, at);
  if (found.kind === 'away') throw new Error(`the issuer's keys are away: ${found.detail}`);
  if (found.kind === 'unknown')
    throw new Error('the answer is signed with a key that its issuer does not publish');
  const verified = await jwtVerify(body.trim(), found.key, {
    algorithms: [...algorithms],
    issuer,
    audience,
    requiredClaims: ['iat'],
    maxTokenAge: MAX_ANSWER_AGE_S,
    clockTolerance: clock_tolerance_s,
    currentDate: new Date(at.wall_ms),
  }).catch(() => undefined);
  if (verified === undefined) throw new Error('the signed answer does not verify');
  const said = verified.payload['token_introspection'] as Json | undefined;
  return isObject(said) ? said : undefined;
}
