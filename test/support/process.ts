/** A party of a story in a process of its own, which can be put to sleep and woken as a closed laptop is. */
import { fork } from 'node:child_process';

export interface LiveProcess<Told> {
  readonly pid: number;
  /** Whatever it has told, in order. */
  readonly told: readonly Told[];
  readonly tell: (message: object) => void;
  /** The same process as at the start: neither ended nor replaced. */
  readonly isAlive: () => boolean;
  readonly freeze: () => void;
  readonly thaw: () => void;
  readonly stop: () => Promise<void>;
}

/** `program` talks over IPC, and ends by itself when nobody is left to talk to. */
export function startProcess<Told>(program: string, environment: NodeJS.ProcessEnv): LiveProcess<Told> {
  const child = fork(program, { detached: true, env: environment, execArgv: [] });
  const told: Told[] = [];
  child.on('message', (message) => told.push(message as Told));
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const pid = child.pid!;
  const isAlive = (): boolean => child.exitCode === null && child.signalCode === null;
  // It leads a group of its own, so that what it has started sleeps and ends with it.
  const signal = (name: NodeJS.Signals): void => {
    if (isAlive()) process.kill(-pid, name);
  };
  const kill = (): void => signal('SIGKILL');
  process.once('exit', kill);
  return {
    pid,
    told,
    tell: (message) => void child.send(message),
    isAlive,
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    stop: () => {
      kill();
      process.off('exit', kill);
      return gone;
    },
  };
}
