/**
 * Failovers that lose what was acknowledged (design/3, Failover): whoever remembers it says it again, and until then
 * nothing that cannot be undone is allowed anywhere.
 */
import { describe, expect, test } from 'vitest';
import { approve, committed, derive, operate, propose, recordOf, spend } from '../support/authority.ts';
import { type Place, losses } from './history.ts';
import { byLength } from './length.ts';
import { type Member, startMember } from './member.ts';
import { keepVigil, untilAllowed, untilAnswered } from './vigil.ts';

const CASES = Object.entries(losses).flatMap(([loss, open]) =>
  [1, 3].flatMap((size) =>
    (['no', 'fewer', 'as many', 'more'] as const).map((reused) => ({ loss, open, size, reused })),
  ),
);
/** Entries that somebody else appends before whoever remembers is there; `lose` loses 10. */
const LOST = 10;
const REUSED = { no: 0, fewer: LOST - 3, 'as many': LOST, more: LOST + 3 } as const;
const SHORT = new Set([
  'a disk that is put back to an older copy 1 no',
  'a disk that is put back to an older copy 1 as many',
  'a disk that is put back to an older copy 3 more',
  'a replica that was cut off 3 more',
]);
const isShort = ({ loss, size, reused }: (typeof CASES)[number]): boolean =>
  SHORT.has(`${loss} ${size} ${reused}`);
const cases = byLength(CASES.filter(isShort), CASES);

describe.each(cases)('$loss, $size sidecars, $reused numbers used again', ({ open, size, reused }) => {
  test('nothing that was ended lives again, and everything is as it must be within a second', async () => {
    const place = await open();
    const members = await startMembers(place, size);
    const first = members[0]!;
    const made = await make(first);
    await untilAllReached(members);
    await place.forgetFromNow();

    const bystander = members.length > 1 ? members.at(-1)! : undefined;
    bystander?.door.blackhole('both');
    const ended_ms = await lose(first, made);
    const vigils = [made.revoked, made.completed, made.child].map((id) => keepVigil(members, id));
    await untilAllReached(members.slice(0, Math.max(1, size - 1)));

    await place.fail();
    for (const { door } of members) door.refuse();
    for (const { door } of members) door.cut();
    await place.recover();
    for (const { door } of members) door.retarget(place.server().port);
    if (REUSED[reused] > 0) {
      const other = bystander ?? (await startMember({ port: place.server().port }));
      await bystander?.door.heal();
      vigils.forEach(({ add }) => add(other));
      await useAgain(other, made, REUSED[reused]);
      if (bystander === undefined) members.push(other);
    }

    const recovered_ms = performance.now();
    for (const { door } of members) await door.heal();
    await Promise.all(members.map((each) => untilAllowed(each, made.untouched)));
    expect(performance.now() - recovered_ms).toBeLessThan(1000);

    for (const vigil of vigils) {
      await vigil.stop();
      expect(vigil.allowsAfter(ended_ms)).toEqual([]);
    }
    await expectHealed(members, made);
    // Also for one that comes only now, and remembers nothing.
    await expectHealed([await startMember({ port: place.server().port })], made);
    expect(await place.server().call('HGET', '{acme}:head', 'epoch')).toBe('2');
  });
});

test('a replica that was promoted without one of its own is served within a second', async () => {
  const place = await losses['a replica that was cut off']();
  const member = await startMember({ port: place.server().port });
  const [lost, untouched] = [await approve(member), await approve(member)];
  await place.forgetFromNow();
  await committed(operate(member, lost, { operation: 'revoke' }, 'applied'));
  await place.fail();
  await place.recover();
  member.door.retarget(place.server().port);
  member.door.cut();
  expect(await untilAllowed(member, untouched)).toBeLessThan(1000);
});

async function startMembers(place: Place, size: number): Promise<Member[]> {
  const { port } = place.server();
  return Promise.all(Array.from({ length: size }, () => startMember({ port })));
}

interface Made {
  readonly revoked: string;
  readonly completed: string;
  readonly parent: string;
  readonly child: string;
  readonly suspended: string;
  readonly tightened: string;
  readonly metered: string;
  readonly untouched: string;
}

async function make(member: Member): Promise<Made> {
  const [revoked, completed, parent, suspended, tightened, untouched] = [
    await approve(member),
    await approve(member),
    await approve(member),
    await approve(member),
    await approve(member),
    await approve(member),
  ];
  const metered = await approve(member, { max_calls: 10 });
  expect(await spend(member, metered)).toBe('held');
  const child = await derive(member, parent);
  return { revoked, completed, parent, child, suspended, tightened, metered, untouched };
}

/** Everything here is acknowledged; answers when the last end was. */
async function lose(member: Member, made: Made): Promise<number> {
  const { entry_digests } = await recordOf(member, made.tightened);
  const constraints = { allowed_tools: ['repo.push'] };
  await committed(
    operate(
      member,
      made.tightened,
      { operation: 'tighten', entry: entry_digests[0]!, constraints },
      'applied',
    ),
  );
  await committed(operate(member, made.suspended, { operation: 'suspend' }, 'applied'));
  for (let spent = 0; spent < 4; spent += 1) expect(await spend(member, made.metered)).toBe('held');
  await committed(operate(member, made.revoked, { operation: 'revoke' }, 'applied'));
  await committed(operate(member, made.completed, { operation: 'complete' }, 'applied'));
  await committed(operate(member, made.parent, { operation: 'revoke' }, 'applied'));
  return performance.now();
}

/** Also charges the mandate that others have charged more. */
async function useAgain(other: Member, made: Made, count: number): Promise<void> {
  await untilAnswered(other, made.untouched, ({ source }) => source !== 'none', 60_000);
  for (let used = 0; used < 2; used += 1) expect(await spend(other, made.metered)).toBe('held');
  for (let used = 2; used < count; used += 1) await propose(other);
}

async function untilAllReached(members: readonly Member[]): Promise<void> {
  const heads = async () =>
    Promise.all(members.map(async (each) => (await each.standing()).figures.position?.seq));
  await expect.poll(async () => new Set(await heads()).size, { timeout: 5000 }).toBe(1);
}

async function expectHealed(members: readonly Member[], made: Made): Promise<void> {
  for (const member of members) {
    const states = {
      revoked: 'revoked',
      completed: 'completed',
      parent: 'revoked',
      child: 'cascaded',
    } as const;
    for (const [name, state] of Object.entries(states)) {
      const id = made[name as keyof typeof states];
      expect((await recordOf(member, id)).state).toBe(state);
      expect(await member.check(id, 0)).toMatchObject({ effect: 'deny', why: state });
      expect(await member.check(id, 60_000)).toMatchObject({ effect: 'deny', why: state });
    }
    for (const id of [made.suspended, made.tightened]) {
      const { state, history } = await recordOf(member, id);
      expect([state, history.at(-1)!.reason]).toEqual(['suspended', expect.stringMatching(/^reconcile/)]);
      expect(await member.check(id, 0)).toMatchObject({ effect: 'deny', why: 'suspended' });
    }
    expect((await recordOf(member, made.metered)).usage).toMatchObject({ max_calls: { charged: 5 } });
    expect((await recordOf(member, made.untouched)).state).toBe('active');
    expect(await member.check(made.untouched, 0)).toMatchObject({ effect: 'allow', source: 'barrier' });
    const { health, figures } = await member.standing();
    expect([health, figures.latch, figures.position?.epoch]).toEqual([{ ok: true }, undefined, 2]);
  }
}
