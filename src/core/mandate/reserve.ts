/**
 * The last step of an allow that must not be given twice, and what comes of it (UCON: reserve before, renew during,
 * settle after). Runs in the store's atomic section: it holds only if the mandate is still what the decision saw.
 */
import type { NextAction, Reason } from '../reasons.ts';
import { formatTime, parseTime } from '../time.ts';
import { openApprovals } from './action-approval.ts';
import { givenBackAbove, sweepExpired } from './budgets.ts';
import type { ReserveCommand, SettleCommand, Stored, Written } from './commands.ts';
import type { MandateEvent } from './events.ts';
import { type Lineage, effectiveState, lineageOf } from './life.ts';
import type { MandateRecord } from './record.ts';
import {
  DECISION_LIFE,
  type Reserved,
  type StoredDecision,
  isSameCaller,
  standingStatus,
} from './stored-decision.ts';
import { type Usage, charge, giveBack, remainder } from './usage.ts';

export function reserve(command: ReserveCommand, stored: Stored): Written {
  const { decision, at_ms } = command;
  const record = stored.mandate(decision.mandate);
  const lineage = record === undefined ? undefined : lineageOf(record, stored.mandate);
  if (record === undefined || lineage === undefined || !isAsSeen(lineage, command))
    return answer({ outcome: 'moved' });
  const earlier = earlierOf(command, stored);
  if (earlier === 'unknown') return answer({ outcome: 'unknown_decision' });
  if (earlier !== undefined) return again(earlier, command, record, at_ms);
  return first(command, record, stored);
}

function answer(reserved: Reserved, events: readonly MandateEvent[] = []): Written {
  return { events, about: {}, reserved };
}

function refused(reason: Reason, detail: string, next_action?: NextAction): Written {
  return answer({
    outcome: 'refused',
    reason,
    detail,
    ...(next_action === undefined ? {} : { next_action }),
  });
}

function isAsSeen(lineage: Lineage, { versions, at_ms }: ReserveCommand): boolean {
  return (
    lineage.length === versions.length &&
    lineage.every(({ version }, index) => version === versions[index]) &&
    effectiveState(lineage, at_ms) === 'active'
  );
}

/** The decision that this question repeats: by its id, or by its key. */
function earlierOf(
  { renews, retry_of, decision, at_ms }: ReserveCommand,
  stored: Stored,
): StoredDecision | undefined | 'unknown' {
  const named = renews ?? retry_of;
  if (named !== undefined) {
    const found = stored.decision(named);
    const isTheirs = found?.mandate === decision.mandate && isSameCaller(found.caller, decision.caller);
    if (isTheirs) return found;
    if (renews !== undefined) return 'unknown';
  }
  const keyed = decision.key === undefined ? undefined : stored.keyed(decision.key);
  const isOver = keyed?.key_until !== undefined && at_ms >= (parseTime(keyed.key_until) ?? -Infinity);
  return isOver ? undefined : keyed;
}

function first(
  { decision, lease_ms, is_dry, by, at_ms }: ReserveCommand,
  record: MandateRecord,
  stored: Stored,
): Written {
  const { approval } = decision;
  if (approval !== undefined) {
    const open = openApprovals(record, at_ms).find(({ id }) => id === approval);
    if (open === undefined || open.used_by !== undefined)
      return refused('approval_required', 'the approval of this action has been used, or has run out');
  }
  const taking = { ...decision.charge, ...leaseOf(record.usage, lease_ms) };
  const leased =
    taking.duration_ms === undefined ? {} : { leased_until: formatTime(at_ms + taking.duration_ms) };
  const kept: StoredDecision = { ...decision, charge: taking, ...leased };
  if (record.usage === undefined) return held(kept, undefined, is_dry, { by, at_ms });
  let swept: readonly MandateEvent[] = [];
  let result = charge(record.usage, taking);
  if ('refused' in result && result.refused === 'quota_exceeded') {
    const found = sweepExpired(record, { by, at_ms }, stored);
    if (found !== undefined) {
      swept = found.events;
      result = charge(found.usage, taking);
    }
  }
  if ('refused' in result) return refused(result.refused, result.detail);
  return held(kept, result.usage, is_dry, { by, at_ms }, swept);
}

/** Under a bound of duration every allow is a lease, no longer than what is left. */
function leaseOf(usage: Usage | undefined, lease_ms: number): { duration_ms?: number } {
  const meter = usage?.max_duration_ms;
  if (meter === undefined) return {};
  // Never less than a moment, so that nothing is left is found out and not given for nothing.
  return { duration_ms: Math.max(1, Math.min(lease_ms, remainder(meter) as number)) };
}

