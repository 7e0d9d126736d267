/** The tail: brings what is new, and proves nothing. */
import { MOST_ENTRIES, part } from './asking.ts';
import { type StreamEntry, readEntry } from './chain.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import type { View } from './view.ts';

export interface TailParts {
  readonly links: { readonly tail: Link; readonly beat: Link };
  readonly keys: Keys;
  readonly view: View;
}

/** How long the server may hold the call while nothing comes. */
const TAIL_BLOCK_MS = 5000;

/** One wait for what comes after the view's position; false where there was no answer. */
export async function follow({ links, keys, view }: TailParts): Promise<boolean> {
  const { position, latch } = view.state();
  const [run, generation] = [links.tail.run(), view.generation()];
  if (position === undefined || latch !== undefined || run === undefined) return false;
  // One that stayed with a primary that was left behind would bring what the others never had.
  if (links.beat.run() !== undefined && links.beat.run() !== run) {
    links.tail.renew();
    return false;
  }
  const block = ['COUNT', MOST_ENTRIES, 'BLOCK', TAIL_BLOCK_MS, 'STREAMS', keys.log, `${position.seq}-0`];
  const reply = await links.tail.call('XREAD', ...block);
  if (!reply.ok || links.beat.run() !== run || generation !== view.generation()) return false;
  // Nothing came: which is not to say that nothing was.
  if (reply.value === null) return true;
  const [[, stream]] = reply.value as readonly [readonly [string, readonly StreamEntry[]]];
  const entries = stream.map(readEntry);
  const good = entries.slice(0, entries.includes(undefined) ? entries.indexOf(undefined) : entries.length);
  view.feed({ kind: 'entries', entries: good as never });
  if (good.length < entries.length) part(view, 'corrupt');
  return true;
}
