/** The input tree of policies as Rego sees it: plain JSON, Cedar's keys, references as `{type, id}`. */
import type { JsonObject } from '../core/json.ts';
import type { ParameterValues } from '../core/parameter-types.ts';
import type { PolicyInput, PolicyMandate } from '../core/policy.ts';
import { clampTime, formatTime } from '../core/time.ts';

/** What becomes `input`. Members are named one by one: that is the contract, and twice as fast as spreading them. */
export function regoInput({ principal, action, resource, context }: PolicyInput): JsonObject {
  return {
    principal: {
      type: 'Agent',
      id: principal.id,
      issuer: principal.issuer,
      client_id: principal.client_id,
      subject: user(principal.subject),
      depth: principal.depth,
      actors: principal.actors,
    },
    action: {
      type: 'Action',
      id: action.name,
      name: action.name,
      class: action.class,
      families: action.families,
    },
    resource: {
      type: 'Resource',
      id: resource.uri,
      host: resource.host,
      path: resource.path,
      segments: resource.segments,
    },
    context: regoContext(context, action),
  };
}

function regoContext(context: PolicyInput['context'], action: PolicyInput['action']): JsonObject {
  const now_ms = clampTime(context.now_ms);
  return {
    mandate: regoMandate(context.mandate),
    parameters: plainValues(context.parameters),
    request: context.request,
    check_point: context.check_point,
    action_class: action.class,
    freshness: context.freshness,
    credential: regoCredential(context.credential),
    now: formatTime(now_ms),
    now_ms,
  };
}

function regoMandate(mandate: PolicyMandate): JsonObject {
  const expires_at_ms = clampTime(mandate.expires_at_ms);
  const approved_at_ms = clampTime(mandate.approved_at_ms);
  return {
    type: 'Mandate',
    id: mandate.id,
    state: mandate.state,
    version: mandate.version,
    purpose: mandate.purpose,
    goal: mandate.goal,
    depth: mandate.depth,
    expires_at: formatTime(expires_at_ms),
    expires_at_ms,
    approved_at: formatTime(approved_at_ms),
    approved_at_ms,
    subject: user(mandate.subject),
    approver: user(mandate.approver),
    tenant: mandate.tenant,
    suspended_before: mandate.suspended_before,
    remaining_calls: mandate.remaining_calls,
    lineage: mandate.lineage,
  };
}

function regoCredential(credential: PolicyInput['context']['credential']): JsonObject {
  const expires_at_ms = clampTime(credential.expires_at_ms);
  return {
    issuer: credential.issuer,
    subject: credential.subject,
    client_id: credential.client_id,
    expires_at: formatTime(expires_at_ms),
    expires_at_ms,
  };
}

function user(id: string): JsonObject {
  return { type: 'User', id };
}

function plainValues(parameters: ParameterValues): JsonObject {
  return Object.fromEntries(Object.entries(parameters).map(([name, parameter]) => [name, parameter.value]));
}
