/** What somebody does to the keys of a log behind the sidecars' backs. */
import { createHash } from 'node:crypto';
import type { RedisServer } from '../support/redis.ts';
import type { Reply } from '../support/resp.ts';

export const LOG = '{acme}:log';
export const HEAD = '{acme}:head';

export type Entry = readonly [id: string, fields: readonly string[]];

export async function entriesOf(server: RedisServer): Promise<readonly Entry[]> {
  return (await server.call('XRANGE', LOG, '-', '+')) as unknown as readonly Entry[];
}

export async function lastSeq(server: RedisServer): Promise<number> {
  return Number(await server.call('HGET', HEAD, 'seq'));
}

/** The stream deleted and built again from what `change` makes of it. */
export async function rebuild(
  server: RedisServer,
  change: (entries: readonly Entry[]) => readonly Entry[],
): Promise<void> {
  const all = await entriesOf(server);
  await server.call('DEL', LOG);
  for (const [id, fields] of change(all)) await server.call('XADD', LOG, id, ...fields);
}

export function withField(fields: readonly string[], name: string, change: (value: string) => string) {
  return fields.map((each, index) => (index % 2 === 1 && fields[index - 1] === name ? change(each) : each));
}

/** Appends an entry that is linked as ours are, whatever its text says. */
export async function forge(server: RedisServer, text: string): Promise<void> {
  const [epoch, seq, prev] = (await server.call('HMGET', HEAD, 'epoch', 'seq', 'eid')) as string[];
  const next = Number(seq) + 1;
  const linked = [prev, epoch, next, 'nonce', text].join('\n');
  const eid = createHash('sha1').update(linked).digest('hex');
  const fields = ['ep', epoch!, 'prev', prev!, 'eid', eid, 'n', 'nonce', 'event', text];
  await server.call('XADD', LOG, `${next}-0`, ...fields);
  await server.call('HSET', HEAD, 'seq', next, 'eid', eid);
}

/** All that is kept of authority: what nobody may mend by himself. */
export async function contentsOf(server: RedisServer): Promise<readonly unknown[]> {
  const head = (await server.call('HMGET', HEAD, 'epoch', 'seq', 'eid', 'floor', 'floor_eid')) as Reply[];
  const type = await server.call('TYPE', LOG);
  const keys = (await server.call('KEYS', '{acme}:[mcpdkaots]*')) as string[];
  return [head, type === 'stream' ? await entriesOf(server) : type, keys.toSorted()];
}
