/** What is in the log when all is over: read from Redis as it stands there, and verified link by link. */
import { type JsonObject, isObject, parseJson } from '../../src/core/json.ts';
import { type Final, type Place, isEnd } from '../support/history.ts';
import { judgeHistory } from '../support/history-judge.ts';
import type { RedisServer } from '../support/redis.ts';
import { type Fleet, LOG_KEY } from './fleet.ts';

export interface Entry extends Place {
  readonly prev: string;
  readonly event: JsonObject;
}

export interface Log extends Final {
  readonly entries: readonly Entry[];
}

type StreamEntry = readonly [id: string, fields: readonly string[]];

/** Throws where ids are not dense, or an entry does not name the one before it. */
export async function readLog(redis: RedisServer): Promise<Log> {
  const stream = (await redis.call('XRANGE', LOG_KEY, '-', '+')) as unknown as readonly StreamEntry[];
  const entries = stream.map(([id, flat]) => entryOf(id, flat));
  for (const [index, { seq, prev }] of entries.entries()) {
    const before = entries[index - 1];
    if (seq !== index + 1 || (before !== undefined && prev !== before.eid))
      throw new Error(`the log is broken before ${seq}`);
  }
  return {
    entries,
    ended: new Set(entries.filter(({ event }) => isEnding(event)).map(({ event }) => String(event.id))),
    log: new Map(entries.map(({ epoch, seq, eid }) => [`${epoch}-${seq}`, eid])),
  };
}

function entryOf(id: string, flat: readonly string[]): Entry {
  const names = flat.filter((_, index) => index % 2 === 0);
  const field = (name: string): string => flat[2 * names.indexOf(name) + 1]!;
  const event = parseJson(field('event'));
  if (!event.ok || !isObject(event.value)) throw new Error(`entry ${id} cannot be read`);
  const [seq, epoch] = [Number(id.split('-')[0]), Number(field('ep'))];
  return { seq, epoch, eid: field('eid'), prev: field('prev'), event: event.value };
}

function isEnding({ state }: JsonObject): boolean {
  return typeof state === 'string' && isEnd(state);
}

/** What has been done that may not be, since the history had `from` operations. */
export async function faultsOf({ redis, history }: Fleet, from = 0): Promise<readonly string[]> {
  const faults = judgeHistory(history, await readLog(redis));
  return faults.filter(({ at }) => at === -1 || at >= from).map(({ rule, why }) => `${rule}: ${why}`);
}
