/** Stores on a real Redis, as a sidecar opens them. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MandateStore, ProofMemory } from '../../src/check/ports.ts';
import type { RedisStoreOptions } from '../../src/mandates/redis/options.ts';
import { openRedisStore } from '../../src/mandates/redis/store.ts';
import { MANDATES } from './records.ts';

export interface RedisStore {
  readonly store: MandateStore;
  readonly proofs: ProofMemory;
  /** What its log would say. */
  readonly said: readonly string[];
  readonly outbox: string;
}

/** Throws with the reason why it would not start. `open`: of another build. */
export async function openStore(
  { port }: { readonly port: number },
  options: Partial<RedisStoreOptions> = {},
  open = openRedisStore,
): Promise<RedisStore> {
  const said: string[] = [];
  const outbox = options.outbox ?? mkdtempSync(join(tmpdir(), 'mandated-outbox-'));
  const opened = await open({
    redis: { port },
    tenant: 'acme',
    issuer: MANDATES,
    version: 'test',
    working_set: 100,
    keep_entries: 100_000,
    lease_ms: 60_000,
    unsafe_store: false,
    assume: [],
    now: () => ({ wall_ms: Date.now(), mono_ms: performance.now() }),
    onBarrier: () => undefined,
    complain: (what, error) => said.push(error === undefined ? what : `${what}: ${String(error)}`),
    ...options,
    outbox,
  });
  if (!opened.ok) throw new Error(opened.error);
  return { store: opened.store, proofs: opened.proofs, said, outbox };
}
