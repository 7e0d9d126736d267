/** The accounting service behind the proxy, in a process of its own; the ledger is a file on disk. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Posting } from '../support/ledger-process.ts';
import { startProcess } from '../support/process.ts';
import { readLines } from '../support/sidecar.ts';
import { waitUntil } from '../support/wait.ts';

export interface Ledger {
  readonly port: number;
  readonly postings: () => readonly Posting[];
  readonly stop: () => Promise<void>;
}

export async function startLedger(): Promise<Ledger> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-ledger-'));
  const file = join(folder, 'ledger.jsonl');
  writeFileSync(file, '');
  const program = join(import.meta.dirname, '../support/ledger-process.ts');
  const { told, stop } = startProcess<{ port: number }>(program, { ...process.env, LEDGER_FILE: file });
  await waitUntil('the ledger listens', () => told.length > 0);
  return {
    port: told[0]!.port,
    postings: () => readLines(file) as unknown as readonly Posting[],
    stop: async () => {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
