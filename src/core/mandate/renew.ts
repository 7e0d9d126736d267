/** Renewal: a proposal that starts from what a mandate covers now, and whose approval supersedes it in one commit. */
import { canonicalJson } from '../json.ts';
import { formatTime, parseTime } from '../time.ts';
import { coveredNow } from './attenuation.ts';
import { statedEntry } from './authority.ts';
import { setAsideAnew } from './budgets.ts';
import { cascade } from './cascade.ts';
import {
  type ApproveCommand,
  type OperateCommand,
  type OperationDetails,
  type Refusal,
  type Stored,
  type Writing,
  type Written,
  refuse,
} from './commands.ts';
import { notASubset } from './derive.ts';
import type { MandateEvent } from './events.ts';
import { type Lineage, effectiveEnd, effectiveState, lineageOf, ownOf } from './life.ts';
import { proposalEvent } from './proposals.ts';
import type { ApprovedTerms, Condition, MandateRecord, Proposal } from './record.ts';
import type { Budget } from './usage.ts';

type Renewal = Extract<OperationDetails, { operation: 'renew' }>;

export function renew(
  command: OperateCommand,
  details: Renewal,
  lineage: Lineage,
  writing: Writing,
): Written {
  const { by, at_ms } = command;
  const record = ownOf(lineage);
  const {
    submission_id,
    intent = record.intent,
    authorization_details = coveredNow(lineage, at_ms).map(statedEntry),
  } = details;
  if ((parseTime(intent.expires_at) ?? 0) <= at_ms) {
    return refuse('invalid_request', 'the mission would end before it begins', 'intent.expires_at');
  }
  if (authorization_details.length === 0) {
    return refuse(
      'invalid_request',
      'nothing is left to start from: say what is asked for',
      'authorization_details',
    );
  }
  const { id, subject, client_id, client_issuer, revocation, conditions } = record;
  const event = proposalEvent(
    {
      submission_id,
      intent,
      authorization_details,
      subject,
      client_id,
      client_issuer,
      predecessor: id,
      ...(revocation === undefined ? {} : { revocation }),
      ...(conditions === undefined ? {} : { conditions: conditions.map(unseen) }),
    },
    { by, at_ms },
    writing,
  );
  return { events: [event], about: { proposal: submission_id } };
}

/** A condition by itself, without what was seen of it. */
function unseen({ last: _last, ...condition }: Condition): Condition {
  return condition;
}

/** What an approval supersedes: undefined where the proposal is not a renewal. */
export function predecessorOf(
  { predecessor }: Proposal,
  at_ms: number,
  stored: Stored,
): Lineage | undefined | Refusal {
  if (predecessor === undefined) return undefined;
  const record = stored.mandate(predecessor);
  const lineage = record === undefined ? undefined : lineageOf(record, stored.mandate);
  if (lineage === undefined) return refuse('unavailable', 'the mandate to renew cannot be read');
  const state = effectiveState(lineage, at_ms);
  // An approval must not lift a suspension, nor bring back what has ended.
  return state === 'active' ? lineage : refuse('conflict', `the mandate to renew is ${state}`);
}

/** What takes the place of a mandate, and what its parent's meters become by it. */
export interface Successor {
  readonly terms: ApprovedTerms;
  readonly events: readonly MandateEvent[];
}

/** A root starts anew; a renewed child stays below its parent, a subset of it, with the bounds that it had. */
export function successorOf(
  terms: ApprovedTerms,
  predecessor: Lineage,
  command: ApproveCommand,
  stored: Stored,
): Successor | Refusal {
  const own = ownOf(predecessor);
  const renewed = { ...terms, predecessor: own.id };
  if (own.parent === undefined) return { terms: renewed, events: [] };
  const above = predecessor.slice(0, -1) as unknown as Lineage;
  const { client_id, authority_set: authorization_details } = terms;
  const refusal = notASubset({ client_id, authorization_details, at_ms: command.at_ms }, above, stored, true);
  if (refusal !== undefined) return refusal;
  const budget = hasNewBounds(terms, own) ? ((terms.intent.controls ?? {}) as Budget) : undefined;
  const aside = setAsideAnew(own, budget, ownOf(above), command, stored);
  if ('refused' in aside) return aside;
  const { usage: _, ...unmetered } = renewed;
  return {
    terms: {
      ...unmetered,
      expires_at: formatTime(Math.min(parseTime(terms.expires_at) ?? 0, effectiveEnd(above))),
      parent: own.parent,
      lineage: [...own.lineage.slice(0, -1), terms.id],
      depth: own.depth,
      ...(aside.usage === undefined ? {} : { usage: aside.usage }),
    },
    events: aside.events,
  };
}

/** Bounds that a renewal has asked for anew are those that were approved; else it keeps the ones that it had. */
function hasNewBounds({ intent }: ApprovedTerms, predecessor: MandateRecord): boolean {
  return canonicalJson(intent.controls ?? {}) !== canonicalJson(predecessor.intent.controls ?? {});
}

/** The end of the predecessor, and of every generation below it: they are made again under the successor. */
export function supersede(
  predecessor: MandateRecord,
  successor: string,
  { by, at_ms }: ApproveCommand,
  stored: Stored,
): readonly MandateEvent[] {
  const at = formatTime(at_ms);
  const own: MandateEvent = {
    kind: 'changed',
    id: predecessor.id,
    operation: 'renew',
    prior_state: 'active',
    state: 'superseded',
    version: predecessor.version + 1,
    change: { successor },
    at,
    by,
  };
  return [own, ...cascade(predecessor.id, { at, by, at_ms }, stored)];
}
