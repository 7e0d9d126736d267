/** Row: many revokes under open-loop load. No budget-0 allow starts after a revoke returned; cached ones all within N. */
import type { Seen } from '../support/history.ts';
import { faultsOf } from './final.ts';
import { ACTIONS } from './classes.ts';
import type { Fleet, Member } from './fleet.ts';
import { createDice, startLoad } from './load.ts';

export interface RevokesOptions {
  readonly revokes: number;
  /** Who is asked. */
  readonly members: readonly Member[];
  /** Who is told. */
  readonly writers: readonly Member[];
}

export interface Revokes {
  readonly faults: readonly string[];
  readonly seen: readonly Seen[];
}

/** More than two small cores can serve tells of the machine. */
const REVOKES_PER_S = 40;
const CHECKS_PER_S = 150;
/** Of trees whose turn to end is near, or was not long ago. */
const NEAR = 20;

export async function revokeUnderLoad(fleet: Fleet, options: RevokesOptions): Promise<Revokes> {
  const { revokes, members, writers } = options;
  const trees = await Promise.all(Array.from({ length: revokes }, () => plant(writers[0]!)));
  const from = fleet.history.length;
  // So that all of them are held: else the first question about each would bring it along.
  for (const each of members)
    await Promise.all(trees.flat().map((mandate) => each.check(mandate, 'repo.read')));
  const dice = createDice();
  let revoked = 0;
  const check = () => {
    const near = trees.slice(Math.max(0, revoked - NEAR), revoked + NEAR);
    return dice(members).check(dice(dice(near)), dice(ACTIONS));
  };
  const revoke = async (turn: number) => {
    const [root, child] = trees[turn]!;
    revoked += 1;
    await dice(writers).revoke(root, {}, [child]);
    // At the heels of the answer: this is when a view is stale, if ever.
    await Promise.all(members.map((each) => each.check(dice([root, child]), 'repo.push')));
  };
  const checks = startLoad({ per_second: CHECKS_PER_S, act: check });
  await startLoad({ per_second: REVOKES_PER_S, act: revoke }, revokes).over;
  await checks.stop();
  return { faults: await faultsOf(fleet, from), seen: fleet.history.slice(from) };
}

type Tree = readonly [root: string, child: string];

async function plant(at: Member): Promise<Tree> {
  const root = await at.approve();
  return [root, await at.derive(root)];
}
