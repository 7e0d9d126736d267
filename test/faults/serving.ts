/** Whole sidecars on a real Redis, as they are served to proxies and people. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '../../src/core/json.ts';
import { PUSH, ask, askEnvoyDoor } from '../support/ask.ts';
import { ROOT, type Sidecar, type SidecarOptions, startSidecar } from '../support/sidecar.ts';
import { BUILD } from './member.ts';
import { afterwards } from './scope.ts';

/** Most of what a sidecar does before it serves is to read itself: the next one finds it read. */
const COMPILED = { NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/mandated') };

export interface Serving {
  readonly url: string;
  /** More of `store`, as YAML: `, unsafe_store: true`. */
  readonly store?: string;
  readonly outbox?: string;
  readonly lease_ms?: number;
}

/** Goes with the test; rejects with what it says where it does not start. */
export async function serve(
  { url, store = '', outbox = 'outbox', lease_ms = 2000 }: Serving,
  more: Pick<SidecarOptions, 'folder' | 'issuer'> = {},
): Promise<Sidecar> {
  const folder = more.folder ?? mkdtempSync(join(tmpdir(), 'mandated-serving-'));
  const sidecar = await startSidecar({
    ...more,
    folder,
    store: `{ engine: redis, url: "${url}", tenant: acme, outbox: "${outbox}"${store} }`,
    extra: `budgets: { consequential_read: ${lease_ms}ms, consequential_write: ${lease_ms}ms }`,
    root: BUILD,
    ...(BUILD === ROOT && { env: COMPILED }),
  });
  afterwards(sidecar.discard);
  return sidecar;
}

export const push = (sidecar: Sidecar, token?: string) => askEnvoyDoor(sidecar.check_port, token, PUSH);
export const read = (sidecar: Sidecar, token?: string) => askEnvoyDoor(sidecar.check_port, token);

export async function readyz(sidecar: Sidecar): Promise<{ readonly status: number; readonly store: string }> {
  const { status, body } = await ask(sidecar.control_port, { path: '/readyz' });
  return { status, store: String(body.store) };
}

export function revoke(sidecar: Sidecar, { id }: JsonObject, body: JsonObject = {}) {
  return sidecar.control('POST', `/v1/mandates/${String(id)}/revoke`, body);
}
