/**
 * `hello` (design/6): one mandate, one permit, a JWT. Checks per second of `/envoy/*` on one core beside a bare Fastify
 * route that answers the same headers, interleaved; then what one check spends its time on.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSidecar } from '../test/support/sidecar.ts';
import { askEnvoyDoor } from '../test/support/ask.ts';
import { median } from './load.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { interleave, pin } from './side-by-side.ts';
import { measureSteps } from './steps.ts';

const PERMIT =
  '@id("hello") permit (principal, action == Action::"repo.read", resource) when { context.mandate.purpose == "urn:example:purpose:release" };\n';
const PATH = '/repos/example/app/contents';

export async function hello({ isShort }: BenchOptions): Promise<readonly Figure[]> {
  const policies = mkdtempSync(join(tmpdir(), 'mandated-bench-'));
  writeFileSync(join(policies, 'hello.cedar'), PERMIT);
  const sidecar = await startSidecar({ policies: { cedar: policies }, extra: '' });
  const token = await sidecar.tokenFor(await sidecar.mandate());
  const { headers, status } = await askEnvoyDoor(sidecar.check_port, token, { path: PATH });
  if (status !== 200) throw new Error(`the check answered ${status}`);
  const bare = await startBare(headers);
  try {
    for (const { pid } of [sidecar.process, bare.process]) pin(pid!, 0);
    pin(process.pid, 1);
    const text = `GET /envoy${PATH} HTTP/1.1\r\nhost: git.example\r\nauthorization: Bearer ${token}\r\n\r\n`;
    const rates = await compare({ ours: sidecar.check_port, bare: bare.port }, text, isShort);
    const steps = await measureSteps(policies, isShort);
    return [...rates, ...steps];
  } finally {
    bare.process.kill();
    await sidecar.discard();
    rmSync(policies, { recursive: true });
  }
}

async function compare(
  ports: { ours: number; bare: number },
  text: string,
  isShort: boolean,
): Promise<readonly Figure[]> {
  const requests = [{ text, expected: ['HTTP/1.1 200 OK', 'x-mandate-id: msn_'] }];
  const rates = await interleave(
    { bare: { port: ports.bare, requests }, ours: { port: ports.ours, requests } },
    isShort ? { rounds: 2, duration_ms: 500 } : { rounds: 7, duration_ms: 4000 },
  );
  const ratios = rates.ours.map((rate, index) => (rate / rates.bare[index]!) * 100);
  return [
    { what: 'bare Fastify route, same headers, one core', value: median(rates.bare), unit: 'requests/s' },
    { what: 'check of /envoy with a JWT and Cedar, one core', value: median(rates.ours), unit: 'checks/s' },
    { what: 'ratio (median of the rounds)', value: median(ratios), unit: '%' },
  ];
}

async function startBare(
  headers: Readonly<Record<string, unknown>>,
): Promise<{ process: ChildProcess; port: number }> {
  const same = Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('x-')));
  const child = spawn(process.execPath, [join(import.meta.dirname, 'bare.ts'), JSON.stringify(same)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const address = await new Promise<string>((resolve) =>
    child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
  );
  return { process: child, port: Number(URL.parse(address.trim())!.port) };
}
