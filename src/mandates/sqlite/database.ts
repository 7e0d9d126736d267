/** The store's file: opened only when it can be trusted, and read back where SQLite could have said something else. */
import { DatabaseSync } from 'node:sqlite';
import type { Position } from '../../core/mandate/events.ts';

const APPLICATION_ID = 0x6d_61_6e_64;
const SCHEMA_VERSION = 3;

const TABLES = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE log (seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, eid TEXT NOT NULL, prev TEXT NOT NULL,
                    event TEXT NOT NULL) STRICT;
  CREATE TABLE mandate (id TEXT PRIMARY KEY, created INTEGER NOT NULL, parent TEXT, ends INTEGER, record TEXT NOT NULL) STRICT;
  CREATE INDEX mandate_created ON mandate (created);
  CREATE INDEX mandate_parent ON mandate (parent, created) WHERE parent IS NOT NULL;
  CREATE INDEX mandate_living ON mandate (parent, ends) WHERE ends IS NOT NULL;
  CREATE TABLE approval (event_id TEXT PRIMARY KEY, mandate TEXT NOT NULL) STRICT;
  CREATE TABLE change (mandate TEXT NOT NULL, version INTEGER NOT NULL, seq INTEGER NOT NULL,
                       PRIMARY KEY (mandate, version)) STRICT;
  CREATE TABLE observed (event_id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
  CREATE TABLE observation (event_type TEXT NOT NULL, key TEXT NOT NULL, record TEXT NOT NULL,
                            PRIMARY KEY (event_type, key)) STRICT;
  CREATE TABLE conditioned (event_type TEXT NOT NULL, key TEXT NOT NULL, mandate TEXT NOT NULL,
                            PRIMARY KEY (event_type, key, mandate)) STRICT;
  CREATE TABLE decision (id TEXT PRIMARY KEY, key TEXT, record TEXT NOT NULL) STRICT;
  CREATE INDEX decision_key ON decision (key) WHERE key IS NOT NULL;
  CREATE TABLE proposal (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
  CREATE TABLE nonce (mandate TEXT NOT NULL, nonce TEXT NOT NULL, fingerprint TEXT NOT NULL, receipt TEXT NOT NULL,
                      PRIMARY KEY (mandate, nonce)) STRICT;
`;

/** Oldest releases with the WAL-reset fix, by minor version; newer minors have it. */
const FIXED_PATCH: Readonly<Record<number, number>> = { 44: 6, 50: 7, 51: 3 };

/** Releases before these can lose or corrupt committed WAL content. */
export function isSafeSqlite(version: string): boolean {
  const [major, minor, patch] = version.split('.').map(Number) as [number, number, number];
  if (major !== 3) return major > 3;
  if (minor > 51) return true;
  const fixed = FIXED_PATCH[minor];
  return fixed !== undefined && patch >= fixed;
}

/** A refusal to open; its message is for the operator and names the file and the cause. */
export class StoreRefusal extends Error {}

export interface OpenDatabase {
  readonly db: DatabaseSync;
  readonly head: Position;
}

export function openDatabase(file: string, issuer: string): OpenDatabase {
  return openHardened(file, (db) => {
    initialise(db, issuer);
    return { db, head: verifyChain(db) };
  });
}

/** A file that is this process's alone and keeps what it has confirmed; `begin` looks at what is in it. */
export function openHardened<T>(file: string, begin: (db: DatabaseSync) => T): T {
  const db = open(file);
  try {
    harden(db);
    return begin(db);
  } catch (error) {
    db.close();
    throw asRefusal(error, file);
  }
}

function open(file: string): DatabaseSync {
  try {
    return new DatabaseSync(file, { timeout: 0 });
  } catch (error) {
    throw asRefusal(error, file);
  }
}

/** SQLite's primary result codes that an operator meets, and what they mean here. */
const CAUSES: Readonly<Record<number, string>> = {
  5: 'another process has the store open',
  8: 'the store is read-only',
  10: 'the disk reported an I/O error',
  11: 'the file is corrupt',
  13: 'the disk is full',
  14: 'the file cannot be opened or created',
  26: 'the file is not a database',
};

/** SQLite's primary result code of an error, or undefined when it is not SQLite's. */
export function resultCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

function asRefusal(error: unknown, file: string): Error {
  if (error instanceof StoreRefusal) return error;
  const cause = CAUSES[resultCode(error) ?? -1] ?? (error as Error).message;
  return new StoreRefusal(`the store \`${file}\` cannot be used: ${cause}`);
}

