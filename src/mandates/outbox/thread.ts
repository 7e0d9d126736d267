/** The outbox's thread: one file, and everything that arrived meanwhile in one commit. */
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { StoreRefusal, openHardened, resultCode, value } from '../sqlite/database.ts';
import type { Ending, Errand, FromOutbox, Intent, Memory, ToOutbox } from './protocol.ts';

const APPLICATION_ID = 0x6d_61_6e_6f;
const SCHEMA_VERSION = 2;
const SQLITE_FULL = 13;
/** A server may come back from a copy of any age: what is forgotten, by the latest start, is what ended longest ago. */
const MOST_ENDINGS = 1_000_000;

const TABLES = `
  CREATE TABLE memory (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE ending (mandate TEXT PRIMARY KEY, seq INTEGER NOT NULL, entry TEXT NOT NULL) STRICT;
  CREATE INDEX ending_seq ON ending (seq);
  CREATE TABLE intent (number INTEGER PRIMARY KEY AUTOINCREMENT, command TEXT NOT NULL) STRICT;
`;
/** Schema 2 has errands as well. */
const ERRANDS = 'CREATE TABLE errand (number INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL) STRICT;';

const port = parentPort!;
const { file, id, tenant } = workerData as {
  readonly file: string;
  readonly id: string;
  readonly tenant: string;
};

function say(message: FromOutbox): void {
  port.postMessage(message);
}

function begin(db: DatabaseSync): DatabaseSync {
  if (value(db, 'SELECT count(*) FROM sqlite_schema') === 0) {
    db.exec(
      `BEGIN EXCLUSIVE; ${TABLES} ${ERRANDS} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`,
    );
    db.prepare('INSERT INTO memory VALUES (?, ?), (?, ?)').run('id', id, 'tenant', tenant);
  }
  if (value(db, 'PRAGMA application_id') !== APPLICATION_ID)
    throw new StoreRefusal('the file is of something else');
  if (value(db, 'PRAGMA user_version') === 1)
    db.exec(`BEGIN EXCLUSIVE; ${ERRANDS} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
  const version = Number(value(db, 'PRAGMA user_version'));
  if (version !== SCHEMA_VERSION)
    throw new StoreRefusal(`the outbox has schema ${version}, and this build knows ${SCHEMA_VERSION}`);
  const kept = value(db, "SELECT value FROM memory WHERE name = 'tenant'");
  if (kept !== tenant)
    throw new StoreRefusal(`the outbox is of the tenant \`${String(kept)}\`, not of \`${tenant}\``);
  return db;
}

function serve(db: DatabaseSync): void {
  const sql = {
    remember: db.prepare('INSERT OR REPLACE INTO memory VALUES (?, ?)'),
    // What ended a mandate first is what counts; after a heal it is the entry that said it again.
    end: db.prepare('INSERT OR REPLACE INTO ending VALUES (?, ?, ?)'),
    endings: db.prepare('SELECT entry FROM ending ORDER BY seq DESC, mandate LIMIT ? OFFSET ?'),
    forget: db.prepare(
      'DELETE FROM ending WHERE seq <= (SELECT seq FROM ending ORDER BY seq DESC LIMIT 1 OFFSET ?)',
    ),
    intend: db.prepare('INSERT INTO intent (command) VALUES (?)'),
    done: db.prepare('DELETE FROM intent WHERE number = ?'),
    entrust: db.prepare('INSERT INTO errand (body) VALUES (?)'),
    run: db.prepare('DELETE FROM errand WHERE number = ?'),
    errands: db.prepare('SELECT number, body FROM errand ORDER BY number'),
    intents: db.prepare('SELECT number, command FROM intent ORDER BY number'),
    memory: db.prepare('SELECT name, value FROM memory'),
  };
  let queue: ToOutbox[] = [];
  let isBroken = false;

  const run = (message: ToOutbox): FromOutbox | undefined => {
    switch (message.kind) {
      case 'keep':
        for (const each of message.endings) {
          if (each.event.kind === 'changed') sql.end.run(each.event.id, each.seq, JSON.stringify(each));
        }
        for (const [name, each] of Object.entries(message.memory))
          sql.remember.run(name, JSON.stringify(each ?? null));
        return undefined;
      case 'intend': {
        const { lastInsertRowid } = sql.intend.run(JSON.stringify(message.command));
        return { kind: 'numbered', call: message.call, number: Number(lastInsertRowid) };
      }
      case 'entrust': {
        const { lastInsertRowid } = sql.entrust.run(message.text);
        return { kind: 'numbered', call: message.call, number: Number(lastInsertRowid) };
      }
      case 'run':
        sql.run.run(message.number);
        return undefined;
      case 'done':
        sql.done.run(message.number);
        return undefined;
      case 'endings': {
        const rows = sql.endings.all(message.limit, message.offset);
        const endings = rows.map(({ entry }) => JSON.parse(String(entry)) as Ending);
        return { kind: 'endings', call: message.call, endings };
      }
      case 'close':
        return undefined;
    }
  };

  const drain = (): void => {
    const [group] = [queue, (queue = [])];
    const calls = group.flatMap((message) => ('call' in message ? [message.call] : []));
    try {
      if (isBroken) throw new Error('the file is not written any more');
      db.exec('BEGIN IMMEDIATE');
      const answers = group.map(run).filter((each) => each !== undefined);
      db.exec('COMMIT');
      answers.forEach(say);
      say({ kind: 'kept', calls });
    } catch (error) {
      // After an I/O error nobody knows what the disk holds; a full one heals.
      isBroken = resultCode(error) !== SQLITE_FULL;
      if (!isBroken && db.isTransaction) db.exec('ROLLBACK');
      say({ kind: 'failed', calls, is_broken: isBroken, detail: (error as Error).message });
    }
    if (!group.some(({ kind }) => kind === 'close')) return;
    db.close();
    say({ kind: 'closed' });
    port.close();
  };

  port.on('message', (message: ToOutbox) => {
    if (queue.push(message) === 1) setImmediate(drain);
  });
  const named = new Map(sql.memory.all().map((row) => [String(row.name), String(row.value)]));
  const remembered = (name: string): unknown => JSON.parse(named.get(name) ?? 'null') ?? undefined;
  const memory: Memory = {
    id: named.get('id')!,
    position: remembered('position') as Memory['position'],
    run: remembered('run') as Memory['run'],
    genesis: remembered('genesis') as Memory['genesis'],
    fleet: (remembered('fleet') as Memory['fleet'] | undefined) ?? [],
  };
  const intents = sql.intents.all().map((row): Intent => {
    return { number: Number(row.number), command: JSON.parse(String(row.command)) as Intent['command'] };
  });
  const errands = sql.errands.all().map((row): Errand => {
    return { number: Number(row.number), text: String(row.body) };
  });
  sql.forget.run(MOST_ENDINGS);
  say({ kind: 'ready', memory, intents, errands });
}

try {
  serve(openHardened(file, begin));
} catch (error) {
  say({ kind: 'refused', detail: (error as Error).message });
  port.close();
}
