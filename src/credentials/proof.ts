/** DPoP proofs (RFC 9449 section 4.3): that whoever shows a token holds the key that it is bound to, here and now. */
import { hash } from 'node:crypto';
import { type CryptoKey, type JWK, calculateJwkThumbprint, compactVerify, importJWK } from 'jose';
import type { ProofMemory } from '../check/ports.ts';
import type { ProofTarget, ShownToken } from '../core/credential.ts';
import { type Json, type JsonObject, isObject } from '../core/json.ts';
import type { Instant } from '../core/time.ts';
import { parseResource } from '../core/uri.ts';
import type { TokenIssuer } from './issuer.ts';
import { type Jws, mediaType, readJws } from './jws.ts';

export type ProofResult =
  | { readonly kind: 'proven' }
  | { readonly kind: 'invalid'; readonly detail: string }
  /** The client must try again with the nonce that it is given. */
  | { readonly kind: 'nonce_needed'; readonly nonce: string }
  /** Whether it was shown before cannot be said. */
  | { readonly kind: 'unknown'; readonly detail: string };

export interface ProofRules {
  readonly memory: ProofMemory;
  readonly clock_tolerance_s: number;
}

export type VerifyProof = (
  shown: ShownToken,
  jkt: string,
  issuer: TokenIssuer,
  at: Instant,
) => Promise<ProofResult>;

/** How old a proof may be; a clock that is ahead is another matter, and has the tolerance. */
const MAX_AGE_S = 60;
const MAX_JTI_LENGTH = 256;
const MAX_PROOF_LENGTH = 8192;

const invalid = (detail: string): ProofResult => ({ kind: 'invalid', detail });

/**
 * One showing of a proof is judged once, however many checks it is for: a second look would find it replayed. What the
 * token says is not kept with it, which is looked at anew.
 */
export function createProofVerifier(rules: ProofRules): VerifyProof {
  const look = createLooking(rules);
  const judged = new WeakMap<ShownToken, { readonly jkt: string; readonly result: Promise<ProofResult> }>();
  return (shown, jkt, issuer, at) => {
    const known = judged.get(shown);
    if (known?.jkt === jkt) return known.result;
    const result = look(shown, jkt, issuer, at);
    judged.set(shown, { jkt, result });
    return result;
  };
}

/**
 * Cheap looks come first, and the key must be the token's before anything is computed with it; last, and only of a
 * proof that is good, whether it was shown before.
 */
function createLooking(rules: ProofRules): VerifyProof {
  const read = createKeyReader();
  return async (shown, jkt, issuer, at) => {
    const { proof, target } = shown.beside;
    if (proof === undefined) return invalid('the token is bound to a key, and no proof was shown');
    if (target === undefined) return invalid('a proof is for a method and a url, and nobody says which');
    const jws = proof.length > MAX_PROOF_LENGTH ? undefined : readJws(proof);
    if (jws === undefined) return invalid('the proof is not a well-formed JWT');
    const { header, payload } = jws;
    const key = headerFault(header, issuer) ?? (await read(header, jkt));
    if (typeof key === 'string') return invalid(key);
    const fault = faultOf(payload, target, shown.token, rules, at);
    if (fault !== undefined) return invalid(fault);
    if (!(await isSigned(proof, key, issuer))) return invalid('the proof`s signature does not verify');
    const { nonces } = issuer;
    if (nonces !== undefined && !nonces.isGood(payload.nonce, at))
      return { kind: 'nonce_needed', nonce: nonces.current(at) };
    return remember(jkt, payload.jti as string, shown, rules, at);
  };
}

async function remember(
  jkt: string,
  jti: string,
  { beside: { proof, request } }: ShownToken,
  { memory, clock_tolerance_s }: ProofRules,
  at: Instant,
): Promise<ProofResult> {
  // The clocks of sidecars that share the memory may differ by as much again as a proof may be old.
  const lifetime_ms = (2 * MAX_AGE_S + clock_tolerance_s) * 1000;
  const again =
    request === undefined
      ? {}
      : { again: { request: digestOf([request.id, proof!]), lifetime_ms: request.lifetime_ms } };
  const [holder, named] = [digestOf([jkt]), digestOf([jti])];
  const shown = await memory.show({ holder, jti: named, lifetime_ms, ...again }, at);
  switch (shown.kind) {
    case 'first':
      return { kind: 'proven' };
    case 'replayed':
      return invalid('the proof was shown before');
    case 'unknown':
      return shown;
  }
}

