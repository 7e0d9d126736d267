/** What the first question costs: tokens that are remembered, seen first, and proven; and what a flood of them does. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as DPoP from 'dpop';
import {
  type CryptoKey,
  type JWK,
  SignJWT,
  calculateJwkThumbprint,
  compactVerify,
  exportJWK,
  generateKeyPair,
  jwtVerify,
} from 'jose';
import { createCheck } from '../src/check/check.ts';
import type { ShownToken } from '../src/core/credential.ts';
import { createCredentials } from '../src/credentials/credentials.ts';
import type { TokenIssuer } from '../src/credentials/issuer.ts';
import { createRemoteKeys } from '../src/credentials/remote-keys.ts';
import { createProofMemory } from '../src/credentials/replay.ts';
import { AS, GIT } from '../test/support/sidecar.ts';
import { memoryOf } from './credentials-memory.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { median } from './load.ts';
import { ALLOW, build, tokenIssuer } from './steps.ts';
import { complain, now } from './store.ts';

const PERMIT = '@id("hello") permit (principal, action == Action::"repo.read", resource);\n';
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];

export async function credentials({ isShort }: BenchOptions): Promise<readonly Figure[]> {
  const count = isShort ? 40 : 600;
  const figures = [...(await remembered(isShort))];
  for (const algorithm of ALGORITHMS) figures.push(...(await firstSight(algorithm, count)));
  figures.push(...(await proofs(count)), await storm());
  return isShort ? figures : [...figures, ...(await memoryOf())];
}

/** Two ways to do the same, in turns; microseconds each, and the median of the rounds' ratios. */
async function beside(
  names: readonly [ours: string, other: string],
  rounds: number,
  [ours, other]: readonly [() => Promise<unknown>, () => Promise<unknown>],
): Promise<readonly Figure[]> {
  const times: readonly [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    const order = round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const);
    for (const which of order) {
      const begun = performance.now();
      await (which === 0 ? ours : other)();
      times[which].push((performance.now() - begun) * 1000);
    }
  }
  const warm = times.map((each) => each.slice(Math.floor(rounds / 5))) as [number[], number[]];
  const ratios = warm[0].map((each, index) => (each / warm[1][index]!) * 100);
  return [
    { what: names[0], value: median(warm[0]), unit: 'µs' },
    { what: names[1], value: median(warm[1]), unit: 'µs' },
    { what: `  ratio (median of ${warm[0].length})`, value: median(ratios), unit: '%' },
  ];
}

/** A whole check with a token that was seen before, beside one whose credential is handed to it. */
async function remembered(isShort: boolean): Promise<readonly Figure[]> {
  const [policies, folder] = ['policies', 'store'].map((name) =>
    mkdtempSync(join(tmpdir(), `mandated-credentials-${name}-`)),
  ) as [string, string];
  writeFileSync(join(policies, 'hello.cedar'), PERMIT);
  const { parts: built, request, close } = await build(policies, folder);
  const set = built.policies.current();
  // An engine that permits at once: the dearer the policies, the less is seen of the credential.
  const engines = [{ name: 'cedar' as const, evaluate: () => ALLOW }];
  const parts = { ...built, policies: { current: () => ({ ...set, engines }) } };
  const fact = await parts.credentials.verify(request().presented, now(), true);
  if (fact.verdict !== 'usable') throw new Error(fact.verdict);
  const [ours, none] = [createCheck(parts), createCheck({ ...parts, credentials: { verify: () => fact } })];
  const checks = isShort ? 20 : 200;
  const run = (check: typeof ours) => async (): Promise<void> => {
    for (let each = 0; each < checks; each += 1) {
      const { effect, reason } = await check(request());
      if (effect !== 'allow') throw new Error(`the check denied: ${reason}`);
    }
  };
  const figures = await beside(
    [`${checks} checks with a remembered token`, `${checks} checks without a credential step`],
    isShort ? 10 : 101,
    [run(ours), run(none)],
  );
  await close();
  for (const each of [policies, folder]) rmSync(each, { recursive: true });
  return figures;
}

const claims = (): Record<string, unknown> => {
  const at = Math.floor(Date.now() / 1000);
  const jti = crypto.randomUUID();
  return { iss: AS, sub: 'alice', aud: GIT, client_id: 'agent-1', iat: at, exp: at + 3600, jti };
};

async function makeIssuer(algorithm: string, dpop: TokenIssuer['dpop'] = 'off') {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true });
  const key: JWK = { ...(await exportJWK(publicKey)), kid: 'k1', alg: algorithm, use: 'sig' };
  const mint = (more: Record<string, unknown> = {}): Promise<string> =>
    new SignJWT({ ...claims(), ...more })
      .setProtectedHeader({ alg: algorithm, typ: 'at+jwt', kid: 'k1' })
      .sign(privateKey);
  const corp = tokenIssuer(JSON.stringify({ keys: [key] }), [algorithm], dpop);
  return { corp, mint, publicKey };
}

