/** How far a write has come when it is answered: applied, durable, or enforced (design/3, Write). */
import type { MandateStore, WriteResult } from '../../check/ports.ts';
import type { Command, OperateCommand } from '../../core/mandate/commands.ts';
import { isEndingBy } from '../../core/mandate/life.ts';
import { type Now, formatTime } from '../../core/time.ts';
import type { Fleet } from './fleet.ts';
import type { Guard } from './guard.ts';
import type { Intents } from './intents.ts';
import { pause } from './pause.ts';
import type { Writer } from './writer.ts';

export interface AcknowledgingParts {
  readonly write: Writer['write'];
  readonly intents: Intents;
  readonly guard: Guard;
  readonly fleet: Fleet;
  readonly lease_ms: number;
  readonly now: Now;
  /** Ends every wait. */
  readonly signal: AbortSignal;
}

export function createAcknowledging(parts: AcknowledgingParts): Pick<MandateStore, 'write'> {
  const { intents, guard, fleet, now, signal, lease_ms } = parts;
  return {
    write: async (command, acknowledge, timeout_ms = 2 * lease_ms): Promise<WriteResult> => {
      const isMore = acknowledge !== 'applied';
      const { outcome, is_confirmed } = isEnd(command)
        ? await intents.write(command, isMore)
        : await parts.write(command, isMore);
      if (!outcome.ok) return outcome;
      if (!isMore || !is_confirmed) return { ...outcome, acknowledged: 'applied' };
      await pause(await guard.settling_ms(), signal);
      // What an unsafe store says that it has may be gone: it is never more than applied.
      if (signal.aborted || guard.unsafe().length > 0) return { ...outcome, acknowledged: 'applied' };
      if (acknowledge === 'durable') return { ...outcome, acknowledged: 'durable' };
      const isEnforced = await fleet.enforced(outcome.position, timeout_ms, signal);
      return isEnforced
        ? { ...outcome, acknowledged: 'enforced', enforced_at: formatTime(now().wall_ms) }
        : { ...outcome, acknowledged: 'durable' };
    },
  };
}

function isEnd(command: Command): command is OperateCommand {
  return command.kind === 'operate' && isEndingBy(command.details.operation);
}
