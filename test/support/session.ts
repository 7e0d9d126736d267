/** A coding agent's session as its harness holds it: a workspace, a process, a token, and a place to resume from. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { git_author, git_environment } from '../tools/git-server.ts';
import type { Task, Tried } from './agent-session.ts';
import { type LiveProcess, startProcess } from './process.ts';
import { waitUntil } from './wait.ts';

export interface SessionOptions {
  /** The proxy that is its only way out. */
  readonly proxy_port: number;
  readonly token: string;
  /** The workspace of an earlier session. */
  readonly workspace?: string;
}

export interface Session extends Pick<LiveProcess<Tried>, 'pid' | 'isAlive' | 'freeze' | 'thaw' | 'stop'> {
  readonly workspace: string;
  readonly git: (...args: readonly string[]) => Promise<Tried>;
  /** Goes on until it succeeds; answers what has become of it so far. */
  readonly retry: (...args: readonly string[]) => () => readonly Tried[];
  /** Ends, and takes its workspace along. */
  readonly discard: () => Promise<void>;
}

export function startSession({ proxy_port, token, workspace: earlier }: SessionOptions): Session {
  const workspace = earlier ?? mkdtempSync(join(tmpdir(), 'mandated-session-'));
  const { told, tell, stop, ...live } = startProcess<Tried>(
    join(import.meta.dirname, 'agent-session.ts'),
    sessionEnvironment(proxy_port, token),
  );
  let tasks = 0;
  const begin = (git: readonly string[], is_retried: boolean): (() => readonly Tried[]) => {
    const task: Task = { id: (tasks += 1), git: ['-C', workspace, ...git], is_retried };
    tell(task);
    return () => told.filter(({ id }) => id === task.id);
  };
  return {
    ...live,
    stop,
    workspace,
    git: async (...args) => {
      const tries = begin(args, false);
      await waitUntil(`git ${args.join(' ')}`, () => tries().length > 0);
      return tries()[0]!;
    },
    retry: (...args) => begin(args, true),
    discard: async () => {
      await stop();
      // A git that was killed with it may have been writing.
      rmSync(workspace, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** `-c http.proxy=… -c http.extraHeader=…`, but where no list of processes shows the token. */
function sessionEnvironment(proxy_port: number, token: string): NodeJS.ProcessEnv {
  return {
    ...git_environment,
    ...git_author,
    GIT_CONFIG_COUNT: '2',
    GIT_CONFIG_KEY_0: 'http.proxy',
    GIT_CONFIG_VALUE_0: `http://127.0.0.1:${proxy_port}`,
    GIT_CONFIG_KEY_1: 'http.extraHeader',
    GIT_CONFIG_VALUE_1: `Authorization: Bearer ${token}`,
  };
}
