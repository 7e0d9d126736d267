/** The authorization server of the tests does what its specifications say, so that a test may rest on it. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { X509Certificate } from 'node:crypto';
import { calculateThumbprint, generateKeyPair } from 'dpop';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import type { JsonObject } from '../../src/core/json.ts';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from './authorization-server.ts';
import { TOKEN_EXCHANGE, thumbprintOf } from './authorization-server-clients.ts';
import type { Issuing, Permitted, Refused } from './authorization-server-issuing.ts';
import type { TokenAnswer } from './authorization-server-requests.ts';
import { GIT } from './sidecar.ts';

const MISSION = { id: 'msn_1', issuer: 'https://mandates.example', authority_hash: 'sha-256:x' };
const ENTRY = { type: 'mission_resource_access', resource: `${GIT}/repos/a`, actions: ['repo.push'] };
const ASKED = { authorization_details: [ENTRY] };

/** What the next issuance is answered, and what it asked. */
let answer: Permitted | Refused = {};
let asked: Issuing | undefined;
let server: AuthorizationServer;

const OPTIONS: AuthorizationServerOptions = {
  resources: { [GIT]: { format: 'jwt', ttl_s: 600 }, 'https://opaque.example': { format: 'opaque' } },
  beforeIssue: (issuing) => {
    asked = issuing;
    return Promise.resolve(answer);
  },
};

beforeAll(async () => {
  server = await startAuthorizationServer(OPTIONS);
});
afterAll(() => server.close());

const answers = (given: Permitted | Refused) => {
  answer = given;
  onTestFinished(() => {
    answer = {};
  });
};
const tokenOf = ({ body }: TokenAnswer): string => String(body.access_token);
const claimsOf = (given: TokenAnswer) => decodeJwt(tokenOf(given)) as unknown as JsonObject;

test('it says nothing on the console', async () => {
  const said = [vi.spyOn(console, 'warn'), vi.spyOn(console, 'info')];
  const other = await startAuthorizationServer(OPTIONS);
  const token = await other.grant({ client_id: 'agent-1', mission: MISSION });
  await other.refresh('agent-1', token);
  await other.clientCredentials('agent-1');
  const opaque = await other.clientCredentials('agent-1', { resource: 'https://opaque.example' });
  await other.introspect('resource-server', tokenOf(opaque), true);
  await other.revoke('agent-1', tokenOf(opaque));
  await other.rotateKeys();
  await other.close();
  for (const each of said) expect(each).not.toHaveBeenCalled();
});

/** Each ends in a token for a mission with one entry. */
const GRANTS: Readonly<Record<string, () => Promise<TokenAnswer>>> = {
  client_credentials: () => {
    server.assign('agent-1', MISSION);
    onTestFinished(() => server.assign('agent-1', undefined));
    return server.clientCredentials('agent-1', ASKED);
  },
  refresh_token: async () => {
    const granted = { client_id: 'agent-1', mission: MISSION, ...ASKED };
    return server.refresh('agent-1', await server.grant(granted));
  },
  'token exchange': async () => {
    const before = answer;
    answer = {};
    const token = await GRANTS.refresh_token!();
    answer = before;
    return server.exchange('agent-1', tokenOf(token));
  },
};

