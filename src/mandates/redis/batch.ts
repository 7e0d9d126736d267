/**
 * Writes that are appended by one script: each computed here from what was read, and holding only while all that it has
 * read is as it was. None reads what another of the same batch changes.
 */
import type { Committed } from '../../check/ports.ts';
import { withObservations } from '../../core/mandate/condition-standing.ts';
import type { Command, Receipt, Stored, Writing, Written } from '../../core/mandate/commands.ts';
import type { Folded } from '../../core/mandate/events.ts';
import { effectiveState, lineageOf } from '../../core/mandate/life.ts';
import { operate } from '../../core/mandate/operate.ts';
import type { Digest } from '../../core/mandate/record.ts';
import type { Touched } from '../../core/replica.ts';
import type { CellName } from './cells.ts';
import type { Draft } from './chain.ts';
import { type Effects, type Operation, effectsOf } from './effects.ts';
import type { Keys } from './keys.ts';
import { type Known, type Reading, createReading, keptReceipt, nameOf } from './reading.ts';

export interface Prepared {
  readonly command: Command;
  readonly written: Written;
  readonly reading: Reading;
  readonly effects: Effects;
  /** Of an operation: what it came to, but for where it comes to stand. */
  readonly receipt: Omit<Receipt, 'position'> | undefined;
}

export interface BatchParts {
  readonly issuer: string;
  readonly digest: Digest;
  readonly keys: Keys;
  readonly held: (id: string) => Touched | undefined;
}

/** One write as it would be; with what is missing where it cannot be told yet. Throws what `operate` throws. */
export function prepare(
  command: Command,
  known: ReadonlyMap<string, Known>,
  seq: number,
  parts: BatchParts,
): Prepared | { readonly missing: readonly CellName[] } {
  const { issuer, digest, keys, held } = parts;
  const reading = createReading(keys, known, held);
  const writing: Writing = { issuer, digest, stored: reading.stored };
  try {
    const written = operate(command, writing);
    const events = 'events' in written ? written.events : [];
    const effects = effectsOf(events, seq, reading.stored, keys);
    const receipt = receiptOf(command, written, effects, reading);
    // What the answer will show is looked at now, so that it is at hand then.
    aboutOf(written, reading.stored, effects.folded, receipt?.id);
    if (reading.missing.length === 0)
      return { command, written, reading, effects: withReceipt(effects, written, receipt, keys), receipt };
  } catch (error) {
    // What was taken for absent may make no sense; that is found out once it was fetched.
    if (reading.missing.length === 0) throw error;
  }
  return { missing: reading.missing };
}

/** What a write was about, as it is after the events that were folded. */
export function aboutOf(
  written: Written,
  stored: Stored,
  folded: readonly Folded[],
  operated?: string,
): Pick<Committed, 'mandate' | 'proposal'> {
  if ('refused' in written) return {};
  const named =
    'replay' in written
      ? { mandate: written.replay.id, proposal: written.replay.submission_id }
      : { mandate: operated ?? written.about.mandate, proposal: written.about.proposal };
  const own = folded.findLast(
    ({ mandate: each }) => each !== undefined && each.id === named.mandate,
  )?.mandate;
  const mandate = own ?? (named.mandate === undefined ? undefined : stored.mandate(named.mandate));
  const made = folded.findLast(({ proposal: each }) => each?.submission_id === named.proposal)?.proposal;
  const proposal = made ?? (named.proposal === undefined ? undefined : stored.proposal(named.proposal));
  return {
    ...(mandate === undefined ? {} : { mandate: withObservations(mandate, stored.observation) }),
    ...(proposal === undefined ? {} : { proposal }),
  };
}

function receiptOf(
  command: Command,
  written: Written,
  { mandates }: Effects,
  { stored }: Reading,
): Prepared['receipt'] {
  if (command.kind !== 'operate' || !('about' in written)) return undefined;
  const find = (id: string) => mandates.get(id) ?? stored.mandate(id);
  const record = find(command.id);
  if (record === undefined) return undefined;
  const lineage = lineageOf(record, find);
  const { proposal: submission_id } = written.about;
  return {
    id: command.id,
    operation: command.details.operation,
    state: lineage === undefined ? record.state : effectiveState(lineage, command.at_ms),
    version: record.version,
    cascaded: written.events.filter((event) => event.kind === 'changed' && event.operation === 'cascade')
      .length,
    ...(submission_id === undefined ? {} : { submission_id }),
  };
}

/** A nonce is remembered with what it came to. */
function withReceipt(effects: Effects, written: Written, receipt: Prepared['receipt'], keys: Keys): Effects {
  if (!('remember' in written) || written.remember === undefined || receipt === undefined) return effects;
  const { nonce, fingerprint } = written.remember;
  const operation: Operation = {
    name: 'receipt',
    entry: effects.drafts.length,
    cell: { kind: 'hash', key: keys.receipt(receipt.id, nonce), argument: '' },
    one: keptReceipt({ fingerprint, receipt }),
    two: '',
  };
  return { ...effects, operations: [...effects.operations, operation] };
}

/** Keys of cells that a write changes. */
export function touchedBy({ effects }: Prepared): readonly string[] {
  return effects.operations.map(({ cell }) => cell.key);
}

export interface AppendArguments {
  readonly cells: readonly CellName[];
  readonly args: readonly string[];
}

/** What the script is given for a batch: cells with the stamps that must hold, entries, operations. */
export function argumentsOf(batch: readonly Prepared[]): AppendArguments {
  const cells: CellName[] = [];
  const stamps: string[] = [];
  const numbers = new Map<string, number>();
  const number = (name: CellName, stamp: string): number => {
    const known = numbers.get(nameOf(name));
    if (known !== undefined) return known;
    numbers.set(nameOf(name), cells.push(name));
    stamps.push(stamp);
    return cells.length;
  };
  for (const { reading } of batch) for (const { name, at } of reading.looked.values()) number(name, at);
  const drafts: Draft[] = [];
  const operations: string[] = [];
  for (const { effects } of batch) {
    for (const { name, entry, cell, one, two } of effects.operations) {
      const stamp = effects.made.has(cell.key) ? '' : '*';
      const at = entry === 0 ? 0 : entry + drafts.length;
      operations.push(name, String(at), String(number(cell, stamp)), one, two);
    }
    for (const draft of effects.drafts) drafts.push(draft);
  }
  const named = cells.flatMap(({ kind, argument }, index) => [kind, argument, stamps[index]!]);
  const entries = drafts.flatMap(({ nonce, text }) => [nonce, text]);
  return {
    cells,
    args: [String(cells.length), ...named, String(drafts.length), ...entries, ...operations],
  };
}
