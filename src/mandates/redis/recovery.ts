/**
 * What is done when the log is not the one that the view came from (design/3, Failover): what was lost of it is said
 * again, and the view begins anew. Nothing is decided meanwhile.
 */
import type { LogEntry, MandateEvent, Position } from '../../core/mandate/events.ts';
import type { Party } from '../../core/mandate/record.ts';
import type { Now } from '../../core/time.ts';
import { fieldsOf } from './cells.ts';
import { type Behind, type Comparing, eidsAt, entriesBetween, lostOf } from './lost.ts';
import { type Read, readReply } from './replies.ts';
import type { AttemptParts } from './attempt.ts';
import { unanchored } from './verify.ts';
import { createWriter } from './writer.ts';

export interface RecoveryParts extends Comparing {
  /** The `eid` before the first entry of this log: no other log has it. */
  readonly genesis: string;
  readonly writer: Omit<AttemptParts, 'position' | 'held' | 'onAppended' | 'next_epoch'>;
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
  const stranger = await strangeness(found, position, parts);
  if (stranger !== undefined) return { ok: false, why: stranger };
  if (own.kind === 'ok') return begun(found, position, [], parts);
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
  const [first] = lost;
  const before =
    first !== undefined && first.seq <= position.seq ? { seq: first.seq - 1, eid: first.prev } : position;
  const common = await lastCommon(before, now_there, parts);
  if (common === undefined) return { ok: false, why: 'the log cannot be read' };
  return begun(now_there, common, lost, parts);
}

/**
 * Where the log goes on from what was applied here. Not every entry is remembered: the one before the first that was
 * lost may be lost too, and then all that the log keeps may be new.
 */
async function lastCommon(
  place: Pick<Position, 'seq' | 'eid'>,
  { floor }: OkRead,
  parts: RecoveryParts,
): Promise<Behind | undefined> {
  const there = await eidsAt([place], parts);
  if (there === undefined) return undefined;
  return place.seq > floor && there[0] === place.eid ? place : { seq: floor, eid: undefined };
}

/** Why this is not the log that the position is of, nor one that was trimmed as ours are. */
async function strangeness(
  { floor }: OkRead,
  { seq }: Position,
  { link, keys, genesis }: RecoveryParts,
): Promise<string | undefined> {
  const reply = await link.call('HGETALL', keys.head);
  if (!reply.ok) return `the log's head cannot be read: ${reply.why}`;
  const head = fieldsOf(reply.value as readonly string[]);
  if (head.get('genesis') !== genesis) return 'another log was begun in its place';
  return floor > seq ? unanchored(link, keys, head) : undefined;
}

type OkRead = Extract<Read, { kind: 'ok' }>;

async function begun(
  { head }: OkRead,
  behind: Behind,
  lost: readonly LogEntry[],
  parts: RecoveryParts,
): Promise<Recovered> {
  const passed = await entriesBetween(behind, head.seq, parts);
  if (typeof passed === 'string') return { ok: false, why: passed };
  return { ok: true, head, lost: new Set(lost.map(({ eid }) => eid)), passed };
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

/** Entries that are said again in one commit. */
const MOST_AT_ONCE = 500;

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
