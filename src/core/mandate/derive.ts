/** A child mandate: a subset of its parent's effective authority, for an actor that the parent's entries name. */
import { formatTime, parseTime } from '../time.ts';
import { anchor } from './anchors.ts';
import { fitsInside } from './attenuation.ts';
import { delegationFits, readDelegation } from './delegation.ts';
import { type EffectiveEntry, effectiveEntries } from './authority.ts';
import { isWithheld } from './condition-standing.ts';
import { type SetAside, setAside } from './budgets.ts';
import {
  type DeriveCommand,
  type Refusal,
  type Stored,
  type Writing,
  type Written,
  refuse,
} from './commands.ts';
import { type Lineage, effectiveEnd, effectiveState, lineageOf, ownOf } from './life.ts';
import type { MandateEvent } from './events.ts';
import type { ApprovedTerms, AuthorityEntry } from './record.ts';

export function derive(command: DeriveCommand, writing: Writing): Written {
  const { at_ms, by } = command;
  const parent = writing.stored.mandate(command.parent);
  if (parent === undefined) return refuse('not_found', 'no such mandate');
  const lineage = lineageOf(parent, writing.stored.mandate);
  if (lineage === undefined) return refuse('unavailable', 'an ancestor of the mandate cannot be read');
  const state = effectiveState(lineage, at_ms);
  if (state !== 'active') return refuse('parent_not_active', `the parent is ${state}`);
  const refusal = notASubset(command, lineage, writing.stored, false) ?? notInTime(command, lineage);
  if (refusal !== undefined) return refusal;
  const aside: SetAside | Refusal = setAside(command.budget ?? {}, parent, { by, at_ms }, writing.stored);
  if ('refused' in aside) return aside;
  if (command.is_dry === true) return { events: [], about: {} };
  const usage = aside.usage === undefined ? {} : { usage: aside.usage };
  const terms = { ...childTerms(command, lineage, writing), ...usage };
  const begun: MandateEvent = { kind: 'derived', terms, at: formatTime(at_ms), by };
  return { events: [...aside.events, begun], about: { mandate: terms.id } };
}

/** What a child asks for: the part of it that must lie inside its parent. */
type Asked = Pick<DeriveCommand, 'client_id' | 'authorization_details' | 'at_ms'>;

/** `hasPredecessor`: a living child ends with this, and does not count against the fan-out. */
export function notASubset(
  command: Asked,
  lineage: Lineage,
  stored: Stored,
  hasPredecessor: boolean,
): Refusal | undefined {
  const parent = ownOf(lineage);
  const entries = isWithheld(lineage, command.at_ms) ? [] : effectiveEntries(parent);
  const fit = fitsInside(command.authorization_details, entries);
  if (!fit.ok) return refuse('not_strict_subset', fit.why, `authorization_details.${fit.index}`);
  const beyond = beyondAncestors(command.authorization_details, lineage);
  if (beyond !== undefined) return beyond;
  const living = stored.living(parent.id, command.at_ms) - (hasPredecessor ? 1 : 0);
  for (const [index, by] of fit.by.entries()) {
    const refusal = notDelegated(command, index, entries[by]!, parent.depth + 1, living);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** What a mandate covers is cut by what was taken from those above it: so is what can be made of it. */
function beyondAncestors(entries: readonly AuthorityEntry[], lineage: Lineage): Refusal | undefined {
  for (const ancestor of lineage.slice(0, -1)) {
    const fit = fitsInside(entries, effectiveEntries(ancestor));
    if (!fit.ok)
      return refuse('not_strict_subset', `above: ${fit.why}`, `authorization_details.${fit.index}`);
  }
  return undefined;
}

/** Whether the entry that justifies a child's entry may be handed on, to this actor, this deep, once more. */
function notDelegated(
  command: Asked,
  index: number,
  { entry }: EffectiveEntry,
  depth: number,
  living: number,
): Refusal | undefined {
  const field = `authorization_details.${index}`;
  const delegation = readDelegation(entry.delegation);
  if (delegation === undefined)
    return refuse('delegation_not_permitted', 'the entry may not be handed on', field);
  if (depth > delegation.max_depth || delegation.max_child_depth < 1) {
    return refuse('delegation_not_permitted', 'the entry may not be handed on this deep', field);
  }
  if (!delegation.allowed_delegates.includes(command.client_id)) {
    return refuse('child_actor_not_allowed', 'the entry does not name this actor as a delegate', 'client_id');
  }
  if (living >= delegation.max_children)
    return refuse('fanout_exceeded', 'the parent has as many children as it may', field);
  const inner = command.authorization_details[index]!.delegation;
  if (delegationFits(inner, delegation, 1)) return undefined;
  return refuse('not_strict_subset', 'it would hand on more than it may', `${field}.delegation`);
}

function notInTime({ expires_at, at_ms }: DeriveCommand, lineage: Lineage): Refusal | undefined {
  if (expires_at === undefined) return undefined;
  const end = parseTime(expires_at)!;
  if (end <= at_ms) return refuse('invalid_request', 'the mandate would end before it begins', 'expires_at');
  return end > effectiveEnd(lineage)
    ? refuse('not_strict_subset', 'later than the parent ends', 'expires_at')
    : undefined;
}

function childTerms(command: DeriveCommand, lineage: Lineage, { issuer, digest }: Writing): ApprovedTerms {
  const parent = ownOf(lineage);
  const { mandate_id: id, authorization_details, client_id, client_issuer, policy_version, at_ms } = command;
  const expires_at = command.expires_at ?? formatTime(effectiveEnd(lineage));
  return {
    id,
    issuer,
    intent: parent.intent,
    proposed_authority: authorization_details,
    authority_set: authorization_details,
    entry_digests: authorization_details.map((entry) =>
      anchor(digest, issuer, 'mission-authority-entry', entry),
    ),
    authority_hash: anchor(digest, issuer, 'mission-authority-set', authorization_details),
    intent_hash: parent.intent_hash,
    proposal_hash: anchor(digest, issuer, 'mission-proposed-authority', authorization_details),
    subject: parent.subject,
    approver: parent.approver,
    client_id,
    client_issuer: client_issuer ?? parent.client_issuer,
    approval_basis: { type: 'delegated' },
    approval_event_id: parent.approval_event_id,
    policy_version,
    created_at: formatTime(at_ms),
    expires_at,
    parent: parent.id,
    lineage: [...parent.lineage, id],
    depth: parent.depth + 1,
    ...(parent.revocation === undefined ? {} : { revocation: parent.revocation }),
    ...(parent.conditions === undefined ? {} : { conditions: parent.conditions }),
  };
}
