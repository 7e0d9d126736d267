/**
 * The check, whole: four steps, each returning only what the next may trust.
 *
 *   classify  pure        what is asked: check point, resource, action, class
 *   gather    I/O         the only I/O before the decision, under one deadline
 *   decide    pure        three verdicts and the effect
 *   record    audit       may only make the decision stricter
 */
import { classify } from '../core/action.ts';
import type { ActionTable } from '../core/action-table.ts';
import { decide } from '../core/decide.ts';
import type { RecordedDecision } from '../core/decision.ts';
import type { Digest } from '../core/mandate/record.ts';
import type { CheckRequest } from '../core/request.ts';
import type { Now } from '../core/time.ts';
import { type Gathering, gather } from './gather.ts';
import { type Recording, record, recordFailure } from './record.ts';

export interface CheckParts extends Gathering, Recording {
  readonly now: Now;
  readonly actions: ActionTable;
  readonly digest: Digest;
}

export type Check = (request: CheckRequest) => Promise<RecordedDecision>;

export function createCheck(parts: CheckParts): Check {
  const check: Check = async (request) => {
    const action = classify(request, parts.actions, parts.digest);
    const facts = await gather(request, action, parts);
    const decision = decide(facts);
    return record(decision, facts, parts);
  };
  // A defect of ours is a deny like any other: a 5xx would be let through by an open filter.
  return async (request) => check(request).catch((error: unknown) => recordFailure(request, error, parts));
}
