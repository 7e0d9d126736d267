/** The log, or a part of it, is gone, or is not what was written: denied, with the reason, and nothing is mended in silence. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { createFaultProxy } from '../support/fault-proxy.ts';
import type { RedisServer } from '../support/redis.ts';
import { approve, operate, propose } from '../support/authority.ts';
import { started } from './history.ts';
import { openLocal } from './member.ts';
import { afterwards, beside, until } from './scope.ts';
import { type Entry, HEAD, LOG, contentsOf, entriesOf, lastSeq, rebuild, withField } from './tampering.ts';
import { keepVigil, untilAllowed, untilAnswered } from './vigil.ts';

const BUDGET_MS = 1000;

interface Case {
  readonly name: string;
  /** A defect that is not mended yet. */
  readonly harm: (server: RedisServer) => Promise<unknown>;
  /** Why whoever serves denies. */
  readonly latch: RegExp;
  /** Why whoever starts, with what it remembers, does not. */
  readonly refused: RegExp;
}

const CHAIN = /chain is broken|ends at entry/;

const CASES: readonly Case[] = [
  { name: 'DEL of the log', harm: (server) => server.call('DEL', LOG), latch: /GAP/, refused: CHAIN },
  {
    name: 'XTRIM of everything',
    harm: (server) => server.call('XTRIM', LOG, 'MAXLEN', 0),
    latch: /GAP/,
    refused: CHAIN,
  },
  {
    name: 'XDEL of the last entry',
    harm: async (server) => server.call('XDEL', LOG, `${await lastSeq(server)}-0`),
    latch: /GAP/,
    refused: CHAIN,
  },
  {
    name: 'FLUSHALL',
    harm: (server) => server.call('FLUSHALL'),
    latch: /UNINITIALISED/,
    refused: /there is no log, and this sidecar remembers/,
  },
  {
    name: 'DEL of the head',
    harm: (server) => server.call('DEL', HEAD),
    latch: /UNINITIALISED/,
    refused: /there is no log, and this sidecar remembers|a log without a head/,
  },
  {
    name: 'a foreign entry at the end',
    harm: (server) => server.call('XADD', LOG, '*', 'hello', 'world'),
    latch: /GAP|corrupt/,
    refused: CHAIN,
  },
  {
    name: 'a foreign entry in the next place',
    harm: async (server) => server.call('XADD', LOG, `${(await lastSeq(server)) + 1}-0`, 'hello', 'world'),
    latch: /GAP|corrupt/,
    refused: CHAIN,
  },
  {
    name: 'entries with other eids',
    harm: (server) =>
      rebuild(server, (all) => all.map(([id, fields]) => [id, withField(fields, 'eid', (eid) => `x${eid}`)])),
    latch: /GAP|FORK|corrupt/,
    refused: CHAIN,
  },
  {
    name: 'a head that counts on',
    harm: (server) => server.call('HINCRBY', HEAD, 'seq', 5),
    latch: /GAP/,
    refused: CHAIN,
  },
  {
    name: 'a head that is no head',
    harm: (server) => server.call('HSET', HEAD, 'seq', 'many', 'floor', 'none'),
    latch: /GAP|FORK|does not answer|ERR/,
    refused: /head|does not verify|ERR/,
  },
  {
    name: 'a log that is no log',
    harm: async (server) => {
      await server.call('DEL', LOG);
      await server.call('SET', LOG, 'x');
    },
    latch: /WRONGTYPE|GAP|does not answer/,
    refused: /WRONGTYPE|chain is broken/,
  },
];

