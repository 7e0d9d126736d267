/** A store of a bench's own, written without a door in between. */
import type { MandateStore, WriteResult } from '../src/check/ports.ts';
import type { Command, ProposeCommand } from '../src/core/mandate/commands.ts';
import type { MandateRecord } from '../src/core/mandate/record.ts';
import { openSqliteStore } from '../src/mandates/sqlite/store.ts';
import { MANDATES } from '../test/support/records.ts';

export const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

export function complain(what: string): never {
  throw new Error(what);
}

export async function openStore(path: string): Promise<MandateStore> {
  const opened = await openSqliteStore({ path, issuer: MANDATES, version: 'test', now, complain });
  if (!opened.ok) throw new Error(opened.error);
  return opened.store;
}

export async function write(
  store: MandateStore,
  command: Command,
): Promise<Extract<WriteResult, { ok: true }>> {
  const result = await store.write(command, 'durable');
  if (!result.ok) throw new Error(`${result.refused}: ${result.detail}`);
  return result;
}

type Terms = Pick<ProposeCommand, 'intent' | 'authorization_details' | 'subject' | 'client_id'>;

/** A root: proposed, and approved as it was proposed. */
export async function approve(store: MandateStore, mandate_id: string, terms: Terms): Promise<MandateRecord> {
  const common = { by: { iss: MANDATES, sub: 'operator' }, at_ms: Date.now() };
  const submission_id = `sub_${mandate_id}`;
  const client_issuer = terms.subject.iss;
  const proposed = await write(store, { kind: 'propose', submission_id, client_issuer, ...terms, ...common });
  const approved = await write(store, {
    kind: 'approve',
    submission_id,
    proposal_hash: proposed.proposal!.proposal_hash,
    mandate_id,
    approval_event_id: `ape_${mandate_id}`,
    policy_version: 'v',
    ...common,
  });
  return approved.mandate!;
}
