/** The embedded engine: the contract, and what only a file on one machine can suffer. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, test } from 'vitest';
import { isSafeSqlite, openDatabase } from '../../src/mandates/sqlite/database.ts';
import { type OpenedStore, openSqliteStore } from '../../src/mandates/sqlite/store.ts';
import { type Acknowledged, writeAndKill } from '../support/killed-writer.ts';
import { MANDATES } from '../support/records.ts';
import { type Opened, acceptance } from './acceptance.ts';
import { useAcceptance } from './acceptance-use.ts';

const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });
const folder = (): string => mkdtempSync(join(tmpdir(), 'mandated-store-'));

function openAt(path: string, issuer = MANDATES): Promise<OpenedStore> {
  return openSqliteStore({ path, issuer, version: 'test', now, complain: () => undefined });
}

async function openKept(path: string): Promise<Opened> {
  const result = await openAt(path);
  if (!result.ok) throw new Error(result.error);
  const { store } = result;
  return {
    store,
    reopen: async () => {
      await store.close();
      return openKept(path);
    },
    discard: async () => {
      await store.close();
      rmSync(path, { recursive: true, force: true });
    },
  };
}

acceptance('sqlite', () => openKept(folder()));
useAcceptance('sqlite', () => openKept(folder()));

describe('kill -9', () => {
  test('at any moment loses nothing that was acknowledged, and the chain verifies', async () => {
    const path = folder();
    const acknowledged: Acknowledged[] = [];
    // A busy machine acknowledges less in a round.
    for (let round = 0; round < 12 || acknowledged.length < 100; round += 1) {
      acknowledged.push(...(await writeAndKill(path, 5 + Math.random() * 60)));
    }
    const { store, discard } = await openKept(path);
    const proof = await store.barrier();
    const head = 'position' in proof ? proof.position.seq : 0;
    for (const { id, state, seq } of acknowledged) {
      expect(seq).toBeLessThanOrEqual(head);
      const read = await store.lineage(id);
      expect(read.ok && read.lineage?.at(-1)?.history.map((item) => item.state)).toContain(state);
    }
    await discard();
  }, 60_000);
});

/** A store with a little in it, closed. */
async function filled(): Promise<string> {
  const path = folder();
  await writeAndKill(path, 30);
  return path;
}

const refusal = async (path: string, issuer?: string): Promise<string> => {
  const result = await openAt(path, issuer);
  if (result.ok) await result.store.close();
  return result.ok ? 'opened' : result.error;
};

describe('a file that cannot be trusted is refused, with the cause', () => {
  const alter = (path: string, sql: string): void => {
    const db = new DatabaseSync(join(path, 'mandates.db'));
    db.exec(sql);
    db.close();
  };

  test.each([
    ['a broken link', "UPDATE log SET prev = 'x' WHERE seq = 2", 'chain is broken at entry 2'],
    ['a missing entry', 'DELETE FROM log WHERE seq = 2', 'chain is broken at entry 3'],
    ['a newer schema', 'PRAGMA user_version = 4', 'schema 4, and this build knows 3'],
    ['the database of something else', 'PRAGMA application_id = 7', 'a database of something else'],
  ])('%s', async (_, sql, cause) => {
    const path = await filled();
    alter(path, sql);
    expect(await refusal(path)).toContain(cause);
    rmSync(path, { recursive: true });
  });

  test('mandates of another issuer', async () => {
    const path = await filled();
    expect(await refusal(path, 'https://other.example')).toContain(`keeps mandates of \`${MANDATES}\``);
    rmSync(path, { recursive: true });
  });

  test('not a database', async () => {
    const path = folder();
    writeFileSync(
      join(path, 'mandates.db'),
      'this is a text file, and a long enough one to have a header '.repeat(40),
    );
    expect(await refusal(path)).toContain('not a database');
    rmSync(path, { recursive: true });
  });

  test('a torn file', async () => {
    const path = await filled();
    const opened = await openKept(path);
    await opened.store.close();
    const file = join(path, 'mandates.db');
    truncateSync(file, Math.floor(readFileSync(file).length / 2 / 4096) * 4096);
    expect(await refusal(path)).toMatch(/corrupt|malformed/);
    rmSync(path, { recursive: true });
  });

  test('open in another process', async () => {
    const path = folder();
    const opened = await openKept(path);
    expect(await refusal(path)).toContain('another process has the store open');
    await opened.discard();
  });

  test('a folder in which nothing can be made', async () => {
    expect(await refusal('/dev/null/store')).toContain('cannot be made');
    expect(await refusal('/sys')).toContain('cannot be opened or created');
  });

  // Root writes whatever the mode says, so this one needs an ordinary user.
  test.skipIf(process.getuid?.() === 0)('read-only', async () => {
    const path = await filled();
    chmodSync(path, 0o500);
    chmodSync(join(path, 'mandates.db'), 0o400);
    expect(await refusal(path)).toMatch(/read-only|cannot be opened/);
    chmodSync(path, 0o700);
    rmSync(path, { recursive: true });
  });

  test('nothing is repaired in silence: a refused file is left as it was', async () => {
    const path = await filled();
    alter(path, 'DELETE FROM log WHERE seq = 2');
    const copy = folder();
    cpSync(join(path, 'mandates.db'), join(copy, 'mandates.db'));
    await refusal(path);
    expect(readFileSync(join(path, 'mandates.db')).equals(readFileSync(join(copy, 'mandates.db')))).toBe(
      true,
    );
    for (const each of [path, copy]) rmSync(each, { recursive: true });
    expect(existsSync(path)).toBe(false);
  });
});

describe('pragmas', () => {
  test('are as durability needs them', () => {
    const path = folder();
    const { db } = openDatabase(join(path, 'mandates.db'), MANDATES);
    const read = (name: string): unknown => Object.values(db.prepare(`PRAGMA ${name}`).get()!)[0];
    expect(
      ['journal_mode', 'synchronous', 'locking_mode', 'trusted_schema', 'cell_size_check'].map(read),
    ).toEqual(['wal', 2, 'exclusive', 0, 1]);
    db.close();
    rmSync(path, { recursive: true });
  });

  test('that had no effect are read back, and refused', () => {
    expect(() => openDatabase(':memory:', MANDATES)).toThrow(
      '`PRAGMA journal_mode = WAL` had no effect: it reads back `memory`',
    );
  });
});

test.each([
  ['3.51.3', true],
  ['3.53.4', true],
  ['3.51.2', false],
  ['3.50.7', true],
  ['3.50.6', false],
  ['3.44.6', true],
  ['3.44.5', false],
  ['3.45.9', false],
  ['3.46.0', false],
  ['3.43.2', false],
])('SQLite %s is safe: %s (design/3, What must be checked at start)', (version, isSafe) => {
  expect(isSafeSqlite(version)).toBe(isSafe);
});
