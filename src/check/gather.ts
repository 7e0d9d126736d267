/** Gathers the facts of one check: the only I/O before the decision, all of it under one deadline. */
import type { Action } from '../core/action.ts';
import { POINTS } from '../core/check-points.ts';
import { budgetOf } from '../core/classes.ts';
import type { CredentialFact } from '../core/credential.ts';
import type { Facts, MandateFact, Settings } from '../core/facts.ts';
import { type Resolved, resolveReference } from '../core/reference.ts';
import type { CheckRequest } from '../core/request.ts';
import type { Now } from '../core/time.ts';
import { within } from './deadline.ts';
import type { Credentials, Ids, MandateView, Policies, Proving, ViewNeed } from './ports.ts';

export interface Gathering {
  readonly credentials: Credentials;
  readonly mandates: MandateView;
  readonly policies: Policies;
  readonly ids: Ids;
  readonly settings: Settings;
  readonly deadline_ms: number;
  readonly now: Now;
}

const LATE_CREDENTIAL: CredentialFact = { verdict: 'unverifiable', detail: 'verification took too long' };
const LATE_MANDATE: MandateFact = { kind: 'unreadable', detail: 'the mandate could not be read in time' };
/** Of a request that could be read in two ways; its credential may be one of two as well. */
const NOT_LOOKED_AT: CredentialFact = { verdict: 'not_presented' };
const NOT_ASKED: MandateFact = { kind: 'not_asked' };

/** `isLast`: what is found must be proven now; before, a reservation may prove it later. */
export async function gather(
  request: CheckRequest,
  action: Action,
  isLast: boolean,
  parts: Gathering,
): Promise<Facts> {
  const budget_ms = budgetOf(action.class, parts.settings.budgets);
  const isReadable = action.fault?.reason !== 'malformed_request';
  const proving =
    isReadable && budget_ms !== undefined
      ? parts.mandates.prove(needOf(request, budget_ms, isLast))
      : undefined;
  const credential = isReadable ? await verify(request, budget_ms === 0, parts) : NOT_LOOKED_AT;
  const reference = proving === undefined ? undefined : referenceOf(credential, request);
  const mandate = await find(reference, proving, request, parts);
  return {
    decision_id: parts.ids.decision(),
    asked: request,
    decided: parts.now(),
    action,
    credential,
    reference,
    mandate,
    unsafe_store: parts.mandates.unsafe(),
    policies: parts.policies.current(),
    settings: parts.settings,
  };
}

function needOf(
  { arrived, min_version, token, check_point }: CheckRequest,
  budget_ms: number,
  isLast: boolean,
): ViewNeed {
  return {
    budget_ms,
    arrived,
    may_reserve: !isLast && POINTS[check_point].is_acting,
    ...(min_version === undefined ? {} : { min_version }),
    ...(token === undefined ? {} : { token }),
  };
}

/** What an issuer has said of a token before is not good enough for what cannot be undone. */
function verify(request: CheckRequest, is_current: boolean, parts: Gathering): Promise<CredentialFact> {
  const { presented, arrived } = request;
  const verifying = parts.credentials.verify(presented, arrived, is_current);
  return within(verifying, parts.deadline_ms, () => LATE_CREDENTIAL);
}

/** A reference is looked for only behind a usable credential, or a caller who may ask without: no one else may learn of a mandate. */
function referenceOf(credential: CredentialFact, request: CheckRequest): Resolved | undefined {
  const selected_by = request.door === 'envoy' ? 'header' : 'question';
  if (credential.verdict === 'usable')
    return resolveReference(credential.mission, request.selected, selected_by);
  const isAskedWithout = request.is_vouched && credential.verdict === 'not_presented';
  return isAskedWithout ? resolveReference('absent', request.selected, selected_by) : undefined;
}

function find(
  reference: Resolved | undefined,
  proving: Proving | undefined,
  request: CheckRequest,
  parts: Gathering,
): Promise<MandateFact> {
  if (proving === undefined || reference === undefined || 'reason' in reference)
    return Promise.resolve(NOT_ASKED);
  const spent_ms = parts.now().mono_ms - request.arrived.mono_ms;
  return within(proving.find(reference.reference), parts.deadline_ms - spent_ms, () => LATE_MANDATE);
}
