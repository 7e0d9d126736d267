/**
 * What is written again after a failover lost entries that somebody had seen (design/3, Failover). An end is for good, so
 * it is said again; whatever else was lost could have narrowed, so the mandate waits for a person.
 */
import { cascade } from './cascade.ts';
import { type HealCommand, type Stored, type Written } from './commands.ts';
import type { MandateEvent } from './events.ts';
import { isTerminal, lineageOf, ownState } from './life.ts';
import { formatTime } from '../time.ts';
import type { MandateRecord } from './record.ts';
import type { StoredDecision } from './stored-decision.ts';
import { type Usage, mostUsed } from './usage.ts';

type Changed = Extract<MandateEvent, { kind: 'changed' }>;

export function heal(command: HealCommand, stored: Stored): Written {
  const ended = new Set<string>();
  const endings = command.lost.filter(isEnding).flatMap((lost) => reassert(lost, ended, command, stored));
  const meters = [...lastMeters(command.lost)].flatMap(([id, usage]) => remeter(id, usage, command, stored));
  const kept = command.lost.flatMap((lost) => keepAgain(lost, stored));
  const held = [...touched(command.lost)].flatMap((id) => suspend(id, ended, command, stored));
  return { events: [...kept, ...meters, ...endings, ...held], about: {} };
}

/** True of what ended a mandate: it counts for ever, whatever became of its entry. */
export function isEnding(event: MandateEvent): event is Changed {
  return event.kind === 'changed' && isTerminal(event.state);
}

/** The end of a mandate as its record tells it; undefined of one that lives. */
export function endingOf({
  id,
  history,
  state,
  version,
  successor,
}: MandateRecord): MandateEvent | undefined {
  const item = history.findLast((each) => isTerminal(each.state));
  if (!isTerminal(state) || item === undefined) return undefined;
  const { operation, at, by, reason, prior_state = 'active', cascaded_from } = item;
  return {
    kind: 'changed',
    id,
    operation: operation as Changed['operation'],
    prior_state,
    state,
    version,
    change: successor === undefined ? {} : { successor },
    ...(reason === undefined ? {} : { reason }),
    ...(cascaded_from === undefined ? {} : { cascaded_from }),
    at,
    by,
  };
}

/** As it was said, by whom it was said; nothing where the mandate has ended, or is not known here. */
function reassert(
  { id, operation, state, change, by, cascaded_from, reason }: Changed,
  ended: Set<string>,
  { at_ms }: HealCommand,
  stored: Stored,
): readonly MandateEvent[] {
  const record = stored.mandate(id);
  if (record === undefined || isTerminal(record.state) || ended.has(id)) return [];
  const at = formatTime(at_ms);
  const why = `said again after it was lost${reason === undefined ? '' : `: ${reason}`}`;
  const own: MandateEvent = {
    kind: 'changed',
    id,
    operation,
    prior_state: ownState(record, at_ms),
    state,
    version: record.version + 1,
    change,
    reason: why,
    ...(cascaded_from === undefined ? {} : { cascaded_from }),
    at,
    by,
  };
  const below = cascade(id, { at, by, at_ms }, stored).filter((each) => !ended.has((each as Changed).id));
  for (const each of [own, ...below]) ended.add((each as Changed).id);
  return [own, ...below];
}

/** Mandates that something else happened to. */
function touched(lost: readonly MandateEvent[]): ReadonlySet<string> {
  return new Set(
    lost.flatMap((event) => {
      if (event.kind === 'changed') return isTerminal(event.state) ? [] : [event.id];
      return event.kind === 'held_up' || event.kind === 'action_approved' ? [event.id] : [];
    }),
  );
}

function suspend(
  id: string,
  ended: ReadonlySet<string>,
  { by, at_ms }: HealCommand,
  stored: Stored,
): readonly MandateEvent[] {
  const record = stored.mandate(id);
  if (record === undefined || ended.has(id) || isOver(record, at_ms, stored)) return [];
  if (record.state === 'suspended' && record.suspend_until === undefined) return [];
  return [
    {
      kind: 'changed',
      id,
      operation: 'suspend',
      prior_state: ownState(record, at_ms),
      state: 'suspended',
      version: record.version + 1,
      change: { suspend_until: null, on_expiry: null },
      reason: 'reconcile: a change of this mandate was lost',
      at: formatTime(at_ms),
      by,
    },
  ];
}

function isOver(record: MandateRecord, at_ms: number, stored: Stored): boolean {
  const lineage = lineageOf(record, stored.mandate) ?? [record];
  return lineage.some((each) => isTerminal(ownState(each, at_ms)));
}

/** Meters as they were last seen. */
function lastMeters(lost: readonly MandateEvent[]): ReadonlyMap<string, Usage> {
  const meters = new Map<string, Usage>();
  for (const event of lost) {
    if (event.kind === 'metered') meters.set(event.id, event.usage);
    if (event.kind === 'decided' && event.usage !== undefined)
      meters.set(event.decision.mandate, event.usage);
  }
  return meters;
}

function remeter(
  id: string,
  usage: Usage,
  { by, at_ms }: HealCommand,
  stored: Stored,
): readonly MandateEvent[] {
  const record = stored.mandate(id);
  if (record?.usage === undefined) return [];
  return [{ kind: 'metered', id, usage: mostUsed(record.usage, usage), at: formatTime(at_ms), by }];
}

/** What stands by itself is kept as it was: decisions, what was seen, proposals that were denied. */
function keepAgain(lost: MandateEvent, stored: Stored): readonly MandateEvent[] {
  switch (lost.kind) {
    case 'decided':
      return isMissing(lost.decision, stored) ? [withoutMeters(lost)] : [];
    case 'observed':
      return stored.observed(lost.observation.event_id) === undefined ? [lost] : [];
    case 'denied':
      return stored.proposal(lost.submission_id)?.status === 'pending' ? [lost] : [];
    case 'proposed':
    case 'approved':
    case 'derived':
    case 'changed':
    case 'metered':
    case 'held_up':
    case 'action_approved':
    case 'tokens_revoked':
      return [];
  }
}

/** Of a decision that was settled the settlement counts. */
function isMissing(decision: StoredDecision, stored: Stored): boolean {
  if (stored.mandate(decision.mandate) === undefined) return false;
  const kept = stored.decision(decision.decision_id);
  return kept === undefined || (kept.status === 'decided' && decision.status !== 'decided');
}

function withoutMeters({
  usage: _usage,
  ...event
}: Extract<MandateEvent, { kind: 'decided' }>): MandateEvent {
  return event;
}
