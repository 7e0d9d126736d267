/**
 * What is done when the log is not the one that the view came from (design/3, Failover): what was lost of it is said
 * again, and the view begins anew. Nothing is decided meanwhile.
 */
import type { LogEntry, MandateEvent, Position } from '../../core/mandate/events.ts';
import type { Party } from '../../core/mandate/record.ts';
import type { Now } from '../../core/time.ts';
import type { Outbox } from '../outbox/outbox.ts';
import { isEnding } from '../../core/mandate/heal.ts';
import type { StreamEntry } from './chain.ts';
import { readEntry } from './chain.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import { type Read, readReply } from './replies.ts';
import { type WriterParts, createWriter } from './writer.ts';

export interface RecoveryParts {
  readonly link: Link;
  readonly keys: Keys;
  readonly outbox: Pick<Outbox, 'endings'>;
  readonly writer: Omit<WriterParts, 'position' | 'held' | 'onAppended' | 'next_epoch'>;
  readonly by: Party;
  readonly now: Now;
}

export type Recovered =
  | {
      readonly ok: true;
      readonly head: Position;
      /** `eid`s of the entries that the log had lost. */
      readonly lost: ReadonlySet<string>;
      /** Entries between what was applied here and the head: passed over by the view, and known all the same. */
      readonly passed: readonly LogEntry[];
    }
  | { readonly ok: false; readonly why: string };

/** What a view has had. */
export interface Seen {
  /** The last entries that were applied. */
  readonly entries: readonly LogEntry[];
  /** The ends of mandates that it holds, whether or not their entries were ever applied here. */
  readonly ended: readonly MandateEvent[];
}

/** Compares a position, and what was applied up to it, with the log as it is now; says again what it has lost. */
export async function recover(position: Position, seen: Seen, parts: RecoveryParts): Promise<Recovered> {
  const found = await look(undefined, parts);
  if (found.kind !== 'ok') return { ok: false, why: reasonOf(found) };
  const own = await look(position, parts);
  if (own.kind === 'ok') return begun(found, position.seq, [], parts);
  if (own.kind !== 'parted') return { ok: false, why: reasonOf(own) };
  if (own.latch === 'GAP' && found.floor <= position.seq)
    return { ok: false, why: 'entries of the log are gone that nobody has trimmed' };
  if (own.latch !== 'GAP' && own.latch !== 'FORK' && own.latch !== 'EPOCH')
    return { ok: false, why: reasonOf(own) };
  const lost = await lostOf(seen.entries, found.floor, parts);
  if (lost === undefined) return { ok: false, why: 'the log cannot be read' };
  // A log that went back to an epoch which was over must not come to the ones after it a second time.
  const isOver = own.latch === 'FORK' || found.head.epoch < position.epoch;
  const next_epoch = isOver ? Math.max(found.head.epoch, position.epoch) + 1 : undefined;
  const events = [...lost.map(({ event }) => event), ...seen.ended];
  const said = await sayAgain(events, found.head, next_epoch, parts);
  if (said !== undefined) return { ok: false, why: said };
  const now_there = await look(undefined, parts);
  if (now_there.kind !== 'ok') return { ok: false, why: reasonOf(now_there) };
  const from = Math.min(position.seq, ...lost.map(({ seq }) => seq - 1));
  return begun(now_there, from, lost, parts);
}

async function begun(
  { head }: Extract<Read, { kind: 'ok' }>,
  from: number,
  lost: readonly LogEntry[],
  parts: RecoveryParts,
): Promise<Recovered> {
  const passed = await entriesBetween(from, head.seq, parts);
  if (passed === undefined) return { ok: false, why: 'the log cannot be read' };
  return { ok: true, head, lost: new Set(lost.map(({ eid }) => eid)), passed };
}

/** Older ones than so many entries are in every sidecar's snapshot. */
const MOST_LOOKED_AT = 100_000;
const PAGE = 1000;

async function entriesBetween(
  from: number,
  upto: number,
  { link, keys }: RecoveryParts,
): Promise<readonly LogEntry[] | undefined> {
  const passed: LogEntry[] = [];
  for (let seq = Math.max(from, upto - MOST_LOOKED_AT); seq < upto; seq += PAGE) {
    const last = Math.min(upto, seq + PAGE);
    const reply = await link.call('XRANGE', keys.log, `${seq + 1}-0`, `${last}-0`);
    if (!reply.ok) return undefined;
    const entries = (reply.value as readonly StreamEntry[]).map(readEntry);
    if (entries.includes(undefined)) return undefined;
    passed.push(...(entries as readonly LogEntry[]));
  }
  return passed;
}

function reasonOf(read: Exclude<Read, { kind: 'ok' }>): string {
  return read.kind === 'run' ? 'the server has changed' : `the store says ${read.latch}`;
}

/** The head as it is, or what the server says of a position. */
async function look(position: Position | undefined, { link, keys }: RecoveryParts): Promise<Read> {
  const run = link.run();
  if (run === undefined) return { kind: 'run' };
  const from = position === undefined ? ['', '', ''] : [position.epoch, position.seq, position.eid];
  const names = [keys.head, keys.log, keys.fleet, keys.roster];
  const reply = await link.script('read', names, [run, ...from, 0, '', '']);
  return reply.ok ? readReply(reply.value) : { kind: 'run' };
}

const CHUNK = 256;
/** Entries that are said again in one commit. */
const MOST_AT_ONCE = 500;

/** Entries that were applied here and are not in the log, oldest first. */
async function lostOf(
  recent: readonly LogEntry[],
  floor: number,
  parts: RecoveryParts,
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
  parts: RecoveryParts,
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
async function eidsAt(
  entries: readonly LogEntry[],
  { link, keys }: RecoveryParts,
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

/** Says why it could not. */
async function sayAgain(
  lost: readonly MandateEvent[],
  head: Position,
  next_epoch: number | undefined,
  parts: RecoveryParts,
): Promise<string | undefined> {
  // The last of them ends the epoch, with everything said.
  const chunks = Math.max(Math.ceil(lost.length / MOST_AT_ONCE), next_epoch === undefined ? 0 : 1);
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    const some = lost.slice(chunk * MOST_AT_ONCE, (chunk + 1) * MOST_AT_ONCE);
    const why = await sayOnce(some, head, chunk === chunks - 1 ? next_epoch : undefined, parts);
    if (why !== undefined) return why;
  }
  return undefined;
}

async function sayOnce(
  lost: readonly MandateEvent[],
  head: Position,
  next_epoch: number | undefined,
  parts: RecoveryParts,
): Promise<string | undefined> {
  const writer = createWriter({
    ...parts.writer,
    position: () => head,
    held: () => undefined,
    onAppended: () => Promise.resolve(),
    ...(next_epoch === undefined ? {} : { next_epoch }),
  });
  const command = { kind: 'heal', lost, by: parts.by, at_ms: parts.now().wall_ms } as const;
  const { outcome } = await writer.write(command, false);
  return outcome.ok ? undefined : outcome.detail;
}
