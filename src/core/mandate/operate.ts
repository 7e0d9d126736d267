/**
 * Every write as a pure function of what is stored: the events it adds, or why it is refused. An engine runs it
 * inside its own atomic section, so that what was read is what is written over.
 */
import { formatTime } from '../time.ts';
import { approveAction } from './action-approval.ts';
import { approve } from './approve.ts';
import { returned } from './budgets.ts';
import { cascade } from './cascade.ts';
import {
  type Command,
  type NoteRevokedCommand,
  type OperateCommand,
  type Stored,
  type Writing,
  type Written,
  refuse,
} from './commands.ts';
import { conditionedState } from './condition-standing.ts';
import { observe } from './conditions.ts';
import { derive } from './derive.ts';
import type { MandateEvent } from './events.ts';
import {
  type Lineage,
  TRANSITIONS,
  effectiveState,
  isTerminal,
  lineageOf,
  ownOf,
  ownState,
  standingState,
} from './life.ts';
import { type Changed, changeOf } from './operations.ts';
import { deny, propose } from './proposals.ts';
import { renew } from './renew.ts';
import { reserve, settle } from './reserve.ts';
import { heal } from './heal.ts';
import type { MandateState } from './record.ts';

export function operate(command: Command, writing: Writing): Written {
  switch (command.kind) {
    case 'propose':
      return propose(command, writing);
    case 'approve':
      return approve(command, writing);
    case 'deny':
      return deny(command, writing.stored);
    case 'derive':
      return derive(command, writing);
    case 'operate':
      return change(command, writing);
    case 'approve_action':
      return approveAction(command, writing.stored);
    case 'observe':
      return observe(command, writing.stored);
    case 'reserve':
      return reserve(command, writing.stored);
    case 'settle':
      return settle(command, writing.stored);
    case 'heal':
      return heal(command, writing.stored);
    case 'note_revoked':
      return noteRevoked(command, writing.stored);
  }
}

function noteRevoked({ id, issuer, tokens, by, at_ms }: NoteRevokedCommand, stored: Stored): Written {
  if (stored.mandate(id) === undefined) return refuse('not_found', 'no such mandate');
  const event = { kind: 'tokens_revoked', id, issuer, tokens, at: formatTime(at_ms), by } as const;
  return { events: [event], about: { mandate: id } };
}

/** Order of checks on a write: nonce, expected version, same state, transition. */
function change(command: OperateCommand, writing: Writing): Written {
  const { id, nonce } = command;
  const record = writing.stored.mandate(id);
  if (record === undefined) return refuse('not_found', 'no such mandate');
  const earlier = nonce === undefined ? undefined : writing.stored.nonce(id, nonce);
  if (earlier !== undefined) {
    return earlier.fingerprint === command.fingerprint
      ? { replay: earlier.receipt }
      : refuse('conflict', 'this nonce was used with another body', 'nonce');
  }
  const lineage = lineageOf(record, writing.stored.mandate);
  if (lineage === undefined) return refuse('unavailable', 'an ancestor of the mandate cannot be read');
  return versionRefusal(command, record.version) ?? changeIn(command, lineage, writing);
}

function versionRefusal({ details, expected_version }: OperateCommand, version: number): Written | undefined {
  const { operation } = details;
  if (expected_version === undefined) {
    if (!TRANSITIONS[operation].needs_version) return undefined;
    return refuse(
      'invalid_request',
      `\`${operation}\` needs the version it was decided on`,
      'expected_version',
    );
  }
  if (expected_version === version) return undefined;
  return refuse('stale_version', `the mandate is at version ${version}`, 'expected_version');
}

function changeIn(command: OperateCommand, lineage: Lineage, writing: Writing): Written {
  const { operation } = command.details;
  const record = ownOf(lineage);
  const rule = TRANSITIONS[operation];
  const standing = standingState(record, command.at_ms);
  const own = ownState(record, command.at_ms);
  const about = { mandate: record.id };
  const remember = rememberOf(command);
  const isThere = rule.repeatable && standing === rule.to && operation !== 'suspend';
  if (isThere && record.state === rule.to) return { events: [], about, ...remember };
  // What has ended in this state by itself is not stored yet: now it is, and those below with it.
  if (isThere) return { events: eventsOf(command, lineage, own, {}, writing.stored), about, ...remember };
  const state = effectiveState(lineage, command.at_ms);
  // What is projected from above is not the mandate's own: it may end or be suspended itself, but not go on alone.
  const counts = rule.needs_version ? state : standing;
  if (
    isTerminal(state) ||
    !rule.from.includes(counts) ||
    (operation === 'resume' && isHeldOtherwise(lineage, command.at_ms))
  ) {
    return refuse('conflict', `\`${operation}\` of a mandate that is ${state}`);
  }
  const { details } = command;
  if (details.operation === 'renew') return { ...renew(command, details, lineage, writing), ...remember };
  const changed = changeOf(command, details, lineage, writing);
  if (changed === 'unchanged') return { events: [], about, ...remember };
  if ('refused' in changed) return changed;
  const events = eventsOf(command, lineage, own, changed, writing.stored);
  return { events, about, ...remember };
}

/** By a mandate above, or by a condition that does not hold: a resume would not make it go on. */
function isHeldOtherwise(lineage: Lineage, at_ms: number): boolean {
  const isBelow = lineage.slice(0, -1).some((ancestor) => standingState(ancestor, at_ms) !== 'active');
  return isBelow || conditionedState(ownOf(lineage), at_ms) !== undefined;
}

function rememberOf({ nonce, fingerprint }: OperateCommand) {
  return nonce === undefined ? {} : { remember: { nonce, fingerprint } };
}

/** The change itself, and the end of every generation below in the same commit where it is an end. */
function eventsOf(
  command: OperateCommand,
  lineage: Lineage,
  own_state: MandateState,
  change_: Changed,
  stored: Stored,
): readonly MandateEvent[] {
  const record = ownOf(lineage);
  const { operation } = command.details;
  const state = TRANSITIONS[operation].to ?? own_state;
  const at = formatTime(command.at_ms);
  const hasGoneOn = record.state === 'suspended' && own_state === 'active';
  const own: MandateEvent = {
    kind: 'changed',
    id: record.id,
    operation,
    prior_state: own_state,
    state,
    version: record.version + 1,
    // A suspension that ended by itself leaves nothing of itself in a record that is stored as going on.
    change: hasGoneOn ? { suspend_until: null, on_expiry: null, ...change_ } : change_,
    at,
    by: command.by,
    ...(command.reason === undefined ? {} : { reason: command.reason }),
    ...(command.nonce === undefined ? {} : { nonce: command.nonce }),
  };
  if (!isTerminal(state)) return [own];
  const ending = { at, by: command.by, at_ms: command.at_ms };
  return [own, ...cascade(record.id, ending, stored), ...returned(record, ending, stored)];
}
