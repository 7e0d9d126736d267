/** Keys, tokens and DPoP proofs made by hand, so that every byte of them can be wrong. */
import {
  type JsonWebKey,
  type KeyObject,
  constants,
  createHash,
  generateKeyPairSync,
  randomUUID,
  sign as signBytes,
} from 'node:crypto';
import type { JsonObject } from '../../src/core/json.ts';
import { GIT } from '../support/sidecar.ts';

export type Algorithm = 'ES256' | 'ES384' | 'RS256' | 'PS256' | 'Ed25519';
/** Members to replace; `undefined` removes one. */
export type Members = Readonly<Record<string, unknown>>;

export interface Key {
  readonly alg: Algorithm;
  readonly private_key: KeyObject;
  /** The public key: its required members alone. */
  readonly jwk: JsonObject;
  readonly private_jwk: JsonObject;
  /** RFC 7638. */
  readonly jkt: string;
}

const SIGNERS: Readonly<Record<Algorithm, (data: Buffer, key: KeyObject) => Buffer>> = {
  ES256: (data, key) => signBytes('sha256', data, { key, dsaEncoding: 'ieee-p1363' }),
  ES384: (data, key) => signBytes('sha384', data, { key, dsaEncoding: 'ieee-p1363' }),
  RS256: (data, key) => signBytes('sha256', data, key),
  PS256: (data, key) =>
    signBytes('sha256', data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
  Ed25519: (data, key) => signBytes(null, data, key),
};

function pairFor(
  alg: Algorithm,
  modulusLength: number,
): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  if (alg === 'RS256' || alg === 'PS256') return generateKeyPairSync('rsa', { modulusLength });
  if (alg === 'Ed25519') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('ec', { namedCurve: alg === 'ES384' ? 'P-384' : 'P-256' });
}

const jwkOf = (key: KeyObject): JsonObject => key.export({ format: 'jwk' }) as JsonWebKey & JsonObject;

export function makeKey(alg: Algorithm = 'ES256', modulusLength = 2048): Key {
  const { publicKey, privateKey } = pairFor(alg, modulusLength);
  const jwk = jwkOf(publicKey);
  return { alg, private_key: privateKey, jwk, private_jwk: jwkOf(privateKey), jkt: thumbprint(jwk) };
}

/** RFC 7638, of a key that has the required members and no other, as Node exports public ones. */
export function thumbprint(jwk: JsonObject): string {
  const sorted = Object.fromEntries(Object.entries(jwk).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return sha256(JSON.stringify(sorted));
}

/** As base64url, which is what RFC 7638, RFC 8705 and RFC 9449 all ask for. */
export const sha256 = (data: string | Buffer): string =>
  createHash('sha256').update(data).digest('base64url');

export const base64url = (data: string | Buffer): string => Buffer.from(data).toString('base64url');

export const now = (): number => Math.floor(Date.now() / 1000);

/** A JWS of exactly these texts, or of these members. */
export function jws(
  header: Members | string,
  payload: Members | string,
  sign: (data: Buffer) => Buffer,
): string {
  const text = (part: Members | string): string => (typeof part === 'string' ? part : JSON.stringify(part));
  const signed = `${base64url(text(header))}.${base64url(text(payload))}`;
  return `${signed}.${base64url(sign(Buffer.from(signed)))}`;
}

export const signerOf =
  (key: Key, alg: Algorithm = key.alg) =>
  (data: Buffer): Buffer =>
    SIGNERS[alg](data, key.private_key);

/** The key of every authorization server here. */
const ISSUER_KEY = makeKey();
export const JWKS: JsonObject = { keys: [{ ...ISSUER_KEY.jwk, kid: 'k1', alg: 'ES256', use: 'sig' }] };

/** A token that is good in every respect but for what is replaced. */
export function mintToken(iss: string, claims: Members = {}): string {
  const at = now();
  const common = {
    iss,
    sub: 'alice',
    aud: GIT,
    client_id: 'agent-1',
    iat: at,
    exp: at + 3600,
    jti: randomUUID(),
  };
  return jws({ alg: 'ES256', typ: 'at+jwt', kid: 'k1' }, { ...common, ...claims }, signerOf(ISSUER_KEY));
}

/** What a proof must say of a request, by default of the one that `serving.ts` asks about. */
export function proofClaims(token: string, claims: Members = {}): Members {
  const htu = `${GIT}/repos/example/app/contents`;
  return { htm: 'GET', htu, iat: now(), jti: randomUUID(), ath: sha256(token), ...claims };
}

/** A proof (RFC 9449 section 4.2) that is good but for what is replaced. */
export function mintProof(token: string, key: Key, claims: Members = {}, header: Members = {}): string {
  const head = { typ: 'dpop+jwt', alg: key.alg, jwk: key.jwk, ...header };
  return jws(head, proofClaims(token, claims), signerOf(key));
}
