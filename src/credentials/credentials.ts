/** The credential adapter: what a request presents becomes a fact; what was verified is remembered for a while. */
import { hash } from 'node:crypto';
import type { Credentials, ProofMemory, TokenInspector } from '../check/ports.ts';
import { type CredentialFact, MAX_TOKEN_LENGTH, NO_END_MS, type ShownToken } from '../core/credential.ts';
import { type Instant, elapsed } from '../core/time.ts';
import { type Opaque, type ReadToken, readToken, verifyToken } from './access-token.ts';
import { type Read, type Refusal, type Verified, isForUs, readClaims, unusable } from './claims.ts';
import { confirmHolder } from './holder.ts';
import type { Introspected, Introspection } from './introspection.ts';
import type { TokenIssuer, TokenRules } from './issuer.ts';
import { createProofVerifier } from './proof.ts';

export interface CredentialsParts extends TokenRules {
  readonly proofs: ProofMemory;
}

interface Remembered {
  readonly verified: Verified;
  /** Whether it may still be relied on. */
  readonly counts: (at: Instant, is_current: boolean) => boolean;
}

/** Verified tokens kept; the oldest goes when another comes. */
const MAX_REMEMBERED = 10_000;

/** Never the token itself: a key that leaks in a dump or a metric must not be a credential. */
function keyOf(token: string): string {
  return hash('sha256', token, 'base64url');
}

export function createCredentials(parts: CredentialsParts): Credentials & TokenInspector {
  const remembered = new Map<string, Remembered>();
  const tolerance_ms = parts.clock_tolerance_s * 1000;
  const introspecting = [...parts.issuers.values()].filter(isIntrospecting);
  const verifyProof = createProofVerifier({ ...parts, memory: parts.proofs });

  const recall = (key: string, at: Instant, is_current: boolean): Verified | undefined => {
    const known = remembered.get(key);
    if (known === undefined) return undefined;
    if (at.wall_ms < known.verified.credential.expires_at_ms + tolerance_ms && known.counts(at, is_current))
      return known.verified;
    if (!is_current) remembered.delete(key);
    return undefined;
  };

  const remember = (key: string, read: Read, counts: Remembered['counts']): Read => {
    if ('verdict' in read) return read;
    const { credential, issuer, confirmation } = read;
    if (remembered.size >= MAX_REMEMBERED) remembered.delete(remembered.keys().next().value!);
    remembered.set(key, { verified: { credential, issuer, confirmation }, counts });
    return read;
  };

  const verifySigned = async (token: string, key: string, signed: ReadToken, at: Instant): Promise<Read> => {
    const { keys } = signed.issuer;
    // Read before verifying: were the keys replaced meanwhile, the token must not count as verified by the new ones.
    const generation = keys.generation(at);
    const read = await verifyToken(token, signed, parts, at);
    if (generation === undefined) return read;
    return remember(key, read, (later) => keys.generation(later) === generation);
  };

  const verifyOpaque = async (
    token: string,
    key: string,
    { of, detail }: Opaque,
    at: Instant,
    is_current: boolean,
  ): Promise<Read> => {
    const issuers = of === undefined ? introspecting : introspecting.filter((each) => each === of);
    const answer = await introspected(token, issuers, is_current);
    const { said, issuer } = answer;
    if (said?.kind !== 'active' || issuer === undefined) {
      remembered.delete(key);
      if (said?.kind === 'away')
        return { verdict: 'unverifiable', detail: `the issuer cannot be asked: ${said.detail}` };
      return unusable(issuers.length === 0 ? detail : 'no issuer knows the token as active');
    }
    const read = readIntrospected(said.claims, issuer, parts, at);
    const { cache_ms } = issuer.introspection;
    const counts: Remembered['counts'] = (later, must_be_current) =>
      !must_be_current && elapsed(said.asked, later) <= cache_ms;
    if ('verdict' in read) remembered.delete(key);
    return remember(key, read, counts);
  };

  const verify = (token: string, key: string, at: Instant, is_current: boolean): Promise<Read> => {
    const read = readToken(token, parts);
    if ('verdict' in read) return Promise.resolve(read);
    return 'of' in read ? verifyOpaque(token, key, read, at, is_current) : verifySigned(token, key, read, at);
  };

  const confirm = (
    read: Verified | Refusal,
    shown: ShownToken,
    at: Instant,
  ): CredentialFact | Promise<CredentialFact> => {
    return 'verdict' in read ? read : confirmHolder(read, shown, verifyProof, at);
  };

  return {
    inspect: async (token, at) => {
      const read =
        token.length > MAX_TOKEN_LENGTH
          ? unusable('the token is too long')
          : await verify(token, keyOf(token), at, true);
      if ('verdict' in read) return read;
      return { verdict: 'usable', credential: read.credential, claims: read.claims };
    },
    verify: (presented, at, is_current) => {
      switch (presented.kind) {
        case 'none':
          return { verdict: 'not_presented' };
        case 'other_scheme':
          return unusable('the authorization scheme is neither bearer nor dpop');
        case 'unreadable':
          return unusable(presented.detail);
        case 'token': {
          const key = keyOf(presented.token);
          const known = recall(key, at, is_current);
          if (known !== undefined) return confirm(known, presented, at);
          return verify(presented.token, key, at, is_current).then((read) => confirm(read, presented, at));
        }
      }
    },
  };
}

type Introspecting = TokenIssuer & { readonly introspection: Introspection };

function isIntrospecting(issuer: TokenIssuer): issuer is Introspecting {
  return issuer.introspection !== undefined;
}

interface Answer {
  readonly said?: Introspected;
  readonly issuer?: Introspecting;
}

/** Asked in the order of configuration, until one knows it; who is away may be the one that would have. */
async function introspected(
  token: string,
  issuers: readonly Introspecting[],
  is_current: boolean,
): Promise<Answer> {
  let away: Answer = {};
  for (const issuer of issuers) {
    const said = await issuer.introspection.ask(token, is_current);
    if (said.kind === 'active') return { said, issuer };
    if (said.kind === 'away' && away.said === undefined) away = { said, issuer };
  }
  return away;
}

/** RFC 7662 section 2.2: nearly everything is optional there, and needed here to know whose the token is. */
function readIntrospected(
  claims: Extract<Introspected, { kind: 'active' }>['claims'],
  issuer: Introspecting,
  rules: TokenRules,
  at: Instant,
): Read {
  if (claims.iss !== undefined && claims.iss !== issuer.issuer)
    return unusable('the token is of another issuer than the one that knows it');
  if (!isForUs(claims.aud, issuer)) return unusable('the claim `aud` is not acceptable');
  return readClaims(claims, issuer, rules, at, NO_END_MS);
}
