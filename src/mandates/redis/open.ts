/** What a sidecar needs before it can keep a view: connections, a server that is set as it must be, its own memory. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { LogEntry, Position } from '../../core/mandate/events.ts';
import { type Outbox, openOutbox } from '../outbox/outbox.ts';
import { type Guard, openGuard } from './guard.ts';
import { type Keys, keysOf } from './keys.ts';
import { type Link, openLink } from './link.ts';
import type { RedisStoreOptions, Refused } from './options.ts';
import type { Links } from './sync.ts';
import { begin } from './verify.ts';

export interface Standing {
  readonly ok: true;
  readonly keys: Keys;
  readonly links: Links & { readonly writer: Link; readonly reader: Link };
  readonly guard: Guard;
  readonly outbox: Outbox;
  readonly head: Position;
  readonly genesis: string;
  /** Ends that the kept log has, and that this sidecar may not remember yet. */
  readonly endings: readonly LogEntry[];
}

const CONNECT_MS = 5000;
/** The barrier's connection is given up after this silence, which is what a check can wait for and a little more. */
const BARRIER_SILENCE_MS = 300;
const BEAT_SILENCE_MS = 1000;
const WRITER_SILENCE_MS = 2000;
/** It is the tail's work to wait; but longer than it asked the server to hold the call, nothing comes any more. */
const TAIL_SILENCE_MS = 7000;

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
  const { assume, complain, unsafe_store: is_unsafe_allowed } = options;
  const guard = await openGuard({
    link: links.writer,
    keys,
    assume,
    is_unsafe_allowed,
    onRefused: () => all.forEach((each) => each.renew()),
    complain,
  });
  if (typeof guard === 'string') return give_up(`the server cannot be asked how it is set: ${guard}`);
  if (guard.safety().refused.length > 0) return give_up(guard.safety().refused.join('; '));
  if (guard.trouble() !== undefined) return give_up(`${guard.trouble()}; ${HOW_TO_MEND}`);
  const opened = await openOutbox(options.outbox, options.tenant);
  if (!opened.ok) return give_up(`outbox: ${opened.error}`);
  const { outbox } = opened;
  const begun = await begin(links.writer, keys, options, outbox.memory);
  if (begun.ok) return { ...begun, keys, links, guard, outbox };
  await outbox.close();
  return give_up(begun.error);
}

const HOW_TO_MEND =
  'set the server so that what is acknowledged stays, say what it cannot tell under `store.assume`, or ask for `store.unsafe_store: true`';

function connect(options: RedisStoreOptions) {
  let lastError = '';
  /** Said once for each time that the server is away. */
  const said = new Set<string>();
  const link = (name: string, silence_ms?: number): Link =>
    openLink({
      redis: options.redis,
      name,
      onError: ({ message }) => {
        if (!said.has(message)) options.complain(`the store's server: ${message}`);
        said.add(message);
        lastError = message;
      },
      onReady: () => said.clear(),
      ...(silence_ms === undefined ? {} : { silence_ms }),
    });
  const links = {
    barrier: link('barrier', BARRIER_SILENCE_MS),
    beat: link('heartbeat', BEAT_SILENCE_MS),
    tail: link('tail', TAIL_SILENCE_MS),
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
