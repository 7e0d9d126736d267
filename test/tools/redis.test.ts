/** The servers and faults that other tests rely on: that they are what they are taken for. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as later } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { certify } from '../support/certificate.ts';
import { type Clock, createClock } from '../support/clock.ts';
import { failDisk, underFailingDisk } from '../support/disk.ts';
import { type FaultProxy, createFaultProxy } from '../support/fault-proxy.ts';
import { type RedisOptions, type RedisServer, startRedis } from '../support/redis.ts';
import { ReplyError, callRedis, connectRedis } from '../support/resp.ts';
import { startSentinels } from '../support/sentinel.ts';
import { waitUntil } from '../support/wait.ts';

async function started(options?: RedisOptions): Promise<RedisServer> {
  const server = await startRedis(options);
  onTestFinished(server.stop);
  return server;
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-redis-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Whether a process still does anything; one that nobody has reaped does not. */
function isRunning(pid: number): boolean {
  const status = `/proc/${pid}/status`;
  return existsSync(status) && !/^State:\s+[ZX]/m.test(readFileSync(status, 'utf8'));
}

describe('a redis server', () => {
  test('answers, keeps every write it acknowledged, and is gone afterwards', async () => {
    const server = await startRedis();
    expect(await server.call('SET', 'key', 'value')).toBe('OK');
    await server.kill();
    await expect(server.call('PING')).rejects.toThrow('ECONNREFUSED');
    await server.restart();
    expect(await server.call('GET', 'key')).toBe('value');
    await expect(server.call('INCR', 'key')).rejects.toBeInstanceOf(ReplyError);
    const pid = server.pid();
    await server.stop();
    expect([isRunning(pid), existsSync(server.dir)]).toEqual([false, false]);
  });

  test('is frozen and thawed as the same process', async () => {
    const server = await started();
    const pid = server.pid();
    const { call, close } = await connectRedis(server, 10_000);
    server.freeze();
    const answer = call('PING');
    expect(await Promise.race([answer, later(200, 'nothing')])).toBe('nothing');
    server.thaw();
    expect([await answer, server.pid()]).toEqual(['PONG', pid]);
    close();
  });

  test('has the settings it was given, also a password that its replica says', async () => {
    const server = await started({ config: { requirepass: 'secret', appendfsync: 'everysec' } });
    await started({ replica_of: server });
    expect(await server.call('CONFIG', 'GET', 'appendfsync')).toEqual(['appendfsync', 'everysec']);
    expect(await server.call('CONFIG', 'GET', 'save')).toEqual(['save', '']);
    await expect(callRedis({ port: server.port }, ['PING'])).rejects.toThrow('NOAUTH');
  });

  test('leaves a folder that is not its own, for another on the same port', async () => {
    const dir = temporaryFolder();
    const first = await startRedis({ dir });
    await first.call('SET', 'key', 'value');
    await first.stop();
    const second = await started({ dir, port: first.port });
    expect([second.port, await second.call('GET', 'key')]).toEqual([first.port, 'value']);
  });

  test('speaks TLS alone, also to its replica', async () => {
    const tls = certify(temporaryFolder(), 'redis');
    const server = await started({ tls });
    const replica = await started({ tls, replica_of: server });
    expect(server.url).toBe(`rediss://127.0.0.1:${server.port}`);
    const { call, close } = await connectRedis(server);
    await call('SET', 'key', 'value');
    expect(await call('WAIT', 1, 2000)).toBe(1);
    close();
    expect(await replica.call('GET', 'key')).toBe('value');
    await expect(callRedis({ port: server.port }, ['PING'])).rejects.toThrow();
  });

  test('says why it does not start, and leaves nothing', async () => {
    await expect(startRedis({ config: { nonsense: 1 } })).rejects.toThrow('Bad directive');
  });
});

describe('sentinels', () => {
  test('put a replica in the place of a primary that was killed', async () => {
    const primary = await started();
    const replica = await started({ replica_of: primary });
    const sentinels = await startSentinels(3, primary, { replicas: 1 });
    onTestFinished(sentinels.stop);
    expect(await sentinels.primaryPort()).toBe(primary.port);
    await expect(replica.call('SET', 'key', 'x')).rejects.toThrow('READONLY');
    await primary.kill();
    await sentinels.untilPrimary(replica);
    expect(await sentinels.primaryPort()).toBe(replica.port);
    expect(await replica.call('SET', 'key', 'y')).toBe('OK');
  });
});

