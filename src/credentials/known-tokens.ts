/** Tokens that were seen under mandates: in this process's memory alone, and no more of them than it has room for. */
import { hash } from 'node:crypto';
import type { SeenToken } from '../check/ports.ts';

export interface KnownTokens {
  /** `told`: it was to be revoked already. */
  readonly add: (token: SeenToken) => 'new' | 'known' | 'told';
  readonly forget: (mandate: string, token: string) => void;
  readonly of: (mandate: string) => readonly SeenToken[];
  readonly mandates: () => readonly string[];
}

/** The one that was seen first goes when another comes: it is the one most likely to have run out. */
export const MAX_KNOWN_TOKENS = 20_000;
/** Of all of them together: one may be sixteen thousand characters long. */
const MAX_CHARACTERS = 32 * 1024 * 1024;

export function createKnownTokens(
  max_tokens = MAX_KNOWN_TOKENS,
  max_characters = MAX_CHARACTERS,
): KnownTokens {
  /** By digest, in the order in which they were seen; one that was told of is kept without its token. */
  const tokens = new Map<string, SeenToken | undefined>();
  const byMandate = new Map<string, Set<string>>();
  let characters = 0;
  const drop = (digest: string): void => {
    const token = tokens.get(digest);
    if (token !== undefined) unlink(token.mandate, digest);
    characters -= token?.token.length ?? 0;
    tokens.delete(digest);
  };
  const unlink = (mandate: string, digest: string): void => {
    const own = byMandate.get(mandate);
    own?.delete(digest);
    if (own?.size === 0) byMandate.delete(mandate);
  };
  return {
    add: (token) => {
      const digest = digestOf(token);
      if (tokens.has(digest)) return tokens.get(digest) === undefined ? 'told' : 'known';
      characters += token.token.length;
      for (const oldest of tokens.keys()) {
        if (tokens.size < max_tokens && characters <= max_characters) break;
        drop(oldest);
      }
      tokens.set(digest, token);
      const own = byMandate.get(token.mandate) ?? new Set();
      byMandate.set(token.mandate, own.add(digest));
      return 'new';
    },
    forget: (mandate, token) => {
      const digest = digestOf({ mandate, token });
      unlink(mandate, digest);
      characters -= tokens.get(digest)?.token.length ?? 0;
      tokens.set(digest, undefined);
    },
    of: (mandate) =>
      [...(byMandate.get(mandate) ?? [])].flatMap((digest) => {
        const token = tokens.get(digest);
        return token === undefined ? [] : [token];
      }),
    mandates: () => [...byMandate.keys()],
  };
}

/** One token may be used under several mandates. */
function digestOf({ mandate, token }: Pick<SeenToken, 'mandate' | 'token'>): string {
  return hash('sha256', JSON.stringify([mandate, token]), 'base64url');
}
