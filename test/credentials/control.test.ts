/** Proofs of possession on the control listener (RFC 9449): for where it is, not for where its caller says that it is. */
import { readFileSync } from 'node:fs';
import * as DPoP from 'dpop';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask, askNative } from '../support/ask.ts';
import { AS, type Sidecar, startSidecar } from '../support/sidecar.ts';

const ORIGIN = 'https://mandates.example';
const AUDIENCE = `${ORIGIN}/control`;

let sidecar: Sidecar;
let keys: DPoP.KeyPair;
let token: string;

beforeAll(async () => {
  const entry = `name: corp, issuer: "${AS}", audiences: ["${AUDIENCE}"], jwks: { file: keys.json }, algorithms: [ES256]`;
  sidecar = await startSidecar({
    control: `{ listen: "127.0.0.1:0", origin: "${ORIGIN}", issuers: [{ ${entry}, dpop: required }] }`,
  });
  keys = await DPoP.generateKeyPair('ES256');
  const jkt = await calculateJwkThumbprint(await exportJWK(keys.publicKey));
  token = await sidecar.issuer.mint({ aud: AUDIENCE, client_id: 'console', cnf: { jkt } });
});
afterAll(() => sidecar.discard());

const proof = (url: string) => DPoP.generateProof(keys, url, 'GET', undefined, token);

const list = (headers: Record<string, string>) =>
  ask(sidecar.control_port, { path: '/v1/mandates', headers });

test('a proof for this listener is good, once', async () => {
  const headers = { authorization: `DPoP ${token}`, dpop: await proof(`${ORIGIN}/v1/mandates`) };
  expect([(await list(headers)).status, (await list(headers)).status]).toEqual([200, 401]);
});

test('one for the Host that its caller writes is not', async () => {
  const dpop = await proof('http://evil.example/v1/mandates');
  const answer = await list({ authorization: `DPoP ${token}`, dpop, host: 'evil.example' });
  expect([answer.status, answer.body.reason]).toEqual([401, 'unauthorized']);
});

test('nor a bound token without one; the challenge says what is wanted', async () => {
  for (const scheme of ['Bearer', 'DPoP']) {
    const { status, headers } = await list({ authorization: `${scheme} ${token}` });
    expect([status, headers['www-authenticate']]).toEqual([401, 'Bearer, DPoP algs="ES256"']);
  }
});

test('the operator`s token is a bearer token', async () => {
  const operator = readFileSync(sidecar.token_file, 'utf8').trim();
  expect((await list({ authorization: `Bearer ${operator}` })).status).toBe(200);
});

test('beside a question it stands for nobody: there is no url that its proof could be for', async () => {
  const dpop = await proof(`${ORIGIN}/v1/check`);
  const question = {
    check_point: 'resume',
    action: { name: 'repo.push' },
    resource: 'https://git.example/x',
  };
  const body = JSON.stringify(question);
  const headers = { 'content-type': 'application/json', authorization: `DPoP ${token}`, dpop };
  const answer = await ask(sidecar.check_port, { method: 'POST', path: '/v1/check', headers, body });
  expect(answer.status).toBe(401);
  expect((await askNative(sidecar.check_port, question)).status).toBe(200);
});
