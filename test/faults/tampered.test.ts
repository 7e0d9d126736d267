/**
 * Records and entries that somebody has written behind our backs, while it is served: never decided from, with a reason, and
 * the process lives. What is forged with care is not noticed by the chain, and not claimed (docs/freshness.md).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import type { RedisServer } from '../support/redis.ts';
import { approve, committed, derive, operate } from '../support/authority.ts';
import { started } from './history.ts';
import { openLocal, startMember } from './member.ts';
import { beside, until } from './scope.ts';
import { HEAD, forge, withField } from './tampering.ts';
import { untilAllowed } from './vigil.ts';

interface Tampering {
  readonly name: string;
  readonly harm: (server: RedisServer, key: string) => Promise<unknown>;
}

/** Fields of a record that are versions: their names are numbers. */
async function versionsOf(server: RedisServer, key: string): Promise<readonly string[]> {
  const names = (await server.call('HKEYS', key)) as string[];
  return names.filter((name) => /^\d+$/.test(name)).toSorted((a, b) => Number(a) - Number(b));
}

async function changeVersion(server: RedisServer, key: string, change: (packed: string) => string) {
  const name = (await versionsOf(server, key)).at(-1)!;
  await server.call('HSET', key, name, change(String(await server.call('HGET', key, name))));
}

const RECORDS: readonly Tampering[] = [
  {
    name: 'another state in its last version',
    harm: (server, key) => changeVersion(server, key, (packed) => packed.replaceAll('revoked', 'active')),
  },
  {
    name: 'another end in its last version',
    harm: (server, key) => changeVersion(server, key, (packed) => packed.replace(/"at":"2\d/, '"at":"3')),
  },
  {
    name: 'no last version',
    harm: async (server, key) => server.call('HDEL', key, (await versionsOf(server, key)).at(-1)!),
  },
  {
    name: 'no first version',
    harm: async (server, key) => server.call('HDEL', key, (await versionsOf(server, key))[0]!),
  },
  { name: 'the version of another', harm: (server, key) => server.call('HSET', key, '1', '1 a b c {}') },
  { name: 'a part that is no JSON', harm: (server, key) => server.call('HSET', key, 'usage', '{not json') },
  { name: 'a lineage of its own', harm: (server, key) => server.call('HSET', key, 'lineage', 'msn_nobody') },
  {
    name: 'a string in its place',
    harm: async (server, key) => {
      await server.call('DEL', key);
      await server.call('SET', key, 'x');
    },
  },
  { name: 'nothing in its place', harm: (server, key) => server.call('DEL', key) },
];

describe.concurrent('a record that was tampered with is not decided from, and others are', () => {
  for (const { name, harm } of RECORDS) {
    beside(name, async () => {
      const server = await started();
      const { port } = server;
      const { local: writer } = await openLocal({ port });
      const [ended, sound] = [await approve(writer), await approve(writer)];
      await committed(operate(writer, ended, { operation: 'revoke' }));
      await harm(server, `{acme}:m:${ended}`);
      // It has not read it yet.
      const member = await startMember({ port });
      for (const budget_ms of [0, 60_000]) {
        expect(await member.check(ended, budget_ms)).toMatchObject({ effect: 'deny' });
        expect(await member.check(sound, budget_ms)).toMatchObject({ effect: 'allow' });
      }
      expect((await operate(member, ended, { operation: 'suspend' })).ok).toBe(false);
      expect((await operate(member, sound, { operation: 'suspend' })).ok).toBe(true);
    });
  }

  beside('of an ancestor', async () => {
    const server = await started();
    const { port } = server;
    const { local: writer } = await openLocal({ port });
    const parent = await approve(writer);
    const child = await derive(writer, parent);
    await changeVersion(server, `{acme}:m:${parent}`, (packed) => packed.replace('repo.*', 'repo.x'));
    const member = await startMember({ port });
    expect(await member.check(child, 0)).toMatchObject({ effect: 'deny' });
    expect(await member.check(parent, 0)).toMatchObject({ effect: 'deny' });
  });
});

const EVENTS: readonly (readonly [string, string])[] = [
  ['is of a newer build', '{"kind":"transcended","id":"msn_1"}'],
  ['is no JSON', '{not json'],
  ['is nothing', 'null'],
  ['has no kind', '{}'],
  ['is about no mandate', '{"kind":"changed"}'],
  ['is a decision about nothing', '{"kind":"decided"}'],
  ['approves nothing', '{"kind":"approved"}'],
];

describe.concurrent('an event that no build of ours has written, in a chain that verifies, latches', () => {
  for (const [name, text] of EVENTS) {
    beside(name, async () => {
      const server = await started();
      const member = await startMember({ port: server.port });
      const id = await approve(member);
      await untilAllowed(member, id);
      await forge(server, text);
      const health = async () => (await member.standing()).health;
      await until(health, (seen) => !seen.ok && seen.detail.includes('corrupt'));
      expect(await member.check(id, 0)).toMatchObject({ effect: 'deny' });
      expect(await member.check(id, 60_000)).toMatchObject({ effect: 'deny' });
      await sleep(300);
      expect((await health()).ok).toBe(false);
    });
  }

  beside('and a change that does not follow from what is stored as well', async () => {
    const server = await started();
    const member = await startMember({ port: server.port });
    const id = await approve(member);
    await untilAllowed(member, id);
    const { event } = await lastEvent(server);
    await forge(server, event.replace('"version":1', '"version":7'));
    await forge(server, JSON.stringify({ kind: 'changed', id, version: 9, state: 'revoked', change: {} }));
    const health = async () => (await member.standing()).health;
    await until(health, (seen) => !seen.ok && seen.detail.includes('corrupt'));
    expect(await member.check(id, 0)).toMatchObject({ effect: 'deny' });
  });
});

async function lastEvent(server: RedisServer): Promise<{ readonly event: string }> {
  const [[, fields]] = (await server.call('XREVRANGE', '{acme}:log', '+', '-', 'COUNT', 1)) as [
    [string, string[]],
  ];
  let event = '';
  withField(fields, 'event', (text) => (event = text));
  return { event };
}

beside('what others say of themselves is not believed where it makes no sense', async () => {
  const server = await started();
  const member = await startMember({ port: server.port, lease_ms: 1000 });
  const id = await approve(member);
  for (const [index, row] of [
    '',
    'null',
    '[]',
    '{"beat":"x"}',
    '{"beat":1,"epoch":9,"seq":9e15,"at_ms":0}',
  ].entries())
    await server.call('HSET', '{acme}:fleet', `sc_${index}`, row);
  await untilAllowed(member, id);
  const written = await operate(member, id, { operation: 'suspend' }, 'enforced');
  expect(written).toMatchObject({ ok: true, acknowledged: 'enforced' });
  expect((await member.fleet()).ok).toBe(true);
  expect(await server.call('HGET', HEAD, 'epoch')).toBe('1');
});
