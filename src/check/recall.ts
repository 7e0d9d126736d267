/** A renewal and a commit name a decision that was given before: what it was about comes from the store. */
import type { CredentialFact } from '../core/credential.ts';
import { canonicalJson } from '../core/json.ts';
import type { Digest } from '../core/mandate/record.ts';
import { type StoredDecision, callerOf, isSameCaller } from '../core/mandate/stored-decision.ts';
import type { CheckRequest, Earlier, Question } from '../core/request.ts';
import { parseResource } from '../core/uri.ts';
import { within } from './deadline.ts';
import type { Credentials, DecisionResult, MandateView } from './ports.ts';

export interface Recalling {
  readonly credentials: Credentials;
  readonly mandates: MandateView;
  /** Who keeps the mandates here. */
  readonly issuer: string;
  readonly digest: Digest;
  readonly deadline_ms: number;
}

const LATE: DecisionResult = {
  ok: false,
  refused: 'unavailable',
  detail: 'the store did not answer in time',
};
const UNKNOWN: Earlier = { kind: 'unknown' };
const NOT_VERIFIED: CredentialFact = { verdict: 'unverifiable', detail: 'verification took too long' };

export async function recall(request: CheckRequest, parts: Recalling): Promise<CheckRequest> {
  if (request.door !== 'native' || request.decision_id === undefined) return request;
  const pending = parts.mandates.decision(request.decision_id);
  const result = await within(pending, parts.deadline_ms, () => LATE);
  if (!result.ok) return { ...request, earlier: { kind: 'unreadable', detail: result.detail } };
  const { decision } = result;
  const isMeant =
    decision !== undefined &&
    isAsDecided(request, decision, parts) &&
    (await isOfCaller(request, decision, parts));
  return isMeant ? about(request, decision, parts.issuer) : { ...request, earlier: UNKNOWN };
}

/** Nobody learns of another's decision by naming it, so whose it is comes before what it was about. */
async function isOfCaller(request: Question, { caller }: StoredDecision, parts: Recalling): Promise<boolean> {
  const { presented, arrived, principal } = request;
  const credential = await within(
    parts.credentials.verify(presented, arrived, true),
    parts.deadline_ms,
    () => NOT_VERIFIED,
  );
  return isSameCaller(caller, callerOf(credential, principal));
}

/** What the question says itself of the mandate and the action must be what was decided. */
function isAsDecided(
  { selected, action, resource, parameters }: Question,
  decision: StoredDecision,
  { issuer, digest }: Recalling,
): boolean {
  const isMandate =
    selected === 'absent' ||
    (selected !== 'malformed' && selected.id === decision.mandate && selected.issuer === issuer);
  const parsed = resource === undefined ? undefined : parseResource(resource);
  return (
    isMandate &&
    (action === undefined || action.name === decision.action.name) &&
    (parsed === undefined || ('uri' in parsed && parsed.uri === decision.resource)) &&
    (Object.keys(parameters).length === 0 || digest(canonicalJson(parameters)) === decision.binding)
  );
}

/** The question as it was asked first. */
function about(request: Question, decision: StoredDecision, issuer: string): Question {
  const { principal } = request;
  return {
    ...request,
    earlier: { kind: 'found', decision },
    selected: { id: decision.mandate, issuer },
    action: decision.action,
    resource: decision.resource,
    parameters: decision.parameters ?? request.parameters,
    // Whoever was given the decision on its own word may speak of it on its own word.
    is_vouched: principal !== undefined && isSameCaller(decision.caller, { principal }),
  };
}
