/** Tests that mostly wait run beside each other; what each has started goes with it. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestContext, onTestFinished, test } from 'vitest';

const scope = new AsyncLocalStorage<TestContext>();

export function beside(name: string, run: () => Promise<void>): void {
  test.concurrent(name, (context) => scope.run(context, run));
}

/** When the test that calls has finished. */
export function afterwards(act: () => unknown): void {
  const finished = scope.getStore()?.onTestFinished ?? onTestFinished;
  finished(async () => void (await act()));
}

const PATIENCE_MS = 6000;

/** Looks until it holds, and answers how long that took, milliseconds; throws what was seen last. */
export async function until<Seen>(
  look: () => Promise<Seen>,
  holds: (seen: Seen) => boolean,
  patience_ms = PATIENCE_MS,
): Promise<number> {
  const began = performance.now();
  for (;;) {
    const seen = await look();
    const took = performance.now() - began;
    if (holds(seen)) return took;
    if (took > patience_ms) throw new Error(`it did not come about: ${JSON.stringify(seen)}`);
    await sleep(5);
  }
}
