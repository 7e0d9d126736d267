/**
 * Every write as a pure function of what is stored: the events it adds, or why it is refused. An engine runs it
 * inside its own atomic section, so that what was read is what is written over.
 */
import { formatTime } from '../time.ts';
import { type Command, type OperateCommand, type Stored, type Written, refuse } from './commands.ts';
import type { MandateEvent } from './events.ts';
import { type Lineage, TRANSITIONS, effectiveState, isTerminal } from './life.ts';
import { approve, deny, propose } from './proposals.ts';
import type { Digest, MandateRecord, MandateState } from './record.ts';

export function operate(command: Command, issuer: string, stored: Stored, digest: Digest): Written {
  switch (command.kind) {
    case 'propose':
      return propose(command, issuer, digest);
    case 'approve':
      return approve(command, issuer, stored, digest);
    case 'deny':
      return deny(command, stored);
    case 'operate':
      return transition(command, stored);
  }
}

/** The lineage of a record as it is stored; undefined while an ancestor is not there. */
export function lineageOf(
  record: MandateRecord,
  lookup: (id: string) => MandateRecord | undefined,
): Lineage | undefined {
  if (record.lineage.length === 1) return [record];
  const ancestors = record.lineage.slice(0, -1).map(lookup);
  return ancestors.includes(undefined) ? undefined : ([...ancestors, record] as unknown as Lineage);
}

/** Order of checks on a write: nonce, expected version, same state, transition. */
function transition(command: OperateCommand, stored: Stored): Written {
  const { id, operation, nonce, expected_version } = command;
  const record = stored.mandate(id);
  if (record === undefined) return refuse('not_found', 'no such mandate');
  const earlier = nonce === undefined ? undefined : stored.nonce(id, nonce);
  if (earlier !== undefined) {
    return earlier.fingerprint === command.fingerprint
      ? { replay: earlier.receipt }
      : refuse('conflict', 'this nonce was used with another body', 'nonce');
  }
  const rule = TRANSITIONS[operation];
  if (expected_version === undefined && rule.needs_version) {
    return refuse(
      'invalid_request',
      `\`${operation}\` needs the version it was decided on`,
      'expected_version',
    );
  }
  if (expected_version !== undefined && expected_version !== record.version) {
    return refuse('stale_version', `the mandate is at version ${record.version}`, 'expected_version');
  }
  const lineage = lineageOf(record, stored.mandate);
  if (lineage === undefined) return refuse('unavailable', 'an ancestor of the mandate cannot be read');
  const state = effectiveState(lineage, command.at_ms);
  const about = { mandate: id };
  const remember = nonce === undefined ? {} : { remember: { nonce, fingerprint: command.fingerprint } };
  if (rule.repeatable && record.state === rule.to) return { events: [], about, ...remember };
  if (isTerminal(state) || !rule.from.includes(record.state)) {
    return refuse('conflict', `\`${operation}\` of a mandate that is ${state}`);
  }
  return { events: [transitionEvent(command, record, rule.to)], about, ...remember };
}

function transitionEvent(command: OperateCommand, record: MandateRecord, to: MandateState): MandateEvent {
  return {
    kind: 'transition',
    id: record.id,
    operation: command.operation,
    prior_state: record.state,
    state: to,
    version: record.version + 1,
    at: formatTime(command.at_ms),
    by: command.by,
    ...(command.reason === undefined ? {} : { reason: command.reason }),
    ...(command.nonce === undefined ? {} : { nonce: command.nonce }),
  };
}
