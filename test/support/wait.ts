import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE_MS = 15_000;

/** For what another process does in its own time. */
export async function waitUntil(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`it did not come about: ${what}`);
    await sleep(5);
  }
}
