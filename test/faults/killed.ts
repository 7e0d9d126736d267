/** Row: kill −9 of Redis in the middle of writes. Every acknowledged (seq, eid) is there, and what was kept comes about. */
import { setTimeout as sleep } from 'node:timers/promises';
import { faultsOf, readLog } from './final.ts';
import type { Fleet, Member } from './fleet.ts';
import { createDice } from './load.ts';
import type { Revoked } from './recorder.ts';

/** Begun so soon after each other, some before and some after the kill. */
const REVOKES = 10;
const SPACING_MS = 3;
const PATIENCE_MS = 10_000;

export interface Killed {
  readonly faults: readonly string[];
  readonly revoked: readonly Revoked[];
}

export interface KillOptions {
  /** Who writes. */
  readonly member: Member;
  /** Who makes the mandates; default: the same. */
  readonly maker?: Member;
  readonly kills: number;
}

export async function killInTheMiddle(
  fleet: Fleet,
  { member, maker = member, kills }: KillOptions,
): Promise<Killed> {
  const { redis, history } = fleet;
  const from = history.length;
  const dice = createDice(7);
  const turns = Array.from({ length: REVOKES }, (_, turn) => turn);
  const alive = await maker.approve();
  const revoked: Revoked[] = [];
  for (let kill = 0; kill < kills; kill += 1) {
    const mandates = await Promise.all(turns.map(() => maker.approve()));
    let answered = 0;
    const revoking = mandates.map(async (mandate, index) => {
      await sleep(index * SPACING_MS);
      const done = await member.revoke(mandate);
      answered += 1;
      await member.check(mandate, 'repo.push');
      return done;
    });
    const enough = dice(turns);
    await until(() => answered >= enough, 1);
    await redis.kill();
    await redis.restart();
    revoked.push(...(await Promise.all(revoking)));
    await until(async () => (await maker.check(alive, 'repo.push')).outcome === 'allow');
  }
  const kept = revoked.filter(isKept).flatMap(({ ends }) => ends);
  const missing = async () => {
    const { ended } = await readLog(redis);
    return kept.filter((mandate) => !ended.has(mandate));
  };
  await until(async () => (await missing()).length === 0);
  const forgotten = (await missing()).map((mandate) => `forgotten: ${mandate}`);
  return { faults: [...(await faultsOf(fleet, from)), ...forgotten], revoked };
}

/** The caller was told that it is kept, and will come about. */
export const isKept = ({ body }: Revoked): boolean => String(body.detail).includes('kept');

/** What does not come about is found by what is looked at afterwards. */
async function until(holds: () => Promise<boolean> | boolean, pause_ms = 20): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline && !(await holds())) await sleep(pause_ms);
}