export function value(db: DatabaseSync, sql: string): unknown {
  const row = db.prepare(sql).get();
  return row === undefined ? undefined : Object.values(row)[0];
}

function harden(db: DatabaseSync): void {
  const version = String(value(db, 'SELECT sqlite_version()'));
  if (!isSafeSqlite(version))
    throw new StoreRefusal(`SQLite ${version} can lose committed data; 3.51.3 or newer is needed`);
  // Exclusive before WAL: the lock is the kernel's, goes with the process, and shuts a second one out.
  expect(db, 'PRAGMA locking_mode = EXCLUSIVE', 'PRAGMA locking_mode', 'exclusive');
  expect(db, 'PRAGMA journal_mode = WAL', 'PRAGMA journal_mode', 'wal');
  expect(db, 'PRAGMA synchronous = FULL', 'PRAGMA synchronous', 2);
  expect(db, 'PRAGMA trusted_schema = OFF', 'PRAGMA trusted_schema', 0);
  expect(db, 'PRAGMA cell_size_check = ON', 'PRAGMA cell_size_check', 1);
  const check = value(db, 'PRAGMA quick_check(1)');
  if (check !== 'ok') throw new StoreRefusal(`the store's file is corrupt: ${String(check)}`);
}

function expect(db: DatabaseSync, set: string, get: string, wanted: string | number): void {
  db.exec(set);
  const actual = value(db, get);
  if (actual !== wanted)
    throw new StoreRefusal(`\`${set}\` had no effect: it reads back \`${String(actual)}\``);
}

function initialise(db: DatabaseSync, issuer: string): void {
  const application = value(db, 'PRAGMA application_id');
  const version = Number(value(db, 'PRAGMA user_version'));
  const isEmpty = value(db, 'SELECT count(*) FROM sqlite_schema') === 0;
  if (isEmpty) return create(db, issuer);
  if (application !== APPLICATION_ID) throw new StoreRefusal('the file is a database of something else');
  if (version !== SCHEMA_VERSION) {
    throw new StoreRefusal(`the store has schema ${version}, and this build knows ${SCHEMA_VERSION}`);
  }
  const kept = value(db, "SELECT value FROM meta WHERE key = 'issuer'");
  if (kept !== issuer)
    throw new StoreRefusal(`the store keeps mandates of \`${String(kept)}\`, not of \`${issuer}\``);
}

function create(db: DatabaseSync, issuer: string): void {
  db.exec('BEGIN EXCLUSIVE');
  db.exec(TABLES);
  db.prepare('INSERT INTO meta VALUES (?, ?), (?, ?), (?, ?)').run(
    'issuer',
    issuer,
    'epoch',
    '1',
    'genesis',
    crypto.randomUUID(),
  );
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  db.exec('COMMIT');
}

/** Walks the whole log: ids are dense, every link holds. Returns the head. */
function verifyChain(db: DatabaseSync): Position {
  const genesis = String(value(db, "SELECT value FROM meta WHERE key = 'genesis'"));
  const epoch = Number(value(db, "SELECT value FROM meta WHERE key = 'epoch'"));
  let head: Position = { epoch, seq: 0, eid: genesis };
  for (const row of db.prepare('SELECT seq, epoch, eid, prev FROM log ORDER BY seq').iterate()) {
    const entry = row as unknown as Position & { readonly prev: string };
    if (entry.seq !== head.seq + 1 || entry.prev !== head.eid || entry.epoch !== epoch) {
      throw new StoreRefusal(`the log's chain is broken at entry ${entry.seq}`);
    }
    head = { epoch, seq: entry.seq, eid: entry.eid };
  }
  return head;
}