describe.each(Object.keys(GRANTS))('%s', (grant) => {
  const issue = GRANTS[grant]!;
  const subject = grant === 'client_credentials' ? 'agent-1' : 'alice';

  test('RFC 9068 section 2: an access token, as a resource server takes it', async () => {
    const given = await issue();
    expect(given).toMatchObject({ status: 200, body: { token_type: 'bearer', ...ASKED } });
    const token = tokenOf(given);
    expect(decodeProtectedHeader(token)).toMatchObject({ typ: 'at+jwt', alg: 'ES256' });
    expect(await server.verify(token, GIT)).toMatchObject({
      iss: server.issuer,
      aud: GIT,
      sub: subject,
      client_id: 'agent-1',
      jti: expect.any(String),
      mission: MISSION,
      ...ASKED,
    });
    const { iat, exp } = claimsOf(given);
    expect(exp).toBe(Number(iat) + 600);
  });

  test('is asked about first', async () => {
    await issue();
    expect(asked).toEqual({
      grant_type: grant === 'token exchange' ? TOKEN_EXCHANGE : grant,
      client_id: 'agent-1',
      subject,
      mission: MISSION,
      [grant === 'client_credentials' ? 'requested' : 'granted']: [ENTRY],
    });
  });

  test('carries what it was answered, and ends no later', async () => {
    const narrower = { ...ENTRY, actions: ['repo.read'] };
    const max_exp = new Date(Date.now() + 60_900).toISOString();
    const mission = { ...MISSION, authority_hash: 'sha-256:y' };
    answers({ authorization_details: [narrower], max_exp, mission, claims: { act: { sub: 'x' } } });
    const given = await issue();
    const exp = Math.floor(Date.parse(max_exp) / 1000);
    expect(claimsOf(given)).toMatchObject({
      authorization_details: [narrower],
      exp,
      mission,
      act: { sub: 'x' },
    });
    expect(given.body.authorization_details).toEqual([narrower]);
    expect(given.body.expires_in).toBeLessThanOrEqual(61);
  });

  test.each([
    ['invalid_grant', 'mission_revoked', 400],
    ['invalid_authorization_details', 'invalid_authorization_details', 400],
    ['temporarily_unavailable', 'temporarily_unavailable', 503],
  ])('RFC 6749 section 5.2: refused as %s', async (error, mission_error, status) => {
    answers({ error, mission_error });
    expect(await issue()).toEqual({ status, body: { error, mission_error } });
  });

  test('a token that would never live is not given', async () => {
    answers({ max_exp: new Date().toISOString() });
    expect((await issue()).body).toEqual({ error: 'invalid_grant', mission_error: 'mission_expired' });
  });
});

describe('a refresh', () => {
  const granted = () => server.grant({ client_id: 'agent-1', mission: MISSION, ...ASKED });

  test('gives another refresh token, and the one before is worth nothing', async () => {
    const first = await granted();
    const next = String((await server.refresh('agent-1', first)).body.refresh_token);
    expect(next).not.toBe(first);
    expect((await server.refresh('agent-1', next)).status).toBe(200);
    expect((await server.refresh('agent-1', first)).body.error).toBe('invalid_grant');
  });

  test.each(['temporarily_unavailable', 'invalid_grant'])(
    'that is refused as %s consumes nothing',
    async (error) => {
      const token = await granted();
      answers({ error });
      for (let tries = 0; tries < 2; tries += 1)
        expect((await server.refresh('agent-1', token)).body.error).toBe(error);
      answer = {};
      expect((await server.refresh('agent-1', token)).status).toBe(200);
    },
  );

  test.each([
    ['a part of it', { ...ENTRY, actions: ['repo.push'] }, 200],
    ['another action', { ...ENTRY, actions: ['repo.delete', 'repo.push'] }, 400],
    ['another resource', { ...ENTRY, resource: `${GIT}/repos` }, 400],
  ])('RFC 9396 section 6: a grant bounds its tokens: %s', async (_title, entry, status) => {
    const wide = { ...ENTRY, actions: ['repo.push', 'other.*'] };
    const token = await server.grant({ client_id: 'agent-1', authorization_details: [wide] });
    const given = await server.refresh('agent-1', token, { authorization_details: [entry] });
    expect(given.status).toBe(status);
    if (status === 400) expect(given.body.error).toBe('invalid_authorization_details');
    else expect(claimsOf(given).authorization_details).toEqual([entry]);
    expect((await server.refresh('agent-1', String(given.body.refresh_token ?? token))).status).toBe(200);
  });

  test('without rotation gives the same one again', async () => {
    const other = await startAuthorizationServer({ is_rotating: false });
    onTestFinished(() => other.close());
    const token = await other.grant({ client_id: 'agent-1' });
    for (let tries = 0; tries < 2; tries += 1)
      expect((await other.refresh('agent-1', token)).body.refresh_token).toBe(token);
  });

  test('is for the client that has the grant', async () => {
    expect((await server.refresh('agent-2', await granted())).body.error).toBe('invalid_grant');
  });

  test('RFC 7009: ends with the grant', async () => {
    const token = await granted();
    await server.revoke('agent-1', token);
    expect((await server.refresh('agent-1', token)).body.error).toBe('invalid_grant');
  });
});

