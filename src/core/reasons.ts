/**
 * The closed union of reasons a check can give, with what each one means at a door.
 * Names: draft-mcguinness-mission-authzen (denial reasons); the table is the project's contract.
 */

export type NextAction = 'none' | 'retry' | 'request_approval' | 'stop' | 'pause' | 'rebind';

interface ReasonRow {
  /** HTTP status at a proxy's door; never 5xx, which an open filter lets through. */
  readonly status: 401 | 403;
  readonly next_action: NextAction;
  /** One line for people: the problem's title and the docs. */
  readonly doc: string;
}

const REASONS = {
  malformed_request: {
    status: 403,
    next_action: 'none',
    doc: 'the request could be read in two ways, or not at all',
  },
  credential_invalid: {
    status: 401,
    next_action: 'none',
    doc: 'the credential is absent, not usable, or could not be verified',
  },
  actor_invalid: { status: 403, next_action: 'none', doc: 'the chain of actors does not fit' },
  mission_context_missing: { status: 403, next_action: 'none', doc: 'no usable reference names a mission' },
  mission_reference_conflict: {
    status: 403,
    next_action: 'none',
    doc: 'two references name different missions',
  },
  mission_mismatch: {
    status: 403,
    next_action: 'none',
    doc: 'the credential does not belong to a mission of that name',
  },
  view_inconsistent: {
    status: 403,
    next_action: 'rebind',
    doc: 'the token was issued for other terms of this mission',
  },
  mission_inactive: {
    status: 403,
    next_action: 'stop',
    doc: 'the mission, or one above it, no longer holds',
  },
  state_unavailable: {
    status: 403,
    next_action: 'retry',
    doc: 'the state could not be proven recent enough for this action',
  },
  stale_state: {
    status: 403,
    next_action: 'retry',
    doc: 'the view is older than the version the caller demands',
  },
  unsupported_authorization_type: {
    status: 403,
    next_action: 'none',
    doc: 'the token bounds itself in a type that is not understood',
  },
  out_of_authority: {
    status: 403,
    next_action: 'none',
    doc: 'no entry of the mandate covers this action on this resource',
  },
  authority_contained: {
    status: 403,
    next_action: 'none',
    doc: 'the entry that covered this action was withdrawn',
  },
  constraint_unsupported: {
    status: 403,
    next_action: 'none',
    doc: 'the entry has a constraint that cannot be enforced here',
  },
  parameter_violation: {
    status: 403,
    next_action: 'none',
    doc: 'a parameter is absent, unreadable, or outside the mandate',
  },
  quota_exceeded: { status: 403, next_action: 'none', doc: 'the budget of the mandate does not reach' },
  approval_required: {
    status: 403,
    next_action: 'request_approval',
    doc: 'a person must approve this one action first',
  },
  resource_policy: {
    status: 403,
    next_action: 'none',
    doc: 'a policy forbids the request, or none permits it',
  },
  duplicate_suppressed: {
    status: 403,
    next_action: 'none',
    doc: 'this action was decided before and is not repeated',
  },
  idempotency_conflict: {
    status: 403,
    next_action: 'none',
    doc: 'the idempotency key was used with other parameters',
  },
  internal_error: { status: 403, next_action: 'retry', doc: 'the decision could not be formed or recorded' },
} as const satisfies Record<string, ReasonRow>;

export type Reason = keyof typeof REASONS;

export const REASON_TABLE: Readonly<Record<Reason, ReasonRow>> = REASONS;

/** The reasons of the control listener, closed as well. */
export type ControlReason =
  | 'invalid_request'
  | 'unauthorized'
  | 'not_found'
  | 'conflict'
  | 'stale_version'
  | 'rate_limited'
  | 'unavailable'
  | 'not_strict_subset'
  | 'parent_not_active'
  | 'delegation_not_permitted'
  | 'child_actor_not_allowed'
  | 'fanout_exceeded'
  | 'policy_denied';