function again(
  earlier: StoredDecision,
  command: ReserveCommand,
  record: MandateRecord,
  at_ms: number,
): Written {
  const { decision, renews, is_dry, by, settle_by } = command;
  const isSame =
    earlier.action.name === decision.action.name &&
    earlier.resource === decision.resource &&
    earlier.binding === decision.binding;
  if (!isSame) return refused('idempotency_conflict', 'this was asked before with other parameters');
  const status = standingStatus(earlier, at_ms);
  const row = DECISION_LIFE[status];
  if (row.asked_again === 'suppressed')
    return refused('duplicate_suppressed', `this was decided before, and is ${status}`, row.next_action);
  if (decision.approval !== undefined && earlier.approval === undefined)
    return refused('approval_required', 'this was decided before without an approval');
  const extension = extend(earlier, command, record, at_ms);
  if ('refused' in extension) return refused(extension.refused, extension.detail);
  // Work that still runs and says so is not lost; only a renewal says so.
  const settles = renews !== undefined && settle_by !== undefined ? { settle_by } : {};
  const kept: StoredDecision = { ...earlier, ...extension.lease, ...settles };
  if (extension.usage === undefined && renews === undefined)
    return answer({ outcome: 'held', decision: kept });
  return held(kept, extension.usage, is_dry, { by, at_ms });
}

type Extension =
  | { readonly lease: Partial<StoredDecision>; readonly usage?: Usage }
  | { readonly refused: Reason; readonly detail: string };

/** Running time is paid for as far as it is not already. */
function extend(
  earlier: StoredDecision,
  { lease_ms }: ReserveCommand,
  { usage }: MandateRecord,
  at_ms: number,
): Extension {
  if (usage?.max_duration_ms === undefined) return { lease: {} };
  const paid_until = Math.max(parseTime(earlier.leased_until ?? '') ?? at_ms, at_ms);
  const missing_ms = Math.max(0, at_ms + lease_ms - paid_until);
  const { duration_ms = 0 } = leaseOf(usage, missing_ms);
  const result = charge(usage, { calls: 0, duration_ms });
  if ('refused' in result) return result;
  const charged: StoredDecision['charge'] = {
    ...earlier.charge,
    duration_ms: (earlier.charge.duration_ms ?? 0) + duration_ms,
  };
  return {
    lease: { charge: charged, leased_until: formatTime(paid_until + duration_ms) },
    usage: result.usage,
  };
}

function held(
  decision: StoredDecision,
  usage: Usage | undefined,
  is_dry: boolean,
  { by, at_ms }: Pick<ReserveCommand, 'by' | 'at_ms'>,
  before: readonly MandateEvent[] = [],
): Written {
  if (is_dry) return answer({ outcome: 'held', decision });
  const event: MandateEvent = {
    kind: 'decided',
    decision,
    ...(usage === undefined ? {} : { usage }),
    at: formatTime(at_ms),
    by,
  };
  return answer({ outcome: 'held', decision }, [...before, event]);
}

/** Accepted after an ending too: what happened has happened. */
export function settle(command: SettleCommand, stored: Stored): Written {
  const { decision_id, outcome, caller, by, at_ms } = command;
  const decision = stored.decision(decision_id);
  const record = decision === undefined ? undefined : stored.mandate(decision.mandate);
  const isTheirs = decision !== undefined && (caller === undefined || isSameCaller(decision.caller, caller));
  if (!isTheirs || record === undefined) return answer({ outcome: 'unknown_decision' });
  if (decision.status === outcome) return answer({ outcome: 'held', decision });
  const status = standingStatus(decision, at_ms);
  const isOpen = DECISION_LIFE[status].settles_to.includes(outcome) || status === outcome;
  if (!isOpen) return refused('idempotency_conflict', `it was committed as ${status} before`);
  const settled: StoredDecision = {
    ...decision,
    status: outcome,
    settled_at: formatTime(at_ms),
    settled_by: by,
  };
  if (record.usage === undefined) return held(settled, undefined, false, command);
  const rest = unused(decision, command);
  const above = givenBackAbove(record, rest, command, stored);
  return held(settled, giveBack(record.usage, rest), false, command, above);
}

/**
 * What a settlement gives back. What a proxy let through was done, whatever is said of it afterwards; the time that was
 * paid for beyond the end of the work is given back in any case.
 */
function unused({ charge: taken, door, decided_at }: StoredDecision, { outcome, at_ms }: SettleCommand) {
  if (outcome === 'unknown') return { calls: 0 };
  if (outcome === 'failed' && door === 'native') return taken;
  const used_ms = Math.max(0, at_ms - (parseTime(decided_at) ?? at_ms));
  return { calls: 0, duration_ms: Math.max(0, (taken.duration_ms ?? 0) - used_ms) };
}
