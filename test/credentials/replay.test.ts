/** Proofs that one process remembers: never one too few, and no more than it has room for. */
import { expect, test } from 'vitest';
import { createProofMemory } from '../../src/credentials/replay.ts';
import { remembersProofs } from '../support/proof-memory.ts';

const memory = createProofMemory();
remembersProofs('in memory', () => memory);

const at = (ms: number) => ({ wall_ms: 1_000_000 + ms, mono_ms: ms });
const LIFETIME_MS = 125_000;

test('one more than there is room for is refused, and none is forgotten for it', async () => {
  const small = createProofMemory(3);
  const show = (key: string, ms: number) => small.show({ key, lifetime_ms: LIFETIME_MS }, at(ms));
  for (const key of ['a', 'b', 'c']) expect(await show(key, 0)).toEqual({ kind: 'first' });
  expect(await show('d', 1000)).toMatchObject({ kind: 'unknown' });
  expect(await show('a', 1000)).toEqual({ kind: 'replayed' });
  // Room comes when they end by themselves.
  expect(await show('d', LIFETIME_MS + 20_000)).toEqual({ kind: 'first' });
});

test('what has ended is forgotten, so that memory does not grow with time', async () => {
  const small = createProofMemory(1000);
  for (let key = 0; key < 100_000; key += 1)
    expect((await small.show({ key: String(key), lifetime_ms: 1000 }, at(key * 20))).kind).toBe('first');
});

test('a wall clock that is set forward makes no proof new again', async () => {
  const small = createProofMemory();
  await small.show({ key: 'a', lifetime_ms: LIFETIME_MS }, at(0));
  const jumped = { wall_ms: 1_000_000 + 3_600_000, mono_ms: 1000 };
  expect(await small.show({ key: 'a', lifetime_ms: LIFETIME_MS }, jumped)).toEqual({ kind: 'replayed' });
});
