/** What an allow must be held with before it is given: a charge, the use of an approval, and how a repeat is known. */
import { type Action, isBound } from './action.ts';
import { currentActor } from './actors.ts';
import { budgetOf } from './classes.ts';
import type { Decision } from './decision.ts';
import type { Facts } from './facts.ts';
import type { CredentialFact } from './credential.ts';
import { type JsonObject, canonicalJson } from './json.ts';
import type { DeriveCommand, ReserveCommand, SettleCommand } from './mandate/commands.ts';
import { isAmount } from './mandate/decimal.ts';
import { ownOf } from './mandate/life.ts';
import type { Digest, MandateRecord, Party } from './mandate/record.ts';
import { type Caller, callerOf } from './mandate/stored-decision.ts';
import type { Charge, Usage } from './mandate/usage.ts';
import { POINTS } from './check-points.ts';
import { type Question } from './request.ts';
import { formatTime } from './time.ts';

/** Parameters beyond this are not kept; a renewal must then repeat them. */
const MAX_KEPT_LENGTH = 16_384;

export type Holding =
  | { readonly kind: 'needless' }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'hold'; readonly command: ReserveCommand | SettleCommand | DeriveCommand };

const NEEDLESS: Holding = { kind: 'needless' };

/** Whether the decision must be held, and with what. Only an allow is: what is forbidden is never charged. */
export function holdingOf(decision: Decision, facts: Facts, digest: Digest): Holding {
  const { asked, mandate } = facts;
  if (decision.effect === 'deny') return NEEDLESS;
  if (asked.check_point === 'commit') return { kind: 'hold', command: settlement(facts) };
  if (mandate.kind !== 'found' || decision.mandate.verdict !== 'legitimate') return NEEDLESS;
  const own = ownOf(mandate.lineage);
  if (asked.check_point === 'delegate') return { kind: 'hold', command: delegation(facts, own) };
  if (POINTS[asked.check_point].is_about_mandate) return NEEDLESS;
  const isKept = own.usage !== undefined || decision.approval !== undefined;
  const key =
    isKept || (asked.door === 'native' && isBound(facts.action.class)) ? asked.repeat?.key : undefined;
  const isNamed = key !== undefined || asked.repeat?.retry_of !== undefined || asked.check_point === 'renew';
  if (!isKept && !isNamed) return NEEDLESS;
  const charge = chargeOf(facts.action, own.usage);
  if ('detail' in charge) return { kind: 'refused', detail: charge.detail };
  return { kind: 'hold', command: reservation(decision, facts, charge, key, digest) };
}

function settlement(facts: Facts): SettleCommand {
  const { decision_id, outcome } = facts.asked as Question;
  return {
    kind: 'settle',
    decision_id: decision_id!,
    outcome: outcome!,
    caller: callerOf(facts.credential, facts.asked.principal),
    ...attributed(facts),
  };
}

/** Answered as creating the child would be. */
function delegation(facts: Facts, parent: MandateRecord): DeriveCommand {
  return {
    kind: 'derive',
    parent: parent.id,
    mandate_id: '',
    policy_version: facts.policies.revision,
    ...facts.asked.child!,
    is_dry: true,
    ...attributed(facts),
  };
}

