/** Real redis servers, which a test can freeze, kill and start again. `test/tools/bring.ts` brings the program. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Lodger, type Lodging, openLodging } from './lodging.ts';
import { findPort } from './port.ts';
import { type Argument, type RedisAddress, type Reply, callRedis } from './resp.ts';

export type RedisConfig = Readonly<Record<string, string | number>>;

export interface RedisOptions {
  /** Default: one that is free. */
  readonly port?: number;
  /** It is ready when its link to that primary is up. */
  readonly replica_of?: Pick<RedisAddress, 'port' | 'password'>;
  /** Over the defaults below; with `requirepass`, `call` says the password. */
  readonly config?: RedisConfig;
  /** A folder that stays; default: one that goes with the server. */
  readonly dir?: string;
  /** TLS alone, with a certificate that is its own authority. */
  readonly tls?: { readonly cert_file: string; readonly key_file: string };
  /** What stands before the program on its command line. */
  readonly under?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
}

export interface RedisServer extends RedisAddress {
  readonly url: string;
  readonly dir: string;
  /** Of the process that runs now. */
  readonly pid: () => number;
  readonly log: () => string;
  readonly isAlive: () => boolean;
  /** When the process that runs now has ended, as it does when its disk fails. */
  readonly gone: () => Promise<void>;
  /**
   * One command over a connection of its own, without a client library. What looks back at its connection, as `WAIT` and
   * `EXEC` do, needs `connectRedis`.
   */
  readonly call: (...args: readonly Argument[]) => Promise<Reply>;
  readonly freeze: () => void;
  readonly thaw: () => void;
  /** At once, as when the machine goes down; what it had handed to the operating system stays. */
  readonly kill: () => Promise<void>;
  /** On the same port, with what is in the folder; a new `under` may let it recover from its faults. */
  readonly restart: (under?: readonly string[]) => Promise<void>;
  /** Kills it and removes the folder. */
  readonly stop: () => Promise<void>;
}

/** No acknowledged write may be lost with the process. */
const safe: RedisConfig = {
  appendonly: 'yes',
  appendfsync: 'always',
  'no-appendfsync-on-rewrite': 'no',
  'maxmemory-policy': 'noeviction',
  save: '',
  // Else a replica waits for others that might come.
  'repl-diskless-sync-delay': 0,
};
const redis_program = resolve(import.meta.dirname, '../../.tools/bin/redis-server');
const ready_within_ms = 15_000;

export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const { replica_of, config } = options;
  const server = await startServer('redis', { ...safe, ...replicaOf(replica_of), ...config }, options);
  if (replica_of) await stopUnless(server, () => untilLinked(server));
  return server;
}

function replicaOf(primary: RedisOptions['replica_of']): RedisConfig {
  if (!primary) return {};
  const { port, password } = primary;
  return { replicaof: `127.0.0.1 ${port}`, ...(password !== undefined && { masterauth: password }) };
}

/** A server of either kind; `config` comes after what every server of a test has. */
export async function startServer(
  kind: 'redis' | 'sentinel',
  config: RedisConfig,
  options: RedisOptions,
): Promise<RedisServer> {
  if (!existsSync(redis_program)) throw new Error('no .tools/bin/redis-server: run test/tools/bring.ts');
  for (let tries = 1; ; tries += 1) {
    const port = options.port ?? (await findPort());
    const server = openServer(kind, port, config, options);
    try {
      await stopUnless(server, () => server.restart());
      return server;
    } catch (error) {
      const is_taken = options.port === undefined && server.log().includes('Address already in use');
      if (!is_taken || tries === 5) throw error;
    }
  }
}

/** Not yet running. */
function openServer(
  kind: 'redis' | 'sentinel',
  port: number,
  config: RedisConfig,
  options: RedisOptions,
): RedisServer {
  const { tls, dir, under: first_under = [], environment } = options;
  const lodging = openLodging(kind, dir);
  const authority = tls && readFileSync(tls.cert_file, 'utf8');
  const address = { port, authority, password: config['requirepass']?.toString() };
  writeConfig(lodging, kind, { ...baseConfig(port, lodging.folder, tls), ...config });
  const argv = [
    redis_program,
    join(lodging.folder, `${kind}.conf`),
    ...(kind === 'sentinel' ? ['--sentinel'] : []),
  ];
  let running: Lodger | undefined;
  const kill = async () => running?.kill();
  return {
    ...address,
    url: `${tls ? 'rediss' : 'redis'}://127.0.0.1:${port}`,
    dir: lodging.folder,
    pid: () => running!.pid,
    log: () => running?.log() ?? '',
    isAlive: () => running?.isAlive() ?? false,
    gone: async () => running?.gone,
    call: (...args) => callRedis(address, args),
    freeze: () => running?.signal('SIGSTOP'),
    thaw: () => running?.signal('SIGCONT'),
    kill,
    restart: async (under = first_under) => {
      await kill();
      running = lodging.launch([...under, ...argv], environment);
      await untilReady(address, running);
    },
    stop: async () => {
      await kill();
      await lodging.remove();
    },
  };
}

function baseConfig(port: number, dir: string, tls: RedisOptions['tls']): RedisConfig {
  const common = {
    dir,
    bind: '127.0.0.1',
    daemonize: 'no',
    'protected-mode': 'no',
    'enable-debug-command': 'yes',
  };
  if (!tls) return { ...common, port };
  const { cert_file, key_file } = tls;
  const files = { 'tls-cert-file': cert_file, 'tls-key-file': key_file, 'tls-ca-cert-file': cert_file };
  return {
    ...common,
    ...files,
    port: 0,
    'tls-port': port,
    'tls-replication': 'yes',
    'tls-auth-clients': 'no',
  };
}

/** A file, because a failover rewrites it, and what it says then must hold after a restart. */
function writeConfig(lodging: Lodging, kind: string, config: RedisConfig): void {
  const lines = Object.entries(config).map(([name, value]) => `${name} ${value === '' ? '""' : value}\n`);
  writeFileSync(join(lodging.folder, `${kind}.conf`), lines.join(''));
}

async function untilReady(address: RedisAddress, running: Lodger): Promise<void> {
  const isReady = async () => (await callRedis(address, ['PING'])) === 'PONG';
  await until(isReady, running.isAlive).catch((error: unknown) => {
    throw new Error(`it did not start: ${String(error)}\n${running.log()}`, { cause: error });
  });
}

async function untilLinked(server: RedisServer): Promise<void> {
  const isLinked = async () => ((await server.call('ROLE')) as Reply[])[3] === 'connected';
  await until(isLinked, server.isAlive);
}

async function stopUnless(server: RedisServer, comesAbout: () => Promise<void>): Promise<void> {
  try {
    await comesAbout();
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** What fails is tried again, as long as there is somebody to ask. */
export async function until(holds: () => Promise<boolean>, isAlive: () => boolean): Promise<void> {
  const deadline = performance.now() + ready_within_ms;
  while (!(await holds().catch(() => false))) {
    if (!isAlive()) throw new Error('the server has ended');
    if (performance.now() > deadline) throw new Error(`not within ${ready_within_ms} ms`);
    await sleep(20);
  }
}
