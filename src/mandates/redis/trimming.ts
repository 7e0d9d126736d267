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

/** Trims once there is a tenth more than is to be kept. */
export async function trim(
  link: Link,
  keys: Keys,
  { seq }: Position,
  { keep_entries, now }: TrimOptions,
): Promise<void> {
  const run = link.run();
  const upto = seq - keep_entries;
  if (run === undefined || upto <= 0) return;
  const floor = await link.call('HGET', keys.head, 'floor');
  if (!floor.ok || upto - Number(floor.value) < keep_entries / 10) return;
  await link.script('trim', [keys.head, keys.log, keys.snapshot(upto)], [run, upto, now().wall_ms]);
}
