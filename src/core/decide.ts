/**
 * The decision. Pure and total: three verdicts, each from its own facts, and the first reason among them in the
 * order of verification is the reason. Allow only where all three say yes.
 */
import type { Decision } from './decision.ts';
import { commonParts } from './decision-parts.ts';
import type { Facts } from './facts.ts';
import { type Stop, effectiveState, ownOf, stopFor } from './mandate/life.ts';
import { callerOf, isSameCaller } from './mandate/stored-decision.ts';
import { validUntil } from './permit.ts';
import { ISSUING, issuanceError } from './issuance.ts';
import { type NextAction, REASON_TABLE, type Reason } from './reasons.ts';
import { formatTime } from './time.ts';
import { mandateVerdict } from './mandate-verdict.ts';
import {
  type CredentialFinding,
  type MandateFinding,
  NOT_EVALUATED,
  type RequestFinding,
  type Why,
  credentialAfter,
  credentialVerdict,
  isRequestJudged,
  requestVerdict,
} from './verdicts.ts';

export function decide(facts: Facts): Decision {
  const credential = credentialVerdict(facts);
  const misnamed = credential.why === undefined ? misnamedDecision(facts) : undefined;
  if (misnamed !== undefined)
    return deny(facts, credential, misnamed.mandate, misnamed.request, misnamed.why);
  if (facts.asked.check_point === 'commit' && credential.why === undefined) return commit(facts, credential);
  const mandate = credential.why === undefined ? mandateVerdict(facts) : NOT_EVALUATED;
  return conclude(facts, credentialAfter(credential, mandate), mandate);
}

function conclude(facts: Facts, credential: CredentialFinding, mandate: MandateFinding): Decision {
  const request = isRequestJudged(credential, mandate, facts)
    ? requestVerdict(facts, mandate)
    : NOT_EVALUATED;
  const why = credential.why ?? mandate.why ?? request.why ?? unsaid(facts, credential, mandate, request);
  return why === undefined
    ? allow(facts, credential, mandate, request)
    : deny(facts, credential, mandate, request, why);
}

/** No credential was shown, and none is needed: for what is harmless, or of a caller who is trusted to ask. */
function isNeedless(facts: Facts, credential: CredentialFinding, mandate: MandateFinding): boolean {
  return (
    credential.part.verdict === 'not_presented' &&
    (mandate.verdict === 'not_required' || facts.asked.is_vouched)
  );
}

/** An allow takes three answers that say yes; one that was never given, for whatever cause, is a no. */
function unsaid(
  facts: Facts,
  credential: CredentialFinding,
  mandate: MandateFinding,
  request: RequestFinding,
): Why | undefined {
  const isSaid =
    (credential.part.verdict === 'usable' || isNeedless(facts, credential, mandate)) &&
    (mandate.verdict === 'legitimate' || mandate.verdict === 'not_required') &&
    request.verdict === 'permitted';
  return isSaid ? undefined : { reason: 'internal_error', detail: REASON_TABLE.internal_error.doc };
}

interface Misnamed {
  readonly mandate: MandateFinding;
  readonly request: RequestFinding;
  readonly why: Why;
}

/** A renewal or a commit of a decision that is not known, or of another caller: one answer. */
function misnamedDecision({ asked, credential }: Facts): Misnamed | undefined {
  const { earlier } = asked;
  if (earlier === undefined) return undefined;
  if (earlier.kind === 'unreadable') {
    const why: Why = { reason: 'state_unavailable', detail: earlier.detail };
    return { mandate: { verdict: 'unproven', why }, request: NOT_EVALUATED, why };
  }
  const caller = callerOf(credential, asked.principal);
  if (earlier.kind === 'found' && isSameCaller(earlier.decision.caller, caller)) return undefined;
  const why: Why = { reason: 'malformed_request', detail: 'there is no such decision of this caller' };
  return { mandate: NOT_EVALUATED, request: { verdict: 'not_evaluated', why }, why };
}

/** What came of a decision is taken down whatever has become of the mandate; what that is, the caller is told. */
function commit(facts: Facts, credential: CredentialFinding): Decision {
  const joined = facts.mandate.kind === 'found' ? facts.mandate : undefined;
  const state = joined === undefined ? undefined : effectiveState(joined.lineage, facts.decided.wall_ms);
  const mandate: MandateFinding = {
    verdict: 'not_required',
    ...(joined === undefined ? {} : { joined }),
    ...(state === undefined ? {} : { state }),
  };
  return {
    decision_id: idOf(facts),
    effect: 'allow',
    ...commonParts(facts, credential.part, mandate, { verdict: 'permitted' }),
    stop: stopOf(mandate),
    next_action:
      state === undefined || state === 'active' ? 'none' : nextAction('mission_inactive', facts, mandate),
  };
}

/** A renewal and a commit go on with the decision that they name. */
function idOf({ decision_id, asked }: Facts): string {
  return asked.earlier?.kind === 'found' ? asked.earlier.decision.decision_id : decision_id;
}

function allow(
  facts: Facts,
  credential: CredentialFinding,
  mandate: MandateFinding,
  request: RequestFinding,
): Decision {
  return {
    decision_id: idOf(facts),
    effect: 'allow',
    ...commonParts(facts, credential.part, mandate, request),
    ...(mandate.issuance === undefined ? {} : mandate.issuance),
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
    ...commonParts(facts, credential.part, mandate, request),
    ...(ISSUING.has(facts.asked.check_point) ? issuanceError(why.reason, mandate.state) : {}),
    stop: stopOf(mandate),
    next_action: nextAction(why.reason, facts, mandate),
    ...(mandate.joined === undefined ? {} : { valid_until: formatTime(facts.decided.wall_ms) }),
  };
}

function stopOf({ state, joined }: MandateFinding): Stop {
  if (state === undefined || joined === undefined) return stopFor('active');
  return stopFor(state, ownOf(joined.lineage).revocation);
}

function nextAction(reason: Reason, facts: Facts, mandate: MandateFinding): NextAction {
  if (reason === 'credential_invalid' && facts.credential.verdict === 'unverifiable') return 'retry';
  if (reason === 'mission_inactive') {
    if (mandate.state === 'suspended') return 'pause';
    if (mandate.state === 'superseded') return 'rebind';
  }
  return REASON_TABLE[reason].next_action;
}
