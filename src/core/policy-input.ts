/** The input tree of policies, from facts. Nothing is absent: what does not apply has an empty value. */
import { type Chain, currentActor, hopsBelow } from './actors.ts';
import type { Facts, MandateFact } from './facts.ts';
import type { Judgement } from './freshness.ts';
import { effectiveEnd, effectiveState, ownOf, type Lineage } from './mandate/life.ts';
import type { Party } from './mandate/record.ts';
import { remainder } from './mandate/usage.ts';
import type { PolicyInput, PolicyMandate } from './policy.ts';
import { parseTime } from './time.ts';

const NO_MANDATE: PolicyMandate = {
  id: '',
  state: 'none',
  version: 0,
  purpose: '',
  goal: '',
  depth: 0,
  expires_at_ms: 0,
  approved_at_ms: 0,
  subject: '',
  approver: '',
  tenant: '',
  suspended_before: false,
  remaining_calls: 0,
  lineage: [],
};

/** What an unmetered mandate has left: the largest number that JSON and Cedar both hold. */
const UNLIMITED = Number.MAX_SAFE_INTEGER;

type FoundMandate = Extract<MandateFact, { kind: 'found' }>;

export function policyInput(
  facts: Facts,
  joined: FoundMandate | undefined,
  judgement: Judgement | undefined,
): PolicyInput {
  const { action } = facts;
  const resource = action.resource!;
  const shown = agentOf(facts, joined);
  return {
    principal: {
      id: shown.agent,
      issuer: shown.issuer,
      client_id: shown.client_id,
      subject: shown.user,
      ...actorsOf(shown, joined),
    },
    action: { name: action.name, families: action.families, class: action.class },
    resource: {
      uri: resource.uri,
      host: resource.authority,
      path: resource.path,
      segments: resource.path.split('/').filter((segment) => segment !== ''),
    },
    context: {
      mandate: joined === undefined ? NO_MANDATE : policyMandate(joined.lineage, facts),
      parameters: action.parameters,
      request: action.request,
      check_point: action.check_point,
      freshness: { source: joined?.proof.source ?? 'none', age_ms: Math.ceil(judgement?.age_ms ?? 0) },
      credential: {
        issuer: shown.issuer,
        subject: shown.subject,
        client_id: shown.client_id,
        expires_at_ms: shown.expires_at_ms,
      },
      now_ms: facts.decided.wall_ms,
    },
  };
}

/** The mandate's depth and the hops below its client; the plain names of all who act, the current one included. */
function actorsOf({ client_id, chain }: Shown, joined: FoundMandate | undefined) {
  const hops = joined === undefined ? [] : hopsBelow(chain, joined.lineage);
  const depth = joined === undefined ? 0 : ownOf(joined.lineage).depth + hops.length;
  const named = chain.length === 0 ? [client_id] : chain.map(({ sub }) => sub);
  return { depth, actors: [...new Set(named)].filter((sub) => sub !== '') };
}

interface Shown {
  readonly agent: string;
  readonly user: string;
  readonly issuer: string;
  readonly client_id: string;
  readonly subject: string;
  readonly expires_at_ms: number;
  readonly chain: Chain;
}

const ANONYMOUS: Shown = {
  agent: 'anonymous',
  user: 'anonymous',
  issuer: '',
  client_id: '',
  subject: '',
  expires_at_ms: 0,
  chain: [],
};

/** Who acts: the credential's current actor, which is its client where it has no chain; where a trusted caller asks without one, the agent that the mandate names. */
function agentOf({ credential, asked, settings }: Facts, joined: FoundMandate | undefined): Shown {
  if (credential.verdict === 'usable') {
    const { realm, issuer, client_id, subject, expires_at_ms, actors } = credential;
    return {
      agent: qualified(currentActor(credential), settings.realms),
      user: `${realm}/${subject}`,
      issuer,
      client_id,
      subject,
      expires_at_ms,
      chain: actors,
    };
  }
  if (!asked.is_vouched || joined === undefined) return ANONYMOUS;
  const { client_id, client_issuer: issuer, subject } = ownOf(joined.lineage);
  const { realms } = settings;
  const agent = qualified({ iss: issuer, sub: client_id }, realms);
  return {
    agent,
    user: qualified(subject, realms),
    issuer,
    client_id,
    subject: subject.sub,
    expires_at_ms: 0,
    chain: [],
  };
}

function policyMandate(lineage: Lineage, facts: Facts): PolicyMandate {
  const own = ownOf(lineage);
  const { realms } = facts.settings;
  return {
    id: own.id,
    state: effectiveState(lineage, facts.decided.wall_ms),
    version: own.version,
    purpose: own.intent.purpose ?? '',
    goal: own.intent.goal,
    depth: own.depth,
    expires_at_ms: effectiveEnd(lineage),
    approved_at_ms: parseTime(own.created_at) ?? 0,
    subject: qualified(own.subject, realms),
    approver: qualified(own.approver, realms),
    tenant: commonTenant(own.authority_set.map((entry) => entry.constraints?.tenant)),
    suspended_before: own.history.some((item) => item.state === 'suspended'),
    remaining_calls: own.usage?.max_calls === undefined ? UNLIMITED : Number(remainder(own.usage.max_calls)),
    lineage: own.lineage,
  };
}

/** `corp/alice`; a party of an issuer without a name here is shown by the issuer's URL, which no name can equal. */
export function qualified(party: Party, realms: ReadonlyMap<string, string>): string {
  const realm = realms.get(party.iss);
  return realm === undefined ? `${party.iss}#${party.sub}` : `${realm}/${party.sub}`;
}

function commonTenant(tenants: readonly unknown[]): string {
  const [first] = tenants;
  return typeof first === 'string' && tenants.every((tenant) => tenant === first) ? first : '';
}
