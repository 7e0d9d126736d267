/**
 * The replica of the mandate log: what has been applied, and when that was last known to be everything. Pure: the
 * driver outside keeps the working set, does the I/O, and feeds one message at a time.
 */
import { type LogEntry, type MandateEvent, type Position, apply } from './mandate/events.ts';
import type { MandateRecord, Observation } from './mandate/record.ts';
import type { Instant } from './time.ts';

/**
 * Why a replica no longer answers. `GAP`, `FORK`, `EPOCH`: its history and the log's have parted. `UNINITIALISED`: there
 * is no log any more. `corrupt`: an entry does not verify, or does not fold. `failed`: the store broke for good. Only a
 * new snapshot, or a new process, opens it again.
 */
export type Latch = Parting | 'corrupt' | 'failed';

/** What the owner of the log says of a position that is not in its history. */
export type Parting = 'GAP' | 'FORK' | 'EPOCH' | 'UNINITIALISED';

export interface ReplicaState {
  /** The last entry that was applied; undefined before the first snapshot. */
  readonly position: Position | undefined;
  /** The latest moment at which `position` is known to have been the head of the log. */
  readonly proven: Instant | undefined;
  readonly latch: Latch | undefined;
}

export type Message =
  /** A verified beginning: the driver has loaded the records that stand at `position`. */
  | { readonly kind: 'snapshot'; readonly position: Position; readonly at: Instant | undefined }
  /** The tail. It advances state only: silence is never freshness. */
  | { readonly kind: 'entries'; readonly entries: readonly LogEntry[] }
  /**
   * An answer of the log's owner to "is `asked` all?". It proves the moment it was *sent*, and only once everything
   * it reports is applied.
   */
  | {
      readonly kind: 'proof';
      readonly sent: Instant;
      readonly asked: Position;
      readonly head: Position;
      readonly missing: readonly LogEntry[];
    }
  /** It cannot go on: for good, or until a new snapshot. */
  | { readonly kind: 'latched'; readonly latch: Latch };

export interface Step {
  readonly state: ReplicaState;
  /** Records as they stand now, for the driver's working set; a later one replaces an earlier one. */
  readonly changed: readonly Touched[];
  /** What was seen meanwhile, in order. */
  readonly observed: readonly Observation[];
}

/** A record, and the `eid` of the entry that touched it last. */
export interface Touched {
  readonly record: MandateRecord;
  readonly eid: string;
}

/** The records that the driver holds: all that there are, or those that it was asked for, and then it reads the others. */
export interface Working {
  readonly find: (id: string) => MandateRecord | undefined;
  readonly holds: 'all' | 'some';
  /** `eid` of an entry that was applied before the last one; undefined where that is no longer known. */
  readonly eidAt: (seq: number) => string | undefined;
}

export const EMPTY_REPLICA: ReplicaState = { position: undefined, proven: undefined, latch: undefined };

export function step(state: ReplicaState, message: Message, working: Working): Step {
  switch (message.kind) {
    case 'snapshot':
      return unchanged({ position: message.position, proven: message.at, latch: undefined });
    case 'entries':
      return applyAll(state, message.entries, working);
    case 'proof': {
      const applied = applyAll(state, message.missing, working);
      return { ...applied, state: prove(applied.state, message, working) };
    }
    case 'latched':
      return unchanged({ ...state, latch: state.latch ?? message.latch });
  }
}

function unchanged(state: ReplicaState): Step {
  return { state, changed: [], observed: [] };
}

function applyAll(before: ReplicaState, entries: readonly LogEntry[], working: Working): Step {
  const { find, holds, eidAt } = working;
  let state = before;
  const changed = new Map<string, Touched>();
  const observed: Observation[] = [];
  const record = (id: string) => changed.get(id)?.record ?? find(id);
  const lookup = { mandate: record, proposal: () => undefined };
  const isPassedOver = (event: MandateEvent): boolean => {
    // No check asks about proposals, so that none is kept.
    if (event.kind === 'proposed' || event.kind === 'denied') return true;
    const id = subjectOf(event);
    return holds === 'some' && id !== undefined && record(id) === undefined;
  };
  const stepped = (latch?: Latch): Step => {
    return {
      state: latch === undefined ? state : { ...state, latch },
      changed: [...changed.values()],
      observed,
    };
  };
  for (const entry of entries) {
    if (state.latch !== undefined || state.position === undefined) break;
    const place = placeOf(entry, state.position, eidAt);
    if (place === 'applied') continue;
    if (place !== 'next') return stepped(place);
    const folded = isPassedOver(entry.event) ? {} : apply(entry.event, entry.seq, lookup);
    if (folded === 'inapplicable') return stepped('corrupt');
    if (folded.mandate !== undefined)
      changed.set(folded.mandate.id, { record: folded.mandate, eid: entry.eid });
    if (folded.observation !== undefined) observed.push(folded.observation);
    const { epoch, seq, eid } = entry;
    state = { ...state, position: { epoch, seq, eid } };
  }
  return stepped();
}

/** The mandate that an event is about. */
export function subjectOf(event: MandateEvent): string | undefined {
  switch (event.kind) {
    case 'approved':
    case 'derived':
      return event.terms.id;
    case 'decided':
      return event.decision.mandate;
    case 'changed':
    case 'metered':
    case 'held_up':
    case 'action_approved':
    case 'tokens_revoked':
      return event.id;
    case 'proposed':
    case 'denied':
    case 'observed':
      return undefined;
  }
}

/** Where an entry stands towards what was applied. Ids are dense, but after a failover they can be used again. */
function placeOf(
  entry: LogEntry,
  position: Position,
  eidAt: Working['eidAt'],
): 'applied' | 'next' | 'GAP' | 'FORK' | 'EPOCH' {
  if (entry.epoch !== position.epoch) return 'EPOCH';
  if (entry.seq < position.seq) {
    // It may have been asked for before the view went on, on what turns out to be another history.
    const known = eidAt(entry.seq);
    return known === undefined || known === entry.eid ? 'applied' : 'FORK';
  }
  if (entry.seq === position.seq) return entry.eid === position.eid ? 'applied' : 'FORK';
  if (entry.seq > position.seq + 1) return 'GAP';
  return entry.prev === position.eid ? 'next' : 'FORK';
}

function prove(
  state: ReplicaState,
  proof: Extract<Message, { kind: 'proof' }>,
  { eidAt }: Working,
): ReplicaState {
  const { position } = state;
  const { head, asked, sent } = proof;
  if (state.latch !== undefined || position === undefined) return state;
  if (head.epoch !== position.epoch) return { ...state, latch: 'EPOCH' };
  // The log is shorter than what was applied when the question left: it lost history.
  if (head.seq < asked.seq) return { ...state, latch: 'FORK' };
  const own = head.seq === position.seq ? position.eid : eidAt(head.seq);
  // It was not applied yet, or so long ago that the head may be of this history or of another.
  if (own === undefined) return state;
  if (own !== head.eid) return { ...state, latch: 'FORK' };
  return isLater(sent, state.proven) ? { ...state, proven: sent } : state;
}

function isLater(a: Instant, b: Instant | undefined): boolean {
  return b === undefined || a.mono_ms > b.mono_ms;
}
