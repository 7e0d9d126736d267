/** The first question: is this credential usable? Here are its facts; the adapters of `src/credentials` find them. */
import type { Json } from './json.ts';
import type { MandateRecord } from './mandate/record.ts';
import type { MissionClaim, ReferenceSource } from './reference.ts';

/** What a request shows, before anything is verified. */
export type Presented =
  | { readonly kind: 'none' }
  | { readonly kind: 'bearer'; readonly token: string }
  /** A credential of a kind that is not served, of which nothing can be said. */
  | { readonly kind: 'other_scheme' }
  | { readonly kind: 'unreadable'; readonly detail: string };

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
}

/** "Could not be verified" is another kind than "verified and refused". */
export type CredentialFact =
  | UsableCredential
  | {
      readonly verdict: 'unusable';
      readonly reason: 'credential_invalid' | 'actor_invalid';
      readonly detail: string;
    }
  | { readonly verdict: 'unverifiable'; readonly detail: string }
  | { readonly verdict: 'not_presented' };

/** Longest token looked at, in characters. */
const MAX_TOKEN_LENGTH = 16_384;
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** Reads the `Authorization` values of one request: RFC 6750 section 2.1, at most one. */
export function readAuthorization(values: readonly string[]): Presented {
  if (values.length === 0) return { kind: 'none' };
  if (values.length === 1 && !/^bearer(?: |$)/i.test(values[0]!)) return { kind: 'other_scheme' };
  const token = values.length === 1 ? BEARER.exec(values[0]!)?.[1] : undefined;
  if (token === undefined)
    return { kind: 'unreadable', detail: 'the authorization header is not one bearer token' };
  if (token.length > MAX_TOKEN_LENGTH) return { kind: 'unreadable', detail: 'the token is too long' };
  return { kind: 'bearer', token };
}

/**
 * True when `Authorization` holds two credentials that some hop has joined with a comma. A bearer token has no comma,
 * so this is never a credential, only the trace of a duplicate.
 */
export function isJoinedAuthorization(value: string): boolean {
  return value.includes(',') && /(?:^|,)\s*(?:bearer|dpop)(?:\s|,|$)/i.test(value);
}

/** Whether the mandate is this credential's: both its subject and its client, each qualified by its issuer. */
export function joins(credential: UsableCredential, record: MandateRecord): boolean {
  return (
    record.subject.iss === credential.issuer &&
    record.subject.sub === credential.subject &&
    record.client_issuer === credential.issuer &&
    record.client_id === credential.client_id
  );
}
