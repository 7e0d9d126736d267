/** Ends that people have asked for: on this sidecar's disk before they are tried, and tried until the log has them. */
import type { OperateCommand } from '../../core/mandate/commands.ts';
import type { Now } from '../../core/time.ts';
import type { Outbox } from '../outbox/outbox.ts';
import type { Written } from './attempt.ts';

export interface Intents {
  /** Keeps the intent first where the command ends a mandate. */
  readonly write: (command: OperateCommand, must_confirm: boolean) => Promise<Written>;
  /** Asks again for what the log does not have yet; once at a time. */
  readonly retry: () => Promise<void>;
  /** How many the log does not have, those aside whose callers wait. */
  readonly waiting: () => number;
}

export interface IntentsParts {
  readonly outbox: Outbox;
  readonly write: (command: OperateCommand, must_confirm: boolean) => Promise<Written>;
  /** False while nothing can be written at all. */
  readonly isThere: () => boolean;
  readonly now: Now;
  readonly complain: (what: string) => void;
}

const KEPT = 'the end is kept on this sidecar`s disk, and asked for until the store has it';

export function createIntents({ outbox, write, isThere, now, complain }: IntentsParts): Intents {
  /** Asked for by a caller that waits for the answer. */
  const underway = new Set<number>();
  /** Those that have been complained of. */
  const stuck = new Set<number>();
  let isRetrying = false;
  return {
    write: async (command, must_confirm) => {
      const number = await outbox.intend(command);
      if (number === undefined) {
        const detail = 'the outbox cannot keep that this was asked for';
        return { outcome: { ok: false, refused: 'unavailable', detail }, is_confirmed: false };
      }
      underway.add(number);
      const written = await write(command, must_confirm);
      underway.delete(number);
      const { outcome } = written;
      if (outcome.ok || outcome.refused !== 'unavailable') {
        void outbox.done(number);
        return written;
      }
      return { ...written, outcome: { ...outcome, detail: `${outcome.detail}; ${KEPT}` } };
    },
    waiting: () => outbox.intents().filter(({ number }) => !underway.has(number)).length,
    retry: async () => {
      if (isRetrying) return;
      isRetrying = true;
      for (const { number, command } of outbox.intents()) {
        if (underway.has(number)) continue;
        const { outcome } = await write({ ...command, at_ms: now().wall_ms }, true);
        if (!outcome.ok && outcome.refused === 'unavailable') {
          if (!stuck.has(number))
            complain(`an end that was asked for is still to be written: ${outcome.detail}`);
          stuck.add(number);
          // One that cannot be written keeps none of the others waiting; a store that is away does.
          if (!isThere()) break;
          continue;
        }
        if (!outcome.ok)
          complain(`an end that was asked for is dropped: ${outcome.refused}: ${outcome.detail}`);
        await outbox.done(number);
      }
      isRetrying = false;
    },
  };
}
