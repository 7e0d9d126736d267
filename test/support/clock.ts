/** A wall clock that jumps, for whatever programs are started with its environment. */
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export interface Clock {
  readonly environment: Readonly<Record<string, string>>;
  /** Sets it so far after the real time, or before it; running programs see it with their next look. */
  readonly shift: (offset_ms: number) => void;
  /** When no program looks any more. */
  readonly remove: () => void;
}

const library = resolve(import.meta.dirname, '../../.tools/bin/libfaketime.so');
const shared_memory = '/dev/shm';

export function createClock(): Clock {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-clock-'));
  const [file, next] = [join(folder, 'offset'), join(folder, 'next')];
  const shift = (offset_ms: number) => {
    writeFileSync(next, `${offset_ms < 0 ? '' : '+'}${offset_ms / 1000}\n`);
    renameSync(next, file);
  };
  shift(0);
  const remove = () => {
    rmSync(folder, { recursive: true });
    sweepSharedMemory();
  };
  return { environment: environment(file), shift, remove };
}

function environment(file: string): Readonly<Record<string, string>> {
  return {
    // redis's allocator asks for the time before libfaketime can answer; the C library's does not.
    LD_PRELOAD: `${library}:libc.so.6`,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    // Time that passes is not what a jump changes, neither are the times of files.
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  };
}

/** What libfaketime leaves behind of a program that was killed, and names after it. */
function sweepSharedMemory(): void {
  const names = existsSync(shared_memory) ? readdirSync(shared_memory) : [];
  for (const name of names) {
    const pid = /^(?:sem\.)?faketime_(?:shm|sem)_(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(shared_memory, name), { force: true });
  }
}
