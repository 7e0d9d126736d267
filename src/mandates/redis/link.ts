/** One connection to the server that keeps the log, and which server that is. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Command, Redis, type RedisOptions, ReplyError } from 'ioredis';
import { SocketConnector } from './connector.ts';
import { parseInfo } from './info.ts';

/** What came of a call: an answer, or why there is none, and whether it may have run all the same. */
export type Reply =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly why: string; readonly may_have_run: boolean };

export interface Link {
  /** The server's `run_id`; undefined while there is no connection, or it is not known yet. */
  readonly run: () => string | undefined;
  readonly script: (
    name: ScriptName,
    keys: readonly string[],
    args: readonly (string | number)[],
  ) => Promise<Reply>;
  readonly call: (name: string, ...args: readonly (string | number)[]) => Promise<Reply>;
  /** Gives the connection up and makes another: it may be one that nothing comes through. */
  readonly renew: () => void;
  readonly close: () => void;
}

export interface LinkOptions {
  readonly redis: RedisOptions;
  readonly name: string;
  /** Without a byte for so long the connection is given up; not where it is its work to wait. */
  readonly silence_ms?: number;
  /** Told of each connection that can be used, and of each error: for the log. */
  readonly onReady?: (run: string) => void;
  readonly onError?: (error: Error) => void;
}

const SCRIPTS = { append: true, read: true, begin: true, roster: true, trim: true, proof: true } as const;
type ScriptName = keyof typeof SCRIPTS;

const CONNECT_TIMEOUT_MS = 1000;
const SENTINEL_TIMEOUT_MS = 500;
const RETRY_MS = 50;
const RENEW_MS = 1000;
const MAX_RETRY_MS = 250;

const lua = (file: string): string => readFileSync(new URL(`./lua/${file}.lua`, import.meta.url), 'utf8');

const sources = Object.fromEntries(
  Object.keys(SCRIPTS).map((name) => {
    const text = lua(name).replace('--CELLS\n', () => lua('cells'));
    return [name, { text, sha: createHash('sha1').update(text).digest('hex') }];
  }),
) as Readonly<Record<ScriptName, { readonly text: string; readonly sha: string }>>;

export function openLink({ redis: options, name, silence_ms, onReady, onError }: LinkOptions): Link {
  let run: string | undefined;
  let renewed_ms = -Infinity;
  const isElsewhere = ({ message }: Error): boolean => {
    if (message.startsWith('READONLY')) return true;
    // A primary that lost its replicas may have lost them to another one; it is asked for now and then.
    const isLone = message.startsWith('NOREPLICAS') || message.startsWith('MISCONF');
    if (!isLone || performance.now() - renewed_ms < RENEW_MS) return false;
    renewed_ms = performance.now();
    return true;
  };
  const settings = {
    ...options,
    protocol: 2 as const,
    replyMapping: 'legacy' as const,
    connectionName: `mandated-${name}`,
    connectTimeout: CONNECT_TIMEOUT_MS,
    sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableAutoPipelining: false,
    retryStrategy: (times: number) => Math.min(times * RETRY_MS, MAX_RETRY_MS),
    reconnectOnError: (error: Error) => isElsewhere(error),
    // Done here: the library waits for as long as the server thinks that loading takes, and writes past our log.
    enableReadyCheck: false,
    ...(silence_ms === undefined ? {} : { socketTimeout: silence_ms }),
    ...(options.sentinels === undefined ? { Connector: SocketConnector } : {}),
  };
  const redis = new Redis(settings);
  const send = async (command: string, args: readonly (string | number)[]): Promise<Reply> => {
    if (redis.status !== 'ready') return { ok: false, why: 'there is no connection', may_have_run: false };
    try {
      const sent = new Command(command, args as (string | number)[], { replyEncoding: 'utf8' });
      return { ok: true, value: await redis.sendCommand(sent) };
    } catch (error) {
      return {
        ok: false,
        why: (error as Error).message,
        may_have_run: !(error instanceof (ReplyError as ErrorConstructor)),
      };
    }
  };
  const identify = async (): Promise<void> => {
    const { db = 0 } = options;
    if (redis.status !== 'ready') return;
    // The library goes on in database 0 where the one that was asked for cannot be had.
    const selected = db === 0 ? undefined : await send('SELECT', [db]);
    if (selected?.ok === false) {
      onError?.(new Error(`the database ${db} cannot be had: ${selected.why}`));
      return redis.disconnect(true);
    }
    const info = await send('INFO', []);
    const facts = info.ok ? parseInfo(String(info.value)) : undefined;
    const found = facts?.get('run_id');
    if (facts?.get('loading') === '1') return void setTimeout(() => void identify(), MAX_RETRY_MS);
    if (found === undefined) {
      if (!info.ok) onError?.(new Error(`it does not say how it stands: ${info.why}`));
      return redis.disconnect(true);
    }
    run = found;
    onReady?.(found);
  };
  redis.on('ready', () => void identify());
  redis.on('close', () => (run = undefined));
  redis.on('error', (error: Error) => onError?.(error));
  return {
    run: () => run,
    call: (command, ...args) => send(command, args),
    script: async (script, keys, args) => {
      const { sha, text } = sources[script];
      const rest = [keys.length, ...keys, ...args];
      const reply = await send('EVALSHA', [sha, ...rest]);
      const isUnknown = !reply.ok && reply.why.startsWith('NOSCRIPT');
      return isUnknown ? send('EVAL', [text, ...rest]) : reply;
    },
    renew: () => {
      // While it connects it makes another by itself; to give that up would end it for good.
      if (redis.status === 'ready') redis.disconnect(true);
    },
    close: () => redis.disconnect(),
  };
}
