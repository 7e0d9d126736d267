/** The second verdict: is the mission behind the request still legitimate? */
import { type Chain, hopsBelow, mayActUnder } from './actors.ts';
import { POINTS } from './check-points.ts';
import { budgetOf } from './classes.ts';
import { joins } from './credential.ts';
import type { Facts, MandateFact } from './facts.ts';
import { hasReached, judge } from './freshness.ts';
import { issuanceOf } from './issuance.ts';
import { approvalOf, lastSuspended } from './mandate/action-approval.ts';
import { matchLineage, withinToken } from './mandate/authority.ts';
import type { Exercise } from './mandate/constraints.ts';
import { type Lineage, effectiveState, ownOf } from './mandate/life.ts';
import { readDelegation } from './mandate/delegation.ts';
import type { MandateRecord } from './mandate/record.ts';
import { REASON_TABLE, type Reason } from './reasons.ts';
import type { MandateFinding } from './verdicts.ts';

/** Reference, join, terms, expiry and state, freshness, entry, constraints: in this order. */
export function mandateVerdict(facts: Facts): MandateFinding {
  const { action, mandate, reference } = facts;
  const budget_ms = budgetOf(action.class, facts.settings.budgets);
  if (budget_ms === undefined) {
    const { fault } = action;
    return fault?.reason === 'parameter_violation'
      ? illegitimate(fault.reason, fault.detail)
      : { verdict: 'not_required' };
  }
  if (reference === undefined || 'reason' in reference) {
    const reason = reference?.reason ?? 'mission_context_missing';
    return illegitimate(reason, REASON_TABLE[reason].doc);
  }
  if (mandate.kind === 'unreadable') return unproven('state_unavailable', mandate.detail);
  // Unknown and not yours are one answer, in every field.
  if (mandate.kind !== 'found' || !isTheirs(facts, mandate.lineage)) {
    return illegitimate('mission_mismatch', REASON_TABLE.mission_mismatch.doc);
  }
  const unfit = actorsUnfit(facts, mandate.lineage);
  if (unfit !== undefined) return actorInvalid(unfit);
  return joinedVerdict(facts, mandate, reference.authority_hash, budget_ms);
}

/** The credential's own mandate; a trusted caller without one may ask about any. */
function isTheirs({ credential, asked }: Facts, lineage: Lineage): boolean {
  const { client_id } = asked;
  if (client_id !== undefined && !mayBeIssuedTo(client_id, ownOf(lineage))) return false;
  return credential.verdict === 'usable' ? joins(credential, lineage) : asked.is_vouched;
}

/** Why these actors act under no entry of the mandate, whatever they ask for: before anything of it is shown. */
export function actorsUnfit(
  { credential, settings }: Pick<Facts, 'credential' | 'settings'>,
  lineage: Lineage,
): string | undefined {
  if (credential.verdict !== 'usable') return undefined;
  const { actors } = credential;
  const own = ownOf(lineage);
  if (actors.length === 0)
    return settings.are_actors_required && own.depth > 0
      ? 'a child mandate is used with a chain of actors alone'
      : undefined;
  const hops = hopsBelow(actors, lineage);
  const isHandedOn = own.authority_set.some((entry) => mayActUnder(entry, hops, own));
  return isHandedOn ? undefined : 'no entry of the mandate hands it on to these actors';
}

/** Found after the join, and still of the credential: nothing is said of the mandate. */
function actorInvalid(detail: string): MandateFinding {
  return { verdict: 'not_evaluated', why: { reason: 'actor_invalid', detail } };
}

function hopsOf({ credential }: Facts, lineage: Lineage): Chain {
  return credential.verdict === 'usable' ? hopsBelow(credential.actors, lineage) : [];
}

function joinedVerdict(
  facts: Facts,
  joined: Extract<MandateFact, { kind: 'found' }>,
  authority_hash: string | undefined,
  budget_ms: number,
): MandateFinding {
  const own = ownOf(joined.lineage);
  const judgement = judge(joined.proof, { budget_ms, arrived: facts.asked.arrived }, facts.decided);
  const state = effectiveState(joined.lineage, facts.decided.wall_ms);
  const known = { joined, judgement };
  if (!judgement.fresh) return { ...unproven('state_unavailable', judgement.why), ...known };
  if (facts.asked.min_version !== undefined && own.version < facts.asked.min_version) {
    return { ...unproven('stale_state', `the view has version ${own.version}`), ...known };
  }
  const { token } = facts.asked;
  if (token !== undefined && !hasReached(joined.proof.position, token))
    return { ...unproven('stale_state', 'the view has not reached the freshness token'), ...known };
  if (authority_hash !== undefined && authority_hash !== own.authority_hash) {
    return { ...illegitimate('view_inconsistent', REASON_TABLE.view_inconsistent.doc), ...known, state };
  }
  const authority = authorityVerdict(facts, joined);
  if (state === 'active')
    return authority.why?.reason === 'actor_invalid' ? authority : { ...authority, ...known, state };
  // Which entry it was that no longer holds is what an auditor asks of this deny.
  const { entry_digest } = authority;
  const cited = entry_digest === undefined ? {} : { entry_digest };
  return { ...illegitimate('mission_inactive', `the mission is ${state}`), ...cited, ...known, state };
}

