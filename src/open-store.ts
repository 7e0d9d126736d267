/** The store of the configured engine, with what it keeps for others beside mandates. */
import { join } from 'node:path';
import type { BarrierObserver, Errands, MandateStore, ProofMemory } from './check/ports.ts';
import type { Config } from './config.ts';
import type { Now } from './core/time.ts';
import { createProofMemory } from './credentials/replay.ts';
import { openOutbox } from './mandates/outbox/outbox.ts';
import { openRedisStore } from './mandates/redis/store.ts';
import { openSqliteStore } from './mandates/sqlite/store.ts';
import { redisOptions } from './redis-options.ts';

interface StoreParts {
  readonly version: string;
  readonly now: Now;
  readonly complain: (what: string, error?: unknown) => void;
}

export type OpenedStore =
  | {
      readonly ok: true;
      readonly store: MandateStore;
      readonly proofs: ProofMemory;
      /** undefined where nobody has a use for it. */
      readonly errands: Errands | undefined;
    }
  | { readonly ok: false; readonly error: string };

export async function openStore(
  config: Config,
  parts: StoreParts,
  onBarrier: BarrierObserver,
): Promise<OpenedStore> {
  const { store, issuer, budgets } = config;
  if (store.engine === 'sqlite') return openEmbedded(config, store.path, parts);
  const { tenant, outbox, working_set, keep_entries, unsafe_store, assume } = store;
  return openRedisStore({
    redis: redisOptions(store),
    tenant,
    issuer,
    ...parts,
    outbox,
    working_set,
    keep_entries,
    // An allow from what is held may be answered as long after it was decided as its permit lasts.
    lease_ms: Math.max(budgets.consequential_read, budgets.consequential_write) + config.permit_validity_ms,
    unsafe_store,
    assume,
    onBarrier,
  });
}

/** What is shown to this process alone is remembered in it; the outbox is opened where something may be put into it. */
async function openEmbedded(
  { issuer, credentials }: Config,
  path: string,
  parts: StoreParts,
): Promise<OpenedStore> {
  const opened = await openSqliteStore({ path, issuer, ...parts });
  if (!opened.ok) return opened;
  const { store } = opened;
  const proofs = createProofMemory();
  if (!credentials.some(({ revocation }) => revocation !== undefined))
    return { ok: true, store, proofs, errands: undefined };
  const kept = await openOutbox(join(path, 'outbox'), 'default');
  if (!kept.ok) {
    await store.close();
    return { ok: false, error: `outbox: ${kept.error}` };
  }
  const { outbox } = kept;
  const close = async (): Promise<void> => {
    await store.close();
    await outbox.close();
  };
  return { ok: true, store: { ...store, close }, proofs, errands: outbox.errands };
}
