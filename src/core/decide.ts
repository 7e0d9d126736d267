/**
 * The decision. Pure and total: three verdicts, each from its own facts, and the first reason among them in the
 * order of verification is the reason. Allow only where all three say yes.
 */
import type { Action } from './action.ts';
import { budgetOf } from './classes.ts';
import { type UsableCredential, joins } from './credential.ts';
import type { CredentialPart, Decision, FreshnessPart, MandatePart, RequestPart } from './decision.ts';
import type { Facts, MandateFact } from './facts.ts';
import { type Judgement, judge } from './freshness.ts';
import { type EntryMatch, effectiveAuthority, matchEntry, withinToken } from './mandate/authority.ts';
import { type Stop, effectiveEnd, effectiveState, ownOf, stopFor } from './mandate/life.ts';
import type { MandateState } from './mandate/record.ts';
import { type RequestVerdict, combine } from './policy.ts';
import { policyInput } from './policy-input.ts';
import { type NextAction, REASON_TABLE, type Reason } from './reasons.ts';
import { elapsed, formatTime, type Instant } from './time.ts';

/** A verdict's reason, and what a person is told about it. */
interface Why {
  readonly reason: Reason;
  readonly detail: string;
}

/** What the mandate's verdict was made from; the joined mandate is absent where nothing may be shown of it. */
interface MandateFinding {
  readonly verdict: MandatePart['verdict'];
  readonly why?: Why;
  readonly joined?: Extract<MandateFact, { kind: 'found' }>;
  readonly state?: MandateState;
  readonly entry_digest?: string;
  readonly judgement?: Judgement;
}

const NOT_EVALUATED: { readonly verdict: 'not_evaluated'; readonly why?: never } = {
  verdict: 'not_evaluated',
};

export function decide(facts: Facts): Decision {
  const credential = credentialVerdict(facts);
  const mandate = credential.why === undefined ? mandateVerdict(facts) : NOT_EVALUATED;
  const request = isRequestJudged(credential, mandate, facts)
    ? requestVerdict(facts, mandate)
    : NOT_EVALUATED;
  const why = credential.why ?? mandate.why ?? request.why ?? unsaid(credential, mandate, request);
  return why === undefined
    ? allow(facts, credential, mandate, request)
    : deny(facts, credential, mandate, request, why);
}

/** An allow takes three answers that say yes; one that was never given, for whatever cause, is a no. */
function unsaid(
  credential: CredentialFinding,
  mandate: MandateFinding,
  request: RequestFinding,
): Why | undefined {
  const isSaid =
    (credential.part.verdict === 'usable' || mandate.verdict === 'not_required') &&
    (mandate.verdict === 'legitimate' || mandate.verdict === 'not_required') &&
    request.verdict === 'permitted';
  return isSaid ? undefined : { reason: 'internal_error', detail: REASON_TABLE.internal_error.doc };
}

interface CredentialFinding {
  readonly part: CredentialPart;
  readonly why?: Why;
}

function credentialVerdict(facts: Facts): CredentialFinding {
  const { credential, action } = facts;
  if (action.fault?.reason === 'malformed_request') {
    return { part: NOT_EVALUATED, why: { reason: 'malformed_request', detail: action.fault.detail } };
  }
  switch (credential.verdict) {
    case 'usable':
      return { part: usablePart(credential) };
    case 'unusable': {
      const { verdict, reason, detail } = credential;
      return { part: { verdict, reason }, why: { reason, detail } };
    }
    case 'unverifiable': {
      const { verdict, detail } = credential;
      return {
        part: { verdict, reason: 'credential_invalid' },
        why: { reason: 'credential_invalid', detail },
      };
    }
    case 'not_presented': {
      const { verdict } = credential;
      if (action.class === 'non_consequential') return { part: { verdict } };
      const detail = 'no credential was presented';
      return {
        part: { verdict, reason: 'credential_invalid' },
        why: { reason: 'credential_invalid', detail },
      };
    }
  }
}

function usablePart(credential: UsableCredential): CredentialPart {
  return {
    verdict: 'usable',
    issuer: credential.issuer,
    subject: credential.subject,
    client_id: credential.client_id,
    expires_at: formatTime(credential.expires_at_ms),
  };
}

/** Reference, join, terms, expiry and state, freshness, entry, constraints: in this order. */
function mandateVerdict(facts: Facts): MandateFinding {
  const { action, credential, mandate, reference } = facts;
  const budget_ms = budgetOf(action.class, facts.settings.budgets);
  if (budget_ms === undefined) {
    const { fault } = action;
    return fault?.reason === 'parameter_violation'
      ? illegitimate(fault.reason, fault.detail)
      : { verdict: 'not_required' };
  }
  if (reference === undefined || 'reason' in reference) {
    const reason = reference?.reason ?? 'mission_context_missing';
    return illegitimate(reason, REASON_TABLE[reason].doc);
  }
  if (mandate.kind === 'unreadable') return unproven('state_unavailable', mandate.detail);
  // Unknown and not yours are one answer, in every field.
  if (
    mandate.kind !== 'found' ||
    credential.verdict !== 'usable' ||
    !joins(credential, ownOf(mandate.lineage))
  ) {
    return illegitimate('mission_mismatch', REASON_TABLE.mission_mismatch.doc);
  }
  return joinedVerdict(facts, mandate, reference.authority_hash, budget_ms);
}

