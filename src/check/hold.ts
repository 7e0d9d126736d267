/** Holds an allow in the store, where it must not be given twice: an append that holds only if nothing has moved. */
import type { Decision } from '../core/decision.ts';
import type { Facts } from '../core/facts.ts';
import type { Refusal } from '../core/mandate/commands.ts';
import type { Digest } from '../core/mandate/record.ts';
import type { Reserved, StoredDecision } from '../core/mandate/stored-decision.ts';
import { capValidity, provenBy, refuseAfterwards } from '../core/permit.ts';
import { holdingOf } from '../core/reservation.ts';
import type { Instant, Now } from '../core/time.ts';
import { within } from './deadline.ts';
import type { MandateView, WriteResult } from './ports.ts';

export interface HoldingParts {
  readonly mandates: MandateView;
  readonly digest: Digest;
  readonly deadline_ms: number;
  readonly now: Now;
}

const LATE = { ok: false, refused: 'unavailable', detail: 'the store did not answer in time' } as const;

/** The decision as it was held, or a deny where it could not be, with the facts that it rests on then. */
export interface Held {
  readonly decision: Decision;
  readonly facts: Facts;
}

/** `moved`: the mandate is not what the decision was made from, or nothing has proven that it is. */
export async function hold(decision: Decision, facts: Facts, parts: HoldingParts): Promise<Held | 'moved'> {
  const holding = holdingOf(decision, facts, parts.digest);
  const isUnproven = facts.mandate.kind === 'found' && facts.mandate.proof.awaits_reservation === true;
  if (isUnproven && (holding.kind !== 'hold' || holding.command.kind !== 'reserve')) return 'moved';
  if (holding.kind === 'needless') return { decision, facts };
  if (holding.kind === 'refused')
    return { decision: refuseAfterwards(decision, 'parameter_violation', holding.detail), facts };
  const sent = parts.now();
  const remaining_ms = parts.deadline_ms - (sent.mono_ms - facts.asked.arrived.mono_ms);
  // No longer than it takes to be appended: that budgets are exact across a failover is not claimed.
  const pending = parts.mandates.write(holding.command, 'applied');
  const result = await within<WriteResult>(pending, remaining_ms, () => LATE);
  const proven = isUnproven ? provenAfter(result, sent, { decision, facts }, parts) : { decision, facts };
  const held = afterWrite(proven.decision, holding.command.kind, result);
  return held === 'moved' ? held : { decision: held, facts: proven.facts };
}

/** What the write has proven of the mandate, where nothing else had. */
function provenAfter(
  written: WriteResult,
  sent: Instant,
  { decision, facts }: Held,
  { now }: HoldingParts,
): Held {
  if (written.ok) return provenBy({ position: written.position, sent }, decision, facts, now());
  return { decision: { ...decision, freshness: { source: 'none' } }, facts };
}

function afterWrite(
  decision: Decision,
  kind: 'reserve' | 'settle' | 'derive',
  result: WriteResult,
): Decision | 'moved' {
  if (kind === 'derive' && !result.ok && result.refused !== 'unavailable')
    return delegationRefused(decision, result);
  if (!result.ok) return refuseAfterwards(decision, 'state_unavailable', result.detail);
  return result.reserved === undefined ? decision : asReserved(decision, result.reserved);
}

function delegationRefused(decision: Decision, { refused, detail, field }: Refusal): Decision {
  const child = { reason: refused, ...(field === undefined ? {} : { field }) };
  return { ...refuseAfterwards(decision, 'out_of_authority', detail), child };
}

function asReserved(decision: Decision, reserved: Reserved): Decision | 'moved' {
  switch (reserved.outcome) {
    case 'held':
      return heldAs(decision, reserved.decision);
    case 'moved':
      return 'moved';
    case 'unknown_decision':
      return refuseAfterwards(decision, 'malformed_request', 'there is no such decision of this caller');
    case 'refused':
      return refuseAfterwards(decision, reserved.reason, reserved.detail, reserved.next_action);
  }
}

/** The first answer's id, and no longer than running time is paid for. */
function heldAs(decision: Decision, { decision_id, leased_until }: StoredDecision): Decision {
  const held = { ...decision, decision_id };
  return leased_until === undefined ? held : capValidity(held, leased_until);
}
