/**
 * What a sidecar holds of a log that others write too: the replica's position, the mandates that were asked for, and the
 * last entries. Bounded: the mandates that were not asked for longest make room.
 */
import { isLaterOrSame, withObservations } from '../../core/mandate/condition-standing.ts';
import { type LogEntry, type MandateEvent, type Position, apply } from '../../core/mandate/events.ts';
import { endingOf } from '../../core/mandate/heal.ts';
import { type Lineage, lineageOf } from '../../core/mandate/life.ts';
import type { MandateRecord, Observation } from '../../core/mandate/record.ts';
import {
  EMPTY_REPLICA,
  type Message,
  type ReplicaState,
  type Step,
  type Touched,
  step,
  subjectOf,
} from '../../core/replica.ts';
import { thingOf } from './keys.ts';

/** Records as they were read, at one position of the log. */
export interface Loaded {
  readonly at: Position;
  readonly records: readonly Touched[];
  /** The last that was seen of things, by the digest of their name. */
  readonly seen: ReadonlyMap<string, Observation>;
}

export interface View {
  readonly state: () => ReplicaState;
  readonly feed: (message: Message) => void;
  /** Forgets everything held but `recent`, which is in the log's history, and stands at a position from now on. */
  readonly adopt: (position: Position, recent: readonly LogEntry[]) => void;
  /** False where the entries since it was read are not held any more: it must be read again. */
  readonly load: (loaded: Loaded) => boolean;
  readonly lineage: (id: string) => Lineage | undefined;
  /** A record as it is held, with the stamp of its cell. */
  readonly held: (id: string) => Touched | undefined;
  /** The last entries that were applied, oldest first: what a log that lost them must be told. */
  readonly recent: () => readonly LogEntry[];
  /** The ends of mandates that are held. */
  readonly ended: () => readonly MandateEvent[];
  /** True where a head is the view's own position, or lies behind it in the same history. */
  readonly agrees: (head: Position) => boolean;
  readonly size: () => number;
  /** How often it has begun anew: what was asked before that says nothing of it now. */
  readonly generation: () => number;
}

export interface ViewOptions {
  /** Most mandates that are held. */
  readonly most: number;
  /** Told once for every change of the latch. */
  readonly onLatch: (latch: string) => void;
  /** Told of entries that were applied. */
  readonly onApplied: (entries: readonly LogEntry[]) => void;
}

const MOST_RECENT = 10_000;

