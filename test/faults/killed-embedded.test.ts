/** The embedded writer killed over and over: what it has acknowledged is there, and the chain verifies. */
import { expect, test } from 'vitest';
import { openSqliteStore } from '../../src/mandates/sqlite/store.ts';
import { type Acknowledged, writeAndKill } from '../support/killed-writer.ts';
import { MANDATES } from '../support/records.ts';
import { byLength } from './length.ts';
import { BUILD, freshFolder } from './member.ts';

const ROUNDS = byLength(10, 500);
const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

test(
  'kill -9 of the embedded writer, over and over on one file',
  async () => {
    const path = freshFolder();
    const acknowledged: Acknowledged[] = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      acknowledged.push(...(await writeAndKill(path, Math.random() * 60, BUILD)));
      // Opening it verifies the whole chain, so that not every round is looked at.
      if (round % 50 === 0 || round === ROUNDS) await expectKept(path, acknowledged);
    }
    expect(acknowledged.length).toBeGreaterThan(ROUNDS);
  },
  30 * 60_000,
);

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
