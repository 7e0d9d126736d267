/** The process: `serve` and `check`, signals, and the operational log. */
import { chmodSync, existsSync, readFileSync, unlinkSync } from 'node:fs';
import { type Socket, connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { type Logger, destination, pino } from 'pino';
import { type App, openApp } from './app.ts';
import { type Config, type Listen, readConfig } from './config.ts';
import type { Now } from './core/time.ts';
import { ConfigurationError } from './reading.ts';

export const VERSION = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

const now: Now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

export interface Running {
  /** Where the listeners are, as a client writes it: `http://127.0.0.1:9191`, or `unix:PATH`. */
  readonly check: string;
  readonly control: string;
  readonly log: Logger;
  /** Stops at once: what is under way is finished. */
  readonly stop: () => Promise<void>;
}

/** A log that cannot be written (a full disk behind standard error) must not end the process that it speaks of. */
export function standardError() {
  return destination({ fd: 2, sync: true }).on('error', () => undefined);
}

/** Lines of JSON on standard error; standard output is the decision log's. */
export function createLogger(): Logger {
  return pino({ name: 'mandated', base: null, timestamp: pino.stdTimeFunctions.isoTime }, standardError());
}

function complainTo(log: Logger) {
  return (what: string, error?: unknown): void => {
    // Only the message: an error object may hold a request, and a request holds a credential.
    if (error === undefined) log.warn(what);
    else log.error({ error: error instanceof Error ? `${error.name}: ${error.message}` : 'unknown' }, what);
  };
}

export async function start(config: Config, log: Logger, isShuttingDown: () => boolean): Promise<Running> {
  const app = await openApp(config, { version: VERSION, now, complain: complainTo(log), isShuttingDown });
  for (const warning of app.warnings) log.warn(warning);
  const connections = trackConnections([app.check, app.control]);
  try {
    const check = await listen(app.check, config.check.listen, config.check.tls !== undefined);
    const control = await listen(app.control, config.control.listen, config.control.tls !== undefined);
    return { check, control, log, stop: () => stop(app, connections) };
  } catch (error) {
    await stop(app, connections);
    throw error;
  }
}

/** What is under way has this long to finish; a connection that says nothing does not keep the process. */
const LAST_REQUESTS_MS = 1000;

async function stop(app: App, connections: ReadonlySet<Socket>): Promise<void> {
  const patience = new AbortController();
  void setTimeout(LAST_REQUESTS_MS, undefined, { signal: patience.signal }).then(
    () => connections.forEach((connection) => connection.destroy()),
    () => undefined,
  );
  await Promise.all([app.check.close(), app.control.close()]);
  patience.abort();
  await app.close();
}

/** Every connection, those included that have not said what they want: a handshake that never comes is one. */
function trackConnections(listeners: readonly FastifyInstance[]): ReadonlySet<Socket> {
  const connections = new Set<Socket>();
  for (const { server } of listeners) {
    server.on('connection', (connection: Socket) => {
      connections.add(connection);
      connection.once('close', () => connections.delete(connection));
    });
  }
  return connections;
}

async function listen(server: FastifyInstance, at: Listen, hasTls: boolean): Promise<string> {
  try {
    if (at.kind === 'tcp') return await server.listen({ host: at.host, port: at.port });
    await clearStaleSocket(at.path);
    await server.listen({ path: at.path });
    chmodSync(at.path, 0o660);
    return `unix:${at.path}${hasTls ? ' (TLS)' : ''}`;
  } catch (error) {
    const where = at.kind === 'tcp' ? `${at.host}:${at.port}` : at.path;
    throw new ConfigurationError([`listen: \`${where}\` cannot be listened on: ${(error as Error).message}`]);
  }
}

/** A socket file outlives a process that was killed; one that somebody answers on is not ours to take. */
async function clearStaleSocket(path: string): Promise<void> {
  if (!existsSync(path)) return;
  const isAnswered = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
  if (!isAnswered) unlinkSync(path);
}

/**
 * Serves until SIGTERM or SIGINT. `/readyz` turns 503 at once, the listeners keep answering for `shutdown_grace_ms`,
 * and only then is anything closed: closing first would open a filter that fails open.
 */
export async function serve(file: string): Promise<number> {
  const log = createLogger();
  const config = readConfig(file, { is_dev: false });
  const { shutdown_grace_ms } = config.check;
  const told = Promise.withResolvers<string>();
  let isShuttingDown = false;
  const shutDown = (signal: string): void => {
    isShuttingDown = true;
    told.resolve(signal);
  };
  // Before anything is opened: a signal that comes early is one like any other.
  process.on('uncaughtException', (error) => survive(error, log));
  process.on('SIGTERM', shutDown);
  process.on('SIGINT', shutDown);
  const running = await start(config, log, () => isShuttingDown);
  log.info({ check: running.check, control: running.control, version: VERSION }, 'serving');
  log.info({ signal: await told.promise, grace_ms: shutdown_grace_ms }, 'shutting down');
  await setTimeout(shutdown_grace_ms);
  await running.stop();
  return 0;
}

/** A socket that nobody listens to any more must not end the process, and with it open a filter that fails open. */
function survive(error: Error, log: Logger): void {
  const { code = '' } = error as NodeJS.ErrnoException;
  log.error({ error: `${error.name}: ${error.message}` }, 'an error that nobody expected');
  if (!/^(ERR_SSL_|ERR_TLS_|ECONN|EPIPE|EHOST|ENET|ETIMEDOUT)/.test(code)) process.exit(1);
}

/** Says what `serve` would refuse; opens everything but the listeners. Throws what it finds. */
export async function checkConfiguration(file: string): Promise<readonly string[]> {
  const config = readConfig(file, { is_dev: false });
  const app = await openApp(config, {
    version: VERSION,
    now,
    complain: () => undefined,
    isShuttingDown: () => false,
  });
  await app.close();
  return app.warnings;
}
