/** What the three verdicts found, and the first and the third of them; the second is in `mandate-verdict.ts`. */
import { POINTS } from './check-points.ts';
import { NO_END_MS, type ProofFault, type UsableCredential } from './credential.ts';
import type { CredentialPart, MandatePart, RequestPart } from './decision.ts';
import type { Facts, MandateFact } from './facts.ts';
import type { Judgement } from './freshness.ts';
import type { Issuance } from './issuance.ts';
import type { ActionApproval, MandateState } from './mandate/record.ts';
import { type RequestVerdict, combine } from './policy.ts';
import { policyInput } from './policy-input.ts';
import type { Reason } from './reasons.ts';
import { formatTime } from './time.ts';

/** A verdict's reason, and what a person is told about it. */
export interface Why {
  readonly reason: Reason;
  readonly detail: string;
}

/** What the mandate's verdict was made from; the joined mandate is absent where nothing may be shown of it. */
export interface MandateFinding {
  readonly verdict: MandatePart['verdict'];
  readonly why?: Why;
  readonly joined?: Extract<MandateFact, { kind: 'found' }>;
  readonly state?: MandateState;
  readonly entry_digest?: string;
  readonly approval?: ActionApproval;
  readonly issuance?: Issuance;
  readonly judgement?: Judgement;
}

/** A question that was not reached. */
export const NOT_EVALUATED: { readonly verdict: 'not_evaluated'; readonly why?: never } = {
  verdict: 'not_evaluated',
};

export interface CredentialFinding {
  readonly part: CredentialPart;
  readonly why?: Why;
}

export function credentialVerdict(facts: Facts): CredentialFinding {
  const { credential, action } = facts;
  if (action.fault?.reason === 'malformed_request') {
    return { part: NOT_EVALUATED, why: { reason: 'malformed_request', detail: action.fault.detail } };
  }
  switch (credential.verdict) {
    case 'usable':
      return isProven(credential, facts) ? { part: usablePart(credential) } : UNBOUND;
    case 'unusable': {
      const { verdict, reason, detail, proof } = credential;
      return { part: { verdict, reason, ...proofPart(proof) }, why: { reason, detail } };
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
      if (action.class === 'non_consequential' || facts.asked.is_vouched) return { part: { verdict } };
      const detail = 'no credential was presented';
      return {
        part: { verdict, reason: 'credential_invalid' },
        why: { reason: 'credential_invalid', detail },
      };
    }
  }
}

const UNBOUND: CredentialFinding = {
  part: { verdict: 'unusable', reason: 'credential_invalid' },
  why: {
    reason: 'credential_invalid',
    detail: 'for an action of this class the token must be bound to its holder',
  },
};

/** Whether an unbound bearer token is enough for the class, or it is not one. */
function isProven({ issuer, bound_by }: UsableCredential, { action, settings }: Facts): boolean {
  return bound_by.length > 0 || settings.require_proof.get(issuer)?.has(action.class) !== true;
}

function proofPart(proof: ProofFault | undefined): Pick<CredentialPart, 'dpop_error' | 'dpop_nonce'> {
  if (proof === undefined) return {};
  return { dpop_error: proof.error, ...(proof.nonce === undefined ? {} : { dpop_nonce: proof.nonce }) };
}

function usablePart(credential: UsableCredential): CredentialPart {
  const { actors, bound_by, expires_at_ms } = credential;
  return {
    verdict: 'usable',
    issuer: credential.issuer,
    subject: credential.subject,
    client_id: credential.client_id,
    ...(expires_at_ms === NO_END_MS ? {} : { expires_at: formatTime(expires_at_ms) }),
    ...(actors.length === 0 ? {} : { actors }),
    ...(bound_by.length === 0 ? {} : { bound_by }),
  };
}

/** An actor that does not fit is found after the join, and is a fault of the credential all the same. */
export function credentialAfter(finding: CredentialFinding, { why }: MandateFinding): CredentialFinding {
  if (why?.reason !== 'actor_invalid') return finding;
  return { part: { verdict: 'unusable', reason: 'actor_invalid' }, why };
}

export interface RequestFinding {
  readonly verdict: RequestPart['verdict'];
  readonly why?: Why;
  readonly engines?: RequestVerdict['engines'];
}

/**
 * Policy is asked even where the mandate says no, so that the answers stay apart; but never about a mandate that is
 * not known to be the caller's, nor with parameters that could not be read.
 */
export function isRequestJudged(
  credential: CredentialFinding,
  mandate: MandateFinding,
  facts: Facts,
): boolean {
  if (credential.why !== undefined || facts.action.fault?.reason === 'parameter_violation') return false;
  return mandate.verdict === 'not_required' || mandate.joined !== undefined;
}

export function requestVerdict(facts: Facts, mandate: MandateFinding): RequestFinding {
  // There is no request that a policy could speak of: the mandate's own rules have judged what is asked.
  if (POINTS[facts.asked.check_point].is_about_mandate) return { verdict: 'permitted' };
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
