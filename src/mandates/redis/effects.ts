/** What a write does to the store: its entries, and the operations that fold them into the cells. */
import { isLaterOrSame } from '../../core/mandate/condition-standing.ts';
import type { Stored } from '../../core/mandate/commands.ts';
import { type Folded, type MandateEvent, apply } from '../../core/mandate/events.ts';
import { endsBy, isTerminal } from '../../core/mandate/life.ts';
import type { ApprovedTerms, MandateRecord } from '../../core/mandate/record.ts';
import { clampTime } from '../../core/time.ts';
import { type CellName, PARTS, isVersion } from './cells.ts';
import { type Draft, draftOf } from './chain.ts';
import { type Keys, thingOf } from './keys.ts';

/** What the script is to do once the entries are appended. `entry` counts from 1 within the write; 0 is the head. */
export interface Operation {
  readonly name: 'version' | 'set' | 'born' | 'ends' | 'ended' | 'listed' | 'receipt';
  readonly entry: number;
  readonly cell: CellName;
  readonly one: string;
  readonly two: string;
}

export interface Effects {
  readonly drafts: readonly Draft[];
  readonly operations: readonly Operation[];
  readonly folded: readonly Folded[];
  /** Mandates as they are afterwards. */
  readonly mandates: ReadonlyMap<string, MandateRecord>;
  /** Keys of what this makes for the first time: there must be nothing under them. */
  readonly made: ReadonlySet<string>;
}

/** Folds the events of one write, the first of which comes to stand at `seq`. */
export function foldAll(
  events: readonly MandateEvent[],
  seq: number,
  stored: Stored,
): { readonly folded: readonly Folded[]; readonly mandates: ReadonlyMap<string, MandateRecord> } {
  const mandates = new Map<string, MandateRecord>();
  const lookup = {
    mandate: (id: string) => mandates.get(id) ?? stored.mandate(id),
    proposal: stored.proposal,
  };
  const folded = events.map((event, index) => {
    const each = apply(event, seq + index, lookup);
    if (each === 'inapplicable')
      throw new Error(`the event \`${event.kind}\` does not apply to what is stored`);
    if (each.mandate !== undefined) mandates.set(each.mandate.id, each.mandate);
    return each;
  });
  return { folded, mandates };
}

export function effectsOf(events: readonly MandateEvent[], seq: number, stored: Stored, keys: Keys): Effects {
  const { folded, mandates } = foldAll(events, seq, stored);
  const before = new Map<string, MandateRecord>();
  const made = new Set<string>();
  const operations: Operation[] = [];
  for (const [index, each] of folded.entries()) {
    const event = events[index]!;
    const writing = writingAt(index + 1, operations);
    if (each.mandate !== undefined) {
      const earlier = before.get(each.mandate.id) ?? earlierOf(event, stored);
      foldMandate(event, each.mandate, earlier, keys, writing);
      if (earlier === undefined) made.add(keys.mandate(each.mandate.id));
      before.set(each.mandate.id, each.mandate);
    }
    if (event.kind === 'proposed') made.add(keys.proposal(event.proposal.submission_id));
    if (event.kind === 'decided' && isNew(each, stored)) made.add(keys.decision(event.decision.decision_id));
    foldOthers(each, event, stored, keys, writing);
  }
  return { drafts: events.map(draftOf), operations, folded, mandates, made };
}

type Write = (name: Operation['name'], key: string, one?: string, two?: string) => void;

function writingAt(entry: number, operations: Operation[]): Write {
  return (name, key, one = '', two = '') => {
    operations.push({ name, entry, cell: { kind: 'hash', key, argument: '' }, one, two });
  };
}

/** The record that an event changes; undefined of one that begins. */
function earlierOf(event: MandateEvent, stored: Stored): MandateRecord | undefined {
  switch (event.kind) {
    case 'approved':
    case 'derived':
      return undefined;
    case 'decided':
      return stored.mandate(event.decision.mandate);
    case 'changed':
    case 'metered':
    case 'held_up':
    case 'action_approved':
    case 'tokens_revoked':
      return stored.mandate(event.id);
    case 'proposed':
    case 'denied':
    case 'observed':
      return undefined;
  }
}

function foldMandate(
  event: MandateEvent,
  record: MandateRecord,
  before: MandateRecord | undefined,
  keys: Keys,
  write: Write,
): void {
  const key = keys.mandate(record.id);
  if (isVersion(event)) write('version', key);
  if (before === undefined) begin(record, keys, write);
  for (const part of PARTS) {
    if (record[part] !== undefined && record[part] !== before?.[part])
      write('set', key, part, JSON.stringify(record[part]));
  }
  // Whatever touches a record leaves its stamp.
  if (!isVersion(event)) write('set', key, 'touched');
  if (record.parent !== undefined) foldChild(record, before, keys.children(record.parent), write);
}

/** What never changes, beside the versions: where it stands, and what its conditions speak of. */
function begin(record: MandateRecord, keys: Keys, write: Write): void {
  const key = keys.mandate(record.id);
  write('set', key, 'lineage', record.lineage.join(' '));
  const things = (record.conditions ?? []).map(({ event_type, key: name }) => thingOf([event_type, name]));
  if (things.length > 0) write('set', key, 'things', [...new Set(things)].join(' '));
  write('listed', keys.ids, record.id);
}

/** Until when it lives by itself, in whole milliseconds; nothing once its end is stored. */
function foldChild(
  record: MandateRecord,
  before: MandateRecord | undefined,
  siblings: string,
  write: Write,
): void {
  const ends = endOf(record);
  if (before === undefined) return write('born', siblings, record.id, String(ends));
  if (ends === endOf(before)) return undefined;
  return ends === undefined
    ? write('ended', siblings, record.id)
    : write('ends', siblings, record.id, String(ends));
}

function endOf(record: MandateRecord): number | undefined {
  return isTerminal(record.state) ? undefined : clampTime(endsBy(record));
}

function isNew({ decision }: Folded, stored: Stored): boolean {
  return decision !== undefined && stored.decision(decision.decision_id) === undefined;
}

function foldOthers(each: Folded, event: MandateEvent, stored: Stored, keys: Keys, write: Write): void {
  const { proposal, decision, observation } = each;
  const value = (key: string, of: unknown): void => write('set', key, 'v', JSON.stringify(of));
  if (proposal !== undefined) value(keys.proposal(proposal.submission_id), proposal);
  if (decision !== undefined) {
    if (decision.key !== undefined && isNew(each, stored))
      value(keys.keyed(decision.key), decision.decision_id);
    value(keys.decision(decision.decision_id), decision);
  }
  if (observation !== undefined) {
    const { event_id, event_type, key } = observation;
    value(keys.observed(event_id), observation);
    if (isLaterOrSame(observation, stored.observation(event_type, key)))
      value(keys.thing(event_type, key), observation);
  }
  if (event.kind === 'approved') foldApproval(event.terms, keys, write);
}

function foldApproval(
  { id, approval_event_id, parent, conditions = [] }: ApprovedTerms,
  keys: Keys,
  write: Write,
) {
  write('set', keys.approval(approval_event_id), 'v', JSON.stringify(id));
  // A child follows its root, whose conditions they are.
  if (parent !== undefined) return;
  for (const { event_type, key } of conditions) write('set', keys.thing(event_type, key), `m:${id}`);
}
