/** What a sidecar verifies of a log before it relies on it, and how a log begins. */
import { randomBytes } from 'node:crypto';
import type { LogEntry, Position } from '../../core/mandate/events.ts';
import { isEnding } from '../../core/mandate/heal.ts';
import type { Memory } from '../outbox/outbox.ts';
import { fieldsOf } from './cells.ts';
import { type StreamEntry, readEntry } from './chain.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import type { Refused, RedisStoreOptions } from './options.ts';

const SCHEMA = '1';
const PAGE = 1000;
const GIVEN_UP = 'if that was given up on purpose, remove `store.outbox`';

type BeginOptions = Pick<RedisStoreOptions, 'issuer' | 'tenant'>;

type Begun =
  | {
      readonly ok: true;
      readonly head: Position;
      readonly genesis: string;
      readonly endings: readonly LogEntry[];
    }
  | Refused;

const refuse = (error: string): Refused => ({ ok: false, error });

/** Begins the log where there is none, and verifies the one that there is. */
export async function begin(
  link: Link,
  keys: Keys,
  options: BeginOptions,
  { position: remembered, genesis: known }: Pick<Memory, 'position' | 'genesis'>,
): Promise<Begun> {
  const there = await link.call('EXISTS', keys.head);
  if (!there.ok) return refuse(`the log's head cannot be read: ${there.why}`);
  if (there.value === 0 && remembered !== undefined) {
    return refuse(`there is no log, and this sidecar remembers entry ${remembered.seq} of one: ${GIVEN_UP}`);
  }
  const genesis = randomBytes(20).toString('hex');
  const { issuer, tenant } = options;
  const created = await link.script(
    'begin',
    [keys.head, keys.log],
    [SCHEMA, issuer, tenant, genesis, link.run() ?? ''],
  );
  if (!created.ok) return refuse(`the log cannot be begun: ${created.why}`);
  let found: Begun = refuse('the log cannot be read');
  for (let attempt = 0; attempt < MOST_ATTEMPTS && !found.ok; attempt += 1)
    found = await examine(link, keys, options);
  if (found.ok && known !== undefined && found.genesis !== known)
    return refuse(`another log was begun in place of the one that this sidecar remembers: ${GIVEN_UP}`);
  return found;
}

/** Others may trim or heal the log while it is looked at. */
const MOST_ATTEMPTS = 3;

async function examine(link: Link, keys: Keys, options: BeginOptions): Promise<Begun> {
  const reply = await link.call('HGETALL', keys.head);
  if (!reply.ok) return refuse(`the log's head cannot be read: ${reply.why}`);
  const head = fieldsOf(reply.value as readonly string[]);
  const wrong = misfit(head, options);
  if (wrong !== undefined) return wrong;
  const why = await unanchored(link, keys, head);
  return why === undefined ? verify(link, keys, head) : refuse(why);
}

/** The snapshot says behind which entry the kept log begins; the head must say the same. */
export async function unanchored(
  link: Link,
  keys: Keys,
  head: ReadonlyMap<string, string>,
): Promise<string | undefined> {
  const floor = head.get('floor') ?? '';
  if (floor === '0') return undefined;
  const reply = await link.call('HMGET', keys.snapshot(Number(floor)), 'seq', 'eid');
  if (!reply.ok) return `the snapshot cannot be read: ${reply.why}`;
  const [seq, eid] = reply.value as readonly (string | null)[];
  const isGood = seq === floor && eid === head.get('floor_eid');
  return isGood ? undefined : `the snapshot at entry ${floor} does not verify`;
}

function misfit(head: ReadonlyMap<string, string>, { issuer, tenant }: BeginOptions): Begun | undefined {
  if (head.get('epoch') === undefined) return refuse('there is a log without a head');
  const schema = head.get('schema');
  if (schema !== SCHEMA) return refuse(`the log has schema ${schema}, and this build knows ${SCHEMA}`);
  if (head.get('issuer') !== issuer)
    return refuse(`the log keeps mandates of \`${head.get('issuer')}\`, not of \`${issuer}\``);
  if (head.get('tenant') !== tenant)
    return refuse(`the log is of the tenant \`${head.get('tenant')}\`, not of \`${tenant}\``);
  return undefined;
}

/** Walks what is kept of the log: ids are dense, every link holds, every entry is as it was written. */
async function verify(link: Link, keys: Keys, head: ReadonlyMap<string, string>): Promise<Begun> {
  const floor = Number(head.get('floor'));
  let last: Position = {
    epoch: 0,
    seq: floor,
    eid: head.get(floor === 0 ? 'genesis' : 'floor_eid') ?? '',
  };
  const endings: LogEntry[] = [];
  for (;;) {
    const page = await link.call('XRANGE', keys.log, `(${last.seq}-0`, '+', 'COUNT', PAGE);
    if (!page.ok) return refuse(`the log cannot be read: ${page.why}`);
    const stream = page.value as readonly StreamEntry[];
    for (const each of stream) {
      const entry = readEntry(each);
      if (entry?.seq !== last.seq + 1 || entry.prev !== last.eid || entry.epoch < last.epoch)
        return refuse(`the log's chain is broken after entry ${last.seq}`);
      last = { epoch: entry.epoch, seq: entry.seq, eid: entry.eid };
      if (isEnding(entry.event)) endings.push(entry);
    }
    if (stream.length < PAGE) break;
  }
  // Others may have written meanwhile, so that the log may be longer than the head that was read, never shorter.
  const isWhole = last.seq > Number(head.get('seq')) || last.eid === head.get('eid');
  if (last.seq < Number(head.get('seq')) || !isWhole)
    return refuse(`the log ends at entry ${last.seq}, and its head says ${head.get('seq')}`);
  const here = { epoch: Number(head.get('epoch')), seq: last.seq, eid: last.eid };
  return { ok: true, head: here, genesis: head.get('genesis') ?? '', endings };
}
