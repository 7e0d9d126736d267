/** The tables beside the log: what has been folded from it, and how it is found again. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Receipt, Stored } from '../../core/mandate/commands.ts';
import { isLaterOrSame, withObservations } from '../../core/mandate/condition-standing.ts';
import { type Folded, type MandateEvent, apply } from '../../core/mandate/events.ts';
import { endsBy, isTerminal } from '../../core/mandate/life.ts';
import { clampTime } from '../../core/time.ts';
import type { ApprovedTerms, MandateRecord, Observation, Proposal } from '../../core/mandate/record.ts';
import type { StoredDecision } from '../../core/mandate/stored-decision.ts';

export type Statements = ReturnType<typeof statements>;

export function statements(db: DatabaseSync) {
  return {
    append: db.prepare('INSERT INTO log VALUES (?, ?, ?, ?, ?)'),
    mandate: db.prepare('SELECT record FROM mandate WHERE id = ?'),
    records: db.prepare('SELECT record FROM mandate ORDER BY created'),
    keepMandate: db.prepare(
      'INSERT INTO mandate VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record, ends = excluded.ends',
    ),
    entries: db.prepare('SELECT seq, epoch, eid, prev, event FROM log WHERE seq > ? ORDER BY seq LIMIT ?'),
    children: db.prepare('SELECT id FROM mandate WHERE parent = ? ORDER BY created'),
    living: db.prepare('SELECT count(*) AS n FROM mandate WHERE parent = ? AND ends > ?'),
    expired: db.prepare('SELECT id FROM mandate WHERE parent = ? AND ends <= ?'),
    approved: db.prepare('SELECT mandate FROM approval WHERE event_id = ?'),
    keepApproval: db.prepare('INSERT INTO approval VALUES (?, ?)'),
    keepChange: db.prepare('INSERT INTO change VALUES (?, ?, ?)'),
    changes: db.prepare(
      'SELECT log.seq, event FROM change JOIN log ON log.seq = change.seq WHERE mandate = ? AND version <= ? ORDER BY version',
    ),
    observed: db.prepare('SELECT record FROM observed WHERE event_id = ?'),
    keepObserved: db.prepare('INSERT INTO observed VALUES (?, ?)'),
    observation: db.prepare('SELECT record FROM observation WHERE event_type = ? AND key = ?'),
    observations: db.prepare('SELECT record FROM observation'),
    keepObservation: db.prepare(
      'INSERT INTO observation VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record',
    ),
    conditioned: db.prepare('SELECT mandate FROM conditioned WHERE event_type = ? AND key = ?'),
    keepConditioned: db.prepare('INSERT OR IGNORE INTO conditioned VALUES (?, ?, ?)'),
    decision: db.prepare('SELECT record FROM decision WHERE id = ?'),
    keyed: db.prepare('SELECT record FROM decision WHERE key = ? ORDER BY rowid DESC LIMIT 1'),
    keepDecision: db.prepare(
      'INSERT INTO decision VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record',
    ),
    proposal: db.prepare('SELECT record FROM proposal WHERE id = ?'),
    keepProposal: db.prepare(
      'INSERT INTO proposal VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record',
    ),
    nonce: db.prepare('SELECT fingerprint, receipt FROM nonce WHERE mandate = ? AND nonce = ?'),
    keepNonce: db.prepare('INSERT INTO nonce VALUES (?, ?, ?, ?)'),
  };
}

export function reader(sql: Statements): Stored {
  const observation: Stored['observation'] = (event_type, key) =>
    parsed(sql.observation, event_type, key) as Observation | undefined;
  return {
    mandate: (id) => {
      const record = parsed(sql.mandate, id) as MandateRecord | undefined;
      return record === undefined ? undefined : withObservations(record, observation);
    },
    observation,
    observed: (event_id) => parsed(sql.observed, event_id) as Observation | undefined,
    conditioned: (event_type, key) =>
      sql.conditioned.all(event_type, key).map(({ mandate }) => String(mandate)),
    proposal: (id) => parsed(sql.proposal, id) as Proposal | undefined,
    children: (id) => sql.children.all(id).map((row) => String(row.id)),
    living: (id, at_ms) => Number(sql.living.get(id, at_ms)!.n),
    expired: (id, at_ms) => sql.expired.all(id, at_ms).map((row) => String(row.id)),
    approved: (event_id) => sql.approved.get(event_id)?.mandate as string | undefined,
    decision: (id) => parsed(sql.decision, id) as StoredDecision | undefined,
    keyed: (key) => parsed(sql.keyed, key) as StoredDecision | undefined,
    nonce: (mandate, nonce) => {
      const row = sql.nonce.get(mandate, nonce);
      return row === undefined
        ? undefined
        : { fingerprint: String(row.fingerprint), receipt: JSON.parse(String(row.receipt)) as Receipt };
    },
  };
}

function parsed(statement: StatementSync, ...key: readonly string[]): unknown {
  const row = statement.get(...key);
  return row === undefined ? undefined : JSON.parse(String(row.record));
}

/** Keeps what an event has folded to, and where it stands in the log. */
export function keep(sql: Statements, folded: Folded, event: MandateEvent, seq: number): void {
  const { mandate, proposal, decision, observation } = folded;
  if (mandate !== undefined) {
    const created = mandate.history[0]!.seq;
    // Until when it lives by itself, in whole milliseconds; nothing once its end is stored.
    const ends = isTerminal(mandate.state) ? null : clampTime(endsBy(mandate));
    sql.keepMandate.run(mandate.id, created, mandate.parent ?? null, ends, JSON.stringify(mandate));
  }
  if (proposal !== undefined) sql.keepProposal.run(proposal.submission_id, JSON.stringify(proposal));
  if (decision !== undefined)
    sql.keepDecision.run(decision.decision_id, decision.key ?? null, JSON.stringify(decision));
  if (observation !== undefined) keepObservation(sql, observation);
  if (event.kind === 'approved') keepApproved(sql, event.terms);
  keepChange(sql, event, seq);
}

/** Where each version of a mandate stands in the log. */
function keepChange(sql: Statements, event: MandateEvent, seq: number): void {
  if (event.kind === 'approved' || event.kind === 'derived') sql.keepChange.run(event.terms.id, 1, seq);
  if (event.kind === 'changed') sql.keepChange.run(event.id, event.version, seq);
}

/** The record as it was: the fold of its own changes so far. */
export function recordAt(sql: Statements, id: string, version: number): MandateRecord | undefined {
  let record: MandateRecord | undefined;
  const lookup = { mandate: () => record, proposal: () => undefined };
  for (const row of sql.changes.iterate(id, version)) {
    const folded = apply(JSON.parse(String(row.event)) as MandateEvent, Number(row.seq), lookup);
    if (folded === 'inapplicable') return undefined;
    record = folded.mandate;
  }
  return record?.version === version ? record : undefined;
}

function keepApproved(
  sql: Statements,
  { id, approval_event_id, parent, conditions = [] }: ApprovedTerms,
): void {
  sql.keepApproval.run(approval_event_id, id);
  // A child follows its root, whose conditions they are.
  if (parent !== undefined) return;
  for (const { event_type, key } of conditions) sql.keepConditioned.run(event_type, key, id);
}

function keepObservation(sql: Statements, observation: Observation): void {
  const { event_id, event_type, key } = observation;
  const text = JSON.stringify(observation);
  sql.keepObserved.run(event_id, text);
  const last = parsed(sql.observation, event_type, key) as Observation | undefined;
  if (isLaterOrSame(observation, last)) sql.keepObservation.run(event_type, key, text);
}
