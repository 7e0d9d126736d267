/** Real sentinels, which watch a primary and put a replica in its place. */
import { type RedisConfig, type RedisOptions, type RedisServer, startServer, until } from './redis.ts';
import { type RedisAddress, type Reply } from './resp.ts';

export interface SentinelOptions extends Pick<RedisOptions, 'config' | 'tls' | 'environment'> {
  /** What clients ask for. */
  readonly name?: string;
  /** Default: a majority. */
  readonly quorum?: number;
  readonly down_after_ms?: number;
  readonly failover_timeout_ms?: number;
  /** They are ready when they know so many. */
  readonly replicas?: number;
}

export interface Sentinels {
  readonly name: string;
  readonly servers: readonly RedisServer[];
  /** Where the first that answers sees the primary. */
  readonly primaryPort: () => Promise<number>;
  /** When all that answer see the primary there. */
  readonly untilPrimary: (server: RedisAddress) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** They are ready when each knows all others. */
export async function startSentinels(
  count: number,
  primary: RedisAddress,
  options: SentinelOptions = {},
): Promise<Sentinels> {
  const { name = 'mandates', config = {}, replicas = 0, tls, environment } = options;
  const lines = { ...monitor(name, count, primary, options), ...config };
  const servers: RedisServer[] = [];
  const stop = async () => void (await Promise.all(servers.map((server) => server.stop())));
  try {
    while (servers.length < count)
      servers.push(
        await startServer('sentinel', lines, { ...(tls && { tls }), ...(environment && { environment }) }),
      );
    for (const server of servers) await untilSees(server, name, count - 1, replicas);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name,
    servers,
    primaryPort: async () => Promise.any(askPrimaryPorts(servers, name)),
    untilPrimary: ({ port }) => untilPrimary(servers, name, port),
    stop,
  };
}

function monitor(name: string, count: number, primary: RedisAddress, options: SentinelOptions): RedisConfig {
  const { quorum = Math.floor(count / 2) + 1, down_after_ms = 500, failover_timeout_ms = 3_000 } = options;
  return {
    [`sentinel monitor ${name}`]: `127.0.0.1 ${primary.port} ${quorum}`,
    [`sentinel down-after-milliseconds ${name}`]: down_after_ms,
    [`sentinel failover-timeout ${name}`]: failover_timeout_ms,
    [`sentinel parallel-syncs ${name}`]: 1,
    ...(primary.password !== undefined && { [`sentinel auth-pass ${name}`]: primary.password }),
  };
}

async function untilSees(server: RedisServer, name: string, others: number, replicas: number): Promise<void> {
  const sees = async () => {
    const state = pairs(await server.call('SENTINEL', 'MASTER', name));
    return state['num-other-sentinels'] === String(others) && Number(state['num-slaves']) >= replicas;
  };
  await until(sees, server.isAlive);
}

function pairs(reply: Reply): Readonly<Record<string, Reply>> {
  const flat = reply as Reply[];
  return Object.fromEntries(flat.flatMap((key, at) => (at % 2 === 0 ? [[key, flat[at + 1]!]] : [])));
}

async function untilPrimary(servers: readonly RedisServer[], name: string, port: number): Promise<void> {
  const agree = async () => {
    const asked = await Promise.allSettled(askPrimaryPorts(servers, name));
    const seen = asked.filter((each) => each.status === 'fulfilled').map((each) => each.value);
    return seen.length > 0 && seen.every((each) => each === port);
  };
  await until(agree, () => servers.some((server) => server.isAlive()));
}

function askPrimaryPorts(servers: readonly RedisServer[], name: string): readonly Promise<number>[] {
  return servers.map(async (server) => {
    const reply = await server.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name);
    return Number((reply as Reply[])[1]);
  });
}
