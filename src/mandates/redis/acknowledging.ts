/** How far a write has come when it is answered: applied, durable, or enforced (design/3, Write). */
import type { Acknowledgement, MandateStore, StoreHealth, WriteResult } from '../../check/ports.ts';
import type { Command, OperateCommand } from '../../core/mandate/commands.ts';
import { type Now, formatTime } from '../../core/time.ts';
import type { Fleet } from './fleet.ts';
import type { Guard } from './guard.ts';
import type { Intents } from './intents.ts';
import { pause } from './pause.ts';
import type { Written, Writer } from './writer.ts';

export interface AcknowledgingParts {
  readonly writer: Writer;
  readonly intents: Intents;
  readonly guard: Guard;
  readonly fleet: Fleet;
  readonly health: () => StoreHealth;
  readonly lease_ms: number;
  readonly now: Now;
  /** Ends every wait. */
  readonly signal: AbortSignal;
}

export function createAcknowledging(parts: AcknowledgingParts): Pick<MandateStore, 'write'> {
  const { intents, guard, fleet, now, signal, lease_ms } = parts;
  return {
    write: async (command, acknowledge, timeout_ms = 2 * lease_ms): Promise<WriteResult> => {
      // What an unsafe store says that it has may be gone: it is never more than applied.
      const level: Acknowledgement = guard.unsafe().length > 0 ? 'applied' : acknowledge;
      const isMore = level !== 'applied';
      const { outcome, is_confirmed } = isEnd(command)
        ? await intents.write(command, isMore)
        : await append(command, isMore, parts);
      if (!outcome.ok) return outcome;
      if (!isMore || !is_confirmed) return { ...outcome, acknowledged: 'applied' };
      await pause(await guard.settling_ms(), signal);
      if (level === 'durable') return { ...outcome, acknowledged: 'durable' };
      const isEnforced = await fleet.enforced(outcome.position, timeout_ms, signal);
      return isEnforced
        ? { ...outcome, acknowledged: 'enforced', enforced_at: formatTime(now().wall_ms) }
        : { ...outcome, acknowledged: 'durable' };
    },
  };
}

function isEnd(command: Command): command is OperateCommand {
  return command.kind === 'operate' && ['revoke', 'complete'].includes(command.details.operation);
}

/** Nothing is written over what cannot be read. */
export async function append(
  command: Command,
  must_confirm: boolean,
  { writer, health }: Pick<AcknowledgingParts, 'writer' | 'health'>,
): Promise<Written> {
  const current = health();
  if (current.ok) return writer.write(command, must_confirm);
  return {
    outcome: { ok: false, refused: 'unavailable', detail: current.detail },
    is_confirmed: false,
  };
}
