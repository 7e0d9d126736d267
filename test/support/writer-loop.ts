/** Writes to the store of a build as fast as it answers, and says each answer. Killed by the test that started it. */
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import type { openSqliteStore as open } from '../../src/mandates/sqlite/store.ts';
import type { Command } from '../../src/core/mandate/commands.ts';
import { commands, committed } from './authority.ts';
import { MANDATES } from './records.ts';

const [, , path, build] = process.argv as [string, string, string, string];
const { openSqliteStore } = (await import(join(build, 'src/mandates/sqlite/store.ts'))) as {
  readonly openSqliteStore: typeof open;
};
const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });
const complain = () => undefined;
const opened = await openSqliteStore({ path, issuer: MANDATES, version: 'test', now, complain });
if (!opened.ok) throw new Error(opened.error);
const { store } = opened;
const say = (line: string): void => void writeSync(1, `${line}\n`);
say('ready');

const write = (command: Command) => committed(store.write(command, 'durable'));

async function one(): Promise<void> {
  const { proposal } = await write(commands().propose());
  const approved = await write(commands().approve(proposal!.submission_id, proposal!.proposal_hash));
  const { id } = approved.mandate!;
  say(`${id} active ${approved.position.seq}`);
  const revoked = await write(commands().operate('revoke', id));
  say(`${id} revoked ${revoked.position.seq}`);
}

// Several at a time, so that group commits are cut in the middle as well.
await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (let round = 0; round < 100_000; round += 1) await one();
  }),
);
