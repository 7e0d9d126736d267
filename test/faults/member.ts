/** Sidecars' stores in processes of their own, each behind a network of its own. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FaultProxy, createFaultProxy } from '../support/fault-proxy.ts';
import { ROOT } from '../support/sidecar.ts';
import { type MemberApi, type MemberOptions, createMemberApi } from './member-api.ts';
import type { Asked, Told } from './member-process.ts';
import { afterwards } from './scope.ts';

/** Where the build is that is tested: `broken.test.ts` has each row run on one that is broken. */
export const BUILD = process.env['FAULTS_BUILD'] ?? ROOT;

/** Most of what it does before it serves is to read itself: the next one finds it read. */
const COMPILED = { NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/mandated') };

export type Api = {
  readonly [Name in keyof MemberApi]: (
    ...args: Parameters<MemberApi[Name]>
  ) => Promise<Awaited<ReturnType<MemberApi[Name]>>>;
};

export interface Member extends Api {
  readonly pid: number;
  /** What it remembers by itself. */
  readonly outbox: string;
  /** The network between it and the server; a member may also reach the server without one. */
  readonly door: FaultProxy;
  readonly freeze: () => void;
  readonly thaw: () => void;
  /** At once, as when its machine goes down. */
  readonly kill: () => Promise<void>;
}

export interface Starting extends Partial<MemberOptions> {
  readonly port?: number;
  /** The folder whose `src` it runs; default: this one. */
  readonly root?: string;
  /** The network of the member that it comes after. */
  readonly door?: FaultProxy;
}

/** Throws with the reason why it would not start. */
export async function startMember(options: Starting): Promise<Member> {
  const { member, refused } = await tryMember(options);
  if (refused !== '') throw new Error(refused);
  return member;
}

/** `refused`: why it would not start, or empty. It goes with the test. */
export async function tryMember(
  options: Starting,
): Promise<{ readonly member: Member; readonly refused: string }> {
  const { port = 0, root = BUILD, outbox = freshFolder(), door = await doorTo(port), ...rest } = options;
  const child = fork(join(import.meta.dirname, 'member-process.ts'), [root], {
    detached: true,
    execArgv: [],
    env: { ...process.env, ...(BUILD === ROOT && COMPILED) },
    serialization: 'advanced',
  });
  const { call, ready } = calling(child);
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const signal = (name: NodeJS.Signals) => void child.kill(name);
  const kill = () => {
    signal('SIGKILL');
    return gone;
  };
  afterwards(kill);
  await ready;
  const api = new Proxy({} as Api, {
    get:
      (_, name: keyof MemberApi) =>
      (...args: readonly unknown[]) =>
        call(name, args),
  });
  const refused = await api.open({ redis: { port: door.port }, ...rest, outbox });
  const { open, write, check, standing, lineage, fleet, close } = api;
  const member: Member = {
    open,
    write,
    check,
    standing,
    lineage,
    fleet,
    close,
    pid: child.pid!,
    outbox,
    door,
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    kill,
  };
  return { member, refused };
}

/** One in this process, where nothing is frozen or killed; `refused`: why it would not start, or empty. */
export async function openLocal({
  port = 0,
  outbox = freshFolder(),
  ...rest
}: Omit<Starting, 'root' | 'door'>): Promise<{
  readonly local: Api & { readonly outbox: string };
  readonly refused: string;
}> {
  const api = await createMemberApi(BUILD);
  const refused = await api.open({ redis: { port }, ...rest, outbox });
  if (refused === '') afterwards(() => api.close().catch(() => undefined));
  return { local: { ...api, outbox }, refused };
}

/** Why one would not start, or empty. */
export async function refusalOf(port: number, more: Partial<MemberOptions> = {}): Promise<string> {
  return (await openLocal({ port, ...more })).refused;
}

/** Goes with the test. */
export function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-member-'));
  afterwards(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

async function doorTo(target_port: number): Promise<FaultProxy> {
  const door = await createFaultProxy({ target_port });
  afterwards(door.close);
  return door;
}

function calling(child: ChildProcess) {
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  const ready = Promise.withResolvers<unknown>();
  waiting.set(0, ready);
  let calls = 0;
  child.on('message', (told: Told) => {
    const asked = waiting.get(told.call);
    waiting.delete(told.call);
    if ('error' in told) asked?.reject(new Error(told.error));
    else asked?.resolve(told.value);
  });
  child.once('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error('the member has ended'));
  });
  const call = (name: keyof MemberApi, args: readonly unknown[]): Promise<unknown> => {
    const asked = Promise.withResolvers<unknown>();
    waiting.set((calls += 1), asked);
    child.send({ call: calls, name, args } satisfies Asked, (error) => {
      if (error !== null) asked.reject(error);
    });
    return asked.promise;
  };
  return { call, ready: ready.promise };
}
