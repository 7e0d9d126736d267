/** What every memory of proofs must do (RFC 9449 section 11.1), whoever keeps it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { ProofMemory } from '../../src/check/ports.ts';
import type { Instant } from '../../src/core/time.ts';

const now = (): Instant => ({ wall_ms: Date.now(), mono_ms: performance.now() });

export function remembersProofs(what: string, memory: () => ProofMemory): void {
  const show = (key: string, more: { lifetime_ms?: number; request_id?: string } = {}) =>
    memory().show({ key, lifetime_ms: 60_000, ...more }, now());

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
      for (const request_id of ['r1', 'r1', 'r2', undefined])
        kinds.push((await show(key, request_id === undefined ? {} : { request_id })).kind);
      expect(kinds).toEqual(['first', 'first', 'replayed', 'replayed']);
    });

    test('one that came without an id does not come again under one', async () => {
      const key = randomUUID();
      expect([(await show(key)).kind, (await show(key, { request_id: 'r1' })).kind]).toEqual([
        'first',
        'replayed',
      ]);
    });

    test('it is remembered at least as long as is asked', async () => {
      const [key, lifetime_ms] = [randomUUID(), 1500];
      await show(key, { lifetime_ms });
      await sleep(1000);
      expect((await show(key, { lifetime_ms })).kind).toBe('replayed');
    });
  });
}
