/** Keys that are not as this build has left them: nobody starts on them, whatever it remembers (design/3, bad input). */
import { describe, expect } from 'vitest';
import type { RedisServer } from '../support/redis.ts';
import { approve, propose } from '../support/authority.ts';
import { started } from './history.ts';
import { openLocal, refusalOf } from './member.ts';
import { beside, until } from './scope.ts';
import { HEAD, LOG, contentsOf, forge } from './tampering.ts';
import { untilAllowed } from './vigil.ts';

interface Wrong {
  readonly name: string;
  readonly harm: (server: RedisServer, id: string) => Promise<unknown>;
  readonly refused: RegExp;
}

const asOf = (name: string, field: string, value: string, refused: RegExp): Wrong => ({
  name,
  harm: (server) => server.call('HSET', HEAD, field, value),
  refused,
});
const mortal = (name: string, key: (id: string) => string): Wrong => ({
  name: `a TTL on ${name}`,
  harm: (server, id) => server.call('EXPIRE', key(id), 1000),
  refused: /TTL/,
});
const forged = (name: string, text: string): Wrong => ({
  name: `an event that ${name}, in a chain that verifies`,
  harm: (server) => forge(server, text),
  refused: /chain is broken/,
});

const WRONG: readonly Wrong[] = [
  asOf('a newer schema', 'schema', '2', /schema 2, and this build knows 1/),
  asOf('no schema', 'schema', '', /schema/),
  asOf('another issuer', 'issuer', 'https://other.example', /keeps mandates of `https:\/\/other\.example`/),
  asOf('another tenant', 'tenant', 'other', /is of the tenant `other`/),
  {
    name: 'the keys of another tenant under our names',
    harm: async (server) => {
      const { local } = await openLocal({ port: server.port, tenant: 'other' });
      await approve(local);
      for (const key of (await server.call('KEYS', '{other}:*')) as string[])
        await server.call('COPY', key, key.replace('{other}', '{acme}'), 'REPLACE');
    },
    refused: /is of the tenant `other`/,
  },
  mortal('the log', () => LOG),
  mortal('the head', () => HEAD),
  mortal('a record', (id) => `{acme}:m:${id}`),
  forged('a newer build has written', '{"kind":"transcended","id":"msn_1"}'),
  forged('is no JSON', '{not json'),
  forged('is nothing', 'null'),
];

describe.concurrent('keys that are not as this build has left them', () => {
  for (const { name, harm, refused } of WRONG) {
    beside(name, async () => {
      const server = await started();
      const { port } = server;
      const { local } = await openLocal({ port });
      const id = await approve(local);
      await local.close();
      await harm(server, id);
      const found = await contentsOf(server);
      expect(await refusalOf(port)).toMatch(refused);
      expect(await refusalOf(port, { outbox: local.outbox })).toMatch(refused);
      expect(await contentsOf(server)).toEqual(found);
    });
  }
});

const SNAPSHOTS: readonly (readonly [string, (server: RedisServer, floor: string) => Promise<unknown>])[] = [
  ['another eid of the floor', (server) => server.call('HSET', HEAD, 'floor_eid', 'x'.repeat(40))],
  ['another floor', (server) => server.call('HINCRBY', HEAD, 'floor', 1)],
  ['no floor', (server) => server.call('HSET', HEAD, 'floor', 0)],
  ['another eid', (server, floor) => server.call('HSET', `{acme}:snap:${floor}`, 'eid', 'x'.repeat(40))],
  ['none', (server, floor) => server.call('DEL', `{acme}:snap:${floor}`)],
];

describe.concurrent('a snapshot that does not verify', () => {
  for (const [name, harm] of SNAPSHOTS) {
    beside(name, async () => {
      const server = await started();
      const { port } = server;
      const { local } = await openLocal({ port, keep_entries: 10 });
      for (let more = 0; more < 20; more += 1) await propose(local);
      const floor = async () => String(await server.call('HGET', HEAD, 'floor'));
      await until(floor, (seen) => Number(seen) > 5);
      await local.close();
      expect(await refusalOf(port, { outbox: local.outbox })).toBe('');
      await harm(server, await floor());
      expect(await refusalOf(port)).toMatch(/chain is broken|does not verify/);
    });
  }
});

beside(
  'a log that was left in order is begun upon again, by whoever remembers and by whoever does not',
  async () => {
    const server = await started();
    const { port } = server;
    const { local } = await openLocal({ port });
    const id = await approve(local);
    await untilAllowed(local, id);
    await local.close();
    for (const more of [{ outbox: local.outbox }, {}]) {
      const { local: again, refused } = await openLocal({ port, ...more });
      expect(refused).toBe('');
      await untilAllowed(again, id);
      await again.close();
    }
  },
);
