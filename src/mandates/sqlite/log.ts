/** The log and its fold in one open file: reads for `operate`, and the append that follows it. */
import type { DatabaseSync } from 'node:sqlite';
import type { LogPage, LogPlace } from '../../check/ports.ts';
import type { Command, Receipt, Stored, Written } from '../../core/mandate/commands.ts';
import { type LogEntry, type MandateEvent, type Position, apply } from '../../core/mandate/events.ts';
import { effectiveState, lineageOf } from '../../core/mandate/life.ts';
import { operate } from '../../core/mandate/operate.ts';
import type { Digest, MandateRecord, Observation, Proposal } from '../../core/mandate/record.ts';
import type { StoredDecision } from '../../core/mandate/stored-decision.ts';
import type { WriterResult } from './protocol.ts';
import { type Statements, keep, reader, recordAt, statements } from './tables.ts';

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
    keep(sql, folded, event, entry.seq);
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

function toEntry(row: Record<string, unknown>): LogEntry {
  return { ...row, event: JSON.parse(String(row.event)) as MandateEvent } as LogEntry;
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
  const record = stored.mandate(command.id)!;
  const lineage = lineageOf(record, stored.mandate);
  const state = lineage === undefined ? record.state : effectiveState(lineage, command.at_ms);
  const receipt: Receipt = {
    id,
    operation: command.details.operation,
    state,
    version: record.version,
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
