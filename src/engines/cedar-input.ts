/** PolicyInput as Cedar's JSON entities and context. */
import type {
  CedarValueJson,
  Context,
  Entities,
  EntityUidJson,
  TypeAndId,
} from '@cedar-policy/cedar-wasm/nodejs';
import type { ParameterValue } from '../core/parameter-types.ts';
import type { PolicyInput, PolicyMandate } from '../core/policy.ts';
import { formatTime } from '../core/time.ts';

export interface CedarRequest {
  readonly principal: EntityUidJson;
  readonly action: EntityUidJson;
  readonly resource: EntityUidJson;
  readonly context: Context;
  readonly entities: Entities;
}

export function cedarRequest(input: PolicyInput): CedarRequest {
  const { principal, action, resource, context } = input;
  const mandate = uid('Mandate', context.mandate.id);
  return {
    principal: uid('Agent', principal.id),
    action: uid('Action', action.name),
    resource: uid('Resource', resource.uri),
    context: {
      mandate: { __entity: mandate },
      parameters: Object.fromEntries(
        Object.entries(context.parameters).map(([name, value]) => [name, parameter(value)]),
      ),
      request: { ...context.request },
      check_point: context.check_point,
      action_class: action.class,
      freshness: { source: context.freshness.source, age_ms: context.freshness.age_ms },
      credential: {
        issuer: context.credential.issuer,
        subject: context.credential.subject,
        client_id: context.credential.client_id,
        expires_at: datetime(context.credential.expires_at_ms),
      },
      now: datetime(context.now_ms),
    },
    entities: [
      {
        uid: uid('Agent', principal.id),
        attrs: {
          issuer: principal.issuer,
          client_id: principal.client_id,
          subject: user(principal.subject),
          depth: principal.depth,
          actors: [...principal.actors],
        },
        parents: [],
      },
      {
        uid: uid('Action', action.name),
        attrs: {},
        parents: [...action.families, action.class].map((group) => uid('Action', group)),
      },
      {
        uid: uid('Resource', resource.uri),
        attrs: { host: resource.host, path: resource.path, segments: [...resource.segments] },
        parents: [],
      },
      { uid: mandate, attrs: mandateAttributes(context.mandate), parents: ancestors(context.mandate) },
    ],
  };
}

function mandateAttributes(mandate: PolicyMandate): Record<string, CedarValueJson> {
  return {
    state: mandate.state,
    version: mandate.version,
    purpose: mandate.purpose,
    goal: mandate.goal,
    depth: mandate.depth,
    expires_at: datetime(mandate.expires_at_ms),
    approved_at: datetime(mandate.approved_at_ms),
    subject: user(mandate.subject),
    approver: user(mandate.approver),
    tenant: mandate.tenant,
    suspended_before: mandate.suspended_before,
    remaining_calls: mandate.remaining_calls,
  };
}

function ancestors(mandate: PolicyMandate): TypeAndId[] {
  return mandate.lineage.slice(0, -1).map((id) => uid('Mandate', id));
}

function uid(type: string, id: string): TypeAndId {
  return { type, id };
}

function user(id: string): CedarValueJson {
  return { __entity: uid('User', id) };
}

function datetime(wall_ms: number): CedarValueJson {
  return { __extn: { fn: 'datetime', arg: formatTime(wall_ms) } };
}

function parameter(value: ParameterValue): CedarValueJson {
  switch (value.type) {
    case 'string':
    case 'long':
    case 'boolean':
      return value.value;
    case 'strings':
      return [...value.value];
    case 'decimal':
      return { __extn: { fn: 'decimal', arg: cedarDecimal(value.value) } };
  }
}

/** Cedar's decimal wants one to four fractional digits; `fitsCedarDecimal` has seen that no other is set. */
function cedarDecimal(text: string): string {
  const [whole, fraction = ''] = text.split('.') as [string, string?];
  return `${whole}.${fraction.slice(0, 4) || '0'}`;
}
