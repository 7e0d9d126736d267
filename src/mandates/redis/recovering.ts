/** Brings a latched view back, for as long as it takes: nothing is decided meanwhile. */
import type { LogEntry, Position } from '../../core/mandate/events.ts';
import { pause } from './pause.ts';
import type { Recovered } from './recovery.ts';
import type { View } from './view.ts';

export interface Recovering {
  /** Does nothing where it is under way. */
  readonly start: () => void;
  /** Why it has not succeeded yet: for people. */
  readonly stuck: () => string | undefined;
  readonly ended: () => Promise<void>;
}

export interface RecoveringParts {
  readonly view: View;
  readonly signal: AbortSignal;
  readonly arrive: () => Promise<boolean>;
  readonly recover: (position: Position) => Promise<Recovered>;
  /** Told of entries that the view passes over. */
  readonly onPassedOver: (entries: readonly LogEntry[], upto: Position) => void;
  readonly onBegun: () => Promise<void>;
  readonly complain: (what: string, error?: unknown) => void;
}

const RETRY_MS = 100;
const FAILED = 'the recovery failed';

export function createRecovering(parts: RecoveringParts): Recovering {
  const { view, signal, complain } = parts;
  let running: Promise<void> | undefined;
  let stuck: string | undefined;

  const attempt = async (latch: string): Promise<boolean> => {
    if (!(await parts.arrive())) return false;
    const recovered = await parts.recover(view.state().position!);
    stuck = recovered.ok ? undefined : recovered.why;
    if (!recovered.ok) return false;
    const { head, lost, passed } = recovered;
    parts.onPassedOver(passed, head);
    const from = passed[0]?.seq ?? Infinity;
    const kept = view.recent().filter(({ seq, eid }) => seq < from && !lost.has(eid));
    view.adopt(head, [...kept, ...passed]);
    complain(`the replica began anew after ${latch}; ${lost.size} entries had been lost and were said again`);
    await parts.onBegun();
    return true;
  };
  const run = async (): Promise<void> => {
    for (let { latch } = view.state(); latch !== undefined; { latch } = view.state()) {
      // What does not verify needs a person.
      if (latch === 'corrupt' || signal.aborted) break;
      const isBack = await attempt(latch).catch((error: unknown) => {
        if (stuck !== FAILED) complain(FAILED, error);
        stuck = FAILED;
        return false;
      });
      if (!isBack) await pause(RETRY_MS, signal);
    }
    running = undefined;
  };
  return {
    start: () => {
      running ??= run();
    },
    stuck: () => stuck,
    ended: async () => running,
  };
}