describe('a disk that fails', () => {
  test('ends a server that must not acknowledge, from the start or while it runs', async () => {
    const server = await started({ under: underFailingDisk({ from_call: 5 }) });
    const { call } = await connectRedis(server);
    await expect(incrementForEver(call)).rejects.toThrow();
    await server.gone();
    expect(server.log()).toContain('Input/output error');

    await server.restart([]);
    const failing = await failDisk(server.pid(), { error: 'ENOSPC' });
    await expect(server.call('INCR', 'key')).rejects.toThrow();
    await server.gone();
    await failing.heal();
    expect(server.log()).toContain('No space left on device');
  });

  test('may be slow instead, and heals', async () => {
    const server = await started();
    const failing = await failDisk(server.pid(), { delay_ms: 300 });
    const slow = await timed(() => server.call('INCR', 'key'));
    await failing.heal();
    expect([slow > 290, await server.call('INCR', 'key'), server.isAlive()]).toEqual([true, 2, true]);
  });

  test('also fails under SQLite in a thread', () => {
    const file = join(temporaryFolder(), 'store');
    const [program, ...args] = [...underFailingDisk({ from_call: 4 }), process.execPath, '-e', writes(file)];
    const { stdout } = spawnSync(program, args, { encoding: 'utf8' });
    expect(stdout).toMatch(/^(written\n)*disk I\/O error\n$/);
  });

  async function incrementForEver(call: RedisServer['call']): Promise<never> {
    for (;;) await call('INCR', 'key');
  }

  /** Each commit is made durable, until one cannot be. */
  function writes(file: string): string {
    const thread = `
      const database = new (require('node:sqlite').DatabaseSync)(${JSON.stringify(file)});
      try {
        database.exec('pragma synchronous = full; create table t (a)');
        for (let at = 0; at < 9; at += 1) {
          database.exec('insert into t values (1)');
          console.log('written');
        }
      } catch (error) { console.log(error.message); }`;
    return `new (require('node:worker_threads').Worker)(${JSON.stringify(thread)}, { eval: true })`;
  }
});

describe('a clock that jumps', () => {
  let clock: Clock;
  beforeAll(() => {
    clock = createClock();
  });
  afterAll(() => clock.remove());

  test('makes redis forget what expires, while it runs', async () => {
    const server = await started({ environment: clock.environment });
    const offset = async () => {
      const [seconds] = (await server.call('TIME')) as string[];
      return (Number(seconds) - Date.now() / 1000) / 60;
    };
    expect(await offset()).toBeCloseTo(0, 0);
    await server.call('SET', 'key', 'value', 'EX', 600);
    clock.shift(3_600_000);
    expect(await offset()).toBeCloseTo(60, 0);
    expect(await server.call('GET', 'key')).toBeNull();
    clock.shift(-3_600_000);
    expect(await offset()).toBeCloseTo(-60, 0);
  });

  test('jumps under node while it runs', async () => {
    const look = 'process.stdin.on("data", () => process.stdout.write(`${Date.now()}`))';
    const child = spawn(process.execPath, ['-e', look], { env: { ...process.env, ...clock.environment } });
    const gone = once(child, 'exit');
    const offset = async () => {
      child.stdin.write('\n');
      const [said] = (await once(child.stdout, 'data')) as [Buffer];
      return (Number(said.toString()) - Date.now()) / 60_000;
    };
    clock.shift(0);
    expect(await offset()).toBeCloseTo(0, 0);
    clock.shift(-3_600_000);
    expect(await offset()).toBeCloseTo(-60, 0);
    child.kill('SIGKILL');
    await gone;
  });
});

describe('a network with faults', () => {
  async function throughProxy(): Promise<{ server: RedisServer; proxy: FaultProxy }> {
    const server = await started();
    const proxy = await createFaultProxy({ target_port: server.port });
    onTestFinished(proxy.close);
    return { server, proxy };
  }

  test('a write is done whose reply was lost', async () => {
    const { server, proxy } = await throughProxy();
    proxy.dropReply(1, (request) => request.includes('INCR'));
    const { call } = await connectRedis(proxy);
    expect(await call('PING')).toBe('PONG');
    await expect(call('INCR', 'key')).rejects.toThrow();
    expect(await server.call('GET', 'key')).toBe('1');
    expect(await callRedis(proxy, ['INCR', 'key'])).toBe(2);
  });

  test('a replica behind it falls back and catches up', async () => {
    const { server, proxy } = await throughProxy();
    const replica = await started({ replica_of: proxy });
    const { call, close } = await connectRedis(server, 15_000);
    proxy.blackhole('to_client');
    await call('SET', 'key', 'value');
    expect(await call('WAIT', 1, 200)).toBe(0);
    expect(await replica.call('GET', 'key')).toBeNull();
    await proxy.heal();
    expect(await call('WAIT', 1, 10_000)).toBe(1);
    expect(await replica.call('GET', 'key')).toBe('value');
    close();
  });
});

test('a server and its folder go with a test that is killed, also a frozen one', async () => {
  const program = `
    const { startRedis } = await import(${JSON.stringify(new URL('../support/redis.ts', import.meta.url))});
    const server = await startRedis();
    server.freeze();
    console.log(JSON.stringify({ pid: server.pid(), dir: server.dir }));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program]);
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  const { pid, dir } = JSON.parse(said.toString()) as { pid: number; dir: string };
  expect([isRunning(pid), existsSync(dir)]).toEqual([true, true]);
  child.kill('SIGKILL');
  await waitUntil('both are gone', () => !isRunning(pid) && !existsSync(dir));
});

async function timed(act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await act();
  return performance.now() - start;
}
