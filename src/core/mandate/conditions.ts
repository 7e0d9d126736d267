/**
 * What must keep holding (design/2 `conditions`; design/8, Conditions). A condition holds while the last that was seen
 * of it is as expected and recent enough: what cannot be seen does not hold.
 */
import { formatTime, parseTime } from '../time.ts';
import { cascade } from './cascade.ts';
import { returned } from './budgets.ts';
import { type ObserveCommand, type Stored, type Written, refuse } from './commands.ts';
import type { MandateEvent } from './events.ts';
import { isTerminal, ownState } from './life.ts';
import { isLaterOrSame, standingOf } from './condition-standing.ts';
import type { Condition, MandateRecord, Observation, RecordChange } from './record.ts';

/** Takes an observation, and does in the same commit what the conditions that it fails say. */
export function observe(command: ObserveCommand, stored: Stored): Written {
  const { observation, at_ms, by, clock_tolerance_ms } = command;
  const { event_id, event_type, key } = observation;
  const seen = stored.observed(event_id);
  if (seen !== undefined) {
    return isSame(seen, observation)
      ? { events: [], about: {} }
      : refuse('conflict', 'this event was reported with another content', 'event_id');
  }
  const observed_ms = parseTime(observation.observed_at)!;
  if (observed_ms > at_ms + clock_tolerance_ms)
    return refuse('invalid_request', 'in the future', 'observed_at');
  const event: MandateEvent = { kind: 'observed', observation, at: formatTime(at_ms), by };
  // What is older than what is known says nothing of now.
  if (!isLaterOrSame(observation, stored.observation(event_type, key))) return { events: [event], about: {} };
  const affected = stored
    .conditioned(event_type, key)
    .map(stored.mandate)
    .filter((record) => record !== undefined);
  const consequences = affected.flatMap((record) => consequencesFor(record, command, stored));
  return { events: [event, ...consequences], about: {} };
}

function isSame(a: Observation, b: Observation): boolean {
  return (
    a.event_type === b.event_type &&
    a.key === b.key &&
    a.value === b.value &&
    parseTime(a.observed_at) === parseTime(b.observed_at)
  );
}

/** The first consequence that there is; a harder one of another condition comes first. */
function consequencesFor(
  record: MandateRecord,
  command: ObserveCommand,
  stored: Stored,
): readonly MandateEvent[] {
  const { observation, at_ms } = command;
  const mine = (record.conditions ?? []).filter(
    ({ event_type, key }) => event_type === observation.event_type && key === observation.key,
  );
  const failed = mine.filter((each) => {
    // One that says `revoke` and did not hold has ended the mandate, whatever is seen now.
    const wasLost = each.on_false === 'revoke' && isFailing(each, at_ms);
    return wasLost || observation.value !== each.expect;
  });
  const [condition] = failed.toSorted((a, b) => HARDNESS[b.on_false] - HARDNESS[a.on_false]);
  if (condition !== undefined) return carriedOut(record, condition, command, stored);
  return mine.some((each) => isFailing(each, at_ms)) ? [isOver(record, command)] : [];
}

/** It held the mandate up and does so no more: what was approved or queued before that is of another time. */
function isOver({ id }: MandateRecord, { at_ms, by }: ObserveCommand): MandateEvent {
  const at = formatTime(at_ms);
  return { kind: 'held_up', id, until: at, at, by };
}

/** Something was seen of it, and it does not hold. */
function isFailing(condition: Condition, at_ms: number): boolean {
  const standing = standingOf(condition, at_ms);
  return standing === 'false' || standing === 'stale';
}

const HARDNESS: Readonly<Record<Condition['on_false'], number>> = { suspend: 0, contain: 1, revoke: 2 };

function carriedOut(
  record: MandateRecord,
  condition: Condition,
  { observation, at_ms }: ObserveCommand,
  stored: Stored,
): readonly MandateEvent[] {
  const prior_state = ownState(record, at_ms);
  if (isTerminal(prior_state)) return [];
  const change = changeBy(condition, record, prior_state === 'suspended');
  if (change === undefined) return [];
  const at = formatTime(at_ms);
  const by = { iss: record.issuer, sub: `condition:${condition.id}` };
  const { on_false: operation } = condition;
  const state = operation === 'revoke' ? 'revoked' : operation === 'suspend' ? 'suspended' : prior_state;
  const event: MandateEvent = {
    kind: 'changed',
    id: record.id,
    operation,
    prior_state,
    state,
    version: record.version + 1,
    change,
    reason: `the condition \`${condition.id}\` does not hold (event ${observation.event_id})`,
    at,
    by,
  };
  if (operation !== 'revoke') return [event];
  return [
    event,
    ...cascade(record.id, { at, by, at_ms }, stored),
    ...returned(record, { by, at_ms }, stored),
  ];
}

/** What becomes of the record; undefined where it is so already. */
function changeBy(
  { on_false }: Condition,
  record: MandateRecord,
  isSuspended: boolean,
): RecordChange | undefined {
  switch (on_false) {
    case 'revoke':
      return {};
    case 'contain': {
      const contained = [...new Set([...record.overlay.contained, ...record.entry_digests])];
      const isContained = contained.length === record.overlay.contained.length;
      return isContained ? undefined : { overlay: { ...record.overlay, contained } };
    }
    case 'suspend': {
      // A suspension that goes on by itself would go on without anybody's resume.
      const isEnough = isSuspended && record.on_expiry !== 'resume';
      return isEnough ? undefined : { suspend_until: null, on_expiry: null };
    }
  }
}
