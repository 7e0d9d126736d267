/** A check that is decided from what is held: the same whether the log is in a file of this process or in Redis. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askEnvoyDoor } from '../test/support/ask.ts';
import { type Sidecar, startSidecar } from '../test/support/sidecar.ts';
import type { Figure } from './figure.ts';
import { type Asked, median } from './load.ts';
import { interleave, pin } from './side-by-side.ts';

const PERMIT = '@id("hello") permit (principal, action == Action::"repo.read", resource);\n';
const PATH = '/repos/example/app/contents';

export async function cachedCost(
  { port }: { readonly port: number },
  isShort: boolean,
): Promise<readonly Figure[]> {
  const policies = mkdtempSync(join(tmpdir(), 'mandated-bench-'));
  writeFileSync(join(policies, 'hello.cedar'), PERMIT);
  const store = `{ engine: redis, url: "redis://127.0.0.1:${port}", tenant: cached }`;
  const sidecars = {
    embedded: await startSidecar({ policies: { cedar: policies } }),
    shared: await startSidecar({ policies: { cedar: policies }, store }),
  };
  try {
    for (const { process: own } of Object.values(sidecars)) pin(own.pid!, 0);
    pin(process.pid, 1);
    const loads = { embedded: await loadOf(sidecars.embedded), shared: await loadOf(sidecars.shared) };
    const rates = await interleave(
      loads,
      isShort ? { rounds: 2, duration_ms: 400 } : { rounds: 10, duration_ms: 3000 },
    );
    const ratios = rates.shared.map((rate, index) => (rate / rates.embedded[index]!) * 100);
    return [
      { what: 'cached check, embedded engine, one core', value: median(rates.embedded), unit: 'checks/s' },
      { what: 'cached check, Redis engine, one core', value: median(rates.shared), unit: 'checks/s' },
      { what: 'ratio (median of the rounds)', value: median(ratios), unit: '%' },
    ];
  } finally {
    for (const each of Object.values(sidecars)) await each.discard();
    rmSync(policies, { recursive: true });
  }
}

async function loadOf(
  sidecar: Sidecar,
): Promise<{ readonly port: number; readonly requests: readonly Asked[] }> {
  const token = await sidecar.tokenFor(await sidecar.mandate());
  const { status } = await askEnvoyDoor(sidecar.check_port, token, { path: PATH });
  if (status !== 200) throw new Error(`the check answered ${status}`);
  const text = `GET /envoy${PATH} HTTP/1.1\r\nhost: git.example\r\nauthorization: Bearer ${token}\r\n\r\n`;
  return {
    port: sidecar.check_port,
    requests: [{ text, expected: ['HTTP/1.1 200 OK', 'x-mandate-id: msn_'] }],
  };
}
