/** Budgets along a tree: what a parent gets back when a child ends, and what it can get back when it runs short. */
import { formatTime } from '../time.ts';
import { cascade } from './cascade.ts';
import { type Refusal, type Stored, refuse } from './commands.ts';
import type { MandateEvent } from './events.ts';
import { isTerminal, ownState } from './life.ts';
import type { MandateRecord, Party } from './record.ts';
import { type Budget, type Charge, type Usage, allot, giveBack, release, renewed, usageOf } from './usage.ts';

export interface Acting {
  readonly by: Party;
  readonly at_ms: number;
}

/** A mandate's meters as they are when it ends: what was set aside for those below counts as far as they used it. */
function atEnd(record: MandateRecord, stored: Stored): Usage | undefined {
  const { usage } = record;
  if (usage === undefined) return undefined;
  return livingChildren(record, stored).reduce((sum, child) => {
    const own = atEnd(child, stored);
    return own === undefined ? sum : release(sum, own);
  }, usage);
}

/** Children whose end is not stored; only those still hold a part of their parent's budget. */
function livingChildren(record: MandateRecord, stored: Stored): readonly MandateRecord[] {
  return stored
    .children(record.id)
    .map(stored.mandate)
    .filter((child) => child !== undefined && !isTerminal(child.state)) as MandateRecord[];
}

/** What goes back to the parent of a mandate that ends now; nothing where the parent is not metered or over itself. */
export function returned(
  record: MandateRecord,
  { by, at_ms }: Acting,
  stored: Stored,
): readonly MandateEvent[] {
  const parent = record.parent === undefined ? undefined : stored.mandate(record.parent);
  if (parent?.usage === undefined || isTerminal(parent.state)) return [];
  const own = atEnd(record, stored);
  if (own === undefined) return [];
  return [meteredNow(parent.id, release(parent.usage, own), { by, at_ms })];
}

/**
 * What failed under a mandate that has ended is given back to the nearest one above that has not: that is where what it
 * had used was counted when it ended.
 */
export function givenBackAbove(
  record: MandateRecord,
  taking: Charge,
  acting: Acting,
  stored: Stored,
): readonly MandateEvent[] {
  let above: MandateRecord | undefined = record;
  while (above !== undefined && isTerminal(above.state))
    above = above.parent === undefined ? undefined : stored.mandate(above.parent);
  if (above === undefined || above.id === record.id || above.usage === undefined) return [];
  return [meteredNow(above.id, giveBack(above.usage, taking), acting)];
}

export interface Swept {
  readonly events: readonly MandateEvent[];
  readonly usage: Usage;
}

/** Ends that one write stores; the next one goes on. */
const MAX_SWEPT = 100;

/**
 * A parent that runs short stores the ends of children that have expired by themselves, and has what they did not use.
 * Storing an end may be late, but a budget must not be lost over it.
 */
export function sweepExpired(
  record: MandateRecord,
  { by, at_ms }: Acting,
  stored: Stored,
): Swept | undefined {
  if (record.usage === undefined) return undefined;
  const expired = stored
    .expired(record.id, at_ms)
    .slice(0, MAX_SWEPT)
    .map(stored.mandate)
    .filter((child) => child !== undefined);
  if (expired.length === 0) return undefined;
  const at = formatTime(at_ms);
  const events: MandateEvent[] = [];
  let { usage } = record;
  for (const child of expired) {
    const own = atEnd(child, stored);
    if (own !== undefined) usage = release(usage, own);
    const state = ownState(child, at_ms);
    const { id, version, state: prior_state } = child;
    events.push(
      {
        kind: 'changed',
        id,
        operation: 'expire',
        prior_state,
        state,
        version: version + 1,
        change: {},
        at,
        by,
      },
      ...cascade(id, { at, by, at_ms }, stored),
    );
  }
  return { events: [...events, meteredNow(record.id, usage, { by, at_ms })], usage };
}

export interface SetAside {
  /** The child's own meters. */
  readonly usage?: Usage;
  readonly events: readonly MandateEvent[];
}

/** A child's budget, taken from what its parent has left; one that runs short looks first for what it can get back. */
export function setAside(
  budget: Budget,
  parent: MandateRecord,
  acting: Acting,
  stored: Stored,
): SetAside | Refusal {
  const own = usageOf(budget);
  if (parent.usage === undefined) return own === undefined ? { events: [] } : { usage: own, events: [] };
  const child = own ?? {};
  const direct = allot(parent.usage, child);
  if ('usage' in direct) return { usage: child, events: [meteredNow(parent.id, direct.usage, acting)] };
  const swept = direct.is_short ? sweepExpired(parent, acting, stored) : undefined;
  const found = swept === undefined ? direct : allot(swept.usage, child);
  if ('usage' in found)
    return { usage: child, events: [...swept!.events, meteredNow(parent.id, found.usage, acting)] };
  const name = found.refused === 'max_duration_ms' ? 'max_duration' : found.refused;
  return refuse('not_strict_subset', found.detail, `budget.${name}`);
}

/** The successor of a child takes the bounds of its predecessor, which gives back what it has not used. */
export function setAsideAnew(
  predecessor: MandateRecord,
  budget: Budget | undefined,
  parent: MandateRecord,
  acting: Acting,
  stored: Stored,
): SetAside | Refusal {
  const { usage } = predecessor;
  const kept = usage === undefined ? undefined : renewed(usage);
  const anew = budget === undefined ? kept : usageOf(budget);
  if (parent.usage === undefined) return anew === undefined ? { events: [] } : { usage: anew, events: [] };
  const own = atEnd(predecessor, stored);
  const released = (meters: Usage): Usage => (own === undefined ? meters : release(meters, own));
  const direct = allot(released(parent.usage), anew ?? {});
  const swept = 'usage' in direct || !direct.is_short ? undefined : sweepExpired(parent, acting, stored);
  const found = swept === undefined ? direct : allot(released(swept.usage), anew ?? {});
  return 'usage' in found
    ? {
        usage: anew ?? {},
        events: [...(swept?.events ?? []), meteredNow(parent.id, found.usage, acting)],
      }
    : refuse('not_strict_subset', `the bounds of the mission: ${found.detail}`, 'intent.controls');
}

function meteredNow(id: string, usage: Usage, { by, at_ms }: Acting): MandateEvent {
  return { kind: 'metered', id, usage, at: formatTime(at_ms), by };
}
