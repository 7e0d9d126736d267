/** The end of an ancestor ends every generation below, in the same commit. */
import type { Stored } from './commands.ts';
import type { MandateEvent } from './events.ts';
import { isTerminal, ownState } from './life.ts';
import type { Party } from './record.ts';

interface Ending {
  readonly at: string;
  readonly by: Party;
  readonly at_ms: number;
}

/** One event for each descendant that still lives; what has ended by itself keeps its own end. Parents come first. */
export function cascade(root: string, { at, by, at_ms }: Ending, stored: Stored): readonly MandateEvent[] {
  const events: MandateEvent[] = [];
  const queue = stored.children(root).slice();
  for (let next = 0; next < queue.length; next += 1) {
    const record = stored.mandate(queue[next]!);
    if (record === undefined) continue;
    for (const child of stored.children(record.id)) queue.push(child);
    const prior_state = ownState(record, at_ms);
    if (isTerminal(prior_state)) continue;
    events.push({
      kind: 'changed',
      id: record.id,
      operation: 'cascade',
      prior_state,
      state: 'cascaded',
      version: record.version + 1,
      change: {},
      cascaded_from: root,
      at,
      by,
    });
  }
  return events;
}
