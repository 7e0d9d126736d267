/** The log and its fold in one open file: reads for `operate`, and the append that follows it. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import {
  type Folded,
  type LogEntry,
  type MandateEvent,
  type Position,
  apply,
} from '../../core/mandate/events.ts';
import { type Command, type Receipt, type Stored, type Written } from '../../core/mandate/commands.ts';
import { operate } from '../../core/mandate/operate.ts';
import { isLaterOrSame, withObservations } from '../../core/mandate/condition-standing.ts';
import type {
  ApprovedTerms,
  Digest,
  MandateRecord,
  Observation,
  Proposal,
} from '../../core/mandate/record.ts';
import type { StoredDecision } from '../../core/mandate/stored-decision.ts';
import type { LogPage, LogPlace } from '../../check/ports.ts';
import type { WriterResult } from './protocol.ts';

export interface MandateLog {
  /** Runs one command inside the transaction that the caller has begun. */
  readonly run: (command: Command) => {
    readonly result: WriterResult;
    readonly entries: readonly LogEntry[];
  };
  readonly proposal: (submission_id: string) => Proposal | undefined;
  readonly decision: (decision_id: string) => StoredDecision | undefined;
  readonly recordAt: (id: string, version: number) => MandateRecord | undefined;
  readonly records: () => Iterable<MandateRecord>;
  readonly observations: () => readonly Observation[];
  readonly entriesAfter: (after: LogPlace, limit: number) => LogPage;
  /** The head that counts after the caller's transaction ended. */
  readonly settle: (outcome: 'committed' | 'rolled_back') => void;
}

export interface LogParts {
  readonly issuer: string;
  readonly digest: Digest;
  /** A fresh random nonce for each entry of the chain. */
  readonly eid: () => string;
}

export function createLog(db: DatabaseSync, head: Position, parts: LogParts): MandateLog {
  const sql = statements(db);
  let committed = head;
  let current = head;
  const stored = reader(sql);

  const append = (event: MandateEvent): LogEntry => {
    const entry: LogEntry = {
      epoch: current.epoch,
      seq: current.seq + 1,
      eid: parts.eid(),
      prev: current.eid,
      event,
    };
    const folded = apply(event, entry.seq, stored);
    if (folded === 'inapplicable')
      throw new Error(`the event \`${event.kind}\` does not apply to what is stored`);
    sql.append.run(entry.seq, entry.epoch, entry.eid, entry.prev, JSON.stringify(event));
    keep(sql, folded, event);
    keepChange(sql, event, entry.seq);
    current = { epoch: entry.epoch, seq: entry.seq, eid: entry.eid };
    return entry;
  };

  const run: MandateLog['run'] = (command) => {
    const written = operate(command, { issuer: parts.issuer, stored, digest: parts.digest });
    if ('refused' in written) return { result: { ok: false, ...written }, entries: [] };
    if ('replay' in written) return { result: replayed(written.replay, stored), entries: [] };
    const entries = written.events.map(append);
    return { result: answer(command, written, current, stored, sql), entries };
  };

  return {
    run,
    proposal: stored.proposal,
    decision: stored.decision,
    records: function* () {
      for (const row of sql.records.iterate()) yield JSON.parse(String(row.record)) as MandateRecord;
    },
    recordAt: (id, version) => recordAt(sql, id, version),
    observations: () => sql.observations.all().map(({ record }) => JSON.parse(String(record)) as Observation),
    entriesAfter: (after, limit) => {
      // A place in another epoch, or beyond the head, is of a history that this log does not have.
      if (after.epoch !== committed.epoch || after.seq > committed.seq)
        return { ok: false, refused: 'not_found' };
      return { ok: true, entries: sql.entries.all(after.seq, limit).map(toEntry) };
    },
    settle: (outcome) => {
      if (outcome === 'committed') committed = current;
      else current = committed;
    },
  };
}

type Statements = ReturnType<typeof statements>;

function statements(db: DatabaseSync) {
  return {
    append: db.prepare('INSERT INTO log VALUES (?, ?, ?, ?, ?)'),
    mandate: db.prepare('SELECT record FROM mandate WHERE id = ?'),
    records: db.prepare('SELECT record FROM mandate ORDER BY created'),
    keepMandate: db.prepare(
      'INSERT INTO mandate VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record',
    ),
    entries: db.prepare('SELECT seq, epoch, eid, prev, event FROM log WHERE seq > ? ORDER BY seq LIMIT ?'),
    children: db.prepare('SELECT id FROM mandate WHERE parent = ? ORDER BY created'),
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

function toEntry(row: Record<string, unknown>): LogEntry {
  return { ...row, event: JSON.parse(String(row.event)) as MandateEvent } as LogEntry;
}

function reader(sql: Statements): Stored {
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

function keep(sql: Statements, folded: Folded, event: MandateEvent): void {
  const { mandate, proposal, decision, observation } = folded;
  if (mandate !== undefined) {
    const created = mandate.history[0]!.seq;
    sql.keepMandate.run(mandate.id, created, mandate.parent ?? null, JSON.stringify(mandate));
  }
  if (proposal !== undefined) sql.keepProposal.run(proposal.submission_id, JSON.stringify(proposal));
  if (decision !== undefined)
    sql.keepDecision.run(decision.decision_id, decision.key ?? null, JSON.stringify(decision));
  if (observation !== undefined) keepObservation(sql, observation);
  if (event.kind === 'approved') keepApproved(sql, event.terms);
}

/** Where each version of a mandate stands in the log. */
function keepChange(sql: Statements, event: MandateEvent, seq: number): void {
  if (event.kind === 'approved' || event.kind === 'derived') sql.keepChange.run(event.terms.id, 1, seq);
  if (event.kind === 'changed') sql.keepChange.run(event.id, event.version, seq);
}

/** The record as it was: the fold of its own changes so far. */
function recordAt(sql: Statements, id: string, version: number): MandateRecord | undefined {
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

function replayed(receipt: Receipt, stored: Stored): WriterResult {
  return { ok: true, position: receipt.position, receipt, ...about(receipt, stored) };
}

function about({ id, submission_id }: Pick<Receipt, 'id' | 'submission_id'>, stored: Stored) {
  const mandate = stored.mandate(id);
  const proposal = submission_id === undefined ? undefined : stored.proposal(submission_id);
  return { ...(mandate === undefined ? {} : { mandate }), ...(proposal === undefined ? {} : { proposal }) };
}

function answer(
  command: Command,
  written: Extract<Written, { about: unknown }>,
  position: Position,
  stored: Stored,
  sql: Statements,
): WriterResult {
  const { reserved } = written;
  if (reserved !== undefined) return { ok: true, position, reserved };
  const { mandate: named, proposal: submission_id } = written.about;
  const id = command.kind === 'operate' ? command.id : (named ?? '');
  if (command.kind !== 'operate') {
    return {
      ok: true,
      position,
      ...about({ id, ...(submission_id === undefined ? {} : { submission_id }) }, stored),
    };
  }
  const { state, version } = stored.mandate(command.id)!;
  const receipt: Receipt = {
    id,
    operation: command.details.operation,
    state,
    version,
    position,
    cascaded: written.events.filter((event) => event.kind === 'changed' && event.operation === 'cascade')
      .length,
    ...(submission_id === undefined ? {} : { submission_id }),
  };
  const { remember } = written;
  if (remember !== undefined)
    sql.keepNonce.run(id, remember.nonce, remember.fingerprint, JSON.stringify(receipt));
  return { ok: true, position, receipt, ...about(receipt, stored) };
}