describe('RFC 8693 section 4.1: who acts stands outermost', () => {
  test('the subject stays, and each that the token was handed to is inside the next', async () => {
    const first = await GRANTS.refresh_token!();
    const second = await server.exchange('agent-2', tokenOf(first));
    expect(second.body).toMatchObject({
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    });
    expect(claimsOf(second)).toMatchObject({ sub: 'alice', client_id: 'agent-2', act: { sub: 'agent-2' } });
    const third = await server.exchange('resource-server', tokenOf(second));
    expect(claimsOf(third)).toMatchObject({
      sub: 'alice',
      mission: MISSION,
      act: { sub: 'resource-server', act: { sub: 'agent-2' } },
      ...ASKED,
    });
  });

  test('an opaque token can be handed on as well, and one of another issuer cannot', async () => {
    const resource = 'https://opaque.example';
    const token = await server.grant({ client_id: 'agent-1', mission: MISSION, resource });
    const opaque = await server.refresh('agent-1', token, { resource });
    expect(claimsOf(await server.exchange('agent-2', tokenOf(opaque)))).toMatchObject({
      sub: 'alice',
      mission: MISSION,
      act: { sub: 'agent-2' },
    });
    const other = await startAuthorizationServer();
    onTestFinished(() => other.close());
    const foreign = tokenOf(await other.clientCredentials('agent-1'));
    expect((await server.exchange('agent-2', foreign)).body.error).toBe('invalid_request');
  });
});

describe('RFC 9449 section 5', () => {
  test.each(Object.keys(GRANTS))('%s: a token is bound to the key of the proof', async (grant) => {
    const dpop = await generateKeyPair('ES256');
    const jkt = await calculateThumbprint(dpop.publicKey);
    const refresh_token = await server.grant({ client_id: 'agent-1', mission: MISSION, jkt });
    const refresh = () => server.refresh('agent-1', refresh_token, { dpop });
    const given =
      grant === 'refresh_token'
        ? await refresh()
        : grant === 'client_credentials'
          ? await server.clientCredentials('agent-1', { dpop })
          : await server.exchange('agent-1', tokenOf(await refresh()), { dpop });
    expect(given.body.token_type).toBe('dpop');
    expect(claimsOf(given).cnf).toEqual({ jkt });
    expect(asked!.cnf).toEqual({ jkt });
  });

  test('a refresh token that is bound takes a proof of its key', async () => {
    const [key, other] = [await generateKeyPair('ES256'), await generateKeyPair('ES256')];
    const jkt = await calculateThumbprint(key.publicKey);
    const token = await server.grant({ client_id: 'agent-1', jkt });
    expect((await server.refresh('agent-1', token)).body.error).toBe('invalid_grant');
    expect((await server.refresh('agent-1', token, { dpop: other })).body.error).toBe('invalid_grant');
    expect((await server.refresh('agent-1', token, { dpop: key })).status).toBe(200);
  });
});

describe('RFC 7662', () => {
  const resource = 'https://opaque.example';
  const opaque = async () => {
    const token = await server.grant({ client_id: 'agent-1', mission: MISSION, resource, ...ASKED });
    return tokenOf(await server.refresh('agent-1', token, { resource }));
  };

  test.each([
    ['client_secret_basic', 'resource-server', false],
    ['client_secret_basic, signed (RFC 9701)', 'resource-server', true],
    ['private_key_jwt', 'agent-2', false],
    ['private_key_jwt, signed', 'agent-2', true],
  ])('an opaque token is asked about, by %s', async (_title, client_id, is_signed) => {
    const token = await opaque();
    expect(await server.introspect(client_id, token, is_signed)).toMatchObject({
      active: true,
      iss: server.issuer,
      aud: resource,
      sub: 'alice',
      client_id: 'agent-1',
      exp: expect.any(Number),
      mission: MISSION,
      ...ASKED,
    });
    await server.revoke('agent-1', token);
    expect(await server.introspect(client_id, token, is_signed)).toEqual({ active: false });
  });

  test('a client may get opaque tokens wherever it goes', async () => {
    const other = await startAuthorizationServer({ clients: [{ client_id: 'agent-1', format: 'opaque' }] });
    onTestFinished(() => other.close());
    const token = tokenOf(await other.clientCredentials('agent-1'));
    expect(token).not.toContain('.');
    expect(await other.introspect('agent-1', token)).toMatchObject({ active: true, aud: GIT });
  });

  test('a client that is not known learns nothing', async () => {
    const headers = { authorization: `Basic ${btoa('resource-server:wrong')}` };
    const body = new URLSearchParams({ token: await opaque() });
    const sent = await fetch(server.metadata.introspection_endpoint!, { method: 'POST', headers, body });
    expect([sent.status, await sent.json()]).toMatchObject([401, { error: 'invalid_client' }]);
  });
});

