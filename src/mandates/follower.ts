/** Drives the pure replica: keeps its state and the working set, and answers checks from them. */
import type { MandateFact } from '../core/facts.ts';
import type { FreshnessSource } from '../core/freshness.ts';
import { lineageOf } from '../core/mandate/life.ts';
import { isLaterOrSame, withObservations } from '../core/mandate/condition-standing.ts';
import type { MandateRecord, Observation } from '../core/mandate/record.ts';
import type { Reference } from '../core/reference.ts';
import { EMPTY_REPLICA, type Message, type ReplicaState, step } from '../core/replica.ts';

export interface Follower {
  readonly state: () => ReplicaState;
  readonly feed: (message: Message) => void;
  /** Loads records that stand at a snapshot's position, before its message is fed. */
  readonly load: (records: readonly MandateRecord[], observations: readonly Observation[]) => void;
  readonly find: (reference: Reference, source: Exclude<FreshnessSource, 'none'>) => MandateFact;
  readonly record: (id: string) => MandateRecord | undefined;
  readonly size: () => number;
  readonly records: () => Iterable<MandateRecord>;
  /** The mandate and all below it, each parent before its children. */
  readonly tree: (id: string) => readonly MandateRecord[];
}

/** `onLatch` is told once for every change of the latch, for the log and the metrics. */
export function createFollower(onLatch: (latch: string) => void): Follower {
  let state = EMPTY_REPLICA;
  const working = new Map<string, MandateRecord>();
  const children = new Map<string, string[]>();
  const observed = new Map<string, Observation>();
  /** Ids of the mandates with a condition on a thing. */
  const conditioned = new Map<string, Set<string>>();
  const observation = (event_type: string, key: string) => observed.get(thing({ event_type, key }));
  const record = (id: string): MandateRecord | undefined => working.get(id);

  const keep = (changed: MandateRecord): void => {
    const { id, parent } = changed;
    if (parent !== undefined && !working.has(id)) {
      const siblings = children.get(parent);
      if (siblings === undefined) children.set(parent, [id]);
      else siblings.push(id);
    }
    for (const condition of changed.conditions ?? []) {
      const ids = conditioned.get(thing(condition));
      if (ids === undefined) conditioned.set(thing(condition), new Set([id]));
      else ids.add(id);
    }
    working.set(id, withObservations(changed, observation));
  };

  const see = (next: Observation): void => {
    if (!isLaterOrSame(next, observed.get(thing(next)))) return;
    observed.set(thing(next), next);
    for (const id of conditioned.get(thing(next)) ?? [])
      working.set(id, withObservations(working.get(id)!, observation));
  };

  const tree = (id: string): readonly MandateRecord[] => {
    const found: MandateRecord[] = [];
    const ahead = [id];
    for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
      const each = working.get(next);
      if (each === undefined) continue;
      found.push(each);
      for (const child of (children.get(next) ?? []).toReversed()) ahead.push(child);
    }
    return found;
  };

  const feed = (message: Message): void => {
    const next = step(state, message, { find: record, holds: 'all', eidAt: () => undefined });
    for (const changed of next.changed) keep(changed.record);
    for (const each of next.observed) see(each);
    if (next.state.latch !== undefined && next.state.latch !== state.latch) onLatch(next.state.latch);
    ({ state } = next);
  };

  const find: Follower['find'] = (reference, source) => {
    const { position, proven, latch } = state;
    if (position === undefined || proven === undefined) {
      return { kind: 'unreadable', detail: 'the replica holds nothing yet' };
    }
    const own = working.get(reference.id);
    const lineage = own?.issuer === reference.issuer ? lineageOf(own, record) : undefined;
    if (lineage !== undefined) return { kind: 'found', lineage, proof: { source, position, proven, latch } };
    // A broken replica cannot tell an unknown mandate from one that it never learned of.
    return latch === undefined
      ? { kind: 'absent' }
      : { kind: 'unreadable', detail: `the view is latched: ${latch}` };
  };

  return {
    state: () => state,
    feed,
    load: (records, observations) => {
      for (const each of records) keep(each);
      for (const each of observations) see(each);
    },
    find,
    record,
    size: () => working.size,
    records: () => working.values(),
    tree,
  };
}

/** What an observation and a condition speak of, as one key. */
function thing({ event_type, key }: Pick<Observation, 'event_type' | 'key'>): string {
  return JSON.stringify([event_type, key]);
}
