/** docs/credentials.md and the README are true: each configuration in them starts, with what it names beside it. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readConfig } from '../src/config.ts';
import { certify } from './support/certificate.ts';
import { mandated } from './support/cli.ts';
import { ROOT } from './support/sidecar.ts';

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-docs-'));
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
  write('keys.json', JSON.stringify({ keys: [await exportJWK(publicKey)] }));
  write('client-key.json', JSON.stringify({ ...(await exportJWK(privateKey)), alg: 'ES256', kid: 'c1' }));
  write('client-secret', randomBytes(24).toString('hex'));
  write('nonce-secret', randomBytes(24).toString('hex'));
  certify(folder, 'client');
  write('ca.pem', certify(folder, 'ca-of-as').cert);
});
afterAll(() => rmSync(folder, { recursive: true }));

const HEADINGS = readFileSync(join(ROOT, 'docs/credentials.md'), 'utf8').split(/^## /m).slice(1);
const EXAMPLES = HEADINGS.flatMap((section) =>
  [...section.matchAll(/```yaml\n([^]*?)```/g)]
    .map(([, yaml]) => yaml!)
    .filter((yaml) => yaml.includes('credentials:'))
    .map((yaml, index) => [`${section.split('\n')[0]!}, ${index + 1}`, yaml] as const),
);

const FRAME = `issuer: https://mandates.example
policies: { cedar: ${JSON.stringify(join(ROOT, 'policies/cedar'))} }
actions: ${JSON.stringify(join(ROOT, 'policies/actions.yaml'))}
`;

test('the README`s own', async () => {
  const yaml = /```yaml\n(# mandated\.yaml\n[^]*?)```/.exec(
    readFileSync(join(ROOT, 'README.md'), 'utf8'),
  )?.[1];
  cpSync(join(ROOT, 'policies'), join(folder, 'policies'), { recursive: true });
  await starts(yaml!);
});

test('there is one for every kind', () => expect(EXAMPLES).toHaveLength(8));

test.each(EXAMPLES)('%s', (_, yaml) => starts(FRAME + yaml));

async function starts(yaml: string): Promise<void> {
  const file = join(folder, 'mandated.yaml');
  writeFileSync(file, yaml);
  expect(readConfig(file, { is_dev: false }).credentials.length).toBeGreaterThan(0);
  const { code, stderr } = await mandated('check', '--config', file);
  expect([code, stderr.includes('expected')]).toEqual([0, false]);
}