describe('its keys', () => {
  const kidOf = (given: TokenAnswer) => decodeProtectedHeader(tokenOf(given)).kid;
  const published = async () => {
    const { keys } = (await (await fetch(server.metadata.jwks_uri!)).json()) as { keys: JsonObject[] };
    return keys;
  };

  test('are rotated while it serves, and what it keeps stays', async () => {
    const refresh_token = await server.grant({ client_id: 'agent-1' });
    const before = await server.clientCredentials('agent-1');
    await server.rotateKeys();
    const after = await server.clientCredentials('agent-1');
    expect((await published()).map(({ kid }) => kid)).toEqual([kidOf(after), kidOf(before)]);
    expect(server.jwks().keys).toEqual(await published());
    await server.rotateKeys(true);
    const last = await server.refresh('agent-1', refresh_token);
    expect((await published()).map(({ kid }) => kid)).toEqual([kidOf(last)]);
  });

  test('are published without their private halves', async () => {
    for (const key of await published()) expect(Object.keys(key)).not.toContain('d');
  });

  test('are away with it, and back on the same port', async () => {
    await server.halt();
    await expect(published()).rejects.toThrow('fetch failed');
    await server.resume();
    expect(await published()).toEqual(server.jwks().keys);
  });
});

describe('RFC 8705', () => {
  let tls: AuthorizationServer;
  beforeAll(async () => {
    tls = await startAuthorizationServer({
      is_tls: true,
      beforeIssue: OPTIONS.beforeIssue!,
      clients: [
        { client_id: 'pki', authentication: 'tls_client_auth', bound_to: 'certificate' },
        { client_id: 'self-signed', authentication: 'self_signed_tls_client_auth', bound_to: 'certificate' },
        { client_id: 'by-secret', bound_to: 'certificate' },
        { client_id: 'by-key', authentication: 'private_key_jwt', format: 'opaque' },
      ],
    });
  });
  afterAll(() => tls.close());
  const shown = (client_id: string) => tls.client(client_id).certificate!;

  test.each(['pki', 'self-signed', 'by-secret'])(
    'section 3.1: the token of %s is bound to its certificate',
    async (client_id) => {
      const given = await tls.clientCredentials(client_id);
      const x5t = thumbprintOf(new X509Certificate(shown(client_id).cert));
      expect(claimsOf(given).cnf).toEqual({ 'x5t#S256': x5t });
      expect(asked!.cnf).toEqual({ 'x5t#S256': x5t });
      const exchanged = await tls.exchange(client_id, tokenOf(given));
      expect(claimsOf(exchanged).cnf).toEqual({ 'x5t#S256': x5t });
    },
  );

  test.each(['pki', 'self-signed'])('section 2: %s is known by its certificate alone', async (client_id) => {
    const given = await tls.clientCredentials(client_id, { certificate: shown('by-secret') });
    expect(given).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('section 2.1: a resource server asks as what its certificate says', async () => {
    const token = tokenOf(await tls.clientCredentials('by-key'));
    expect(await tls.introspect('pki', token, true)).toMatchObject({ active: true, client_id: 'by-key' });
  });
});

test('its signatures are of the algorithm that is asked for', async () => {
  const other = await startAuthorizationServer({ algorithm: 'PS256' });
  onTestFinished(() => other.close());
  const token = tokenOf(await other.clientCredentials('agent-1'));
  expect(decodeProtectedHeader(token).alg).toBe('PS256');
  expect(await other.verify(token, GIT)).toMatchObject({ client_id: 'agent-1' });
});
