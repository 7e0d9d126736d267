/** A fleet of real sidecars on one real Redis, and a history of all that is asked of it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FaultProxy, createFaultProxy } from '../support/fault-proxy.ts';
import type { Seen } from '../support/history.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type Sabotage, sabotaged } from '../support/sabotage.ts';
import { ROOT, type Sidecar, type SidecarOptions, createIssuer, startSidecar } from '../support/sidecar.ts';
import { actions_yaml, budgets_yaml } from './classes.ts';
import { type Recorder, createRecorder } from './recorder.ts';

const TENANT = 'acme';
export const LOG_KEY = `{${TENANT}}:log`;

/** Most of what a sidecar does before it serves is to read itself: the next one finds it read. */
const COMPILED = { NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/mandated') };

export interface MemberOptions {
  /** A build that is broken. */
  readonly sabotage?: Sabotage;
  /** There is a network between it and Redis, which adds so much each way. */
  readonly delay_ms?: number;
  /** Of its process. */
  readonly clock?: Readonly<Record<string, string>>;
}

/** What each connection of a sidecar is for, as it names itself. */
export type LinkName = 'tail' | 'heartbeat' | 'barrier' | 'writer' | 'reader';

export interface Member extends Recorder {
  readonly name: string;
  readonly sidecar: Sidecar;
  /** Its way to Redis; throws where none stands between. */
  readonly network: () => FaultProxy;
  /** The same: faults concern those connections alone, which must be there. */
  readonly networkOf: (...links: readonly [LinkName, ...LinkName[]]) => FaultProxy;
  /** Sleeps, as a machine does that is closed. */
  readonly freeze: () => void;
  readonly thaw: () => void;
  /** Goes as one goes that is stopped. */
  readonly leave: () => Promise<void>;
}

export interface Fleet {
  readonly redis: RedisServer;
  readonly join: (options?: MemberOptions) => Promise<Member>;
  readonly history: readonly Seen[];
  readonly stop: () => Promise<void>;
}

export async function startFleet(): Promise<Fleet> {
  const redis = await startRedis();
  const folder = openFolder();
  const issuer = await createIssuer();
  // Good by any clock of a test.
  const now_s = Math.floor(Date.now() / 1000);
  const token = await issuer.mint({ iat: now_s - 2 * 3600, exp: now_s + 48 * 3600 });
  const [history, members]: [Seen[], Promise<Member>[]] = [[], []];
  const join_fleet = async (name: string, options: MemberOptions): Promise<Member> => {
    const { clock, delay_ms, sabotage } = options;
    const proxy = delay_ms === undefined ? undefined : await createFaultProxy({ target_port: redis.port });
    const sidecar = await startSidecar({
      ...sidecarOptions(join(folder, name), folder, proxy?.port ?? redis.port),
      issuer,
      ...(sabotage && { root: sabotaged(sabotage) }),
      env: { ...COMPILED, ...clock },
    });
    proxy?.delay(delay_ms!);
    const network = (): FaultProxy => {
      if (proxy === undefined) throw new Error(`${name} has no network`);
      return proxy;
    };
    return {
      name,
      sidecar,
      network,
      networkOf: (...links) => {
        const names = links.map((link) => `mandated-${link}`) as [string, ...string[]];
        if (network().only(...names) !== links.length)
          throw new Error(`${name} has not ${names.join(' and ')}`);
        return network();
      },
      freeze: () => void sidecar.process.kill('SIGSTOP'),
      thaw: () => void sidecar.process.kill('SIGCONT'),
      leave: async () => {
        await sidecar.stop('SIGTERM');
        await proxy?.close();
      },
      ...createRecorder({ name, sidecar, token, history, has_own_clock: clock !== undefined }),
    };
  };
  return {
    redis,
    history,
    join: (options = {}) => {
      const joined = join_fleet(`sidecar-${members.length}`, options);
      members.push(joined);
      return joined;
    },
    stop: async () => {
      const there = await Promise.allSettled(members);
      for (const each of there) if (each.status === 'fulfilled') await each.value.leave();
      await redis.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function openFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-fleet-'));
  mkdirSync(join(folder, 'cedar'));
  // Nothing but the mandate says no here.
  writeFileSync(join(folder, 'cedar/all.cedar'), '@id("all")\npermit (principal, action, resource);\n');
  writeFileSync(join(folder, 'actions.yaml'), actions_yaml);
  return folder;
}

function sidecarOptions(folder: string, shared: string, redis_port: number): SidecarOptions {
  const url = `redis://127.0.0.1:${redis_port}`;
  return {
    folder,
    store: `{ engine: redis, url: "${url}", tenant: ${TENANT}, outbox: outbox }`,
    actions: join(shared, 'actions.yaml'),
    policies: { cedar: join(shared, 'cedar') },
    extra: `budgets: ${budgets_yaml}`,
  };
}
