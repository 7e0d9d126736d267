/** `enforced`: every live sidecar has applied it, or its lease has run out; and nothing more is said than is true. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { ACTIONS, LEASE_MS } from './classes.ts';
import { faultsOf } from './final.ts';
import { type Fleet, type Member, startFleet } from './fleet.ts';
import { byLength } from './length.ts';
import { startLoad } from './load.ts';
import type { Checked, Revoked } from './recorder.ts';

/** Each way: whoever does not wait is answered long before. */
const FAR_MS = 40;

let fleet: Fleet;
let near: Member;
let far: Member;
let impatient: Member;
let liar: Member;
beforeAll(async () => {
  fleet = await startFleet();
  const members = await Promise.all(
    [
      {},
      { delay_ms: FAR_MS },
      { sabotage: 'enforced does not wait' } as const,
      { sabotage: 'enforced is said on timeout as well' } as const,
    ].map(fleet.join),
  );
  [near, far, impatient, liar] = members as [Member, Member, Member, Member];
}, 90_000);
afterAll(() => fleet?.stop());

let mandate: string;
/** One that the far sidecar holds, and would allow from what it holds. */
beforeEach(async () => {
  mandate = await near.approve();
  const isCached = async () => (await far.check(mandate, 'repo.write')).freshness?.source === 'replica';
  while (!(await isCached())) await sleep(20);
});

const askFar = (): Promise<readonly Checked[]> =>
  Promise.all(ACTIONS.map((action) => far.check(mandate, action)));

const enforce = (writer: Member, more: JsonObject = {}): Promise<Revoked> =>
  writer.revoke(mandate, { acknowledge: 'enforced', ...more });

const outcomes = (checks: readonly Checked[]): readonly string[] => checks.map(({ outcome }) => outcome);

describe('while all live', () => {
  test(
    'whatever is asked afterwards is denied, also from the cache',
    { timeout: byLength(60_000, 300_000) },
    async () => {
      for (let time = 0; time < byLength(5, 100); time += 1) {
        const { body } = await enforce(near);
        expect(body).toMatchObject({ acknowledged: 'enforced', enforced_at: expect.any(String) });
        expect(outcomes(await askFar())).toEqual(ACTIONS.map(() => 'mission_inactive'));
        mandate = await near.approve();
        await askFar();
      }
    },
  );

  test('enforced does not wait: it fails', async () => {
    const { body } = await enforce(impatient);
    expect(body.acknowledged).toBe('enforced');
    expect(outcomes(await askFar())).toContain('allow');
  });
});

describe('while one sleeps', () => {
  test('its lease is waited for, and it says nothing from its old view', async () => {
    const slept_ms = performance.now();
    far.freeze();
    const { body, ended } = await enforce(near, { timeout_ms: 10 * LEASE_MS });
    const asked = askFar();
    far.thaw();
    expect(body.acknowledged).toBe('enforced');
    // No sooner than what it held had become too old: it was proven a heartbeat before it fell asleep, or later.
    expect(ended!.mono_ms - slept_ms).toBeGreaterThan(LEASE_MS / 2);
    expect(outcomes(await asked)).not.toContain('allow');
  });

  test('who cannot wait for so long is told the level that is true', async () => {
    far.freeze();
    const { status, body } = await enforce(near, { timeout_ms: 300 });
    far.thaw();
    expect([status, body.acknowledged, body.enforced_at]).toEqual([200, 'durable', undefined]);
  });
});

test('while nothing comes through to one: what it still decides is over when the answer comes', async () => {
  const seen: Checked[] = [];
  const watch = startLoad({ per_second: 30, act: async () => void seen.push(...(await askFar())) });
  far.network().blackhole('both');
  const { body, ended } = await enforce(near, { timeout_ms: 10 * LEASE_MS });
  await sleep(300);
  await watch.stop();
  await far.network().heal();
  expect(body.acknowledged).toBe('enforced');
  const [before, after] = [true, false].map((is_before) =>
    seen.filter(({ began }) => began.mono_ms < ended!.mono_ms === is_before),
  );
  expect(outcomes(before!)).toContain('allow');
  expect(after!.length).toBeGreaterThan(0);
  expect(outcomes(after!)).not.toContain('allow');
});

test('enforced is said on timeout as well: it fails', async () => {
  far.network().blackhole('both');
  const { body } = await enforce(liar, { timeout_ms: 100 });
  const asked = await askFar();
  await far.network().heal();
  expect(body.acknowledged).toBe('enforced');
  expect(outcomes(asked)).toContain('allow');
});

test('all that was said is true', async () => {
  expect(await faultsOf(fleet)).toEqual([]);
});