function joinedVerdict(
  facts: Facts,
  joined: Extract<MandateFact, { kind: 'found' }>,
  authority_hash: string | undefined,
  budget_ms: number,
): MandateFinding {
  const own = ownOf(joined.lineage);
  const judgement = judge(joined.proof, { budget_ms, arrived: facts.arrived }, facts.decided);
  const state = effectiveState(joined.lineage, facts.decided.wall_ms);
  const known = { joined, judgement };
  if (!judgement.fresh) return { ...unproven('state_unavailable', judgement.why), ...known };
  if (facts.min_version !== undefined && own.version < facts.min_version) {
    return { ...unproven('stale_state', `the view has version ${own.version}`), ...known };
  }
  if (authority_hash !== undefined && authority_hash !== own.authority_hash) {
    return { ...illegitimate('view_inconsistent', REASON_TABLE.view_inconsistent.doc), ...known, state };
  }
  if (state !== 'active')
    return { ...illegitimate('mission_inactive', `the mission is ${state}`), ...known, state };
  return { ...authorityVerdict(facts, joined), ...known, state };
}

/** Whether the mandate, and the token where it bounds itself, stand behind this request. */
function authorityVerdict(facts: Facts, joined: Extract<MandateFact, { kind: 'found' }>): MandateFinding {
  const { action, credential } = facts;
  const resource = action.resource!;
  const details = credential.verdict === 'usable' ? credential.authorization_details : undefined;
  const bound = withinToken(details, action.name, resource);
  if (!bound.within) return illegitimate(bound.reason, bound.detail);
  const match: EntryMatch = matchEntry(effectiveAuthority(joined.lineage), action.name, resource);
  if ('reason' in match) return illegitimate(match.reason, match.detail);
  const entry_digest = match.matched.digest;
  if (action.fault?.reason === 'parameter_violation') {
    return { ...illegitimate('parameter_violation', action.fault.detail), entry_digest };
  }
  return { verdict: 'legitimate', entry_digest };
}

function illegitimate(reason: Reason, detail: string): MandateFinding {
  return { verdict: 'illegitimate', why: { reason, detail } };
}

function unproven(reason: Reason, detail: string): MandateFinding {
  return { verdict: 'unproven', why: { reason, detail } };
}

interface RequestFinding {
  readonly verdict: RequestPart['verdict'];
  readonly why?: Why;
  readonly engines?: RequestVerdict['engines'];
}

/**
 * Policy is asked even where the mandate says no, so that the answers stay apart; but never about a mandate that is
 * not known to be the caller's, nor with parameters that could not be read.
 */
function isRequestJudged(credential: CredentialFinding, mandate: MandateFinding, facts: Facts): boolean {
  if (credential.why !== undefined || facts.action.fault?.reason === 'parameter_violation') return false;
  return mandate.verdict === 'not_required' || mandate.joined !== undefined;
}

function requestVerdict(facts: Facts, mandate: MandateFinding): RequestFinding {
  const { fault } = facts.action;
  if (fault?.reason === 'resource_policy') {
    return { verdict: 'forbidden', why: { reason: 'resource_policy', detail: fault.detail } };
  }
  const answer = combine(facts.policies, policyInput(facts, mandate.joined, mandate.judgement));
  const { verdict, engines, reason, detail } = answer;
  return reason === undefined
    ? { verdict, engines }
    : { verdict, engines, why: { reason, detail: detail ?? '' } };
}

function allow(
  facts: Facts,
  credential: CredentialFinding,
  mandate: MandateFinding,
  request: RequestFinding,
): Decision {
  return {
    decision_id: facts.decision_id,
    effect: 'allow',
    ...common(facts, credential.part, mandate, request),
    stop: stopFor('active'),
    next_action: 'none',
    valid_until: formatTime(validUntil(facts, mandate)),
  };
}

function deny(
  facts: Facts,
  credential: CredentialFinding,
  mandate: MandateFinding,
  request: RequestFinding,
  why: Why,
): Decision {
  return {
    decision_id: facts.decision_id,
    effect: 'deny',
    reason: why.reason,
    detail: why.detail,
    ...common(facts, credential.part, mandate, request),
    stop: stopOf(mandate),
    next_action: nextAction(why.reason, facts, mandate),
  };
}