/** 128 bits, from which nothing can be read. */
function digestOf(parts: readonly string[]): string {
  return hash('sha256', JSON.stringify(parts), 'base64url').slice(0, 22);
}

/** Section 4.3, items 3 and 8 to 12. */
function faultOf(
  { jti, htm, htu, iat, exp, nbf, ath }: JsonObject,
  target: ProofTarget,
  token: string,
  { clock_tolerance_s }: ProofRules,
  at: Instant,
): string | undefined {
  const now_s = at.wall_ms / 1000;
  if (typeof jti !== 'string' || jti === '' || jti.length > MAX_JTI_LENGTH)
    return 'the proof`s `jti` is not a name of at most 256 characters';
  if (htm !== target.method) return 'the proof is for another method';
  if (typeof htu !== 'string' || !isSameTarget(htu, target.url)) return 'the proof is for another url';
  if (typeof iat !== 'number') return 'the proof does not say when it was made';
  if (iat < now_s - MAX_AGE_S) return 'the proof is too old';
  if (iat > now_s + clock_tolerance_s) return 'the proof was made in the future';
  if (exp !== undefined && !(typeof exp === 'number' && exp > now_s - clock_tolerance_s))
    return 'the proof has expired';
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf <= now_s + clock_tolerance_s))
    return 'the proof does not count yet';
  if (ath !== hash('sha256', token, 'base64url')) return 'the proof is for another token';
  return undefined;
}

/** Section 4.3, item 9: scheme, authority and path alike, normalised; query and fragment do not matter. */
function isSameTarget(htu: string, url: string): boolean {
  const [claimed, actual] = [htu, url].map((text) => parseResource(text.split(/[?#]/, 1)[0]!));
  return 'uri' in claimed! && 'uri' in actual! && claimed.below !== undefined && claimed.uri === actual.uri;
}

const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
/** A modulus of 8,192 bits and an exponent of 32. */
const MAX_MODULUS_LENGTH = 1366;
const MAX_EXPONENT_LENGTH = 6;

/** Section 4.3, items 4 to 7 but the signature. */
function headerFault({ typ, alg, jwk, crit }: Jws['header'], issuer: TokenIssuer): string | undefined {
  if (mediaType(typ) !== 'dpop+jwt') return 'the proof is not of the type `dpop+jwt`';
  if (typeof alg !== 'string' || !issuer.algorithms.includes(alg))
    return 'the proof is signed with an algorithm that is not accepted';
  if (crit !== undefined) return 'the proof has a critical extension';
  return isObject(jwk) && isPublic(jwk) ? undefined : 'the proof has no public key';
}

function isPublic(jwk: JsonObject): boolean {
  return (
    !PRIVATE_MEMBERS.some((name) => Object.hasOwn(jwk, name)) &&
    isShort(jwk.n, MAX_MODULUS_LENGTH) &&
    isShort(jwk.e, MAX_EXPONENT_LENGTH)
  );
}

function isShort(value: Json | undefined, most: number): boolean {
  return value === undefined || (typeof value === 'string' && value.length <= most);
}

const MAX_KEYS = 10_000;

/** Reads the key of a proof, which must be the one that the token is bound to (section 7.1); or says why it cannot. */
function createKeyReader(): (header: Jws['header'], jkt: string) => Promise<CryptoKey | string> {
  /** By thumbprint and algorithm: reading a key costs as much as verifying with it. */
  const known = new Map<string, CryptoKey>();
  return async ({ jwk, alg }, jkt) => {
    const name = `${jkt} ${String(alg)}`;
    // `use`, `key_ops` and the like are the client's to write and nothing to us.
    const { kty, crv, x, y, n, e } = jwk as JsonObject;
    const own = { kty, crv, x, y, n, e } as JWK;
    try {
      if ((await calculateJwkThumbprint(own)) !== jkt)
        return 'the proof is by another key than the token is bound to';
      const key = known.get(name) ?? (await importJWK(own, alg as string));
      if (key instanceof Uint8Array) return 'the proof`s key is not of its algorithm';
      if (!known.has(name) && known.size >= MAX_KEYS) known.delete(known.keys().next().value!);
      known.set(name, key);
      return key;
    } catch {
      return 'the proof`s key cannot be read';
    }
  };
}

async function isSigned(proof: string, key: CryptoKey, { algorithms }: TokenIssuer): Promise<boolean> {
  try {
    await compactVerify(proof, key, { algorithms: [...algorithms] });
    return true;
  } catch {
    return false;
  }
}
