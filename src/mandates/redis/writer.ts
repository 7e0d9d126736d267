/**
 * The writer: one batch in flight, and what arrives meanwhile goes into the next. A reply that was lost leaves the
 * outcome unknown: the same batch is asked again under the same nonces, and is appended once.
 */
import type { Command } from '../../core/mandate/commands.ts';
import { Attempt, type AttemptParts, type Job, type Written, refusal } from './attempt.ts';

export interface Writer {
  readonly write: (command: Command, must_confirm: boolean) => Promise<Written>;
}

const MAX_WAITING = 4096;
const MAX_BATCH = 64;

export function createWriter(parts: AttemptParts): Writer {
  let queue: Job[] = [];
  let isBusy = false;
  const drain = async (): Promise<void> => {
    if (isBusy) return;
    isBusy = true;
    while (queue.length > 0) {
      const jobs = queue.slice(0, MAX_BATCH);
      queue = queue.slice(MAX_BATCH);
      queue = [...(await writeJobs(jobs, parts)), ...queue];
    }
    isBusy = false;
  };
  return {
    write: (command, must_confirm) => {
      if (queue.length >= MAX_WAITING)
        return Promise.resolve({ outcome: refusal('too many calls are waiting'), is_confirmed: false });
      return new Promise((settle) => {
        queue.push({ command, must_confirm, since_ms: parts.now().mono_ms, settle });
        void drain();
      });
    },
  };
}

/** Answers those that must go into a later batch. */
async function writeJobs(jobs: readonly Job[], parts: AttemptParts): Promise<readonly Job[]> {
  try {
    return await new Attempt(jobs, parts).run();
  } catch (error) {
    parts.complain('a write failed', error);
    for (const job of jobs) job.settle({ outcome: refusal('the write failed'), is_confirmed: false });
    return [];
  }
}
