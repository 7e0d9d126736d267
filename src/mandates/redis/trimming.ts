/** Forgets what is old of the log: what it did is in the records, and every sidecar that lives has seen it. */
import type { Position } from '../../core/mandate/events.ts';
import type { Now } from '../../core/time.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';

export interface TrimOptions {
  /** How many entries are kept at least. */
  readonly keep_entries: number;
  readonly now: Now;
}

/** Trims once there is a tenth more than is to be kept; answers the floor that was set, or 0. */
export async function trim(
  link: Link,
  keys: Keys,
  position: Position | undefined,
  { keep_entries, now }: TrimOptions,
): Promise<number> {
  const run = link.run();
  const upto = (position?.seq ?? 0) - keep_entries;
  if (run === undefined || upto <= 0) return 0;
  const head = await link.call('HGET', keys.head, 'floor');
  if (!head.ok || upto - Number(head.value) < keep_entries / 10) return 0;
  const names = [keys.head, keys.log, keys.snapshot(upto)];
  const reply = await link.script('trim', names, [run, upto, now().wall_ms]);
  return reply.ok && (reply.value as readonly unknown[])[0] === 'OK' ? upto : 0;
}
