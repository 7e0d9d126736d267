/** Verification keys of one issuer (RFC 7517), from a file or a URI. */
import { type CryptoKey, type JWTHeaderParameters, createLocalJWKSet } from 'jose';
import { isObject, member, parseJson } from '../core/json.ts';
import { type Instant, type Now, elapsed } from '../core/time.ts';

export type FoundKey =
  | { readonly kind: 'key'; readonly key: CryptoKey }
  /** The key set is at hand and has no such key. */
  | { readonly kind: 'unknown' }
  /** The key set is not at hand, or too old: nothing can be said. */
  | { readonly kind: 'away'; readonly detail: string };

export interface Keys {
  readonly find: (header: JWTHeaderParameters, at: Instant) => Promise<FoundKey>;
  /**
   * Changes whenever the key set does; undefined while no key set is young enough to rely on. What was verified under
   * one generation counts only as long as it lasts.
   */
  readonly generation: (at: Instant) => number | undefined;
  /** Why the keys are away, for `/readyz`; undefined while they are at hand. */
  readonly trouble: (at: Instant) => string | undefined;
  readonly close: () => void;
}

export type ReadKeySet =
  { readonly ok: true; readonly keySet: KeySet } | { readonly ok: false; readonly error: string };

/** A key set ready to verify with, and the text it was read from, to see whether another is the same. */
export interface KeySet {
  readonly text: string;
  readonly find: (header: JWTHeaderParameters) => Promise<FoundKey>;
}

const MAX_KEYS = 100;
const PUBLIC_KEY_TYPES = new Set(['RSA', 'EC', 'OKP']);

export function readKeySet(text: string): ReadKeySet {
  const parsed = parseJson(text);
  if (!parsed.ok) return { ok: false, error: `the key set is ${parsed.error}` };
  const keys = member(parsed.value, 'keys');
  if (!Array.isArray(keys)) return { ok: false, error: 'the key set has no array `keys`' };
  if (keys.length > MAX_KEYS) return { ok: false, error: `the key set has more than ${MAX_KEYS} keys` };
  // A symmetric or private key here was published by mistake, or planted: neither may verify anything.
  if (keys.some((key) => isObject(key) && (Object.hasOwn(key, 'd') || key.kty === 'oct'))) {
    return { ok: false, error: 'the key set holds a private or symmetric key' };
  }
  // RFC 7517 section 5: keys of a type that is not understood are passed over.
  const usable = keys.filter((key) => isObject(key) && PUBLIC_KEY_TYPES.has(String(key.kty)));
  if (usable.length === 0) return { ok: false, error: 'the key set has no public key' };
  const resolve = createLocalJWKSet({ keys: usable });
  return { ok: true, keySet: { text, find: (header) => findKey(resolve, header) } };
}

async function findKey(
  resolve: ReturnType<typeof createLocalJWKSet>,
  header: JWTHeaderParameters,
): Promise<FoundKey> {
  try {
    return { kind: 'key', key: await resolve(header) };
  } catch {
    // No key fits, several do and the token names none, or the platform cannot import the one that does.
    return { kind: 'unknown' };
  }
}

export interface FileKeysOptions {
  /** As it was read when the process started. */
  readonly first: KeySet;
  readonly read: () => Promise<string>;
  readonly now: Now;
  /** Told of a file that cannot be used, and of the one that can after it. */
  readonly complain: (what: string) => void;
}

/** The file is read again so often: keys rotate while the process lives. */
const REREAD_MS = 2000;
/** What is in hand bridges a file that cannot be used, as long as an outage of a URI is bridged by default. */
const FILE_MAX_AGE_MS = 600_000;

/** Keys that stand in a file, which may be replaced at any time. */
export function createFileKeys({ first, read, now, complain }: FileKeysOptions): Keys {
  let held = { keySet: first, read: now(), generation: 1 };
  let failure: string | undefined;
  let underWay: Promise<void> | undefined;
  const load = async (): Promise<void> => {
    const at = now();
    const text = await read().catch((error: unknown) => error as Error);
    const next = typeof text === 'string' ? readKeySet(text) : { ok: false as const, error: text.message };
    if (!next.ok) {
      if (failure === undefined) complain(`the key file cannot be used: ${next.error}`);
      failure = next.error;
      return;
    }
    if (failure !== undefined) complain('the key file can be used again');
    failure = undefined;
    const isSame = next.keySet.text === held.keySet.text;
    held = isSame
      ? { ...held, read: at }
      : { keySet: next.keySet, read: at, generation: held.generation + 1 };
  };
  const reload = (): Promise<void> => (underWay ??= load().finally(() => (underWay = undefined)));
  const timer = setInterval(() => void reload(), REREAD_MS).unref();
  const isYoung = (at: Instant): boolean => elapsed(held.read, at) <= FILE_MAX_AGE_MS;
  const trouble = (at: Instant): string | undefined =>
    isYoung(at) ? undefined : (failure ?? 'the key file was not read for too long');
  return {
    find: async (header, at) => {
      if (!isYoung(at)) await reload();
      const why = trouble(now());
      return why === undefined ? held.keySet.find(header) : { kind: 'away', detail: why };
    },
    generation: (at) => (isYoung(at) ? held.generation : undefined),
    trouble,
    close: () => clearInterval(timer),
  };
}
