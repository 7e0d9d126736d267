/**
 * The runtime of a coding agent: runs git where it stands, once or again and again until it succeeds, with the token
 * that stands in its environment. It is all that a session preserves, and it has never heard of a mandate.
 */
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Task {
  readonly id: number;
  readonly git: readonly string[];
  readonly is_retried: boolean;
}

/** One run of a task. */
export interface Tried {
  readonly id: number;
  readonly code: number | null;
  readonly said: string;
}

const RETRY_MS = 20;

function git(args: readonly string[]): Promise<Omit<Tried, 'id'>> {
  return new Promise((resolve) => {
    const child = execFile('git', args, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, said: stdout + stderr });
    });
  });
}

async function work(task: Task): Promise<void> {
  for (;;) {
    const tried = await git(task.git);
    process.send!({ id: task.id, ...tried });
    if (tried.code === 0 || !task.is_retried) return;
    await sleep(RETRY_MS);
  }
}

process.on('message', (task: Task) => void work(task));
// Leading a group of its own, it takes along what it has started.
process.on('disconnect', () => process.kill(-process.pid, 'SIGKILL'));
