/**
 * What a write reads: cells by name, from those that are at hand. What is not at hand is noted and taken for absent, and
 * the write is tried again once it was fetched: it is pure, so that nothing is lost by that.
 */
import { withObservations } from '../../core/mandate/condition-standing.ts';
import type { Receipt, Stored } from '../../core/mandate/commands.ts';
import type { MandateRecord, Observation, Proposal } from '../../core/mandate/record.ts';
import type { StoredDecision } from '../../core/mandate/stored-decision.ts';
import type { Touched } from '../../core/replica.ts';
import {
  ABSENT,
  CORRUPT,
  type Cell,
  type CellKind,
  type CellName,
  CorruptCell,
  recordOf,
  valueOf,
  watchersOf,
} from './cells.ts';
import type { Keys } from './keys.ts';

/** A cell that is at hand, or a mandate as the view holds it. */
export type Known = Cell | Touched;

export interface Reading {
  readonly stored: Stored;
  /** Cells that were looked at, by name, with the stamp that they had. */
  readonly looked: ReadonlyMap<string, { readonly name: CellName; readonly at: string }>;
  readonly missing: readonly CellName[];
}

export function nameOf({ kind, key, argument }: CellName): string {
  return `${kind} ${key} ${argument}`;
}

export function createReading(
  keys: Keys,
  known: ReadonlyMap<string, Known>,
  held: (id: string) => Touched | undefined,
): Reading {
  const looked = new Map<string, { readonly name: CellName; readonly at: string }>();
  /** What was seen once is what is seen again, whatever the view has learned meanwhile. */
  const taken = new Map<string, Known>();
  const missing: CellName[] = [];

  /** `guess` stands in for a cell that is not at hand: the write holds only where it was right. */
  const look = (name: CellName, guess?: Known): Known => {
    const found = taken.get(nameOf(name)) ?? known.get(nameOf(name)) ?? guess;
    if (found === undefined) {
      missing.push(name);
      return ABSENT;
    }
    if (found === CORRUPT) throw new CorruptCell(`\`${name.key}\` is not a key of ours`);
    taken.set(nameOf(name), found);
    looked.set(nameOf(name), { name, at: 'eid' in found ? found.eid : found.at });
    return found;
  };
  const cell = (kind: CellKind, key: string, argument = '', guess?: Cell): Cell =>
    look({ kind, key, argument }, guess) as Cell;

  const observation: Stored['observation'] = (event_type, key) =>
    valueOf(cell('hash', keys.thing(event_type, key))) as Observation | undefined;
  const mandate = (id: string): MandateRecord | undefined => {
    const found = look({ kind: 'hash', key: keys.mandate(id), argument: '' }, held(id));
    const record = 'eid' in found ? found.record : recordOf(found);
    if (record === 'corrupt') throw new CorruptCell(`the record of \`${id}\` does not verify`);
    return record === undefined ? undefined : withObservations(record, observation);
  };
  const stored: Stored = {
    mandate,
    observation,
    observed: (event_id) =>
      valueOf(cell('hash', keys.observed(event_id), '', ABSENT)) as Observation | undefined,
    conditioned: (event_type, key) => watchersOf(cell('hash', keys.thing(event_type, key))),
    proposal: (id) => valueOf(cell('hash', keys.proposal(id))) as Proposal | undefined,
    children: (id) => cell('children', keys.children(id)).children,
    living: (id, at_ms) => cell('living', keys.children(id), String(at_ms)).count,
    expired: (id, at_ms) => cell('expired', keys.children(id), String(at_ms)).children,
    approved: (event_id) => valueOf(cell('hash', keys.approval(event_id), '', ABSENT)) as string | undefined,
    decision: (id) => valueOf(cell('hash', keys.decision(id), '', ABSENT)) as StoredDecision | undefined,
    keyed: (key) => {
      const id = valueOf(cell('hash', keys.keyed(key), '', ABSENT)) as string | undefined;
      return id === undefined ? undefined : stored.decision(id);
    },
    nonce: (id, nonce) => readReceipt(cell('hash', keys.receipt(id, nonce), '', ABSENT)),
  };
  return { stored, looked, missing };
}

interface KeptReceipt {
  readonly fingerprint: string;
  readonly receipt: Omit<Receipt, 'position'>;
}

/** `EPOCH SEQ EID JSON`: only the script knows where a write came to stand. */
function readReceipt({ fields }: Cell): ReturnType<Stored['nonce']> {
  const match = /^(\d+) (\d+) (\S+) (.*)$/s.exec(fields.get('v') ?? '');
  if (match === null) return undefined;
  const { fingerprint, receipt } = JSON.parse(match[4]!) as KeptReceipt;
  const position = { epoch: Number(match[1]), seq: Number(match[2]), eid: match[3]! };
  return { fingerprint, receipt: { ...receipt, position } };
}

export function keptReceipt(kept: KeptReceipt): string {
  return JSON.stringify(kept);
}
