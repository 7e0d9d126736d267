/** The keys that a test's authorization server signs with. */
import { type JSONWebKeySet, type JWK, exportJWK, generateKeyPair } from 'jose';

export interface SigningKeys {
  /** With the private halves; the first signs. */
  readonly all: () => JSONWebKeySet;
  /** As they are published. */
  readonly published: () => JSONWebKeySet;
  /** A new key signs from now on. The others stay published, or are dropped. */
  readonly rotate: (is_dropping: boolean) => Promise<void>;
}

export async function createKeys(algorithm: string): Promise<SigningKeys> {
  let keys = [await createKey(algorithm)];
  return {
    all: () => ({ keys }),
    published: () => ({ keys: keys.map(publicHalf) }),
    rotate: async (is_dropping) => {
      keys = [await createKey(algorithm), ...(is_dropping ? [] : keys)];
    },
  };
}

async function createKey(alg: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: crypto.randomUUID(), alg, use: 'sig' };
}

function publicHalf({ d: _d, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...half }: JWK): JWK {
  return half;
}
