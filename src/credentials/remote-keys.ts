/**
 * Keys behind a URI. Requests never cause more than one fetch per `min_interval_ms`, an outage is bridged with the
 * keys in hand until `max_age_ms`, and what comes back is bounded in size and time.
 */
import type { JWTHeaderParameters } from 'jose';
import { type Instant, type Now, elapsed } from '../core/time.ts';
import { boundedText } from './bounded-text.ts';
import { type FoundKey, type KeySet, type Keys, readKeySet } from './keys.ts';

export interface RemoteKeysOptions {
  readonly uri: string;
  readonly min_interval_ms: number;
  readonly max_age_ms: number;
  readonly now: Now;
  readonly fetch: typeof fetch;
  /** Told of each failed fetch, and of the recovery after it. */
  readonly complain: (what: string) => void;
}

const FETCH_TIMEOUT_MS = 5000;
const FIRST_RETRY_MS = 1000;

interface Held {
  readonly keySet: KeySet;
  readonly fetched: Instant;
  readonly generation: number;
}

export function createRemoteKeys(options: RemoteKeysOptions): Keys {
  const { now, max_age_ms, min_interval_ms } = options;
  let held: Held | undefined;
  let attempted: Instant | undefined;
  let underWay: Promise<void> | undefined;
  let failure: string | undefined = 'the key set has not been fetched yet';
  let retry_ms = FIRST_RETRY_MS;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  const refresh = (): Promise<void> => {
    underWay ??= load().finally(() => (underWay = undefined));
    return underWay;
  };

  const load = async (): Promise<void> => {
    attempted = now();
    try {
      const keySet = await fetchKeySet(options);
      const isSame = held?.keySet.text === keySet.text;
      const generation = (held?.generation ?? 0) + (isSame ? 0 : 1);
      held = { keySet: isSame ? held!.keySet : keySet, fetched: attempted, generation };
      if (failure !== undefined && retry_ms > FIRST_RETRY_MS)
        options.complain('the key set is at hand again');
      failure = undefined;
      retry_ms = FIRST_RETRY_MS;
    } catch (error) {
      failure = (error as Error).message;
      options.complain(`the key set could not be fetched: ${failure}`);
      scheduleRetry();
    }
  };

  /** Recovery does not wait for a request: a source that comes back is found by itself. */
  const scheduleRetry = (): void => {
    if (isClosed) return;
    clearTimeout(timer);
    timer = setTimeout(() => void refresh(), retry_ms).unref();
    retry_ms = Math.min(retry_ms * 2, Math.max(min_interval_ms, FIRST_RETRY_MS));
  };

  const young = (at: Instant): Held | undefined =>
    held !== undefined && elapsed(held.fetched, at) <= max_age_ms ? held : undefined;

  const mayFetch = (at: Instant): boolean =>
    underWay !== undefined || attempted === undefined || elapsed(attempted, at) >= min_interval_ms;

  const find = async (header: JWTHeaderParameters, at: Instant): Promise<FoundKey> => {
    const before = young(at);
    const found = await before?.keySet.find(header);
    if (before !== undefined && elapsed(before.fetched, at) > max_age_ms / 2 && mayFetch(at)) void refresh();
    if (found?.kind === 'key') return found;
    // An unknown key may be a new one; asking again and again is what an attacker would have us do.
    if (mayFetch(at)) await refresh();
    const after = young(now());
    if (after === undefined) return { kind: 'away', detail: failure ?? 'the key set is too old' };
    if (after !== before) return after.keySet.find(header);
    return failure === undefined ? { kind: 'unknown' } : { kind: 'away', detail: failure };
  };

  void refresh();
  return {
    find,
    generation: (at) => young(at)?.generation,
    trouble: (at) => (young(at) === undefined ? (failure ?? 'the key set is too old') : undefined),
    close: () => {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}

async function fetchKeySet(options: RemoteKeysOptions): Promise<KeySet> {
  const response = await options.fetch(options.uri, {
    redirect: 'error',
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    headers: { accept: 'application/jwk-set+json, application/json' },
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the answer has status ${response.status}`);
  }
  const read = readKeySet(response.body === null ? '' : await boundedText(response.body));
  if (!read.ok) throw new Error(read.error);
  return read.keySet;
}
