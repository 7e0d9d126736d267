/** The parts of a decision as it is shown, from what the verdicts found. */
import type { Action } from './action.ts';
import { budgetOf } from './classes.ts';
import type { CredentialPart, FreshnessPart, MandatePart, RequestPart } from './decision.ts';
import type { Facts } from './facts.ts';
import { ownOf } from './mandate/life.ts';
import { formatTime } from './time.ts';
import type { MandateFinding, RequestFinding } from './verdicts.ts';

/** Ordered as design/7 shows it, which is how people read the log. */
export function commonParts(
  facts: Facts,
  credential: CredentialPart,
  mandate: MandateFinding,
  request: RequestFinding,
) {
  const { action } = facts;
  return {
    check_point: action.check_point,
    credential,
    mandate: mandatePart(facts, mandate),
    request: requestPart(request),
    action: { name: action.name, class: action.class, class_source: action.class_source },
    ...(action.resource === undefined ? {} : { resource: action.resource.uri }),
    ...(mandate.entry_digest === undefined ? {} : { entry_digest: mandate.entry_digest }),
    ...(action.parameter_digest === undefined ? {} : { parameter_digest: action.parameter_digest }),
    ...(mandate.approval === undefined ? {} : { approval: mandate.approval.id }),
    policy_revision: facts.policies.revision,
    freshness: freshnessPart(action, facts, mandate),
    obligations: [] as const,
    evaluated_at: formatTime(facts.decided.wall_ms),
  };
}

function mandatePart(facts: Facts, finding: MandateFinding): MandatePart {
  const { verdict, why, joined, state } = finding;
  const reason = why === undefined ? {} : { reason: why.reason };
  if (joined === undefined) return { verdict, ...reason };
  const own = ownOf(joined.lineage);
  const named =
    facts.reference !== undefined && 'named_by' in facts.reference ? facts.reference.named_by : 'header';
  return {
    verdict,
    ...reason,
    id: own.id,
    // What an unproven view shows is not a statement about the mandate.
    ...(state === undefined ? {} : { state, version: own.version }),
    lineage: own.lineage,
    named_by: named,
  };
}

function requestPart(finding: RequestFinding): RequestPart {
  const { verdict, why, engines } = finding;
  const part = { verdict, ...(why === undefined ? {} : { reason: why.reason }) };
  if (engines === undefined) return part;
  const shown = Object.entries(engines).map(([name, { decision, determining, errors }]) => {
    return [name, errors.length === 0 ? { decision, determining } : { decision, determining, errors }];
  });
  return { ...part, engines: Object.fromEntries(shown) };
}

/** Where the view came from and how old it was; nothing where no mandate was judged. */
export function freshnessPart(action: Action, facts: Facts, mandate: MandateFinding): FreshnessPart {
  const { joined, judgement } = mandate;
  const unsafe = facts.unsafe_store.length === 0 ? {} : { unsafe_store: facts.unsafe_store };
  if (joined === undefined || judgement === undefined) return { source: 'none', ...unsafe };
  const { source, position, proven } = joined.proof;
  return {
    source,
    epoch: position.epoch,
    seq: position.seq,
    eid: position.eid,
    as_of: formatTime(proven.wall_ms),
    age_ms: Math.round(judgement.age_ms * 1000) / 1000,
    budget_ms: budgetOf(action.class, facts.settings.budgets) ?? 0,
    ...unsafe,
  };
}
