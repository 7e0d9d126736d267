/** Load that does not wait for answers (design/6): what is slow meets as many questions as what is quick. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface OpenLoop {
  readonly per_second: number;
  readonly act: (turn: number) => Promise<unknown>;
}

export interface Running {
  /** Begins no more, and resolves when all that was begun is over. */
  readonly stop: () => Promise<void>;
}

/** Turns are begun when they are due, however many are not over yet. */
export function startLoad(
  { per_second, act }: OpenLoop,
  most = Infinity,
): Running & { readonly over: Promise<void> } {
  const turns: Promise<unknown>[] = [];
  const stopping = new AbortController();
  const run = async (): Promise<void> => {
    const start = performance.now();
    while (!stopping.signal.aborted && turns.length < most) {
      const due = Math.min(most, Math.floor(((performance.now() - start) / 1000) * per_second) + 1);
      while (turns.length < due) turns.push(act(turns.length));
      await sleep(1);
    }
    await Promise.all(turns);
  };
  const over = run();
  return {
    over,
    stop: () => {
      stopping.abort();
      return over;
    },
  };
}

/** The same numbers in every run: what differs is the machine. */
export function createDice(seed = 1): <T>(from: readonly T[]) => T {
  let state = seed;
  return (from) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return from[Math.floor((state / 2 ** 32) * from.length)]!;
  };
}
