/** What every memory of proofs must do (RFC 9449 section 11.1), whoever keeps it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { ProofMemory } from '../../src/check/ports.ts';
import type { Instant } from '../../src/core/time.ts';

const now = (): Instant => ({ wall_ms: Date.now(), mono_ms: performance.now() });

export function remembersProofs(what: string, memory: () => ProofMemory): void {
  const show = (jti: string, more: { lifetime_ms?: number; request?: string; again_ms?: number } = {}) => {
    const { lifetime_ms = 60_000, request, again_ms = 10_000 } = more;
    const again = request === undefined ? {} : { again: { request, lifetime_ms: again_ms } };
    return memory().show({ holder: 'holder', jti, lifetime_ms, ...again }, now());
  };

  describe(what, () => {
    test('a proof is new once', async () => {
      const key = randomUUID();
      expect([await show(key), await show(key), await show(key)]).toEqual([
        { kind: 'first' },
        { kind: 'replayed' },
        { kind: 'replayed' },
      ]);
    });

    test('of many at once one is the first', async () => {
      const key = randomUUID();
      const shown = await Promise.all(Array.from({ length: 50 }, async () => show(key)));
      expect(shown.filter(({ kind }) => kind === 'first')).toHaveLength(1);
    });

    test('under the id of the same request it may come again; under another, or none, it may not', async () => {
      const key = randomUUID();
      const kinds = [];
      for (const request of ['r1', 'r1', 'r2', undefined])
        kinds.push((await show(key, request === undefined ? {} : { request })).kind);
      expect(kinds).toEqual(['first', 'first', 'replayed', 'replayed']);
    });

    test('one that came without an id does not come again under one', async () => {
      const key = randomUUID();
      expect([(await show(key)).kind, (await show(key, { request: 'r1' })).kind]).toEqual([
        'first',
        'replayed',
      ]);
    });

    test('the id of a request stands for it for its own time alone', async () => {
      const [key, again_ms] = [randomUUID(), 500];
      const kinds = [(await show(key, { request: 'r1', again_ms })).kind];
      kinds.push((await show(key, { request: 'r1', again_ms })).kind);
      await sleep(700);
      kinds.push((await show(key, { request: 'r1', again_ms })).kind);
      expect(kinds).toEqual(['first', 'first', 'replayed']);
    });

    test('the same name by another key is another proof', async () => {
      const jti = randomUUID();
      const kinds = await Promise.all(
        ['a', 'b', 'a'].map(
          async (holder) => (await memory().show({ holder, jti, lifetime_ms: 60_000 }, now())).kind,
        ),
      );
      expect(kinds).toEqual(['first', 'first', 'replayed']);
    });

    test('it is remembered at least as long as is asked', async () => {
      const [key, lifetime_ms] = [randomUUID(), 1500];
      await show(key, { lifetime_ms });
      await sleep(1000);
      expect((await show(key, { lifetime_ms })).kind).toBe('replayed');
    });
  });
}
