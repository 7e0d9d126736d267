/**
 * Tokens that are bound to their holder, from a real authorization server through a real Envoy with downstream TLS: by a
 * certificate that the client shows (RFC 8705), or by proofs that it signs (RFC 9449).
 */
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as DPoP from 'dpop';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../support/authorization-server.ts';
import { type Certificate, certify } from '../support/certificate.ts';
import { tokenOf } from '../support/issuing-stage.ts';
import { AS, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';
import { tlsFetch } from '../support/tls-fetch.ts';
import { type Envoy, startEnvoy } from '../tools/envoy.ts';
import { type Upstream, startUpstream } from '../tools/upstream.ts';

const TARGET = 'https://git.example/repos/example/app/contents';

let server: AuthorizationServer;
let sidecar: Sidecar;
let envoy: Envoy;
let upstream: Upstream;
let front: Certificate;
let others: Certificate;

beforeAll(async () => {
  server = await startAuthorizationServer({
    issuer: AS,
    is_tls: true,
    clients: [
      { client_id: 'certified', authentication: 'self_signed_tls_client_auth', bound_to: 'certificate' },
      { client_id: 'proving', bound_to: 'dpop' },
    ],
  });
  sidecar = await startSidecar({
    issuer: { jwks: server.jwks() as unknown as JsonObject, mint: () => Promise.reject(new Error()) },
    credential: 'dpop: supported, mtls: xfcc, dpop_nonce: {}, require_proof: [irreversible_action]',
  });
  front = certify(sidecar.folder, 'front');
  others = certify(sidecar.folder, 'others');
  const client_ca_file = join(sidecar.folder, 'clients.pem');
  writeFileSync(client_ca_file, server.client('certified').certificate!.cert + others.cert);
  upstream = await startUpstream();
  envoy = await startEnvoy({
    authorizer_port: sidecar.check_port,
    upstream_port: upstream.port,
    downstream_tls: { ...front, client_ca_file },
  });
});
afterAll(async () => {
  await envoy.stop();
  await upstream.stop();
  await sidecar.discard();
  await server.close();
});

/** A mandate of the client, whose own tokens name it. */
async function under(client_id: string): Promise<void> {
  const { id, issuer, authority_hash } = await sidecar.mandate(
    proposalBody({ subject: { iss: AS, sub: client_id }, client_id }),
  );
  server.assign(client_id, {
    id: String(id),
    issuer: String(issuer),
    authority_hash: String(authority_hash),
  });
}

interface Shown {
  readonly headers: Readonly<Record<string, string>>;
  readonly certificate?: Pick<Certificate, 'cert' | 'key'>;
  readonly method?: string;
  readonly path?: string;
}

async function request({ headers, certificate, method, path = '/repos/example/app/contents' }: Shown) {
  const url = `https://127.0.0.1:${envoy.port}${path}`;
  const asked = {
    headers: { host: 'git.example', ...headers },
    ...(method === undefined ? {} : { method, body: '{"ref":"refs/heads/release"}' }),
  };
  const response = await tlsFetch(url, asked, front.cert, certificate);
  const text = await response.text();
  return { status: response.status, headers: response.headers, text };
}

const reasonOf = ({ status, text }: { readonly status: number; readonly text: string }): string =>
  status === 200 ? '200' : `${status} ${String((JSON.parse(text) as JsonObject)['reason'])}`;

describe('RFC 8705 section 3: a token that is bound to a certificate', () => {
  let token: string;
  let own: Certificate;
  beforeAll(async () => {
    await under('certified');
    own = server.client('certified').certificate!;
    token = tokenOf(await server.clientCredentials('certified', { certificate: own }));
  });
  const bearer = () => ({ authorization: `Bearer ${token}` });

  test('is good with it, and reaches the service', async () => {
    const before = upstream.requests.length;
    expect(reasonOf(await request({ headers: bearer(), certificate: own }))).toBe('200');
    expect(upstream.requests).toHaveLength(before + 1);
  });

  test('the decision says how it was proven', async () => {
    await request({ headers: bearer(), certificate: own });
    expect(sidecar.decisions().at(-1)).toMatchObject({ credential: { bound_by: ['mtls'] } });
  });

  test.each<[string, () => Shown]>([
    ['another client`s certificate', () => ({ headers: bearer(), certificate: others })],
    ['no certificate', () => ({ headers: bearer() })],
    [
      'a header that the client has written itself',
      () => ({ headers: { ...bearer(), 'x-forwarded-client-cert': `Hash=${hashOf(own)}` } }),
    ],
    [
      'another`s certificate and a header besides',
      () => ({
        headers: { ...bearer(), 'x-forwarded-client-cert': `Hash=${hashOf(own)}` },
        certificate: others,
      }),
    ],
  ])('is no good with %s', async (_, shown) => {
    const before = upstream.requests.length;
    expect(reasonOf(await request(shown()))).toBe('401 credential_invalid');
    expect(upstream.requests).toHaveLength(before);
  });
});

function hashOf({ cert }: Certificate): string {
  return new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();
}

describe('RFC 9449: a token that is bound to a key', () => {
  let keys: DPoP.KeyPair;
  let token: string;
  let nonce: string | undefined;
  beforeAll(async () => {
    await under('proving');
    keys = await DPoP.generateKeyPair('ES256');
    token = tokenOf(await server.clientCredentials('proving', { dpop: keys }));
  });

  const proven = async (method = 'GET', url = TARGET, own: DPoP.KeyPair = keys) => ({
    authorization: `DPoP ${token}`,
    dpop: await DPoP.generateProof(own, url, method, nonce, token),
  });

  test('section 9: the first proof needs a nonce, which comes with the answer', async () => {
    const first = await request({ headers: await proven() });
    expect(reasonOf(first)).toBe('401 credential_invalid');
    expect(first.headers.get('www-authenticate')).toContain('DPoP error="use_dpop_nonce"');
    nonce = first.headers.get('dpop-nonce')!;
    expect(reasonOf(await request({ headers: await proven() }))).toBe('200');
  });

  test('section 4.3: the url is the client`s own, query aside', async () => {
    const path = '/repos/example/app/contents?ref=main';
    expect(reasonOf(await request({ headers: await proven(), path }))).toBe('200');
    const elsewhere = await proven('GET', `https://127.0.0.1:${envoy.port}/repos/example/app/contents`);
    expect(reasonOf(await request({ headers: elsewhere }))).toBe('401 credential_invalid');
  });

  test('section 11.1: a proof is good once', async () => {
    const headers = await proven();
    const answers = [await request({ headers }), await request({ headers })];
    expect(answers.map(reasonOf)).toEqual(['200', '401 credential_invalid']);
  });

  test('section 7.1: neither as a bearer token, nor by another key', async () => {
    const { dpop } = await proven();
    expect(reasonOf(await request({ headers: { authorization: `Bearer ${token}`, dpop } }))).toBe(
      '401 credential_invalid',
    );
    const stolen = await proven('GET', TARGET, await DPoP.generateKeyPair('ES256'));
    expect(reasonOf(await request({ headers: stolen }))).toBe('401 credential_invalid');
  });

  test('a proof opens what cannot be undone, which a bearer token does not', async () => {
    const path = '/repos/example/app/git/refs';
    const headers = {
      ...(await proven('POST', `https://git.example${path}`)),
      'content-type': 'application/json',
    };
    const pushed = await request({ headers, method: 'POST', path });
    // The policy wants the body, which this Envoy does not forward: the credential has passed.
    expect(reasonOf(pushed)).toBe('403 parameter_violation');
  });
});
