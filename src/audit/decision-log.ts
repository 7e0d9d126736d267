/** The decision log: one JSON line per decision, written before the answer leaves. */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { DecisionSink } from '../check/ports.ts';

export interface DecisionLog extends DecisionSink {
  readonly close: () => void;
}

const STDOUT = 1;

/** `target`: `stdout`, or a file that is appended to. Throws when the file cannot be opened. */
export function openDecisionLog(target: string): DecisionLog {
  const fd = target === 'stdout' ? STDOUT : openSync(target, 'a', 0o600);
  return {
    // Synchronous on purpose: an allow that was answered stands in the log, whatever happens to the process next.
    write: ({ decision }) => writeAll(fd, Buffer.from(`${JSON.stringify(decision)}\n`)),
    close: () => {
      if (fd !== STDOUT) closeSync(fd);
    },
  };
}

/** A pipe whose reader is slow takes a part, or nothing for now. */
const MAX_STALLS = 50;
const STALL_MS = 1;

function writeAll(fd: number, bytes: Buffer): void {
  let at = 0;
  let stalls = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || (stalls += 1) > MAX_STALLS) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STALL_MS);
    }
  }
}
