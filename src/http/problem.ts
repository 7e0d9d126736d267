/** RFC 9457 problem details, and the challenges that go with a deny. */
import type { Presented } from '../core/credential.ts';
import type { RecordedDecision } from '../core/decision.ts';
import { type ControlReason, REASON_TABLE, type Reason } from '../core/reasons.ts';

export const PROBLEM_JSON = 'application/problem+json';

const problemType = (reason: string): string => `urn:mandated:problem:${reason}`;

export type DenyDetail = 'full' | 'reason';

/** The body of a deny at a proxy's door. */
export function denyBody(decision: RecordedDecision, deny_detail: DenyDetail): string {
  const { reason, decision_id, next_action } = decision;
  const { status, doc } = REASON_TABLE[reason!];
  const members = { type: problemType(reason!), title: doc, status, detail: decision.detail ?? doc };
  if (deny_detail === 'full') return JSON.stringify({ ...members, ...decision });
  return JSON.stringify({ ...members, detail: doc, decision_id, reason, next_action });
}

/** `mission_denial` of draft-mcguinness-oauth-mission, "Resource Server Enforcement", where it names a path out. */
const MISSION_DENIALS: Partial<Record<Reason, string>> = {
  out_of_authority: 'insufficient_authority',
  authority_contained: 'insufficient_authority',
  parameter_violation: 'insufficient_authority',
  quota_exceeded: 'insufficient_authority',
  unsupported_authorization_type: 'constraint_unrecognized',
  constraint_unsupported: 'constraint_unrecognized',
  approval_required: 'step_up_required',
  view_inconsistent: 'step_up_required',
};

/** How a client may show its token. */
export interface Schemes {
  readonly is_bearer_served: boolean;
  /** Of proofs; empty where none are checked. */
  readonly dpop_algorithms: readonly string[];
}

/**
 * The `WWW-Authenticate` value of a deny (RFC 6750 section 3, RFC 9449 section 7.1), or undefined where a challenge
 * would not help.
 */
export function challenge(
  decision: RecordedDecision,
  presented: Presented,
  schemes: Schemes,
): string | undefined {
  const reason = decision.reason!;
  const tried = presented.kind === 'token' && presented.scheme === 'dpop' ? 'DPoP' : 'Bearer';
  if (reason === 'credential_invalid') return offered(schemes, { [tried]: errorOf(decision, presented) });
  const denial = MISSION_DENIALS[reason];
  if (denial === undefined) return undefined;
  const error = `error="insufficient_scope", mission_denial="${denial}"`;
  return tried === 'DPoP' ? `DPoP ${error}, ${algorithms(schemes)}` : `Bearer ${error}`;
}

/**
 * RFC 6750 section 3.1: no error code for a request that showed no token; and a token that could not be verified now
 * is not to be thrown away.
 */
function errorOf({ credential }: RecordedDecision, { kind }: Presented): string | undefined {
  if (credential.verdict === 'unverifiable' || (kind !== 'token' && kind !== 'unreadable')) return undefined;
  return `error="${credential.dpop_error ?? 'invalid_token'}"`;
}

/** Every scheme that there is to try, with what was wrong with the one that was tried. */
export function offered(
  schemes: Schemes,
  { Bearer, DPoP }: { readonly Bearer?: string | undefined; readonly DPoP?: string | undefined } = {},
): string {
  const { is_bearer_served, dpop_algorithms } = schemes;
  const bearer = is_bearer_served ? [['Bearer', Bearer].filter(Boolean).join(' ')] : [];
  const dpop =
    dpop_algorithms.length === 0 ? [] : [`DPoP ${[DPoP, algorithms(schemes)].filter(Boolean).join(', ')}`];
  return [...bearer, ...dpop].join(', ');
}

function algorithms({ dpop_algorithms }: Schemes): string {
  return `algs="${dpop_algorithms.join(' ')}"`;
}

export interface Problem {
  readonly status: number;
  readonly reason: ControlReason | Reason;
  readonly detail: string;
  readonly field?: string;
}

const CONTROL_STATUS: Readonly<Record<ControlReason, number>> = {
  invalid_request: 400,
  unauthorized: 401,
  policy_denied: 403,
  not_found: 404,
  conflict: 409,
  stale_version: 409,
  parent_not_active: 409,
  not_strict_subset: 422,
  delegation_not_permitted: 422,
  child_actor_not_allowed: 422,
  fanout_exceeded: 422,
  rate_limited: 429,
  unavailable: 503,
};

/** A problem of the control listener with the status that belongs to its reason. */
export function controlProblem(reason: ControlReason, detail: string, field?: string): Problem {
  return { status: CONTROL_STATUS[reason], reason, detail, ...(field === undefined ? {} : { field }) };
}

export function problemBody({ status, reason, detail, field }: Problem): string {
  const members = { type: problemType(reason), title: reason.replaceAll('_', ' '), status, detail, reason };
  return JSON.stringify(field === undefined ? members : { ...members, field });
}
