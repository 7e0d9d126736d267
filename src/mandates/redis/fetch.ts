/** Cells as of now, from the primary. */
import { type Cell, type CellName, readCell } from './cells.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';

/** undefined where the primary does not answer. */
export async function fetchCells(
  link: Link,
  keys: Keys,
  names: readonly CellName[],
): Promise<readonly Cell[] | undefined> {
  const run = link.run();
  if (run === undefined) return undefined;
  const fixed = [keys.head, keys.log, keys.fleet, keys.roster];
  const wanted = names.flatMap(({ kind, argument }) => [kind, argument]);
  const reply = await link.script(
    'read',
    [...fixed, ...names.map(({ key }) => key)],
    [run, '', '', '', 0, '', '', ...wanted],
  );
  const answer = reply.ok ? (reply.value as readonly unknown[]) : [];
  if (answer[0] !== 'OK') return undefined;
  return (answer[6] as readonly unknown[]).map((cell, index) => readCell(names[index]!.kind, cell));
}
