/** A batch of queued work: for each item whether it may go on, waits, or is over. */
import type { DrainItem, RecordedDecision } from './decision.ts';

interface Answered {
  readonly id: string;
  readonly decision: RecordedDecision;
}

/** The batch is answered as its first item that may not go on, and as its first one where all may. */
export function drained(answered: readonly Answered[]): RecordedDecision {
  const { decision } = answered.find((each) => each.decision.effect === 'deny') ?? answered[0]!;
  return { ...decision, items: answered.map(itemOf) };
}

function itemOf({ id, decision }: Answered): DrainItem {
  const { reason, decision_id } = decision;
  const effect = decision.effect === 'allow' ? 'allow' : isPassing(decision) ? 'hold' : 'cancel';
  return { id, effect, ...(reason === undefined ? {} : { reason }), decision_id };
}

/** What may be answered otherwise later: a suspension, an approval to come, a state or a credential that is not to be had. */
function isPassing({ reason, next_action }: RecordedDecision): boolean {
  return reason === 'credential_invalid' || !['none', 'stop'].includes(next_action);
}
