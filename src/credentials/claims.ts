/** The claims of a token, whoever has vouched for them: a signature (RFC 9068), or the issuer itself (RFC 7662). */
import { readActors } from '../core/actors.ts';
import { type Confirmation, isSameHolder, readConfirmation } from '../core/confirmation.ts';
import type { CredentialFact, UsableCredential } from '../core/credential.ts';
import { type Json, type JsonObject, isName } from '../core/json.ts';
import { parseMissionClaim } from '../core/reference.ts';
import type { Instant } from '../core/time.ts';
import type { TokenIssuer, TokenRules } from './issuer.ts';

/** A token that is what it says; whether whoever shows it may is still to be seen. */
export interface Verified {
  readonly credential: UsableCredential;
  readonly issuer: TokenIssuer;
  readonly confirmation: Confirmation;
}

/** With its claims as they stand in it, which are not kept. */
export interface Stated extends Verified {
  readonly claims: JsonObject;
}

export type Refusal = Exclude<CredentialFact, UsableCredential>;

export type Read = Stated | Refusal;

/** The last second that RFC 3339 can write. */
const MAX_NUMERIC_DATE = 253_402_300_799;

export function unusable(
  detail: string,
  reason: 'credential_invalid' | 'actor_invalid' = 'credential_invalid',
): Extract<Refusal, { verdict: 'unusable' }> {
  return { verdict: 'unusable', reason, detail };
}

/**
 * Reads what the token says of its subject, client, end, actors and holder. `expires_at_ms`: of one that says nothing of
 * its end.
 */
export function readClaims(
  claims: JsonObject,
  issuer: TokenIssuer,
  rules: TokenRules,
  at: Instant,
  expires_at_ms?: number,
): Read {
  const { sub, client_id } = claims;
  if (!isName(sub)) return unusable('the claim `sub` is not a name');
  if (!isName(client_id)) return unusable('the claim `client_id` is not a name');
  const times = readTimes(claims, rules, at, expires_at_ms);
  if (typeof times !== 'number') return times;
  const confirmation = readConfirmation(claims.cnf);
  if (confirmation === undefined) return unusable('the token is bound to something that cannot be checked');
  const actors = readActors(claims.act, issuer.issuer, issuer.max_actor_depth);
  if (!actors.ok) return unusable(actors.detail, 'actor_invalid');
  if (!actors.chain.every(({ iss }) => rules.issuers.has(iss)))
    return unusable('an actor is of an issuer that is not configured', 'actor_invalid');
  if (!isSameHolder(actors.cnf, confirmation))
    return unusable('the current actor holds another key than the token is bound to', 'actor_invalid');
  const { authorization_details } = claims;
  const credential: UsableCredential = {
    verdict: 'usable',
    realm: issuer.name,
    issuer: issuer.issuer,
    subject: sub,
    client_id,
    expires_at_ms: times,
    mission: parseMissionClaim(claims.mission),
    actors: actors.chain,
    bound_by: [],
    ...(authorization_details === undefined ? {} : { authorization_details }),
  };
  return { credential, issuer, confirmation, claims };
}

/** When the token ends, epoch ms; or why it counts at no time, or not yet. */
function readTimes(
  { exp, iat, nbf }: JsonObject,
  { clock_tolerance_s }: TokenRules,
  at: Instant,
  otherwise: number | undefined,
): number | Refusal {
  const now_s = at.wall_ms / 1000;
  const all = [exp, iat, nbf].filter((each) => each !== undefined);
  if (!all.every(isDate)) return unusable('a claim that is a time is out of range');
  if (isDate(iat) && iat > now_s + clock_tolerance_s) return unusable('the token was issued in the future');
  if (isDate(nbf) && nbf > now_s + clock_tolerance_s) return unusable('the token does not count yet');
  if (!isDate(exp)) return otherwise ?? unusable('the token has no end');
  return exp <= now_s - clock_tolerance_s ? unusable('the token has expired') : exp * 1000;
}

function isDate(value: Json | undefined): value is number {
  return typeof value === 'number' && value >= 0 && value <= MAX_NUMERIC_DATE;
}

/** Whether one of our audiences is among those that the token is for (RFC 9068 section 4). */
export function isForUs(aud: Json | undefined, { audiences }: TokenIssuer): boolean {
  const named: readonly Json[] = Array.isArray(aud)
    ? (aud as readonly Json[])
    : aud === undefined
      ? []
      : [aud];
  return named.some((each) => typeof each === 'string' && audiences.includes(each));
}