/** Ordered as design/7 shows it, which is how people read the log. */
function common(facts: Facts, credential: CredentialPart, mandate: MandateFinding, request: RequestFinding) {
  const { action } = facts;
  return {
    check_point: action.check_point,
    credential,
    mandate: mandatePart(facts, mandate),
    request: requestPart(request),
    action: { name: action.name, class: action.class, class_source: action.class_source },
    ...(action.resource === undefined ? {} : { resource: action.resource.uri }),
    ...(mandate.entry_digest === undefined ? {} : { entry_digest: mandate.entry_digest }),
    ...(action.parameter_digest === undefined ? {} : { parameter_digest: action.parameter_digest }),
    policy_revision: facts.policies.revision,
    freshness: freshnessPart(action, facts, mandate),
    obligations: [] as const,
    evaluated_at: formatTime(facts.decided.wall_ms),
  };
}

function mandatePart(facts: Facts, finding: MandateFinding): MandatePart {
  const { verdict, why, joined, state } = finding;
  const reason = why === undefined ? {} : { reason: why.reason };
  if (joined === undefined) return { verdict, ...reason };
  const own = ownOf(joined.lineage);
  const named =
    facts.reference !== undefined && 'named_by' in facts.reference ? facts.reference.named_by : 'header';
  return {
    verdict,
    ...reason,
    id: own.id,
    // What an unproven view shows is not a statement about the mandate.
    ...(state === undefined ? {} : { state, version: own.version }),
    lineage: own.lineage,
    named_by: named,
  };
}

function requestPart(finding: RequestFinding): RequestPart {
  const { verdict, why, engines } = finding;
  const part = { verdict, ...(why === undefined ? {} : { reason: why.reason }) };
  if (engines === undefined) return part;
  const shown = Object.entries(engines).map(([name, { decision, determining, errors }]) => {
    return [name, errors.length === 0 ? { decision, determining } : { decision, determining, errors }];
  });
  return { ...part, engines: Object.fromEntries(shown) };
}

function freshnessPart(action: Action, facts: Facts, mandate: MandateFinding): FreshnessPart {
  const { joined, judgement } = mandate;
  if (joined === undefined || judgement === undefined) return { source: 'none' };
  const { source, position, proven } = joined.proof;
  return {
    source,
    epoch: position.epoch,
    seq: position.seq,
    eid: position.eid,
    as_of: formatTime(proven.wall_ms),
    age_ms: Math.round(judgement.age_ms * 1000) / 1000,
    budget_ms: budgetOf(action.class, facts.settings.budgets) ?? 0,
  };
}

function stopOf(mandate: MandateFinding): Stop {
  return stopFor(mandate.state ?? 'active');
}

function nextAction(reason: Reason, facts: Facts, mandate: MandateFinding): NextAction {
  if (reason === 'credential_invalid' && facts.credential.verdict === 'unverifiable') return 'retry';
  if (reason === 'mission_inactive') {
    if (mandate.state === 'suspended') return 'pause';
    if (mandate.state === 'superseded') return 'rebind';
  }
  return REASON_TABLE[reason].next_action;
}

/** The earliest of the token's end, the effective end, and what the view and the permit allow, epoch ms. */
function validUntil(facts: Facts, mandate: MandateFinding): number {
  const { credential, action, settings, decided } = facts;
  const budget_ms = budgetOf(action.class, settings.budgets) ?? 0;
  const token_end = credential.verdict === 'usable' ? credential.expires_at_ms : Infinity;
  const { joined } = mandate;
  if (joined === undefined) return Math.min(token_end, decided.wall_ms + settings.permit_validity_ms);
  const permit_end = joined.proof.proven.wall_ms + budget_ms + settings.permit_validity_ms;
  return Math.min(token_end, effectiveEnd(joined.lineage), permit_end);
}

/**
 * The permit's own end, looked at once more just before answering: a process that was paused must not answer with an
 * old view. May only make the decision stricter.
 */
export function expirePermit(decision: Decision, facts: Facts, at: Instant): Decision {
  if (decision.effect === 'deny' || facts.mandate.kind !== 'found') return decision;
  const { settings, action, mandate } = facts;
  const allowed_ms = (budgetOf(action.class, settings.budgets) ?? 0) + settings.permit_validity_ms;
  const isOver =
    elapsed(mandate.proof.proven, at) > allowed_ms || at.wall_ms >= Date.parse(decision.valid_until!);
  return isOver
    ? refuseAfterwards(decision, 'state_unavailable', 'the permit ended before it was given')
    : decision;
}

/** Turns an allow into a deny for a reason found after it was formed. */
export function refuseAfterwards(decision: Decision, reason: Reason, detail: string): Decision {
  const { valid_until: _, ...rest } = decision;
  const lost = reason === 'state_unavailable' ? { verdict: 'unproven' as const, reason } : {};
  return {
    ...rest,
    effect: 'deny',
    reason,
    detail,
    mandate: { ...decision.mandate, ...lost },
    next_action: REASON_TABLE[reason].next_action,
  };
}
