/** The first question: is this credential usable? Here are its facts; the adapters of `src/credentials` find them. */
import { type Chain, isNamedDelegate } from './actors.ts';
import type { Json } from './json.ts';
import { type Lineage, ownOf } from './mandate/life.ts';
import type { MissionClaim, ReferenceSource } from './reference.ts';

/** A token, and what was shown beside it. One object for each showing: a proof that is in it is judged once. */
export interface ShownToken {
  readonly kind: 'token';
  /** How it was presented; `unnamed` in a question, which has no scheme. */
  readonly scheme: 'bearer' | 'dpop' | 'unnamed';
  readonly token: string;
  readonly beside: Beside;
}

/** What may prove that the token is its holder's. */
export interface Beside {
  /** The DPoP proof (RFC 9449 section 4). */
  readonly proof?: string;
  /** The thumbprint of the client's certificate, as `x5t#S256` (RFC 8705 section 3.1) writes it. */
  readonly certificate_sha256?: string;
  /** The request that a proof is for, as the client has sent it; undefined where nobody says. */
  readonly target?: ProofTarget;
  /** A proxy that asks again under this id, within this time, shows the same proof again. */
  readonly request?: { readonly id: string; readonly lifetime_ms: number };
}

export interface ProofTarget {
  readonly method: string;
  /** Scheme, host and path; a query or fragment does not matter. */
  readonly url: string;
}

/** What a request shows, before anything is verified. */
export type Presented =
  | { readonly kind: 'none' }
  | ShownToken
  /** A credential of a kind that is not served, of which nothing can be said. */
  | { readonly kind: 'other_scheme' }
  | { readonly kind: 'unreadable'; readonly detail: string };

/** How a token was proven to be its holder's. */
export type SenderConstraint = 'dpop' | 'mtls';

export interface UsableCredential {
  readonly verdict: 'usable';
  /** Name of the issuer in configuration; policies see `realm/client_id` and `realm/subject`. */
  readonly realm: string;
  readonly issuer: string;
  readonly subject: string;
  readonly client_id: string;
  readonly expires_at_ms: number;
  readonly mission: ReferenceSource<MissionClaim>;
  /** RFC 9396, as it stands in the token; undefined where the token has none. */
  readonly authorization_details?: Json;
  /** The actors of its `act` claim, oldest first; empty where it has none. */
  readonly actors: Chain;
  /** Empty of an unbound bearer token. */
  readonly bound_by: readonly SenderConstraint[];
}

/** The end of a token that says nothing of one: its issuer is asked of it again and again. */
export const NO_END_MS = Number.MAX_SAFE_INTEGER;

/** What a client must do about its proof (RFC 9449 sections 7.1 and 9). */
export interface ProofFault {
  readonly error: 'invalid_dpop_proof' | 'use_dpop_nonce';
  readonly nonce?: string;
}

/** "Could not be verified" is another kind than "verified and refused". */
export type CredentialFact =
  | UsableCredential
  | {
      readonly verdict: 'unusable';
      readonly reason: 'credential_invalid' | 'actor_invalid';
      readonly detail: string;
      readonly proof?: ProofFault;
    }
  | { readonly verdict: 'unverifiable'; readonly detail: string }
  | { readonly verdict: 'not_presented' };

/** Longest token looked at, in characters. */
export const MAX_TOKEN_LENGTH = 16_384;
/** RFC 6750 section 2.1 and RFC 9449 section 7.1: both schemes carry a `token68`. */
const CREDENTIALS = /^(bearer|dpop) +([A-Za-z0-9._~+/-]+=*)$/i;

/** Reads the `Authorization` values of one request, at most one. */
export function readAuthorization(values: readonly string[], beside: Beside = {}): Presented {
  if (values.length === 0) return { kind: 'none' };
  if (values.length === 1 && !/^(?:bearer|dpop)(?: |$)/i.test(values[0]!)) return { kind: 'other_scheme' };
  const [, scheme, token] = (values.length === 1 && CREDENTIALS.exec(values[0]!)) || [];
  if (token === undefined) return { kind: 'unreadable', detail: 'the authorization header is not one token' };
  return shown(token, scheme!.toLowerCase() as 'bearer' | 'dpop', beside);
}

/** A token as a question or a header names it. */
export function shown(token: string, scheme: ShownToken['scheme'], beside: Beside): Presented {
  if (token.length > MAX_TOKEN_LENGTH) return { kind: 'unreadable', detail: 'the token is too long' };
  return { kind: 'token', scheme, token, beside };
}

/**
 * True when `Authorization` holds two credentials that some hop has joined with a comma. A bearer token has no comma,
 * so this is never a credential, only the trace of a duplicate.
 */
export function isJoinedAuthorization(value: string): boolean {
  return value.includes(',') && /(?:^|,)\s*(?:bearer|dpop)(?:\s|,|$)/i.test(value);
}

/**
 * Whether the mandate is this credential's: its subject, and its client or a delegate that it names, each qualified by
 * its issuer.
 */
export function joins(credential: UsableCredential, lineage: Lineage): boolean {
  const { subject, client_issuer, client_id } = ownOf(lineage);
  const isSubject = subject.iss === credential.issuer && subject.sub === credential.subject;
  const isClient = client_issuer === credential.issuer && client_id === credential.client_id;
  const client = { iss: credential.issuer, sub: credential.client_id };
  return isSubject && (isClient || isNamedDelegate(client, credential.actors, lineage));
}
