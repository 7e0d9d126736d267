/** Records a decision and answers it. What happens here may only make the decision stricter. */
import { expirePermit, refuseAfterwards } from '../core/permit.ts';
import type { Decision, RecordedDecision } from '../core/decision.ts';
import type { Facts } from '../core/facts.ts';
import { stopFor } from '../core/mandate/life.ts';
import type { CheckRequest } from '../core/request.ts';
import { type Instant, formatTime } from '../core/time.ts';
import { type HoldingParts, hold } from './hold.ts';
import type { DecisionSink, Ids, Policies, TokenRevoking } from './ports.ts';

export interface Recording extends HoldingParts {
  readonly sinks: readonly DecisionSink[];
  readonly emitter: Emitter;
  readonly ids: Ids;
  readonly policies: Policies;
  /** Told of the tokens that are used under mandates; absent where nobody is to be told of them. */
  readonly revoking?: TokenRevoking;
  /** Told of defects and of sinks that fail; never of a token or a path. */
  readonly complain: (what: string, error: unknown) => void;
}

/** This sidecar, and the count of decisions it has made: a gap in the log is a decision that was lost. */
export interface Emitter {
  readonly id: string;
  readonly next: () => number;
}

/** `moved`: the mandate changed under the decision, which must be made again; never where this is the last time. */
export async function record(
  decision: Decision,
  facts: Facts,
  isLast: boolean,
  parts: Recording,
): Promise<RecordedDecision | 'moved'> {
  const held = await hold(decision, facts, parts);
  if (held !== 'moved') return conclude(held.decision, held.facts, parts);
  if (!isLast) return held;
  const detail = 'the mandate changed while it was decided';
  return conclude(refuseAfterwards(decision, 'state_unavailable', detail), facts, parts);
}

function conclude(decision: Decision, facts: Facts, parts: Recording): RecordedDecision {
  const at = parts.now();
  if (parts.revoking !== undefined) note(decision, facts, parts.revoking);
  return write(expirePermit(decision, facts, at), facts.asked.arrived, at, parts);
}

/** A decision that shows a mandate is one whose credential has joined it: the token is that mandate's. */
function note(
  { mandate, stop }: Decision,
  { credential, asked: { presented } }: Facts,
  revoking: TokenRevoking,
): void {
  if (mandate.id === undefined || credential.verdict !== 'usable' || presented.kind !== 'token') return;
  revoking.seen({
    mandate: mandate.id,
    issuer: credential.issuer,
    token: presented.token,
    expires_at_ms: credential.expires_at_ms,
    is_to_be_revoked: stop.revoke_tokens,
  });
}

function write(decision: Decision, arrived: Instant, at: Instant, parts: Recording): RecordedDecision {
  const { id: emitter, next } = parts.emitter;
  const recorded: RecordedDecision = { ...decision, emitter, sequence: next() };
  const duration_ms = at.mono_ms - arrived.mono_ms;
  try {
    for (const sink of parts.sinks) sink.write({ decision: recorded, duration_ms });
    return recorded;
  } catch (error) {
    // A decision that cannot be recorded is not an allow.
    parts.complain('a decision could not be recorded', error);
    if (decision.effect === 'deny') return recorded;
    return {
      ...refuseAfterwards(decision, 'internal_error', 'the decision could not be recorded'),
      emitter,
      sequence: recorded.sequence,
    };
  }
}

/** The deny of a check that broke: nothing that was established before the defect is relied on. */
export function recordFailure(request: CheckRequest, error: unknown, parts: Recording): RecordedDecision {
  parts.complain('a check failed', error);
  const at = parts.now();
  const notEvaluated = { verdict: 'not_evaluated' } as const;
  const unsafe_store = parts.mandates.unsafe();
  const unsafe = unsafe_store.length === 0 ? {} : { unsafe_store };
  const decision: Decision = {
    decision_id: parts.ids.decision(),
    effect: 'deny',
    reason: 'internal_error',
    detail: 'the decision could not be formed',
    check_point: request.check_point,
    credential: notEvaluated,
    mandate: notEvaluated,
    request: notEvaluated,
    action: { name: 'unknown', class: 'privileged_administration', class_source: 'unmapped' },
    policy_revision: parts.policies.current().revision,
    freshness: { source: 'none', ...unsafe },
    stop: stopFor('active'),
    obligations: [],
    next_action: 'retry',
    evaluated_at: formatTime(at.wall_ms),
  };
  return write(decision, request.arrived, at, parts);
}
