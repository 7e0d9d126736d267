/** The credential adapter: what a request presents becomes a fact; what was verified is remembered for a while. */
import { hash } from 'node:crypto';
import type { Credentials } from '../check/ports.ts';
import type { CredentialFact, Presented, UsableCredential } from '../core/credential.ts';
import type { Instant } from '../core/time.ts';
import { type ReadToken, type TokenIssuer, type TokenRules, readToken, verifyToken } from './access-token.ts';

interface Remembered {
  readonly credential: UsableCredential;
  readonly issuer: TokenIssuer;
  /** The key set that verified it; another one verifies anew. */
  readonly generation: number;
}

/** Verified tokens kept; the oldest goes when another comes. */
const MAX_REMEMBERED = 10_000;

export function createCredentials(rules: TokenRules): Credentials {
  const remembered = new Map<string, Remembered>();

  const recall = (key: string, at: Instant): UsableCredential | undefined => {
    const known = remembered.get(key);
    if (known === undefined) return undefined;
    const end_ms = known.credential.expires_at_ms + rules.clock_tolerance_s * 1000;
    if (known.generation === known.issuer.keys.generation(at) && at.wall_ms < end_ms) return known.credential;
    remembered.delete(key);
    return undefined;
  };

  const remember = (
    key: string,
    fact: CredentialFact,
    { issuer }: ReadToken,
    generation: number | undefined,
  ): void => {
    if (fact.verdict !== 'usable' || generation === undefined) return;
    if (remembered.size >= MAX_REMEMBERED) remembered.delete(remembered.keys().next().value!);
    remembered.set(key, { credential: fact, issuer, generation });
  };

  const verify = async (token: string, key: string, at: Instant): Promise<CredentialFact> => {
    const read = readToken(token, rules);
    if ('verdict' in read) return read;
    // Read before verifying: were the keys replaced meanwhile, the token must not count as verified by the new ones.
    const generation = read.issuer.keys.generation(at);
    const fact = await verifyToken(token, read, rules, at);
    remember(key, fact, read, generation);
    return fact;
  };

  return {
    verify: (presented: Presented, at: Instant) => {
      switch (presented.kind) {
        case 'none':
          return { verdict: 'not_presented' };
        case 'other_scheme':
          return {
            verdict: 'unusable',
            reason: 'credential_invalid',
            detail: 'the authorization scheme is not bearer',
          };
        case 'unreadable':
          return { verdict: 'unusable', reason: 'credential_invalid', detail: presented.detail };
        case 'bearer': {
          // Never the token itself: a key that leaks in a dump or a metric must not be a credential.
          const key = hash('sha256', presented.token, 'base64url');
          return recall(key, at) ?? verify(presented.token, key, at);
        }
      }
    },
  };
}
