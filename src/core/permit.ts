/** How long an allow lasts, and what may still turn it into a deny. */
import { budgetOf } from './classes.ts';
import { ISSUING, issuanceError } from './issuance.ts';
import type { Decision } from './decision.ts';
import type { Facts } from './facts.ts';
import { freshnessPart } from './decision-parts.ts';
import { judge } from './freshness.ts';
import { openApprovals } from './mandate/action-approval.ts';
import type { Position } from './mandate/events.ts';
import { effectiveEnd, ownOf } from './mandate/life.ts';
import { type NextAction, REASON_TABLE, type Reason } from './reasons.ts';
import { type Instant, elapsed, formatTime, parseTime } from './time.ts';
import type { MandateFinding } from './verdicts.ts';

/** The earliest of the token's end, the effective end, and what the view and the permit allow, epoch ms. */
export function validUntil(facts: Facts, mandate: MandateFinding): number {
  const { action, settings, decided } = facts;
  const budget_ms = budgetOf(action.class, settings.budgets) ?? 0;
  const token_end = tokenEnd(facts);
  const { joined } = mandate;
  if (joined === undefined) return Math.min(token_end, decided.wall_ms + settings.permit_validity_ms);
  const permit_end = joined.proof.proven.wall_ms + budget_ms + settings.permit_validity_ms;
  const { approval } = mandate;
  const approval_end = approval === undefined ? Infinity : (parseTime(approval.approved_until) ?? -Infinity);
  return Math.min(token_end, effectiveEnd(joined.lineage), permit_end, approval_end);
}

/**
 * What a reservation has proven: it was appended where the mandate was as it had been seen, so that the view it was
 * decided from was all there was when the reservation was sent.
 */
export function provenBy(
  { position, sent }: { readonly position: Position; readonly sent: Instant },
  decision: Decision,
  facts: Facts,
  at: Instant,
): { readonly decision: Decision; readonly facts: Facts } {
  const { mandate } = facts;
  if (mandate.kind !== 'found') return { decision, facts };
  const joined = {
    ...mandate,
    proof: { source: 'barrier', position, proven: sent, latch: undefined },
  } as const;
  const finding = findingOf(joined, decision, facts, at);
  const proven = { ...facts, mandate: joined };
  const freshness = freshnessPart(facts.action, proven, finding);
  const isAllow = decision.effect === 'allow';
  const valid_until = isAllow ? formatTime(validUntil(proven, finding)) : decision.valid_until;
  const kept = valid_until === undefined ? {} : { valid_until };
  return { decision: { ...decision, freshness, ...kept }, facts: proven };
}

function findingOf(
  joined: Extract<Facts['mandate'], { kind: 'found' }>,
  { approval: id, mandate }: Decision,
  { asked }: Facts,
  at: Instant,
): MandateFinding {
  const approval = openApprovals(ownOf(joined.lineage), at.wall_ms).find((each) => each.id === id);
  return {
    verdict: mandate.verdict,
    joined,
    judgement: judge(joined.proof, { budget_ms: 0, arrived: asked.arrived }, at),
    ...(approval === undefined ? {} : { approval }),
  };
}

/** No longer than until `end`, RFC 3339. */
export function capValidity(decision: Decision, end: string): Decision {
  const [own, other] = [decision.valid_until ?? end, end].map((text) => parseTime(text) ?? -Infinity);
  return { ...decision, valid_until: formatTime(Math.min(own!, other!)) };
}

/** When the token ends, epoch ms; one that is only good by the tolerance ends with it. */
function tokenEnd({ credential, settings, decided }: Facts): number {
  if (credential.verdict !== 'usable') return Infinity;
  const { expires_at_ms } = credential;
  return expires_at_ms > decided.wall_ms ? expires_at_ms : expires_at_ms + settings.clock_tolerance_ms;
}

/**
 * The permit's own end, looked at once more just before answering: a process that was paused must not answer with an
 * old view. May only make the decision stricter.
 */
export function expirePermit(decision: Decision, facts: Facts, at: Instant): Decision {
  // What came of a decision is taken down after every end.
  const isTakenDown = decision.check_point === 'commit';
  if (decision.effect === 'deny' || isTakenDown || facts.mandate.kind !== 'found') return decision;
  const { settings, action, mandate } = facts;
  const allowed_ms = (budgetOf(action.class, settings.budgets) ?? 0) + settings.permit_validity_ms;
  const isOver =
    // A lease, or an approval, may end before all that.
    at.wall_ms >= (parseTime(decision.valid_until ?? '') ?? Infinity) ||
    elapsed(mandate.proof.proven, at) > allowed_ms ||
    at.wall_ms >= effectiveEnd(mandate.lineage) ||
    at.wall_ms >= tokenEnd(facts);
  return isOver
    ? refuseAfterwards(decision, 'state_unavailable', 'the permit ended before it was given')
    : decision;
}

/** Turns an allow into a deny for a reason found after it was formed; the verdict that it belongs to says so. */
export function refuseAfterwards(
  decision: Decision,
  reason: Reason,
  detail: string,
  next_action: NextAction = REASON_TABLE[reason].next_action,
): Decision {
  const { authorization_details: _a, max_exp: _m, version: _v, mission: _c, ...rest } = decision;
  return {
    ...rest,
    ...spoiled(decision, reason),
    ...(ISSUING.has(decision.check_point) ? issuanceError(reason, decision.mandate.state) : {}),
    effect: 'deny',
    reason,
    detail,
    next_action,
    valid_until: decision.evaluated_at,
  };
}

function spoiled(decision: Decision, reason: Reason): Partial<Decision> {
  switch (reason) {
    case 'state_unavailable': {
      // What an unproven view shows is not a statement about the mandate.
      const { state: _s, version: _v, ...unproven } = decision.mandate;
      return { mandate: { ...unproven, verdict: 'unproven', reason } };
    }
    case 'out_of_authority':
    case 'quota_exceeded':
    case 'parameter_violation':
    case 'approval_required':
      return { mandate: { ...decision.mandate, verdict: 'illegitimate', reason } };
    case 'duplicate_suppressed':
    case 'idempotency_conflict':
    case 'malformed_request':
      return { request: { verdict: 'not_evaluated', reason } };
    default:
      return {};
  }
}
