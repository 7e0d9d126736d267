/**
 * Disks that fail or are slow, for one process: strace answers its system calls in place of the kernel. The process
 * sees what it would see of a real disk; what it had written before is still in the file.
 */
import { resolve } from 'node:path';
import { type Lodger, openLodging } from './lodging.ts';
import { waitUntil } from './wait.ts';

export interface DiskFault {
  /** Default: what makes written data durable. */
  readonly calls?: readonly string[];
  /** Default: `EIO`, unless there is a delay. */
  readonly error?: 'EIO' | 'ENOSPC';
  readonly delay_ms?: number;
  /** The first call of a thread that fails, counted from 1. */
  readonly from_call?: number;
}

const strace_program = resolve(import.meta.dirname, '../../.tools/bin/strace');

/** Stands before a program on its command line; the program keeps its process id. */
export function underFailingDisk(fault: DiskFault = {}): readonly string[] {
  return [strace_program, '-D', '--seccomp-bpf', ...injection(fault)];
}

/** For a program that runs, from now until `heal`. It is slower meanwhile. */
export async function failDisk(pid: number, fault: DiskFault = {}): Promise<{ heal: () => Promise<void> }> {
  const lodging = openLodging('strace');
  const tracer = lodging.launch([strace_program, '-p', String(pid), ...injection(fault)]);
  const heal = async () => {
    // Not a kill: a call that is held back must be given to the kernel before strace goes.
    tracer.signal('SIGTERM');
    await tracer.gone;
    await lodging.remove();
  };
  try {
    await waitUntil(`strace sees process ${pid}`, () => isAttached(tracer, pid));
  } catch (error) {
    await heal();
    throw error;
  }
  return { heal };
}

function isAttached(tracer: Lodger, pid: number): boolean {
  if (!tracer.isAlive()) throw new Error(`strace has ended: ${tracer.log()}`);
  return tracer.log().includes(`Process ${pid} attached`);
}

function injection(fault: DiskFault): readonly string[] {
  const { calls = ['fsync', 'fdatasync'], delay_ms, from_call } = fault;
  const error = fault.error ?? (delay_ms === undefined ? 'EIO' : undefined);
  const parts = [
    calls.join(','),
    ...(error === undefined ? [] : [`error=${error}`]),
    ...(delay_ms === undefined ? [] : [`delay_enter=${delay_ms * 1000}`]),
    ...(from_call === undefined ? [] : [`when=${from_call}+`]),
  ];
  return ['-f', '-o', '/dev/null', '-e', `trace=${calls.join(',')}`, '-e', `inject=${parts.join(':')}`];
}
