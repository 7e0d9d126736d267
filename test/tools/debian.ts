/**
 * Programs out of Debian's packages, without installing them: neither root nor an earlier `apt-get update` is needed,
 * and nothing outside the tool's folder changes. apt knows which libraries this machine lacks and downloads those too.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.ts';

/** Below the tool's folder, what the packages hold. */
const unpacked = 'unpacked';

export interface DebianTool {
  /** As apt takes them; `=VERSION-*` leaves the revision to the archive, which keeps only the last. */
  readonly packages: readonly string[];
  /** Of `/usr/bin`: each gets a script of its name in the tool's folder. */
  readonly programs?: readonly string[];
  /** Below the packages' folders of libraries: each gets a link of its last name. */
  readonly libraries?: readonly string[];
}

/** `lists` is a folder for apt's own state, which the tools of one run share. */
export function installDebian(tool: DebianTool, folder: string, lists: string): void {
  if (!existsSync(lists)) update(lists);
  const downloads = join(folder, 'downloads');
  mkdirSync(join(downloads, 'partial'), { recursive: true });
  const download = ['--yes', '--reinstall', '--download-only', '--no-install-recommends', 'install'];
  apt(lists, downloads, [...download, ...tool.packages]);
  for (const deb of readdirSync(downloads).filter((name) => name.endsWith('.deb')))
    run({ program: 'dpkg-deb', arguments: ['-x', join(downloads, deb), join(folder, unpacked)] });
  rmSync(downloads, { recursive: true });
  for (const program of tool.programs ?? []) writeScript(folder, program);
  for (const library of tool.libraries ?? []) linkLibrary(folder, library);
}

function update(lists: string): void {
  mkdirSync(join(lists, 'partial'), { recursive: true });
  try {
    apt(lists, lists, ['update']);
  } catch (error) {
    rmSync(lists, { recursive: true });
    throw error;
  }
}

function apt(lists: string, downloads: string, args: readonly string[]): void {
  const settings = [
    `Dir::State::Lists=${lists}`,
    `Dir::Cache=${lists}`,
    `Dir::Cache::Archives=${downloads}`,
    // Nothing is installed, so there is nothing to lock; and apt's own user may not be able to write here.
    'Debug::NoLocking=true',
    'APT::Sandbox::User=root',
    'Acquire::Languages=none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    'Acquire::Retries=3',
  ];
  const options = settings.flatMap((setting) => ['-o', setting]);
  run({ program: 'apt-get', arguments: ['-qq', ...options, ...args], environment: { LC_ALL: 'C' } });
}

/** Finds its libraries beside it, wherever the folder was copied, and prefers them to the machine's. */
function writeScript(folder: string, program: string): void {
  const libraries = libraryFolders(folder).map((path) => `$here/${path}`);
  const lines = [
    '#!/bin/sh',
    'here=$(dirname "$(readlink -f "$0")")',
    `export LD_LIBRARY_PATH="${libraries.join(':')}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"`,
    `exec "$here/${unpacked}/usr/bin/${program}" "$@"`,
  ];
  const script = libraries.length > 0 ? lines : lines.filter((line) => !line.startsWith('export'));
  writeFileSync(join(folder, program), `${script.join('\n')}\n`);
  chmodSync(join(folder, program), 0o755);
}

function linkLibrary(folder: string, library: string): void {
  const found = libraryFolders(folder).find((path) => existsSync(join(folder, path, library)));
  if (found === undefined) throw new Error(`the packages hold no ${library}`);
  symlinkSync(join(found, library), join(folder, library.split('/').at(-1)!));
}

/** Named after the machine's kind: `usr/lib/KIND-linux-gnu`. */
function libraryFolders(folder: string): readonly string[] {
  const parents = [`${unpacked}/usr/lib`, `${unpacked}/lib`].filter((path) => existsSync(join(folder, path)));
  return parents.flatMap((parent) => {
    const names = readdirSync(join(folder, parent)).filter((name) => name.includes('-linux-'));
    return names.map((name) => `${parent}/${name}`);
  });
}
