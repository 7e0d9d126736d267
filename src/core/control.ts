/** Who may change a mandate: who asks, what about, and what is plain about the two. The policies say the rest. */
import { currentActor } from './actors.ts';
import type { UsableCredential } from './credential.ts';
import { type Lineage, effectiveState, ownOf } from './mandate/life.ts';
import { proposalStatus } from './mandate/proposals.ts';
import type { AskedOperation, Party, Proposal } from './mandate/record.ts';

export type ControlAction =
  | `mandate.${AskedOperation | 'read' | 'propose' | 'approve' | 'deny' | 'derive'}`
  | 'action.approve'
  | 'decision.read'
  | 'decision.settle'
  | 'conditions.report'
  | 'fleet.read'
  | 'check.ask'
  | 'token.introspect';

/** Whoever asks something of the control listener, or a question of the check listener on its own word. */
export interface Principal {
  readonly type: 'Operator' | 'User' | 'Agent';
  /** `local` of the operator; else qualified by the issuer's name: `corp/bob`. */
  readonly id: string;
  /** As whom it stands in records. */
  readonly party: Party;
  /** The client through which it comes; undefined of the operator. */
  readonly client: Party | undefined;
  /** Of a person: the client by itself, as which a policy may permit it as well. */
  readonly through?: Principal;
}

/** As policies and stored decisions name it. */
export function nameOf({ type, id }: Principal): string {
  return `${type}::${JSON.stringify(id)}`;
}

export function operatorOf(issuer: string): Principal {
  return { type: 'Operator', id: 'local', party: { iss: issuer, sub: 'operator' }, client: undefined };
}

/**
 * A token whose subject is its client is the client's own; any other is a person's, through a client. Agents hold
 * tokens of people as well: `people_through` names the clients that people use, and what comes through another is its.
 */
export function principalOf(
  credential: UsableCredential,
  people_through: readonly string[] | undefined,
): Principal {
  const { realm, issuer, subject, client_id, actors } = credential;
  const client = currentActor(credential);
  // An actor of another issuer has no name in this realm, and none that could be taken for one.
  const name = client.iss === issuer ? client.sub : `${client.iss}#${client.sub}`;
  const agent: Principal = { type: 'Agent', id: `${realm}/${name}`, party: client, client };
  // Whoever acts for a person is not the person.
  const isPerson =
    actors.length === 0 && subject !== client_id && people_through?.includes(client_id) !== false;
  if (!isPerson) return agent;
  return {
    type: 'User',
    id: `${realm}/${subject}`,
    party: { iss: issuer, sub: subject },
    client,
    through: agent,
  };
}

/** What is asked about, as policies see it. */
export interface ControlTarget {
  readonly id: string;
  /** `proposed` of a proposal that is pending, `none` where there is nothing yet. */
  readonly state: string;
  readonly version: number;
  readonly purpose: string;
  readonly goal: string;
  readonly depth: number;
  readonly subject: Party | undefined;
  readonly approver: Party | undefined;
  /** Its client and those above it, root first. */
  readonly clients: readonly Party[];
  readonly lineage: readonly string[];
}

export const NO_TARGET: ControlTarget = {
  id: '',
  state: 'none',
  version: 0,
  purpose: '',
  goal: '',
  depth: 0,
  subject: undefined,
  approver: undefined,
  clients: [],
  lineage: [],
};

export function mandateTarget(lineage: Lineage, wall_ms: number): ControlTarget {
  const own = ownOf(lineage);
  const { id, version, depth, subject, approver, intent } = own;
  return {
    id,
    state: effectiveState(lineage, wall_ms),
    version,
    purpose: intent.purpose ?? '',
    goal: intent.goal,
    depth,
    subject,
    approver,
    clients: lineage.map(clientOf),
    lineage: own.lineage,
  };
}

type Proposed = Pick<Proposal, 'intent' | 'subject' | 'client_id' | 'client_issuer'>;

