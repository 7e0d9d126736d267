/** A mandate log as small as can be: the pure writes and their fold, in maps. */
import type { Command, ProposeCommand, Refusal, Stored } from '../../src/core/mandate/commands.ts';
import { type MandateEvent, apply } from '../../src/core/mandate/events.ts';
import { type Lineage, endsBy, isTerminal, lineageOf } from '../../src/core/mandate/life.ts';
import { operate } from '../../src/core/mandate/operate.ts';
import type { OperationDetails } from '../../src/core/mandate/commands.ts';
import { isLaterOrSame, withObservations } from '../../src/core/mandate/condition-standing.ts';
import type { AuthorityEntry, MandateRecord, Observation, Proposal } from '../../src/core/mandate/record.ts';
import type { StoredDecision } from '../../src/core/mandate/stored-decision.ts';
import { sha256 } from '../../src/digest.ts';
import { ALICE, ENTRY, MANDATES, T0, iso } from './records.ts';

export interface MemoryLog {
  readonly events: readonly MandateEvent[];
  /** Writes at `ms` after T0; answers the events, or the refusal. */
  readonly write: (command: Command) => readonly MandateEvent[] | Refusal;
  readonly record: (id: string) => MandateRecord;
  readonly lineage: (id: string) => Lineage;
  readonly proposal: (submission_id: string) => Proposal;
  /** Approves a proposal as the mandate `id`. */
  readonly approve: (submission_id: string, id: string, more?: object) => readonly MandateEvent[] | Refusal;
  /** A root mandate of these entries. */
  readonly begin: (
    id: string,
    entries?: readonly AuthorityEntry[],
    ends_ms?: number,
    more?: Partial<ProposeCommand>,
  ) => MandateRecord;
  readonly derive: (
    parent: string,
    id: string,
    entries: readonly AuthorityEntry[],
    more?: object,
  ) => readonly MandateEvent[] | Refusal;
  readonly operate: (
    id: string,
    details: OperationDetails,
    more?: object,
  ) => readonly MandateEvent[] | Refusal;
}

export const HOUR = 3_600_000;

export function createMemoryLog(): MemoryLog {
  const events: MandateEvent[] = [];
  const mandates = new Map<string, MandateRecord>();
  const observed = new Map<string, Observation>();
  const observations = new Map<string, Observation>();
  const decisions = new Map<string, StoredDecision>();
  const proposals = new Map<string, Proposal>();
  const childrenOf = (id: string): readonly MandateRecord[] =>
    [...mandates.values()].filter(({ parent, state }) => parent === id && !isTerminal(state));
  const stored: Stored = {
    mandate: (id) => {
      const found = mandates.get(id);
      return found === undefined ? undefined : withObservations(found, stored.observation);
    },
    proposal: (id) => proposals.get(id),
    nonce: () => undefined,
    children: (id) => [...mandates.values()].filter((each) => each.parent === id).map((each) => each.id),
    living: (id, at_ms) => childrenOf(id).filter((child) => endsBy(child) > at_ms).length,
    expired: (id, at_ms) =>
      childrenOf(id)
        .filter((child) => endsBy(child) <= at_ms)
        .map((child) => child.id),
    approved: () => undefined,
    observation: (event_type, key) => observations.get(`${event_type} ${key}`),
    observed: (event_id) => observed.get(event_id),
    conditioned: (event_type, key) =>
      [...mandates.values()]
        .filter(({ parent, conditions = [] }) => {
          return (
            parent === undefined &&
            conditions.some((each) => each.event_type === event_type && each.key === key)
          );
        })
        .map(({ id }) => id),
    decision: (id) => decisions.get(id),
    keyed: (key) => [...decisions.values()].findLast((each) => each.key === key),
  };

  const see = (next: Observation): void => {
    observed.set(next.event_id, next);
    const thing = `${next.event_type} ${next.key}`;
    if (isLaterOrSame(next, observations.get(thing))) observations.set(thing, next);
  };
  const write: MemoryLog['write'] = (command) => {
    const written = operate(command, { issuer: MANDATES, stored, digest: sha256 });
    if ('refused' in written) return written;
    if ('replay' in written) return [];
    for (const event of written.events) {
      events.push(event);
      const folded = apply(event, events.length, stored);
      if (folded === 'inapplicable') throw new Error(`${event.kind} does not apply`);
      if (folded.mandate !== undefined) mandates.set(folded.mandate.id, folded.mandate);
      if (folded.observation !== undefined) see(folded.observation);
      if (folded.decision !== undefined) decisions.set(folded.decision.decision_id, folded.decision);
      if (folded.proposal !== undefined) proposals.set(folded.proposal.submission_id, folded.proposal);
    }
    return written.events;
  };

  const by = { iss: MANDATES, sub: 'operator' };
  const approve: MemoryLog['approve'] = (submission_id, mandate_id, more = {}) =>
    write({
      kind: 'approve',
      submission_id,
      proposal_hash: proposals.get(submission_id)!.proposal_hash,
      mandate_id,
      approval_event_id: `ape_${mandate_id}`,
      policy_version: 'v',
      by,
      at_ms: T0,
      ...more,
    });
  const begin: MemoryLog['begin'] = (id, entries = [ENTRY], ends_ms = 8 * HOUR, more = {}) => {
    const intent = { goal: 'g', resources: [ENTRY.resource], expires_at: iso(ends_ms) };
    write({
      kind: 'propose',
      submission_id: `sub_${id}`,
      intent,
      authorization_details: entries,
      subject: ALICE,
      client_id: 'agent-1',
      client_issuer: ALICE.iss,
      by,
      at_ms: T0,
      ...more,
    });
    approve(`sub_${id}`, id);
    return mandates.get(id)!;
  };
  return {
    events,
    write,
    record: (id) => stored.mandate(id)!,
    lineage: (id) => lineageOf(stored.mandate(id)!, stored.mandate)!,
    proposal: (submission_id) => proposals.get(submission_id)!,
    approve,
    begin,
    derive: (parent, id, entries, more = {}) =>
      write({
        kind: 'derive',
        parent,
        mandate_id: id,
        client_id: 'agent-2',
        authorization_details: entries,
        policy_version: 'v',
        by,
        at_ms: T0,
        ...more,
      }),
    operate: (id, details, more = {}) =>
      write({ kind: 'operate', id, details, may_resume: true, fingerprint: '', by, at_ms: T0, ...more }),
  };
}
