/** Writes to a store as fast as it answers, and says each answer. Killed by the test that started it. */
import { writeSync } from 'node:fs';
import { openSqliteStore } from '../../src/mandates/sqlite/store.ts';
import { ALICE, ENTRY, MANDATES } from './records.ts';

const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });
const opened = await openSqliteStore({
  path: process.argv[2]!,
  issuer: MANDATES,
  version: 'test',
  now,
  complain: () => undefined,
});
if (!opened.ok) throw new Error(opened.error);
const { store } = opened;
const say = (line: string): void => void writeSync(1, `${line}\n`);
say('ready');

async function one(): Promise<void> {
  const at_ms = Date.now();
  const by = ALICE;
  const submission_id = `sub_${crypto.randomUUID()}`;
  const intent = {
    goal: 'g',
    resources: [ENTRY.resource],
    expires_at: new Date(at_ms + 3_600_000).toISOString(),
  };
  const proposed = await store.write(
    {
      kind: 'propose',
      submission_id,
      intent,
      authorization_details: [ENTRY],
      subject: ALICE,
      client_id: 'a',
      client_issuer: ALICE.iss,
      by,
      at_ms,
    },
    'durable',
  );
  if (!proposed.ok) throw new Error(proposed.detail);
  const id = `msn_${crypto.randomUUID()}`;
  const { proposal_hash } = proposed.proposal!;
  const approved = await store.write(
    {
      kind: 'approve',
      submission_id,
      proposal_hash,
      mandate_id: id,
      approval_event_id: id,
      policy_version: 'v',
      by,
      at_ms,
    },
    'durable',
  );
  if (approved.ok) say(`${id} active ${approved.position.seq}`);
  const revoked = await store.write(
    { kind: 'operate', details: { operation: 'revoke' }, id, may_resume: true, fingerprint: 'f', by, at_ms },
    'durable',
  );
  if (revoked.ok) say(`${id} revoked ${revoked.position.seq}`);
}

// Several at a time, so that group commits are cut in the middle as well.
await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (let round = 0; round < 100_000; round += 1) await one();
  }),
);