function reader(corp: TokenIssuer) {
  return createCredentials({
    issuers: new Map([[AS, corp]]),
    clock_tolerance_s: 5,
    proofs: createProofMemory(),
  });
}

const bare = (token: string, key: CryptoKey, algorithm: string) =>
  jwtVerify(token, key, { algorithms: [algorithm], issuer: AS, audience: GIT, typ: 'at+jwt' });

async function mustBeUsable(read: ReturnType<typeof reader>, shown: ShownToken): Promise<void> {
  const fact = await read.verify(shown, now(), true);
  if (fact.verdict !== 'usable') throw new Error(JSON.stringify(fact));
}

async function firstSight(algorithm: string, count: number): Promise<readonly Figure[]> {
  const { corp, mint, publicKey } = await makeIssuer(algorithm);
  const read = reader(corp);
  const tokens = await Promise.all(Array.from({ length: count }, () => mint()));
  let [own, other] = [0, 0];
  return beside([`first sight of a token, ${algorithm}`, `  jose alone, ${algorithm}`], count, [
    () => mustBeUsable(read, { kind: 'token', scheme: 'bearer', token: tokens[own++]!, beside: {} }),
    () => bare(tokens[other++]!, publicKey, algorithm),
  ]);
}

/** Token and proof, both seen first: two signatures, beside the same two by jose alone. */
async function proofs(count: number): Promise<readonly Figure[]> {
  const { corp, mint, publicKey } = await makeIssuer('ES256', 'required');
  const read = reader(corp);
  const keys = await DPoP.generateKeyPair('ES256', { extractable: false });
  const jwk = await exportJWK(keys.publicKey);
  const jkt = await calculateJwkThumbprint(jwk);
  const url = `${GIT}/repos/example/app`;
  const shown = await Promise.all(
    Array.from({ length: count }, async (): Promise<ShownToken> => {
      const token = await mint({ cnf: { jkt } });
      const proof = await DPoP.generateProof(keys, url, 'GET', undefined, token);
      return { kind: 'token', scheme: 'dpop', token, beside: { proof, target: { method: 'GET', url } } };
    }),
  );
  let [own, other] = [0, 0];
  return beside(['a token and its DPoP proof, both new, ES256', '  jose alone, two signatures'], count, [
    () => mustBeUsable(read, shown[own++]!),
    async () => {
      const { token, beside: extra } = shown[other++]!;
      await bare(token, publicKey, 'ES256');
      await compactVerify(extra.proof!, keys.publicKey, { algorithms: ['ES256'] });
    },
  ]);
}

/** 500 tokens, each by a key that nobody knows: how often that makes us ask for the keys. */
async function storm(): Promise<Figure> {
  let fetched = 0;
  const { corp, mint } = await makeIssuer('ES256');
  const jwks = JSON.stringify({
    keys: [{ ...(await exportJWK((await generateKeyPair('ES256')).publicKey)), kid: 'x' }],
  });
  const server = await serve(() => {
    fetched += 1;
    return jwks;
  });
  const uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  const keys = createRemoteKeys({ uri, min_interval_ms: 30_000, max_age_ms: 600_000, now, fetch, complain });
  const read = reader({ ...corp, keys });
  const tokens = await Promise.all(Array.from({ length: 500 }, () => mint()));
  const facts = await Promise.all(
    tokens.map((token) => {
      const [, payload, signature] = token.split('.');
      const kid = crypto.randomUUID();
      const head = Buffer.from(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid })).toString('base64url');
      const forged = `${head}.${payload}.${signature}`;
      const shown: ShownToken = { kind: 'token', scheme: 'bearer', token: forged, beside: {} };
      return Promise.resolve(read.verify(shown, now(), true));
    }),
  );
  if (facts.some(({ verdict }) => verdict === 'usable')) throw new Error('a forged token was usable');
  keys.close();
  server.close();
  if (fetched > 1) throw new Error(`500 unknown keys made ${fetched} fetches`);
  return {
    what: '500 random unknown kids at once: fetches in one cool-down',
    value: fetched,
    unit: 'fetches',
  };
}

function serve(body: () => string): Promise<Server> {
  const server = createServer((_, response) =>
    response.setHeader('content-type', 'application/json').end(body()),
  );
  return new Promise((resolve) => void server.listen(0, '127.0.0.1', () => resolve(server)));
}
