/**
 * The decision. Pure and total: three verdicts, each from its own facts, and the first reason among them in the
 * order of verification is the reason. Allow only where all three say yes.
 */
import type { Decision } from './decision.ts';
import { commonParts } from './decision-parts.ts';
import type { Facts } from './facts.ts';
import { type Stop, ownOf, stopFor } from './mandate/life.ts';
import { validUntil } from './permit.ts';
import { type NextAction, REASON_TABLE, type Reason } from './reasons.ts';
import { formatTime } from './time.ts';
import {
  type CredentialFinding,
  type MandateFinding,
  NOT_EVALUATED,
  type RequestFinding,
  type Why,
  credentialVerdict,
  isRequestJudged,
  mandateVerdict,
  requestVerdict,
} from './verdicts.ts';

export function decide(facts: Facts): Decision {
  const credential = credentialVerdict(facts);
  const mandate = credential.why === undefined ? mandateVerdict(facts) : NOT_EVALUATED;
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
    credential.part.verdict === 'not_presented' && (mandate.verdict === 'not_required' || facts.is_vouched)
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

function allow(
  facts: Facts,
  credential: CredentialFinding,
  mandate: MandateFinding,
  request: RequestFinding,
): Decision {
  return {
    decision_id: facts.decision_id,
    effect: 'allow',
    ...commonParts(facts, credential.part, mandate, request),
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
