/** Bare repositories on disk behind `git http-backend`, as a git host serves them. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

export interface Repository {
  /** `owner/name`, in the URL as on disk. */
  readonly path: string;
  /** What `git for-each-ref` says. */
  readonly refs: () => string;
  /** Who moved a branch last, as the host was told. */
  readonly pusherOf: (branch: string) => string;
}

export interface GitServer {
  readonly port: number;
  /** Method and target of every request that arrived. */
  readonly reached: string[];
  /** A bare repository with one commit on `main`. */
  readonly create: (path: string) => Repository;
  readonly stop: () => Promise<void>;
}

/** Of this machine nothing but where its programs are: neither configuration nor credentials of whoever runs the test. */
export const git_environment = {
  PATH: process.env.PATH,
  GIT_CONFIG_GLOBAL: '/dev/null',
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_TERMINAL_PROMPT: '0',
};

/** Who makes a commit, in whatever it is made. */
export const git_author = {
  GIT_AUTHOR_NAME: 'agent',
  GIT_AUTHOR_EMAIL: 'agent@example',
  GIT_COMMITTER_NAME: 'agent',
  GIT_COMMITTER_EMAIL: 'agent@example',
};

export async function startGitServer(): Promise<GitServer> {
  requireBackend();
  const folder = mkdtempSync(join(tmpdir(), 'mandated-git-'));
  const reached: string[] = [];
  const server = createServer((request, response) => {
    reached.push(`${request.method} ${request.url}`);
    void serve(folder, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    reached,
    create: (path) => createRepository(folder, path),
    stop: async () => {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function git(args: readonly string[]): string {
  const env = { ...git_environment, ...git_author };
  return execFileSync('git', args, { env, encoding: 'utf8', input: '' }).trim();
}

/** Some distributions package it apart from git. */
function requireBackend(): void {
  if (existsSync(join(git(['--exec-path']), 'git-http-backend'))) return;
  throw new Error('these tests need `git http-backend`: install the whole of git');
}

function createRepository(folder: string, path: string): Repository {
  const inside = (...args: readonly string[]): string => git(['-C', join(folder, path), ...args]);
  git(['init', '--quiet', '--bare', '--initial-branch', 'main', join(folder, path)]);
  inside('config', 'core.logAllRefUpdates', 'always');
  inside('update-ref', 'refs/heads/main', inside('commit-tree', '-m', 'begin', inside('mktree')));
  return {
    path,
    refs: () => inside('for-each-ref'),
    pusherOf: (branch) => inside('reflog', 'show', '--format=%gn', '-1', `refs/heads/${branch}`),
  };
}

/** The host believes the sidecar about who pushes; without a name, `git http-backend` takes no push at all. */
function cgiEnvironment(folder: string, request: IncomingMessage): NodeJS.ProcessEnv {
  const [path, query = ''] = request.url!.split('?');
  const { headers } = request;
  return {
    ...git_environment,
    GIT_PROJECT_ROOT: folder,
    GIT_HTTP_EXPORT_ALL: '1',
    GIT_PROTOCOL: String(headers['git-protocol'] ?? ''),
    REQUEST_METHOD: request.method,
    PATH_INFO: path,
    QUERY_STRING: query,
    CONTENT_TYPE: headers['content-type'],
    CONTENT_LENGTH: headers['content-length'],
    HTTP_CONTENT_ENCODING: headers['content-encoding'],
    REMOTE_USER: headers['x-mandate-actor'] as string | undefined,
  };
}

async function serve(folder: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const child = spawn('git', ['http-backend'], {
    env: cgiEnvironment(folder, request),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // It may answer without having read everything.
  const sent = pipeline(request, child.stdin).catch(() => undefined);
  const answer = await buffer(child.stdout);
  await sent;
  const end = answer.indexOf('\r\n\r\n');
  const lines = answer.toString('latin1', 0, end).split('\r\n');
  for (const line of lines) {
    const [name = '', value = ''] = line.split(/: */, 2);
    if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
    else response.setHeader(name, value);
  }
  response.end(answer.subarray(end + 4));
}