/** Whether the mandate stands behind this request, by itself or with a person's approval of this one action. */
function authorityVerdict(facts: Facts, joined: Extract<MandateFact, { kind: 'found' }>): MandateFinding {
  if (POINTS[facts.asked.check_point].is_about_mandate) return aboutMandate(facts, joined.lineage);
  const found = coverage(facts, joined, false);
  const alone = isQueuedAcross(facts, joined.lineage) && found.why === undefined ? QUEUED_ACROSS : found;
  if (alone.why?.reason !== 'approval_required') return alone;
  const { action, asked, decided } = facts;
  const approval = approvalOf(
    joined.lineage,
    {
      action: action.name,
      resource: action.resource!.uri,
      parameter_digest: action.parameter_digest,
      ...(asked.approval === undefined ? {} : { approval: asked.approval }),
      may_be_used: asked.repeat !== undefined || asked.check_point === 'renew',
    },
    decided.wall_ms,
  );
  return approval === undefined ? alone : { ...coverage(facts, joined, true), approval };
}

/** What an authorization server may issue; whether a child may be made is found out where the mandates are kept. */
function aboutMandate({ asked, decided }: Facts, lineage: Lineage): MandateFinding {
  if (asked.check_point === 'delegate') return { verdict: 'legitimate' };
  const { authorization_details: requested, client_id, check_point } = asked;
  const is_refresh = check_point === 'refresh';
  const issuance = issuanceOf(lineage, decided.wall_ms, { requested, client_id, is_refresh });
  return 'refused' in issuance
    ? illegitimate('out_of_authority', issuance.refused)
    : { verdict: 'legitimate', issuance };
}

/** The mandate's own client, or one that an entry hands on to. */
function mayBeIssuedTo(client_id: string, own: MandateRecord): boolean {
  return (
    own.client_id === client_id ||
    own.authority_set.some(({ delegation }) =>
      readDelegation(delegation)?.allowed_delegates.includes(client_id),
    )
  );
}

/**
 * Work that was queued before a suspension is not carried over it by having been queued: what cannot be undone needs a
 * fresh approval (draft-mcguinness-mission-harness, "Queue Item Object").
 */
function isQueuedAcross({ action, asked, settings }: Facts, lineage: Lineage): boolean {
  const isGrave = budgetOf(action.class, settings.budgets) === 0;
  // When nobody says since when it is queued, it may be since ever.
  return (
    asked.check_point === 'drain' && isGrave && (asked.queued_at_ms ?? -Infinity) < lastSuspended(lineage)
  );
}

const QUEUED_ACROSS: MandateFinding = illegitimate(
  'approval_required',
  'it was queued before the mission was suspended, and cannot be undone',
);

/** Whether the mandate, and the token where it bounds itself, cover the request. */
function coverage(
  facts: Facts,
  joined: Extract<MandateFact, { kind: 'found' }>,
  is_approved: boolean,
): MandateFinding {
  const { action, credential, decided } = facts;
  const resource = action.resource!;
  const details = credential.verdict === 'usable' ? credential.authorization_details : undefined;
  const exercise: Exercise = {
    action: action.name,
    parameters: action.parameters,
    wall_ms: decided.wall_ms,
    is_approved,
  };
  const bound = withinToken(details, resource, exercise);
  const match = matchLineage(joined.lineage, resource, exercise, hopsOf(facts, joined.lineage));
  // Whether the action is covered at all comes before what its parameters say, readable or not.
  if (!bound.within && NOT_COVERED.has(bound.reason)) return illegitimate(bound.reason, bound.detail);
  if ('reason' in match && match.reason === 'actor_invalid') return actorInvalid(match.detail);
  if ('reason' in match && NOT_COVERED.has(match.reason)) return illegitimate(match.reason, match.detail);
  if (action.fault?.reason === 'parameter_violation')
    return illegitimate('parameter_violation', action.fault.detail);
  if (!bound.within) return illegitimate(bound.reason, bound.detail);
  if ('reason' in match) return illegitimate(match.reason, match.detail);
  return { verdict: 'legitimate', entry_digest: match.matched.digest };
}

const NOT_COVERED: ReadonlySet<string> = new Set([
  'unsupported_authorization_type',
  'out_of_authority',
  'authority_contained',
]);

function illegitimate(reason: Reason, detail: string): MandateFinding {
  return { verdict: 'illegitimate', why: { reason, detail } };
}

function unproven(reason: Reason, detail: string): MandateFinding {
  return { verdict: 'unproven', why: { reason, detail } };
}
