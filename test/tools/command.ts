/** Runs what brings a tool, and tells in full what was tried when it fails. */
import { spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { resolve } from 'node:path';

export interface Command {
  readonly program: string;
  readonly arguments: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export class BringError extends Error {}

export const root = resolve(import.meta.dirname, '../..');

export function run(command: Command): string {
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

export function failure(command: Command, said: string): string {
  const environment = Object.entries(command.environment ?? {}).map(([name, value]) => `${name}=${value}`);
  const tried = [...environment, command.program, ...command.arguments].join(' ');
  const last_lines = said.trim().split('\n').slice(-8);
  return ['tried:', `  ${tried}`, 'it said:', ...last_lines.map((line) => `  ${line}`)].join('\n');
}

/** Tests' output is pasted into issues: paths of this machine stay out of it. */
export function withoutMachinePaths(text: string): string {
  const relative = text.replaceAll(`${root}/`, '').replaceAll(root, '.').replaceAll(homedir(), '~');
  return relative.replaceAll(/(?<=^|[\s'"(=])~?\/(?:[^\s'":/]+\/)+/gm, '…/');
}
