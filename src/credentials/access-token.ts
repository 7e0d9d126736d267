/** JWT access tokens (RFC 9068) verified as RFC 8725 advises: explicit algorithms, type, issuer and audience. */
import { type JWTHeaderParameters, errors, jwtVerify } from 'jose';
import { type JsonObject, isName } from '../core/json.ts';
import type { Instant } from '../core/time.ts';
import { type Read, type Refusal, readClaims, unusable } from './claims.ts';
import type { TokenIssuer, TokenRules } from './issuer.ts';
import { mediaType, readJws } from './jws.ts';
import type { Keys } from './keys.ts';

/** RFC 9068 section 2.2: what every access token has. `iss` and `aud` are compared as well as required. */
const REQUIRED_CLAIMS = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'];

export interface ReadToken {
  readonly header: JWTHeaderParameters;
  readonly issuer: TokenIssuer & { readonly keys: Keys };
}

/** A token that nobody here can verify: only whoever has issued it can say what it is. */
export interface Opaque {
  /** The issuer that it names; undefined where it names none that is known. */
  readonly of: TokenIssuer | undefined;
  readonly detail: string;
}

/** Looks at a token before its signature: only to choose whose keys, and to refuse what no key could mend. */
export function readToken(token: string, rules: TokenRules): ReadToken | Opaque | Refusal {
  const jws = readJws(token);
  if (jws === undefined) return { of: undefined, detail: 'the token is not a well-formed JWT' };
  const { header, payload } = jws;
  const issuer = typeof payload.iss === 'string' ? rules.issuers.get(payload.iss) : undefined;
  if (issuer === undefined)
    return { of: undefined, detail: 'the token is of an issuer that is not configured' };
  if (!hasKeys(issuer)) return { of: issuer, detail: 'the issuer`s tokens are introspected' };
  const type = mediaType(header.typ);
  if (!issuer.token_types.includes(type)) return unusable('the token is not of an accepted type');
  if (typeof header.alg !== 'string' || !issuer.algorithms.includes(header.alg))
    return unusable('the token is signed with an algorithm that is not accepted');
  return { header: header as unknown as JWTHeaderParameters, issuer };
}

function hasKeys(issuer: TokenIssuer): issuer is ReadToken['issuer'] {
  return issuer.keys !== undefined;
}

export async function verifyToken(
  token: string,
  { header, issuer }: ReadToken,
  rules: TokenRules,
  at: Instant,
): Promise<Read> {
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
    const claims = payload as unknown as JsonObject;
    if (!isName(claims.jti)) return unusable('the claim `jti` is not a name');
    return readClaims(claims, issuer, rules, at);
  } catch (error) {
    return unusable(describe(error));
  }
}

/** A jose error by its kind alone: messages could repeat what the token says. */
export function describe(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'the token has expired';
  if (error instanceof errors.JWTClaimValidationFailed)
    return `the claim \`${error.claim}\` is not acceptable`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the signature does not verify';
  return 'the token could not be verified as a JWT';
}
