/** Cells: what the store keeps of one thing, as strings, and what it is folded to. */
import { type MandateEvent, type LogEntry, apply } from '../../core/mandate/events.ts';
import type { MandateRecord } from '../../core/mandate/record.ts';
import { parsed, unpack } from './chain.ts';

/** How a cell is read: every field of a hash, or a part of the children of a mandate. */
export type CellKind = 'hash' | 'living' | 'expired' | 'children';

export interface CellName {
  readonly kind: CellKind;
  readonly key: string;
  /** Of `living` and `expired`: the moment, epoch ms. */
  readonly argument: string;
}

/** A cell that is not there has no fields, and an empty stamp. */
export interface Cell {
  /** `eid` of the entry that touched it last. */
  readonly at: string;
  readonly fields: ReadonlyMap<string, string>;
  /** Of a part of the children: their ids, or how many there are. */
  readonly children: readonly string[];
  readonly count: number;
}

export const ABSENT: Cell = { at: '', fields: new Map(), children: [], count: 0 };

/** A key of ours that holds something of another type. */
export const CORRUPT: Cell = { ...ABSENT, at: '!' };

/** A reply of the scripts for one cell. */
export function readCell(kind: CellKind, reply: unknown): Cell {
  if (!Array.isArray(reply)) return CORRUPT;
  if (kind === 'hash') {
    const fields = fieldsOf(reply as readonly string[]);
    return { ...ABSENT, at: fields.get('at') ?? '', fields };
  }
  const [at, content] = reply as unknown as readonly [string, unknown];
  if (kind === 'living') return { ...ABSENT, at, count: Number(content) };
  return { ...ABSENT, at, children: content as readonly string[] };
}

/** Names and values in turn. */
export function fieldsOf(flat: readonly string[]): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (let index = 0; index + 1 < flat.length; index += 2) fields.set(flat[index]!, flat[index + 1]!);
  return fields;
}

/** Parts of a record that are replaced where they stand, and change no version. */
export const PARTS = ['usage', 'action_approvals', 'held_until', 'tokens_revoked'] as const;

export type RecordResult = MandateRecord | undefined | 'corrupt';

/** The record of a mandate: the fold of its versions, each verified, with its parts. */
export function recordOf(cell: Cell, up_to = Infinity): RecordResult {
  const { fields } = cell;
  if (cell === CORRUPT) return 'corrupt';
  if (fields.size === 0) return undefined;
  const versions = versionsOf(fields);
  if (versions === 'corrupt') return 'corrupt';
  let record: MandateRecord | undefined;
  for (const { event, seq } of versions) {
    if (record !== undefined && record.version >= up_to) break;
    const folded = apply(event, seq, { mandate: () => record, proposal: () => undefined });
    if (folded === 'inapplicable' || folded.mandate === undefined) return 'corrupt';
    record = folded.mandate;
  }
  if (record === undefined) return 'corrupt';
  if (up_to !== Infinity) return record;
  const parts = partsOf(fields);
  return parts === 'corrupt' ? 'corrupt' : { ...record, ...parts };
}

/** Entries that made a version, in order; `last` names the one that must be there, so that none can go missing. */
function versionsOf(fields: ReadonlyMap<string, string>): readonly LogEntry[] | 'corrupt' {
  const numbered = [...fields].filter(([name]) => /^\d+$/.test(name));
  const entries = numbered
    .map(([name, packed]) => unpack(Number(name), packed))
    .toSorted((a, b) => (a?.seq ?? 0) - (b?.seq ?? 0));
  const isWhole = !entries.includes(undefined) && entries.at(-1)?.eid === fields.get('last');
  return isWhole ? (entries as readonly LogEntry[]) : 'corrupt';
}

function partsOf(fields: ReadonlyMap<string, string>): Partial<MandateRecord> | 'corrupt' {
  const parts: [string, unknown][] = [];
  for (const name of PARTS) {
    const text = fields.get(name);
    if (text === undefined) continue;
    const value = parsed(text);
    if (value === undefined) return 'corrupt';
    parts.push([name, value]);
  }
  return Object.fromEntries(parts);
}

/** What does not verify: nothing may be built on it. */
export class CorruptCell extends Error {}

/** A value that is kept whole, as JSON; undefined where there is none. Throws `CorruptCell`. */
export function valueOf(cell: Cell): unknown {
  if (cell === CORRUPT) throw new CorruptCell('a stored value is of another type');
  const text = cell.fields.get('v');
  if (text === undefined) return undefined;
  const value = parsed(text);
  if (value === undefined) throw new CorruptCell('a stored value does not verify');
  return value;
}

/** Mandates that have a condition on a thing. */
export function watchersOf({ fields }: Cell): readonly string[] {
  return [...fields.keys()].filter((name) => name.startsWith('m:')).map((name) => name.slice('m:'.length));
}

/** True of an event that makes a version of a mandate. */
export function isVersion({ kind }: MandateEvent): boolean {
  return kind === 'approved' || kind === 'derived' || kind === 'changed';
}
