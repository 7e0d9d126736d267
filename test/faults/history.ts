/** Servers that can lose what they had acknowledged, and how. */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createFaultProxy } from '../support/fault-proxy.ts';
import {
  type RedisConfig,
  type RedisOptions,
  type RedisServer,
  startRedis,
  until,
} from '../support/redis.ts';
import { freshFolder } from './member.ts';
import { afterwards } from './scope.ts';

/** A place where a server serves, and what is done to it. */
export interface Place {
  /** The server that serves now. */
  readonly server: () => RedisServer;
  /** Whatever is acknowledged from now on will be lost. */
  readonly forgetFromNow: () => Promise<void>;
  /** Nobody serves any more. */
  readonly fail: () => Promise<void>;
  /** What lost it serves; `port` is where. */
  readonly recover: () => Promise<void>;
}

/** Goes with the test. */
export async function started(options?: RedisOptions): Promise<RedisServer> {
  const server = await startRedis(options);
  afterwards(server.stop);
  return server;
}

/** Its disk is put back to an older copy. */
export async function copiedDisk(): Promise<Place> {
  const server = await started();
  const copy = freshFolder();
  return {
    server: () => server,
    forgetFromNow: async () => copyDisk(server.dir, copy),
    fail: () => server.kill(),
    recover: async () => {
      copyDisk(copy, server.dir);
      await server.restart();
    },
  };
}

/** With `appendfsync always` what was acknowledged is in the files, so that they can be copied while nobody writes. */
function copyDisk(from: string, to: string): void {
  rmSync(join(to, 'appendonlydir'), { recursive: true, force: true });
  cpSync(join(from, 'appendonlydir'), join(to, 'appendonlydir'), { recursive: true });
}

const PRIMARY: RedisConfig = { 'min-replicas-to-write': 1, 'min-replicas-max-lag': 2 };

/** A replica that was cut off from its primary is put in its place. */
export async function cutOffReplica(): Promise<Place> {
  const primary = await started({ config: PRIMARY });
  const network = await createFaultProxy({ target_port: primary.port });
  afterwards(network.close);
  // Alone it has nobody to wait for.
  const replica = await started({ replica_of: network, config: { 'min-replicas-max-lag': 2 } });
  let serving = primary;
  return {
    server: () => serving,
    forgetFromNow: async () => {
      await untilSame(primary, replica);
      network.blackhole('both');
    },
    fail: () => primary.kill(),
    recover: async () => {
      await replica.call('REPLICAOF', 'NO', 'ONE');
      serving = replica;
    },
  };
}

/** A replica that was frozen, and then went down with the machine of its primary: what it had not read is lost. */
export async function frozenReplica(): Promise<Place> {
  const primary = await started({ config: PRIMARY });
  const replica = await started({ replica_of: primary, config: { 'min-replicas-max-lag': 2 } });
  let serving = primary;
  return {
    server: () => serving,
    forgetFromNow: async () => {
      await untilSame(primary, replica);
      replica.freeze();
    },
    fail: async () => {
      await primary.kill();
      await replica.kill();
    },
    recover: async () => {
      await replica.restart();
      await replica.call('REPLICAOF', 'NO', 'ONE');
      serving = replica;
    },
  };
}

/** What was acknowledged until now is not what is to be lost. */
export async function untilSame(primary: RedisServer, replica: RedisServer): Promise<void> {
  const head = (server: RedisServer) => server.call('HGET', '{acme}:head', 'eid');
  await until(async () => (await head(primary)) === (await head(replica)), replica.isAlive);
}

export const losses = {
  'a disk that is put back to an older copy': copiedDisk,
  'a replica that was cut off': cutOffReplica,
  'a replica that was frozen': frozenReplica,
} as const;
