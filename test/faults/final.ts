/** What is in the log when all is over: read from Redis as it stands there, and verified link by link. */
import { isObject, member, parseJson } from '../../src/core/json.ts';
import { type Final, isEnd } from '../support/history.ts';
import { judgeHistory } from '../support/history-judge.ts';
import type { RedisServer } from '../support/redis.ts';
import { type Fleet, LOG_KEY } from './fleet.ts';

type StreamEntry = readonly [id: string, fields: readonly string[]];

/** Throws where ids are not dense, or an entry does not name the one before it. */
export async function readLog(redis: RedisServer, log = LOG_KEY): Promise<Final> {
  const entries = (await redis.call('XRANGE', log, '-', '+')) as unknown as readonly StreamEntry[];
  const [ended, kept] = [new Set<string>(), new Map<string, string>()];
  let before: string | undefined;
  for (const [index, [id, flat]] of entries.entries()) {
    const field = (name: string) => flat[flat.indexOf(name) + 1]!;
    if (id !== `${index + 1}-0`) throw new Error(`entry ${index + 1} of the log is ${id}`);
    if (before !== undefined && field('prev') !== before) throw new Error(`the log is broken before ${id}`);
    before = field('eid');
    kept.set(`${field('ep')}-${index + 1}`, before);
    const event = parseJson(field('event'));
    if (!event.ok || !isObject(event.value)) throw new Error(`entry ${id} cannot be read`);
    const state = member(event.value, 'state');
    if (typeof state === 'string' && isEnd(state)) ended.add(String(event.value.id));
  }
  return { ended, log: kept };
}

/** What has been done that may not be, since the history had `from` operations. */
export async function faultsOf({ redis, history }: Fleet, from = 0): Promise<readonly string[]> {
  const faults = judgeHistory(history, await readLog(redis));
  return faults.filter(({ at }) => at === -1 || at >= from).map(({ rule, why }) => `${rule}: ${why}`);
}
