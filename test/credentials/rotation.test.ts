/** Keys in a file rotate while the process lives; a file that cannot be used is bridged, and said. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { askEnvoyDoor } from '../support/ask.ts';
import { type Sidecar, type TestIssuer, createIssuer, startSidecar } from '../support/sidecar.ts';

let sidecar: Sidecar;
let next: TestIssuer;
let mission: JsonObject;

beforeAll(async () => {
  sidecar = await startSidecar();
  next = await createIssuer('ES256', 'k2');
  const { id, issuer, authority_hash } = await sidecar.mandate();
  mission = { id: id!, issuer: issuer!, authority_hash: authority_hash! };
});
afterAll(() => sidecar.discard());

/** As secrets are mounted: the new file takes the place of the old at once. */
function replace(text: string): void {
  const file = join(sidecar.folder, 'keys.json');
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

const jwks = (...issuers: readonly TestIssuer[]): string =>
  JSON.stringify({ keys: issuers.flatMap((each) => each.jwks['keys'] as readonly JsonObject[]) });

const statusOf = async (issuer: TestIssuer): Promise<number> =>
  (await askEnvoyDoor(sidecar.check_port, await issuer.mint({ mission }))).status;

const becomes = (issuer: TestIssuer, status: number) =>
  expect.poll(() => statusOf(issuer), { timeout: 10_000, interval: 100 }).toBe(status);

test('a new key is known, and an old one is not any more, remembered tokens included', async () => {
  const remembered = await sidecar.issuer.mint({ mission });
  const ask = async (): Promise<number> => (await askEnvoyDoor(sidecar.check_port, remembered)).status;
  expect([await ask(), await statusOf(next)]).toEqual([200, 401]);
  replace(jwks(sidecar.issuer, next));
  await becomes(next, 200);
  expect(await ask()).toBe(200);
  replace(jwks(next));
  await becomes(sidecar.issuer, 401);
  expect(await ask()).toBe(401);
});

test('a file that is broken or gone is bridged with the keys in hand, and complained of once', async () => {
  replace('{ "keys": [');
  await expect.poll(() => sidecar.stderr(), { timeout: 10_000 }).toContain('the key file cannot be used');
  expect(await statusOf(next)).toBe(200);
  rmSync(join(sidecar.folder, 'keys.json'));
  expect(await statusOf(next)).toBe(200);
  replace(jwks(next, sidecar.issuer));
  await becomes(sidecar.issuer, 200);
  expect(sidecar.stderr().split('the key file cannot be used')).toHaveLength(2);
  expect(sidecar.stderr()).toContain('the key file can be used again');
});
