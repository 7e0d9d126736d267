/** The embedded writer killed over and over: what it has acknowledged is there, and the chain verifies (long form). */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openSqliteStore } from '../../src/mandates/sqlite/store.ts';
import { MANDATES } from '../support/records.ts';
import { byLength } from './length.ts';
import { freshFolder } from './member.ts';

const ROUNDS = byLength(0, 500);
const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

interface Acknowledged {
  readonly id: string;
  readonly state: string;
  readonly seq: number;
}

// The short form stands in test/store/sqlite.test.ts.
test.skipIf(ROUNDS === 0)(
  'kill -9 of the embedded writer, 500 times on one file',
  async () => {
    const path = freshFolder();
    const acknowledged: Acknowledged[] = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      acknowledged.push(...(await writeAndKill(path, Math.random() * 60)));
      // Opening it verifies the whole chain, so that not every round is looked at.
      if (round % 50 === 0) await expectKept(path, acknowledged);
    }
    expect(acknowledged.length).toBeGreaterThan(ROUNDS);
  },
  30 * 60_000,
);

async function writeAndKill(path: string, after_ms: number): Promise<readonly Acknowledged[]> {
  const script = join(import.meta.dirname, '../support/writer-loop.ts');
  const child = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    if (out === '') setTimeout(() => child.kill('SIGKILL'), after_ms);
    out += chunk.toString();
  });
  await new Promise((resolve) => child.on('close', resolve));
  const lines = out.split('\n').slice(0, -1);
  return lines.flatMap((line) => {
    const [id, state, seq] = line.split(' ');
    return seq === undefined ? [] : [{ id: id!, state: state!, seq: Number(seq) }];
  });
}

async function expectKept(path: string, acknowledged: readonly Acknowledged[]): Promise<void> {
  const opened = await openSqliteStore({
    path,
    issuer: MANDATES,
    version: 'test',
    now,
    complain: () => undefined,
  });
  if (!opened.ok) throw new Error(opened.error);
  const { store } = opened;
  const proof = await store.barrier();
  const head = 'position' in proof ? proof.position.seq : 0;
  for (const { id, state, seq } of acknowledged) {
    const read = await store.lineage(id);
    const states = read.ok ? read.lineage?.at(-1)?.history.map((item) => item.state) : [];
    expect([id, states?.includes(state as never), seq <= head]).toEqual([id, true, true]);
  }
  await store.close();
}
