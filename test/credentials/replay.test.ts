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
  const show = (holder: string, ms: number) =>
    small.show({ holder, jti: 'j', lifetime_ms: LIFETIME_MS }, at(ms));
  for (const holder of ['a', 'b', 'c']) expect(await show(holder, 0)).toEqual({ kind: 'first' });
  expect(await show('d', 1000)).toMatchObject({ kind: 'unknown' });
  expect(await show('a', 1000)).toEqual({ kind: 'replayed' });
  // Room comes when they end by themselves.
  expect(await show('d', LIFETIME_MS + 20_000)).toEqual({ kind: 'first' });
});

test('one holder does not have the room of the others', async () => {
  const small = createProofMemory(10);
  const show = async (holder: string, jti: string, ms = 0) =>
    (await small.show({ holder, jti, lifetime_ms: LIFETIME_MS }, at(ms))).kind;
  expect([await show('a', '1'), await show('a', '2'), await show('a', '3')]).toEqual([
    'first',
    'first',
    'unknown',
  ]);
  expect([await show('b', '1'), await show('a', '2')]).toEqual(['first', 'replayed']);
  expect(await show('a', '3', LIFETIME_MS + 20_000)).toBe('first');
});

test('what has ended is forgotten, so that memory does not grow with time', async () => {
  const small = createProofMemory(1000);
  for (let jti = 0; jti < 100_000; jti += 1) {
    const proof = { holder: String(jti % 100), jti: String(jti), lifetime_ms: 1000 };
    expect((await small.show(proof, at(jti * 20))).kind).toBe('first');
  }
});

test('a wall clock that is set forward makes no proof new again', async () => {
  const small = createProofMemory();
  const proof = { holder: 'a', jti: 'j', lifetime_ms: LIFETIME_MS };
  await small.show(proof, at(0));
  const jumped = { wall_ms: 1_000_000 + 3_600_000, mono_ms: 1000 };
  expect(await small.show(proof, jumped)).toEqual({ kind: 'replayed' });
});
