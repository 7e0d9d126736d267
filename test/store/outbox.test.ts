/** The outbox beside what test/faults asks of it: errands, which survive the process, and files of an earlier schema. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Outbox, openOutbox } from '../../src/mandates/outbox/outbox.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-outbox-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function open(): Promise<Outbox> {
  const opened = await openOutbox(folder, 'acme');
  if (!opened.ok) throw new Error(opened.error);
  return opened.outbox;
}

const texts = ({ errands }: Outbox): readonly string[] => errands.list().map(({ text }) => text);

test('an errand stands in it until it was done, whoever opens it', async () => {
  let outbox = await open();
  for (const text of ['a', 'b', 'c']) expect(await outbox.errands.entrust(text)).toBe(true);
  await outbox.errands.done(outbox.errands.list()[1]!.number);
  expect(texts(outbox)).toEqual(['a', 'c']);
  await outbox.close();
  outbox = await open();
  expect(texts(outbox)).toEqual(['a', 'c']);
  expect(await outbox.errands.entrust('d')).toBe(true);
  expect(texts(outbox)).toEqual(['a', 'c', 'd']);
  await outbox.close();
});

test('a file of schema 1 keeps what it has, and takes errands', async () => {
  const first = await open();
  const { id } = first.memory;
  await first.close();
  const file = new DatabaseSync(join(folder, 'outbox.db'));
  file.exec('DROP TABLE errand; PRAGMA user_version = 1');
  file.close();
  const outbox = await open();
  expect(outbox.memory.id).toBe(id);
  expect(await outbox.errands.entrust('a')).toBe(true);
  await outbox.close();
});

test('a file of a later schema is refused and left as it is', async () => {
  await (await open()).close();
  const file = new DatabaseSync(join(folder, 'outbox.db'));
  file.exec('PRAGMA user_version = 3');
  file.close();
  const opened = await openOutbox(folder, 'acme');
  expect(opened).toMatchObject({ ok: false, error: expect.stringContaining('schema 3') as string });
});