describe.concurrent(
  'what is served goes away or is changed: denied, with the reason, and left as it is',
  () => {
    for (const { name, harm, latch, refused } of CASES) {
      beside(name, async () => {
        const server = await started();
        const { port } = server;
        const { local } = await openLocal({ port });
        const id = await approve(local);
        await untilAllowed(local, id);
        await harm(server);
        const harmed_ms = performance.now();
        const vigil = keepVigil([local], id);
        const health = async () => (await local.standing()).health;
        await until(health, (seen) => !seen.ok && latch.test(seen.detail));
        await untilAnswered(local, id, ({ effect }) => effect === 'deny', BUDGET_MS);
        expect(await operate(local, id, { operation: 'suspend' })).toMatchObject({
          ok: false,
          refused: 'unavailable',
        });
        const found = await contentsOf(server);
        await sleep(600);
        await vigil.stop();
        expect(vigil.allowsAfter(harmed_ms)).toEqual([]);
        expect(await contentsOf(server)).toEqual(found);
        await local.close();
        const again = await openLocal({ port, outbox: local.outbox });
        expect(again.refused).toMatch(refused);
        expect(await contentsOf(server)).toEqual(found);
      });
    }
  },
);

const swapped = (all: readonly Entry[]): readonly Entry[] =>
  all.map(([id], index) => [id, all[index === 1 ? 2 : index === 2 ? 1 : index]![1]]);

const REWRITTEN: readonly (readonly [string, (server: RedisServer) => Promise<unknown>])[] = [
  [
    'an event whose text is another, all else kept',
    (server) =>
      rebuild(server, (all) =>
        all.map(([id, fields]) => [
          id,
          withField(fields, 'event', (text) => text.replace('repo.*', 'repo.x')),
        ]),
      ),
  ],
  ['two entries in each other`s place', (server) => rebuild(server, swapped)],
  ['an entry gone from the middle', (server) => server.call('XDEL', LOG, '2-0')],
  ['a first entry that is gone', (server) => server.call('XTRIM', LOG, 'MINID', '2-0')],
  [
    'a floor that nobody has set',
    async (server) => {
      const [, fields] = (await entriesOf(server))[1]!;
      await server.call('HSET', HEAD, 'floor', 2, 'floor_eid', fields[5]!);
      await server.call('XTRIM', LOG, 'MINID', '3-0');
    },
  ],
];

describe.concurrent('what was read already is written anew', () => {
  for (const [name, harm] of REWRITTEN) {
    beside(`${name}: nobody starts on it, and whoever had not come so far latches`, async () => {
      const server = await started();
      const { port } = server;
      const door = await createFaultProxy({ target_port: port });
      afterwards(door.close);
      const { local } = await openLocal({ port });
      const behind = await openLocal({ port: door.port });
      door.blackhole('both');
      const id = await approve(local);
      for (let more = 0; more < 4; more += 1) await propose(local);
      await harm(server);
      const found = await contentsOf(server);
      await door.heal();
      const health = async () => (await behind.local.standing()).health;
      await until(
        async () => (await behind.local.check(id, 60_000)).why,
        (why) => !why.includes('no connection'),
      );
      await sleep(700);
      expect(await health()).toMatchObject({
        ok: false,
        detail: expect.stringMatching(/GAP|FORK|corrupt/),
      });
      expect(await behind.local.check(id, 0)).toMatchObject({ effect: 'deny' });
      for (const outbox of [behind.local.outbox, undefined]) {
        await behind.local.close().catch(() => undefined);
        const { refused } = await openLocal({ port, ...(outbox === undefined ? {} : { outbox }) });
        expect(refused).toMatch(/chain is broken|does not verify/);
      }
      expect(await contentsOf(server)).toEqual(found);
    });
  }
});
beside('a log that somebody began anew after FLUSHALL is not taken for the one that was lost', async () => {
  const server = await started();
  const { port } = server;
  const { local } = await openLocal({ port });
  const id = await approve(local);
  await untilAllowed(local, id);
  await server.call('FLUSHALL');
  const stranger = await openLocal({ port });
  expect(stranger.refused).toBe('');
  const vigil = keepVigil([local], id);
  await sleep(1000);
  await vigil.stop();
  expect(vigil.allowsAfter(0)).toEqual([]);
  expect((await local.standing()).health).toMatchObject({ ok: false });
  await local.close();
  expect((await openLocal({ port, outbox: local.outbox })).refused).not.toBe('');
});
