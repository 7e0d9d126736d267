/** One `credentials` entry, as far as tokens are concerned. */
import type { Introspection } from './introspection.ts';
import type { Keys } from './keys.ts';
import type { Nonces } from './nonces.ts';

export interface TokenIssuer {
  /** The realm that policies see. */
  readonly name: string;
  /** Compared byte for byte with `iss`. */
  readonly issuer: string;
  readonly audiences: readonly string[];
  /** Of tokens, of signed introspections, and of proofs. */
  readonly algorithms: readonly string[];
  /** What `typ` may be, in lower case and without `application/`. */
  readonly token_types: readonly string[];
  /** Undefined where all of its tokens are introspected. */
  readonly keys: Keys | undefined;
  readonly introspection: Introspection | undefined;
  readonly dpop: 'off' | 'supported' | 'required';
  /** Undefined where a proof needs none. */
  readonly nonces: Nonces | undefined;
  /** Tokens bound to a certificate are checked, and not refused unseen. */
  readonly is_mtls_checked: boolean;
  readonly max_actor_depth: number;
}

export interface TokenRules {
  readonly issuers: ReadonlyMap<string, TokenIssuer>;
  readonly clock_tolerance_s: number;
}