function reservation(
  decision: Decision,
  facts: Facts,
  charge: Charge,
  key: NonNullable<Facts['asked']['repeat']>['key'],
  digest: Digest,
): ReserveCommand {
  const { action, asked, decided, settings, mandate } = facts;
  const { lineage } = mandate as Extract<Facts['mandate'], { kind: 'found' }>;
  const own = ownOf(lineage);
  const caller = callerOf(facts.credential, asked.principal);
  const text = canonicalJson(action.bound);
  const settle_by =
    budgetOf(action.class, settings.budgets) === 0
      ? { settle_by: formatTime(decided.wall_ms + settings.settle_within_ms) }
      : {};
  const renews = asked.check_point === 'renew' ? (asked as Question).decision_id : undefined;
  return {
    kind: 'reserve',
    decision: {
      decision_id: decision.decision_id,
      mandate: own.id,
      check_point: asked.check_point,
      door: asked.door,
      caller,
      action: { name: action.name, class: action.class },
      resource: action.resource!.uri,
      binding: action.parameter_digest ?? digest(text),
      ...(text.length <= MAX_KEPT_LENGTH ? { parameters: action.bound } : {}),
      ...keyOf(key, action, own, actorOf(caller, facts.credential), decided.wall_ms, digest),
      ...(decision.approval === undefined ? {} : { approval: decision.approval }),
      charge,
      decided_at: formatTime(decided.wall_ms),
      ...settle_by,
      status: 'decided',
    },
    versions: lineage.map(({ version }) => version),
    lease_ms: settings.permit_validity_ms,
    ...(renews === undefined ? {} : { renews }),
    ...(asked.repeat?.retry_of === undefined ? {} : { retry_of: asked.repeat.retry_of }),
    ...settle_by,
    is_dry: !POINTS[asked.check_point].is_acting,
    ...attributed(facts),
  };
}

/** Who asks, down to who acts now behind the token. */
function actorOf({ credential, principal }: Caller, fact: CredentialFact): JsonObject {
  if (credential === undefined) return { principal: principal ?? '' };
  const isChain = fact.verdict === 'usable' && fact.actors.length > 0;
  return isChain ? { ...credential, current: { ...currentActor(fact) } } : { ...credential };
}

/** A key stands for one question of one actor under one mandate; the text of it is not kept. */
function keyOf(
  key: NonNullable<Facts['asked']['repeat']>['key'],
  action: Action,
  own: MandateRecord,
  actor: JsonObject,
  wall_ms: number,
  digest: Digest,
): { key?: string; key_until?: string } {
  if (key === undefined) return {};
  const scope = {
    mandate: own.id,
    subject: { ...own.subject },
    actor,
    action: action.name,
    resource: action.resource!.uri,
    // A proxy's request id and a caller's key are of two kinds, and never the same.
    kind: key.lifetime_ms === undefined ? 'key' : 'request',
    key: key.text,
  };
  const until = key.lifetime_ms === undefined ? {} : { key_until: formatTime(wall_ms + key.lifetime_ms) };
  return { key: digest(canonicalJson(scope)), ...until };
}

/**
 * One call, and the money that the parameters speak of. An operation that declares no amount has none; where nobody has
 * declared anything, what cannot be undone must say what it spends.
 */
function chargeOf(action: Action, usage: Usage | undefined): Charge | { readonly detail: string } {
  if (usage?.max_budget === undefined) return { calls: 1 };
  const [amount, currency] = ['amount', 'currency'].map((name) => {
    const found = Object.hasOwn(action.parameters, name) ? action.parameters[name] : undefined;
    return found?.type === 'string' || found?.type === 'decimal' ? found.value : undefined;
  });
  const isSilent =
    !Object.hasOwn(action.parameters, 'amount') && !Object.hasOwn(action.parameters, 'currency');
  if (isSilent && (action.is_mapped || !CANNOT_BE_UNDONE.has(action.class))) return { calls: 1 };
  if (amount === undefined || currency === undefined || !isAmount(amount))
    return { detail: 'the mandate has a budget, and the parameters do not say what is spent' };
  return { calls: 1, amount: { amount, currency } };
}

const CANNOT_BE_UNDONE: ReadonlySet<string> = new Set([
  'irreversible_action',
  'external_commitment',
  'privileged_administration',
]);

function attributed({ credential, asked, decided, mandate }: Facts): {
  readonly by: Party;
  readonly at_ms: number;
} {
  const iss = mandate.kind === 'found' ? ownOf(mandate.lineage).issuer : '';
  const by =
    credential.verdict === 'usable'
      ? { iss: credential.issuer, sub: credential.client_id }
      : { iss, sub: asked.principal ?? '' };
  return { by, at_ms: decided.wall_ms };
}
