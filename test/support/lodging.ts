/**
 * A folder for a program that a test runs, both gone with the test, however it ends. Beside them a shell waits for the
 * end of its input, which comes also when the test process is killed and can do nothing any more; then it kills and
 * removes what is left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Lodger {
  /** It leads a process group of its own, so that what it has started sleeps and ends with it. */
  readonly pid: number;
  /** What it has said so far. */
  readonly log: () => string;
  readonly isAlive: () => boolean;
  readonly signal: (name: NodeJS.Signals) => void;
  /** When it has ended, with all that it has started. */
  readonly gone: Promise<void>;
  readonly kill: () => Promise<void>;
}

export interface Lodging {
  readonly folder: string;
  /** One at a time. */
  readonly launch: (argv: readonly string[], environment?: NodeJS.ProcessEnv) => Lodger;
  /** The program must have ended. Removes the folder, unless it was given. */
  readonly remove: () => Promise<void>;
}

// Each line of input is the process group that runs now, or empty.
const caretaker = `trap '' INT TERM HUP
running=
while read -r line; do running=$line; done
if [ -n "$running" ]; then kill -s KILL -- "-$running"; sleep 0.2; fi
if [ -n "$1" ]; then rm -rf -- "$1"; fi`;

export function openLodging(name: string, given_folder?: string): Lodging {
  const folder = given_folder ?? mkdtempSync(join(tmpdir(), `mandated-${name}-`));
  const removed = given_folder === undefined ? folder : '';
  const watch = spawn('sh', ['-c', caretaker, 'caretaker', removed], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const gone = new Promise<void>((resolve) => watch.once('close', () => resolve()));
  const note = (running: string) => void watch.stdin.write(`${running}\n`);
  return {
    folder,
    launch: (argv, environment) => launch(argv, environment, note),
    remove: async () => {
      watch.stdin.end();
      await gone;
    },
  };
}

function launch(
  [program = '', ...args]: readonly string[],
  environment: NodeJS.ProcessEnv | undefined,
  note: (running: string) => void,
): Lodger {
  const env = { ...process.env, ...environment };
  const child = spawn(program, args, { detached: true, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const log = logOf(child);
  if (child.pid === undefined) throw new Error(`${program} could not be started`);
  note(String(child.pid));
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  child.once('exit', () => signalGroup(child, 'SIGKILL'));
  void gone.then(() => note(''));
  return lodger(child, log, gone);
}

function lodger(child: ChildProcess, log: () => string, gone: Promise<void>): Lodger {
  const isAlive = () => child.exitCode === null && child.signalCode === null;
  const signal = (name: NodeJS.Signals) => {
    if (isAlive()) signalGroup(child, name);
  };
  const kill = () => {
    signal('SIGKILL');
    return gone;
  };
  return { pid: child.pid!, log, isAlive, signal, gone, kill };
}

/** When the leader has ended, there may be nobody left, or one of whom it did not take care. */
function signalGroup(child: ChildProcess, name: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function logOf(child: ChildProcess): () => string {
  let log = '';
  const append = (text: string) => (log += text);
  child.stdout?.setEncoding('utf8').on('data', append);
  child.stderr?.setEncoding('utf8').on('data', append);
  child.once('error', (error) => append(`${error.message}\n`));
  return () => log;
}
