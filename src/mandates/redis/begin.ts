/** What a sidecar verifies of a log before it relies on it, and how a log begins. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisOptions } from 'ioredis';
import type { BarrierObserver } from '../../check/ports.ts';
import type { Position } from '../../core/mandate/events.ts';
import type { Now } from '../../core/time.ts';
import { type Outbox, openOutbox } from '../outbox/outbox.ts';
import { fieldsOf } from './cells.ts';
import { type StreamEntry, readEntry } from './chain.ts';
import { type Guard, openGuard } from './guard.ts';
import { type Keys, keysOf } from './keys.ts';
import { type Link, openLink } from './link.ts';
import type { Links } from './sync.ts';

const SCHEMA = '1';
const PAGE = 1000;

export interface RedisStoreOptions {
  readonly redis: RedisOptions;
  readonly tenant: string;
  readonly issuer: string;
  readonly version: string;
  /** Folder of what this sidecar remembers by itself. */
  readonly outbox: string;
  /** Most mandates that are held in memory. */
  readonly working_set: number;
  /** Entries of the log that are kept at least. */
  readonly keep_entries: number;
  /** How long a sidecar that says nothing may decide from what it holds: the widest staleness budget. */
  readonly lease_ms: number;
  readonly unsafe_store: boolean;
  readonly assume: readonly string[];
  readonly now: Now;
  readonly onBarrier: BarrierObserver;
  /** Told of each change of health: for the log. */
  readonly complain: (what: string, error?: unknown) => void;
}

export type Standing = {
  readonly ok: true;
  readonly keys: Keys;
  readonly links: Links & { readonly writer: Link; readonly reader: Link };
  readonly guard: Guard;
  readonly outbox: Outbox;
  readonly head: Position;
};

type Refused = { readonly ok: false; readonly error: string };

const CONNECT_MS = 5000;
/** The barrier's connection is given up after this silence, which is what a check can wait for and a little more. */
const BARRIER_SILENCE_MS = 300;
const BEAT_SILENCE_MS = 1000;
const WRITER_SILENCE_MS = 2000;

/** Connects, looks at how the server is set, verifies the log, and opens the outbox. */
export async function stand(options: RedisStoreOptions): Promise<Standing | Refused> {
  const { links, lastError } = connect(options);
  const all = Object.values(links);
  const give_up = (error: string): Refused => {
    for (const each of all) each.close();
    return { ok: false, error };
  };
  if (!(await connected(all)))
    return give_up(`the server does not answer: ${lastError() || 'no connection in time'}`);
  const keys = keysOf(options.tenant);
  const { now, assume, complain, unsafe_store: is_unsafe_allowed } = options;
  const guard = await openGuard({ link: links.writer, keys, now, assume, is_unsafe_allowed, complain });
  if (typeof guard === 'string') return give_up(`the server cannot be asked how it is set: ${guard}`);
  if (guard.safety().refused.length > 0) return give_up(guard.safety().refused.join('; '));
  if (guard.trouble() !== undefined) return give_up(`${guard.trouble()}; ${HOW_TO_MEND}`);
  const opened = await openOutbox(options.outbox, options.tenant);
  if (!opened.ok) return give_up(`outbox: ${opened.error}`);
  const { outbox } = opened;
  const begun = await begin(links.writer, keys, options, outbox.memory.position);
  if (begun.ok) return { ok: true, keys, links, guard, outbox, head: begun.head };
  await outbox.close();
  return give_up(begun.error);
}

const HOW_TO_MEND =
  'set the server so that what is acknowledged stays, say what it cannot tell under `store.assume`, or ask for `store.unsafe_store: true`';

function connect(options: RedisStoreOptions) {
  let lastError = '';
  const link = (name: string, silence_ms?: number): Link =>
    openLink({
      redis: options.redis,
      name,
      onError: ({ message }) => {
        if (message !== lastError) options.complain(`the store's server: ${message}`);
        lastError = message;
      },
      onReady: () => (lastError = ''),
      ...(silence_ms === undefined ? {} : { silence_ms }),
    });
  const links = {
    barrier: link('barrier', BARRIER_SILENCE_MS),
    beat: link('heartbeat', BEAT_SILENCE_MS),
    tail: link('tail'),
    writer: link('writer', WRITER_SILENCE_MS),
    reader: link('reader', WRITER_SILENCE_MS),
  };
  return { links, lastError: () => lastError };
}

async function connected(links: readonly Link[]): Promise<boolean> {
  const until = performance.now() + CONNECT_MS;
  while (performance.now() < until) {
    if (links.every((each) => each.run() !== undefined)) return true;
    await sleep(10);
  }
  return false;
}

export type BeginOptions = Pick<RedisStoreOptions, 'issuer' | 'tenant'>;

type Begun = { readonly ok: true; readonly head: Position } | Refused;

const refuse = (error: string): Refused => ({ ok: false, error });

/** Begins the log where there is none, and verifies the one that there is. */
async function begin(
  link: Link,
  keys: Keys,
  options: BeginOptions,
  remembered: Position | undefined,
): Promise<Begun> {
  const there = await link.call('EXISTS', keys.head);
  if (there.ok && there.value === 0 && remembered !== undefined) {
    return refuse(
      `there is no log, and this sidecar remembers entry ${remembered.seq} of one: if that was given up on purpose, remove \`store.outbox\``,
    );
  }
  const genesis = randomBytes(20).toString('hex');
  const { issuer, tenant } = options;
  const created = await link.script(
    'begin',
    [keys.head, keys.log],
    [SCHEMA, issuer, tenant, genesis, link.run() ?? ''],
  );
  if (!created.ok) return refuse(`the log cannot be begun: ${created.why}`);
  const reply = await link.call('HGETALL', keys.head);
  if (!reply.ok) return refuse(`the log's head cannot be read: ${reply.why}`);
  const head = fieldsOf(reply.value as readonly string[]);
  return misfit(head, options) ?? verify(link, keys, head);
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
  for (;;) {
    const page = await link.call('XRANGE', keys.log, `(${last.seq}-0`, '+', 'COUNT', PAGE);
    if (!page.ok) return refuse(`the log cannot be read: ${page.why}`);
    const stream = page.value as readonly StreamEntry[];
    for (const each of stream) {
      const entry = readEntry(each);
      if (entry?.seq !== last.seq + 1 || entry.prev !== last.eid || entry.epoch < last.epoch)
        return refuse(`the log's chain is broken after entry ${last.seq}`);
      last = { epoch: entry.epoch, seq: entry.seq, eid: entry.eid };
    }
    if (stream.length < PAGE) break;
  }
  // Others may have written meanwhile, so that the log may be longer than the head that was read, never shorter.
  const isWhole = last.seq > Number(head.get('seq')) || last.eid === head.get('eid');
  if (last.seq < Number(head.get('seq')) || !isWhole)
    return refuse(`the log ends at entry ${last.seq}, and its head says ${head.get('seq')}`);
  return { ok: true, head: { epoch: Number(head.get('epoch')), seq: last.seq, eid: last.eid } };
}