/** `predecessor`: what it would supersede, whose approver has a say, and in whose place below others it would stand. */
export function proposalTarget(
  proposal: Proposed & Partial<Pick<Proposal, 'submission_id' | 'status' | 'expires_at'>>,
  predecessor: Lineage | undefined,
  wall_ms: number,
): ControlTarget {
  const { submission_id = '', intent, subject, status } = proposal;
  const isPending = status === undefined || proposalStatus(proposal as Proposal, wall_ms) === 'pending';
  return {
    ...NO_TARGET,
    id: submission_id,
    state: isPending ? 'proposed' : status,
    purpose: intent.purpose ?? '',
    goal: intent.goal,
    subject,
    approver: predecessor === undefined ? undefined : ownOf(predecessor).approver,
    clients: [...(predecessor ?? []).slice(0, -1).map(clientOf), clientOf(proposal)],
  };
}

function clientOf({ client_id, client_issuer }: Pick<Proposal, 'client_id' | 'client_issuer'>): Party {
  return { iss: client_issuer, sub: client_id };
}

export interface ControlRequest {
  readonly principal: Principal;
  readonly action: ControlAction;
  readonly target: ControlTarget;
  readonly now_ms: number;
}

/** What every policy would have to find out again. */
export interface ControlFacts {
  /** The person for whom the work is done, not through the agent that does it. */
  readonly is_subject: boolean;
  /** The person who has approved it, likewise. */
  readonly is_approver: boolean;
  /** The agent that does it, or whoever comes through it. */
  readonly is_agent: boolean;
  /** The agent of a mandate above it, likewise. */
  readonly is_above: boolean;
}

export function factsOf({ principal, target }: ControlRequest): ControlFacts {
  const { type, party, client } = principal;
  const own = target.clients.at(-1);
  const above = target.clients.slice(0, -1);
  const isThrough = (one: Party | undefined): boolean => isSame(client, one);
  const isPerson = type === 'User' && !target.clients.some(isThrough);
  return {
    is_subject: isPerson && isSame(party, target.subject),
    is_approver: isPerson && isSame(party, target.approver),
    is_agent: isThrough(own),
    is_above: above.some(isThrough),
  };
}

function isSame(a: Party | undefined, b: Party | undefined): boolean {
  return a !== undefined && b !== undefined && a.iss === b.iss && a.sub === b.sub;
}

/** What a person must do; giving or giving back authority is one thing with approving it. */
const APPROVING: ReadonlySet<ControlAction> = new Set([
  'mandate.approve',
  'mandate.extend',
  'mandate.amend',
  'mandate.resume',
  'action.approve',
]);

/** What no policy can permit: an agent that approves its own work, and a client that proposes for another. */
export function unpermittable(request: ControlRequest): string | undefined {
  const { principal, action } = request;
  if (principal.type === 'Operator') return undefined;
  const { is_agent, is_above } = factsOf(request);
  if (APPROVING.has(action) && (principal.type === 'Agent' || is_agent || is_above))
    return 'an approval is a person`s, and not given through the agent that it is for';
  return action === 'mandate.propose' && !is_agent ? 'a client proposes only for itself' : undefined;
}

/** One answer of the policies: an error among them is a `forbid`. */
export type ControlAnswer = 'permit' | 'forbid' | 'silent';

/** Loaded policies; synchronous. */
export interface ControlPolicies {
  readonly answer: (request: ControlRequest) => ControlAnswer;
  readonly revision: string;
}

/**
 * Whether it is permitted: to the person or to the client that the person comes through, where neither is forbidden it.
 * What only a person may do is asked of the person alone.
 */
export function isPermitted(request: ControlRequest, policies: ControlPolicies): boolean {
  if (unpermittable(request) !== undefined) return false;
  const { principal, action } = request;
  const own = policies.answer(request);
  const through =
    principal.through === undefined
      ? 'silent'
      : policies.answer({ ...request, principal: principal.through });
  const isGranted = own === 'permit' || (through === 'permit' && !APPROVING.has(action));
  return isGranted && own !== 'forbid' && through !== 'forbid';
}
