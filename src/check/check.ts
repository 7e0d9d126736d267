/**
 * The check, whole: four steps, each returning only what the next may trust.
 *
 *   classify  pure        what is asked: check point, resource, action, class
 *   gather    I/O         the only I/O before the decision, under one deadline
 *   decide    pure        three verdicts and the effect
 *   record    audit       holds what must not be given twice; may only make the decision stricter
 */
import { classify } from '../core/action.ts';
import type { ActionTable } from '../core/action-table.ts';
import { decide } from '../core/decide.ts';
import type { RecordedDecision } from '../core/decision.ts';
import type { CheckRequest } from '../core/request.ts';
import { type Gathering, gather } from './gather.ts';
import { type Recalling, recall } from './recall.ts';
import { type Recording, record, recordFailure } from './record.ts';

export interface CheckParts extends Gathering, Recalling, Recording {
  readonly actions: ActionTable;
}

export type Check = (request: CheckRequest) => Promise<RecordedDecision>;

export function createCheck(parts: CheckParts): Check {
  const round = async (asked: CheckRequest, isLast: boolean): Promise<RecordedDecision | 'moved'> => {
    const request = await recall(asked, parts);
    const action = classify(request, parts.actions, parts.digest);
    const facts = await gather(request, action, isLast, parts);
    const decision = decide(facts);
    return record(decision, facts, isLast, parts);
  };
  return async (request) => {
    try {
      const decision = await round(request, false);
      // What holds an allow found the mandate changed meanwhile: the check goes round once more.
      return decision === 'moved' ? ((await round(request, true)) as RecordedDecision) : decision;
    } catch (error) {
      // A defect of ours is a deny like any other: a 5xx would be let through by an open filter.
      return recordFailure(request, error, parts);
    }
  };
}
