/** The question that everything is known from: what is missing behind the view's position? */
import type { Parting } from '../../core/replica.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import { type Read, readReply } from './replies.ts';
import type { View } from './view.ts';

export interface AskingParts {
  readonly keys: Keys;
  readonly view: View;
  /** The server at which this sidecar has made itself known. */
  readonly arrived: () => string;
  /** Makes itself known to a server that is not the one before. */
  readonly arrive: (link: Link) => Promise<boolean>;
}

/** Most entries in one answer. */
export const MOST_ENTRIES = 1000;

export type Answer = Extract<Read, { kind: 'ok' }> | { readonly kind: 'none'; readonly why: string };

/** One call of the read script from where the view stands; what it says of the view is fed to it. */
export async function readFrom(
  link: Link,
  parts: AskingParts,
  row: readonly [string, string],
  ids: readonly string[],
): Promise<Answer> {
  const { keys, view } = parts;
  const names = [keys.head, keys.log, keys.fleet, keys.roster, ...ids.map(keys.mandate)];
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const run = link.run();
    if (run === undefined) return { kind: 'none', why: 'there is no connection to the store' };
    if (run !== parts.arrived() && !(await parts.arrive(link))) break;
    const [{ position }, generation] = [view.state(), view.generation()];
    const from = position === undefined ? ['', '', ''] : [position.epoch, position.seq, position.eid];
    const wanted = ids.flatMap((id) => ['lineage', id]);
    const reply = await link.script('read', names, [run, ...from, MOST_ENTRIES, ...row, ...wanted]);
    if (!reply.ok) return { kind: 'none', why: `the store does not answer: ${reply.why}` };
    if (generation !== view.generation()) return { kind: 'none', why: 'the view has begun anew' };
    const read = readReply(reply.value);
    if (read.kind === 'ok') return read;
    if (read.kind === 'parted') {
      part(view, read.latch);
      return { kind: 'none', why: `the view is latched: ${read.latch}` };
    }
    if (!(await parts.arrive(link))) break;
  }
  return { kind: 'none', why: 'the server has changed' };
}

/** The view and the log have parted. */
export function part(view: View, latch: Parting | 'corrupt'): void {
  view.feed({ kind: 'latched', latch });
}
