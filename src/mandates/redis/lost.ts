/** What of a history is in a log and what is not, entry by entry. */
import type { LogEntry } from '../../core/mandate/events.ts';
import { isEnding } from '../../core/mandate/heal.ts';
import type { Outbox } from '../outbox/outbox.ts';
import { type StreamEntry, readEntry } from './chain.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import { readReply } from './replies.ts';

export interface Comparing {
  readonly link: Link;
  readonly keys: Keys;
  readonly outbox: Pick<Outbox, 'endings'>;
}

const CHUNK = 256;

/** Entries that were applied here and are not in the log, oldest first. */
export async function lostOf(
  recent: readonly LogEntry[],
  floor: number,
  parts: Comparing,
): Promise<readonly LogEntry[] | undefined> {
  const latest = recent.toReversed();
  const applied = await missing(async (offset) => latest.slice(offset, offset + CHUNK), isOfOne, parts);
  // What is remembered may be of several histories, each of which has lost something: one entry that is there says
  // nothing of the others, as far as the log can still be asked.
  const isDone = (entry: LogEntry, hasFound: boolean): boolean => hasFound && entry.seq <= floor;
  const remembered = await missing((offset) => parts.outbox.endings(offset, CHUNK), isDone, parts);
  if (applied === undefined || remembered === undefined) return undefined;
  // What was trimmed before it was applied here may have been narrowed by others since; an end counts for ever.
  const known = applied.filter(({ seq, event }) => seq > floor || isEnding(event));
  const all = new Map([...known, ...remembered].map((entry) => [entry.eid, entry]));
  return [...all.values()].toSorted((a, b) => a.seq - b.seq);
}

/** Behind an entry of a history that is there, all are (L2). */
function isOfOne(_entry: LogEntry, hasFound: boolean): boolean {
  return hasFound;
}

/** `page` answers entries, the latest first; `isDone` whether those from one on need not be looked up. */
async function missing(
  page: (offset: number) => Promise<readonly LogEntry[]>,
  isDone: (entry: LogEntry, hasFound: boolean) => boolean,
  parts: Comparing,
): Promise<readonly LogEntry[] | undefined> {
  const lost: LogEntry[] = [];
  let hasFound = false;
  for (let offset = 0; ; offset += CHUNK) {
    const entries = await page(offset);
    const there = await eidsAt(entries, parts);
    if (there === undefined) return undefined;
    for (const [index, entry] of entries.entries()) {
      if (isDone(entry, hasFound)) return lost;
      if (there[index] === entry.eid) hasFound = true;
      else lost.push(entry);
    }
    if (entries.length < CHUNK) return lost;
  }
}

/** What the log has in the places of these entries, all from one server. */
export async function eidsAt(
  entries: readonly Pick<LogEntry, 'seq'>[],
  { link, keys }: Comparing,
): Promise<readonly (string | undefined)[] | undefined> {
  const run = link.run();
  if (run === undefined) return undefined;
  const names = [keys.head, keys.log, keys.fleet, keys.roster, ...entries.map(() => keys.log)];
  const wanted = entries.flatMap(({ seq }) => ['entry', seq]);
  const reply = await link.script('read', names, [run, '', '', '', 0, '', '', ...wanted]);
  const read = reply.ok ? readReply(reply.value) : undefined;
  if (read?.kind !== 'ok') return undefined;
  return (read.cells as readonly (readonly StreamEntry[])[]).map(([each]) =>
    each === undefined ? undefined : readEntry(each)?.eid,
  );
}

/** Older ones than so many entries are in every sidecar's snapshot. */
const MOST_LOOKED_AT = 100_000;
const PAGE = 1000;

/** A place in the log; the `eid` of the entry there, where it is known. */
export interface Behind {
  readonly seq: number;
  readonly eid: string | undefined;
}

/** Entries behind one place up to another, the latest of them; a string says why they cannot be had. */
export async function entriesBetween(
  behind: Behind,
  upto: number,
  { link, keys }: Comparing,
): Promise<readonly LogEntry[] | string> {
  const passed: LogEntry[] = [];
  const isFar = upto - behind.seq > MOST_LOOKED_AT;
  let last: Behind = isFar ? { seq: upto - MOST_LOOKED_AT, eid: undefined } : behind;
  while (last.seq < upto) {
    const page = Math.min(upto, last.seq + PAGE);
    const reply = await link.call('XRANGE', keys.log, `${last.seq + 1}-0`, `${page}-0`);
    if (!reply.ok) return `the log cannot be read: ${reply.why}`;
    for (const each of reply.value as readonly StreamEntry[]) {
      const entry = readEntry(each);
      if (entry?.seq !== last.seq + 1 || entry.prev !== (last.eid ?? entry.prev)) return hole(last);
      passed.push(entry);
      last = entry;
    }
    if (last.seq !== page) return hole(last);
  }
  return passed;
}

function hole({ seq }: Behind): string {
  return `the log's chain is broken after entry ${seq}`;
}
