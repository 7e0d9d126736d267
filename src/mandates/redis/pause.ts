import { setTimeout as sleep } from 'node:timers/promises';

/** Ends early, and without a word, when all is stopped. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