export function createView({ most, onLatch, onApplied }: ViewOptions): View {
  let state = EMPTY_REPLICA;
  let recent: LogEntry[] = [];
  let generation = 0;
  const working = new Map<string, Touched>();
  const things = new Map<string, Observation>();
  /** Which of the mandates held have a condition on a thing; nothing is kept of the others. */
  const conditioned = new Map<string, Set<string>>();
  const find = (id: string): MandateRecord | undefined => working.get(id)?.record;
  const observation = (event_type: string, key: string) => things.get(thingOf([event_type, key]));

  const eidAt = (seq: number): string | undefined => {
    const entry = recent.findLast((each) => each.seq <= seq);
    return entry?.seq === seq ? entry.eid : undefined;
  };
  const keep = ({ record, eid }: Touched): void => {
    const { id } = record;
    working.delete(id);
    working.set(id, { record: withObservations(record, observation), eid });
    for (const { event_type, key } of record.conditions ?? []) {
      const thing = thingOf([event_type, key]);
      conditioned.set(thing, (conditioned.get(thing) ?? new Set()).add(id));
    }
    if (working.size > most) forget(working.keys().next().value!);
  };

  const forget = (id: string): void => {
    const conditions = working.get(id)?.record.conditions ?? [];
    working.delete(id);
    for (const { event_type, key } of conditions) {
      const thing = thingOf([event_type, key]);
      const ids = conditioned.get(thing);
      ids?.delete(id);
      if (ids?.size !== 0) continue;
      conditioned.delete(thing);
      things.delete(thing);
    }
  };

  const see = (thing: string, next: Observation): void => {
    const ids = conditioned.get(thing);
    if (ids === undefined || !isLaterOrSame(next, things.get(thing))) return;
    things.set(thing, next);
    for (const id of ids) {
      const { record, eid } = working.get(id)!;
      working.set(id, { record: withObservations(record, observation), eid });
    }
  };

  /** An entry that verifies and still cannot be folded is of a build that nobody knows: nothing is decided after it. */
  const stepped = (message: Message): Step => {
    try {
      return step(state, message, { find, holds: 'some', eidAt });
    } catch {
      return { state: { ...state, latch: 'corrupt' }, changed: [], observed: [] };
    }
  };

  const feed = (message: Message): void => {
    const next = stepped(message);
    const from = state.position?.seq ?? 0;
    for (const changed of next.changed) keep(changed);
    for (const each of next.observed) see(thingOf([each.event_type, each.key]), each);
    const { latch } = next.state;
    const isNew = latch !== state.latch;
    ({ state } = next);
    applied(message, from);
    if (latch !== undefined && isNew) onLatch(latch);
  };

  const applied = (message: Message, from: number): void => {
    const entries =
      message.kind === 'entries' ? message.entries : message.kind === 'proof' ? message.missing : [];
    const upto = state.position?.seq ?? 0;
    const fresh = entries.filter(({ seq }) => seq > from && seq <= upto);
    if (fresh.length === 0) return;
    for (const entry of fresh) recent.push(entry);
    if (recent.length > 2 * MOST_RECENT) recent = recent.slice(-MOST_RECENT);
    onApplied(fresh);
  };

  const load = ({ at, records, seen }: Loaded): boolean => {
    const { position } = state;
    if (position === undefined || at.epoch !== position.epoch || at.seq > position.seq) return false;
    const since = recent.filter(({ seq }) => seq > at.seq);
    if (since.length < position.seq - at.seq) return false;
    const brought = records.map((each) => broughtUp(each, since));
    if (brought.includes(undefined)) return false;
    for (const each of brought) keep(each!);
    for (const [thing, each] of seen) see(thing, each);
    for (const { event } of since) {
      if (event.kind === 'observed')
        see(thingOf([event.observation.event_type, event.observation.key]), event.observation);
    }
    return true;
  };

  const lineage = (id: string): Lineage | undefined => {
    const own = find(id);
    const found = own === undefined ? undefined : lineageOf(own, find);
    // Asked for now: whatever else is held makes room first, a child before those above it.
    for (const { id: each } of found?.toReversed() ?? []) {
      const touched = working.get(each)!;
      working.delete(each);
      working.set(each, touched);
    }
    return found;
  };

  return {
    state: () => state,
    feed,
    adopt: (position, kept) => {
      working.clear();
      things.clear();
      conditioned.clear();
      recent = kept.slice(-MOST_RECENT);
      generation += 1;
      feed({ kind: 'snapshot', position, at: undefined });
    },
    load,
    lineage,
    held: (id) => working.get(id),
    recent: () => recent,
    ended: () =>
      [...working.values()].map(({ record }) => endingOf(record)).filter((each) => each !== undefined),
    agrees: ({ epoch, seq, eid }) => {
      const { position } = state;
      if (position === undefined || position.epoch !== epoch || seq > position.seq) return false;
      return seq === position.seq ? eid === position.eid : eid === eidAt(seq);
    },
    size: () => working.size,
    generation: () => generation,
  };
}

/** A record that was read a moment ago, with the entries that were applied meanwhile; undefined where they do not fit it. */
function broughtUp(read: Touched, since: readonly LogEntry[]): Touched | undefined {
  let { record, eid } = read;
  for (const entry of since) {
    if (subjectOf(entry.event) !== record.id) continue;
    const folded = apply(entry.event, entry.seq, { mandate: () => record, proposal: () => undefined });
    if (folded === 'inapplicable') return undefined;
    if (folded.mandate === undefined) continue;
    record = folded.mandate;
    ({ eid } = entry);
  }
  return { record, eid };
}
