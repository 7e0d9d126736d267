/** JWT access tokens (RFC 9068) verified as RFC 8725 advises: explicit algorithms, type, issuer and audience. */
import { type JWTHeaderParameters, type JWTPayload, errors, jwtVerify } from 'jose';
import type { CredentialFact } from '../core/credential.ts';
import { type Json, type JsonObject, isObject, parseJson } from '../core/json.ts';
import { parseMissionClaim } from '../core/reference.ts';
import type { Instant } from '../core/time.ts';
import type { Keys } from './keys.ts';

/** One `credentials` entry, as far as tokens are concerned. */
export interface TokenIssuer {
  /** The realm that policies see. */
  readonly name: string;
  /** Compared byte for byte with `iss`. */
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly algorithms: readonly string[];
  /** What `typ` may be, in lower case and without `application/`. */
  readonly token_types: readonly string[];
  readonly keys: Keys;
}

export interface TokenRules {
  readonly issuers: ReadonlyMap<string, TokenIssuer>;
  readonly clock_tolerance_s: number;
}

/** RFC 9068 section 2.2: what every access token has. `iss` and `aud` are compared as well as required. */
const REQUIRED_CLAIMS = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'];
const MAX_NAME_LENGTH = 512;
/** The last second that RFC 3339 can write. */
const MAX_NUMERIC_DATE = 253_402_300_799;

const unusable = (detail: string, reason: 'credential_invalid' | 'actor_invalid' = 'credential_invalid') =>
  ({ verdict: 'unusable', reason, detail }) as const;

export interface ReadToken {
  readonly header: JWTHeaderParameters;
  readonly issuer: TokenIssuer;
}

/** Looks at a token before its signature: only to choose whose keys, and to refuse what no key could mend. */
export function readToken(token: string, rules: TokenRules): ReadToken | CredentialFact {
  const parts = token.split('.');
  // RFC 7515 section 2: base64url has no padding; a lenient decoder would take a second spelling of one token.
  const header = parts.length === 3 && BASE64URL.test(parts[2]!) ? decodePart(parts[0]!) : undefined;
  const payload = header === undefined ? undefined : decodePart(parts[1]!);
  if (header === undefined || payload === undefined) return unusable('the token is not a well-formed JWT');
  const issuer = typeof payload.iss === 'string' ? rules.issuers.get(payload.iss) : undefined;
  if (issuer === undefined) return unusable('the token is of an issuer that is not configured');
  const type = typeof header.typ === 'string' ? header.typ.toLowerCase().replace(/^application\//, '') : '';
  if (!issuer.token_types.includes(type)) return unusable('the token is not of an accepted type');
  if (typeof header.alg !== 'string' || !issuer.algorithms.includes(header.alg)) {
    return unusable('the token is signed with an algorithm that is not accepted');
  }
  return { header: header as unknown as JWTHeaderParameters, issuer };
}

const BASE64URL = /^[A-Za-z0-9_-]+$/;

function decodePart(part: string): JsonObject | undefined {
  if (!BASE64URL.test(part)) return undefined;
  const parsed = parseJson(Buffer.from(part, 'base64url').toString('utf8'));
  return parsed.ok && isObject(parsed.value) ? parsed.value : undefined;
}

export async function verifyToken(
  token: string,
  { header, issuer }: ReadToken,
  rules: TokenRules,
  at: Instant,
): Promise<CredentialFact> {
  const found = await issuer.keys.find(header, at);
  if (found.kind === 'away')
    return { verdict: 'unverifiable', detail: `the issuer's keys are away: ${found.detail}` };
  if (found.kind === 'unknown')
    return unusable('the token is signed with a key that its issuer does not publish');
  try {
    const { payload } = await jwtVerify(token, found.key, {
      algorithms: [...issuer.algorithms],
      issuer: issuer.issuer,
      audience: [...issuer.audiences],
      requiredClaims: REQUIRED_CLAIMS,
      clockTolerance: rules.clock_tolerance_s,
      currentDate: new Date(at.wall_ms),
    });
    return readClaims(payload, issuer, rules, at);
  } catch (error) {
    return unusable(describe(error));
  }
}

/** A jose error by its kind alone: messages could repeat what the token says. */
function describe(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'the token has expired';
  if (error instanceof errors.JWTClaimValidationFailed)
    return `the claim \`${error.claim}\` is not acceptable`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the signature does not verify';
  return 'the token could not be verified as a JWT';
}

function readClaims(
  payload: JWTPayload,
  issuer: TokenIssuer,
  rules: TokenRules,
  at: Instant,
): CredentialFact {
  const claims = payload as JWTPayload & Readonly<Record<string, Json | undefined>>;
  const { sub, client_id, exp, iat, jti } = claims;
  if (!isName(sub) || !isName(client_id) || !isName(jti))
    return unusable('a claim that names something is not a name');
  if (!isDate(exp) || !isDate(iat)) return unusable('a claim that is a time is out of range');
  if (iat > at.wall_ms / 1000 + rules.clock_tolerance_s)
    return unusable('the token was issued in the future');
  if (claims.cnf !== undefined)
    return unusable('the token is bound to a key, and the proof cannot be checked');
  // A chain that is not checked must not pass for one that was.
  if (claims.act !== undefined) return unusable('the token has a chain of actors', 'actor_invalid');
  const { authorization_details } = claims;
  return {
    verdict: 'usable',
    realm: issuer.name,
    issuer: issuer.issuer,
    subject: sub,
    client_id,
    expires_at_ms: exp * 1000,
    mission: parseMissionClaim(claims.mission),
    ...(authorization_details === undefined ? {} : { authorization_details }),
  };
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_NAME_LENGTH && value.isWellFormed();
}

function isDate(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= MAX_NUMERIC_DATE;
}
