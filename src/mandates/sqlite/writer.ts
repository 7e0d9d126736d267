/**
 * The one writer: a worker thread, so that a slow disk never stops the checks. Commands that arrive while a commit is
 * under way go into the next one together.
 */
import { randomBytes } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import type { LogEntry } from '../../core/mandate/events.ts';
import { sha256 } from '../../digest.ts';
import { type OpenDatabase, openDatabase, resultCode } from './database.ts';
import { type MandateLog, createLog } from './log.ts';
import type { FromWriter, ToWriter, WriterOptions, WriterResult } from './protocol.ts';

type Write = Extract<ToWriter, { kind: 'write' }>;

/** Most commands in one commit, so that the first of them does not wait for an endless last. */
const MAX_GROUP = 256;
const LOAD_CHUNK = 1000;
const PROBE_INTERVAL_MS = 1000;
const SQLITE_FULL = 13;

const port = parentPort!;
const options = workerData as WriterOptions;

function say(message: FromWriter): void {
  port.postMessage(message);
}

function serve({ db, head }: OpenDatabase): void {
  const log = createLog(db, head, {
    issuer: options.issuer,
    digest: sha256,
    eid: () => randomBytes(16).toString('base64url'),
  });
  let queue: Write[] = [];
  let isBroken = false;
  let isFull = false;

  const commit = (group: readonly Write[]): void => {
    const calls = group.map(({ call }) => call);
    if (isBroken)
      return say({ kind: 'not_committed', calls, fatal: true, detail: 'the store failed for good' });
    try {
      say(transact(db, log, group));
      if (isFull) writableAgain();
    } catch (error) {
      const code = resultCode(error);
      // After an I/O error nobody knows what the disk holds, so the file is not written again. A defect of ours has
      // rolled back and spoils only its own group.
      isBroken = code !== undefined && code !== SQLITE_FULL;
      say({ kind: 'not_committed', calls, fatal: isBroken, detail: (error as Error).message });
      if (code === SQLITE_FULL) full();
    }
  };

  const full = (): void => {
    if (isFull) return;
    isFull = true;
    say({ kind: 'disk_full' });
    setTimeout(probe, PROBE_INTERVAL_MS);
  };

  const writableAgain = (): void => {
    isFull = false;
    say({ kind: 'writable_again' });
  };

  /** A full disk heals without us: a small write that succeeds opens the store again. */
  const probe = (): void => {
    if (isBroken || !isFull) return;
    try {
      db.exec("BEGIN IMMEDIATE; INSERT OR REPLACE INTO meta VALUES ('probe', hex(randomblob(4096))); COMMIT");
      writableAgain();
    } catch (error) {
      rollBack(db);
      if (resultCode(error) === SQLITE_FULL) setTimeout(probe, PROBE_INTERVAL_MS);
      else isBroken = true;
    }
  };

  const drain = (): void => {
    const group = queue.slice(0, MAX_GROUP);
    queue = queue.slice(MAX_GROUP);
    if (queue.length > 0) setImmediate(drain);
    commit(group);
  };

  port.on('message', (message: ToWriter) => {
    switch (message.kind) {
      case 'write':
        if (queue.push(message) === 1) setImmediate(drain);
        break;
      case 'proposal':
        say({ kind: 'proposal', call: message.call, proposal: log.proposal(message.submission_id) });
        break;
      case 'decision':
        say({ kind: 'decision', call: message.call, decision: log.decision(message.decision_id) });
        break;
      case 'version':
        say({ kind: 'version', call: message.call, record: log.recordAt(message.id, message.version) });
        break;
      case 'entries':
        say({ kind: 'entries', call: message.call, page: log.entriesAfter(message.after, message.limit) });
        break;
      case 'close':
        while (queue.length > 0) drain();
        db.close();
        say({ kind: 'closed' });
        port.close();
        break;
    }
  });
  load(log);
  say({ kind: 'ready', position: head });
}

function load(log: MandateLog): void {
  let chunk = [];
  for (const record of log.records()) {
    if (chunk.push(record) < LOAD_CHUNK) continue;
    say({ kind: 'loaded', records: chunk, observations: [] });
    chunk = [];
  }
  say({ kind: 'loaded', records: chunk, observations: log.observations() });
}

/** All of the group or nothing of it is on disk when this returns or throws. */
function transact(db: OpenDatabase['db'], log: MandateLog, group: readonly Write[]): FromWriter {
  const entries: LogEntry[] = [];
  const results: { call: number; result: WriterResult }[] = [];
  try {
    db.exec('BEGIN IMMEDIATE');
    for (const { call, command } of group) {
      const ran = log.run(command);
      for (const entry of ran.entries) entries.push(entry);
      results.push({ call, result: ran.result });
    }
    db.exec('COMMIT');
    log.settle('committed');
    return { kind: 'committed', entries, results };
  } catch (error) {
    rollBack(db);
    log.settle('rolled_back');
    throw error;
  }
}

function rollBack(db: OpenDatabase['db']): void {
  try {
    if (db.isTransaction) db.exec('ROLLBACK');
  } catch {
    // The transaction is gone already, or the file is: the commit's own error says which.
  }
}

try {
  serve(openDatabase(options.file, options.issuer));
} catch (error) {
  say({ kind: 'refused', detail: (error as Error).message });
  port.close();
}
