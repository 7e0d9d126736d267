/** The twin beside the embedded store. */
import { rmSync } from 'node:fs';
import { openSqliteStore } from '../../src/mandates/sqlite/store.ts';
import { MANDATES } from '../support/records.ts';
import { twinOver } from './over-store.ts';
import { newFolder } from './wire.ts';

async function open() {
  const path = newFolder();
  const opened = await openSqliteStore({
    path,
    issuer: MANDATES,
    version: 'test',
    now: () => ({ wall_ms: Date.now(), mono_ms: performance.now() }),
    complain: () => undefined,
  });
  if (!opened.ok) throw new Error(opened.error);
  const { store } = opened;
  const discard = async (): Promise<void> => {
    await store.close();
    rmSync(path, { recursive: true });
  };
  return { store, discard };
}

twinOver('embedded', open, 1000);
