/** Approvals of one action: given by a person, bound to its parameters, short-lived, and used once. */
import { formatTime, parseTime } from '../time.ts';
import { parseResource } from '../uri.ts';
import { type ApproveActionCommand, type Stored, type Written, refuse } from './commands.ts';
import { type Lineage, isTerminal, ownOf, standingState } from './life.ts';
import type { ActionApproval, MandateRecord } from './record.ts';

const MAX_LIFETIME_MS = 24 * 3_600_000;
/** Open ones of one mandate; they stand in its record. */
const MAX_OPEN = 64;

export function approveAction(command: ApproveActionCommand, stored: Stored): Written {
  const { approval_id, mandate, action, parameter_digest, approved_until, by, at_ms } = command;
  const record = stored.mandate(mandate);
  if (record === undefined) return refuse('not_found', 'no such mandate', 'mandate');
  const until = parseTime(approved_until)!;
  if (until <= at_ms) return refuse('invalid_request', 'in the past', 'approved_until');
  if (until > at_ms + MAX_LIFETIME_MS)
    return refuse('invalid_request', 'more than 24 hours ahead', 'approved_until');
  const state = standingState(record, at_ms);
  if (isTerminal(state)) return refuse('conflict', `the mandate is ${state}`);
  if (openApprovals(record, at_ms).length >= MAX_OPEN)
    return refuse('conflict', `more than ${MAX_OPEN} approvals of this mandate are open`);
  const resource = parseResource(command.resource);
  if ('refused' in resource) return refuse('invalid_request', resource.refused, 'resource');
  const approval: ActionApproval = {
    id: approval_id,
    action,
    resource: resource.uri,
    parameter_digest,
    approver: by,
    approved_at: formatTime(at_ms),
    approved_until,
  };
  const event = { kind: 'action_approved', id: mandate, approval, at: formatTime(at_ms), by } as const;
  return { events: [event], about: { mandate } };
}

/** Those that have not run out, used or not. */
export function openApprovals(record: MandateRecord, wall_ms: number): readonly ActionApproval[] {
  return (record.action_approvals ?? []).filter(({ approved_until }) => {
    return wall_ms < (parseTime(approved_until) ?? -Infinity);
  });
}

/** The one action that an approval must be of. */
export interface ApprovableAction {
  readonly action: string;
  readonly resource: string;
  readonly parameter_digest: string | undefined;
  /** The approval that the caller names; any that fits where there is none. */
  readonly approval?: string;
  /** A repeat may rest on an approval that the first of it has used: whether it is that repeat is found out later. */
  readonly may_be_used: boolean;
}

/** An approval of exactly this action, given since the mandate was last suspended. */
export function approvalOf(
  lineage: Lineage,
  asked: ApprovableAction,
  wall_ms: number,
): ActionApproval | undefined {
  const since_ms = lastSuspended(lineage);
  const fitting = openApprovals(ownOf(lineage), wall_ms).filter(
    (each) =>
      each.action === asked.action &&
      each.resource === asked.resource &&
      each.parameter_digest === asked.parameter_digest &&
      (asked.approval === undefined || asked.approval === each.id) &&
      (each.used_by === undefined || asked.may_be_used) &&
      (parseTime(each.approved_at) ?? -Infinity) >= since_ms,
  );
  // A fresh one stands beside one that was used.
  return fitting.find(({ used_by }) => used_by === undefined) ?? fitting[0];
}

/** When a mandate or one above it was last suspended, epoch ms: what was queued or approved before must be approved anew. */
export function lastSuspended(lineage: Lineage): number {
  const moments = lineage.flatMap(({ history, held_until }) => {
    const suspensions = history.filter((item) => item.state === 'suspended').map(({ at }) => at);
    return held_until === undefined ? suspensions : [...suspensions, held_until];
  });
  return moments.reduce((latest, at) => Math.max(latest, parseTime(at) ?? Infinity), -Infinity);
}
