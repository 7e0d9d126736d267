/** No secret is found in any log, metric, answer or file: everything goes wrong that can, and then all of it is searched. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as DPoP from 'dpop';
import { type JWK, SignJWT, exportJWK, generateKeyPair } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/core/json.ts';
import { PUSH } from '../support/ask.ts';
import { type Certificate, certify } from '../support/certificate.ts';
import { mandated } from '../support/cli.ts';
import { AS, GIT, ROOT, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';
import { type RawResponse, rawRequest } from '../tools/raw.ts';
import { type Places, bytesBelow, leaksOf } from './leaks.ts';
import { membersOf } from './opaque-stage.ts';
import { type Posted, type Reply, type StandIn, says, sends, startStandIn } from './stand-in.ts';
import { metricsOf, operate, told, waiting } from './told.ts';

const PATIENCE = { timeout: 15_000, interval: 20 };
const READ_PATH = '/repos/example/app/contents';
const TARGET = `${GIT}${READ_PATH}`;
const BY_KEY = 'https://by-key.example';
const BY_CERTIFICATE = 'https://by-certificate.example';

const newSecret = (): string => randomBytes(32).toString('base64url');
const now_s = (): number => Math.floor(Date.now() / 1000);

/** All that nobody may learn, and what each is. */
const kept = new Map<string, string>();
function keep(what: string, secret: string): string {
  kept.set(secret, what);
  return secret;
}
const countOf = (what: string): number => [...kept.values()].filter((each) => each === what).length;

let folder: string;
let server: StandIn;
let sidecar: Sidecar;
let record: JsonObject;
/** All that was answered. */
const answers: RawResponse[] = [];

/** What is done about each token. */
const replies = new Map<string, Reply>();
const dispatch: Reply = (response, posted) => {
  keepPosted(posted);
  return (replies.get(posted.form.get('token') ?? '') ?? says({ active: false }))(response, posted);
};

/** What the sidecar proves itself with is as secret as what it asks about. */
function keepPosted({ form, headers }: Posted): void {
  const assertion = form.get('client_assertion');
  if (assertion !== null) keep('client assertion', assertion);
  const { authorization } = headers;
  if (authorization !== undefined) keep('Basic credential', authorization.slice('Basic '.length));
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-secrets-'));
  server = await startStandIn(dispatch);
  sidecar = await startSidecar({ credential: await entries() });
  keep('operator token', operatorToken());
  record = await sidecar.mandate();
});
afterAll(async () => {
  await sidecar.discard();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** One issuer for each way to be its client. */
async function entries(): Promise<string> {
  const common = { audiences: [GIT], algorithms: ['ES256'] };
  const [by_secret, by_key, by_certificate] = [clientBySecret(), await clientByKey(), clientByCertificate()];
  const first = {
    introspection: by_secret('/corp'),
    revocation: by_key('/revoke'),
    dpop: 'supported',
    dpop_nonce: { secret_file: written('nonce secret', newSecret()) },
  };
  const second = { name: 'key', issuer: BY_KEY, ...common, introspection: by_key('/key') };
  const third = { name: 'tls', issuer: BY_CERTIFICATE, ...common, introspection: by_certificate('/tls') };
  return `${membersOf(first)} }\n  - ${JSON.stringify(second)}\n  - { ${membersOf(third)}`;
}

type Client = (path: string) => JsonObject;

function written(name: string, secret: string): string {
  const file = join(folder, name);
  writeFileSync(file, keep(name, secret));
  return file;
}

const withProof =
  (proof: JsonObject): Client =>
  (path) => ({ endpoint: server.url(path), client_id: 'the-sidecar', ca: server.ca, ...proof });

const clientBySecret = (): Client => withProof({ client_secret_file: written('client secret', newSecret()) });

async function clientByKey(): Promise<Client> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk: JWK = { ...(await exportJWK(privateKey)), alg: 'ES256' };
  keep('private key member', jwk.d!);
  const private_key_file = join(folder, 'private.jwk');
  writeFileSync(private_key_file, JSON.stringify(jwk));
  return withProof({ private_key_file });
}

function clientByCertificate(): Client {
  const { cert_file, key_file, key }: Certificate = certify(folder, 'client');
  for (const line of key.split('\n').slice(1, -2)) keep('line of a private key', line);
  return withProof({ tls: { cert: cert_file, key: key_file } });
}

/** A request as it stands on the wire, at one of the two listeners. */
async function send(lines: readonly string[], body = '', port = sidecar.check_port): Promise<RawResponse> {
  const length = body === '' ? [] : [`content-length: ${Buffer.byteLength(body)}`];
  const answer = await rawRequest(port, [...lines, ...length, 'connection: close', '', body].join('\r\n'));
  answers.push(answer);
  return answer;
}

const reads = (...headers: readonly string[]) =>
  send([`GET /envoy${READ_PATH} HTTP/1.1`, 'host: git.example', ...headers]);
const pushes = (...headers: readonly string[]) => {
  const own = ['host: git.example', 'content-type: application/json'];
  return send([`POST /envoy${PUSH.path} HTTP/1.1`, ...own, ...headers], PUSH.body);
};
const asks = (body: Json | string, ...headers: readonly string[]) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return send(['POST /v1/check HTTP/1.1', 'host: x', 'content-type: application/json', ...headers], text);
};
const controls = (line: string, body = '', ...headers: readonly string[]) =>
  send([`${line} HTTP/1.1`, 'host: x', ...headers], body, sidecar.control_port);
const operatorToken = (): string => readFileSync(sidecar.token_file, 'utf8').trim();
const bearer = (token: string): string => `authorization: Bearer ${token}`;

const mission = (): JsonObject => {
  const { id, issuer, authority_hash } = record;
  return { id: id!, issuer: issuer!, authority_hash: authority_hash! };
};
const minted = async (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
  keep('JWT', await sidecar.issuer.mint({ mission: mission(), ...claims }, header));

/** An opaque token, and what the server does about it. */
function opaque(reply: Reply): string {
  const token = keep('opaque token', newSecret());
  replies.set(token, reply);
  return token;
}

const good = (more: JsonObject = {}): JsonObject => {
  const named = { iss: AS, aud: GIT, sub: 'alice', client_id: 'agent-1', mission: mission() };
  return { active: true, ...named, exp: now_s() + 600, ...more };
};

const unsigned = (token: string): string =>
  keep('JWT', `${Buffer.from('{"alg":"none"}').toString('base64url')}.${token.split('.')[1]!}.`);

/** A question as a harness asks it. */
const question = (credential: Json, more: JsonObject = {}): JsonObject => ({
  check_point: 'tool',
  action: { name: 'repo.push' },
  resource: `${GIT}/repos/example/app`,
  parameters: { ref: 'refs/heads/release' },
  credential,
  ...more,
});

/** A mandate of alice as another issuer knows her, and a token that it alone knows. */
async function foreign(iss: string, path: string): Promise<string> {
  const own = await sidecar.mandate(proposalBody({ subject: { iss, sub: 'alice' } }));
  const claim = { id: own.id!, issuer: own.issuer!, authority_hash: own.authority_hash! };
  const known = says(good({ iss, mission: claim }));
  return opaque((response, posted) =>
    (posted.path === path ? known : says({ active: false }))(response, posted),
  );
}

const statuses = (said: readonly RawResponse[]): readonly number[] => said.map(({ status }) => status);

describe('what is allowed', () => {
  test('by a JWT and by an opaque token, at each door', async () => {
    for (const token of [await minted(), opaque(says(good()))]) {
      const said = [await reads(bearer(token)), await pushes(bearer(token)), await asks(question({ token }))];
      expect(statuses(said)).toEqual([200, 200, 200]);
      expect(said[2]!.body).toContain('"effect":"allow"');
    }
  });

  test('under a key that stands for the question, and again', async () => {
    const asked = question({ token: await minted() }, { idempotency_key: newSecret() });
    expect(statuses([await asks(asked), await asks(asked)])).toEqual([200, 200]);
  });

  test('by what the other issuers know, who are asked in other ways', async () => {
    expect((await reads(bearer(await foreign(BY_KEY, '/key')))).status).toBe(200);
    expect((await reads(bearer(await foreign(BY_CERTIFICATE, '/tls')))).status).toBe(200);
    expect(countOf('client assertion')).toBeGreaterThan(0);
    expect(countOf('Basic credential')).toBe(1);
  });
});

describe('a JWT that is not good', () => {
  const other = generateKeyPair('ES256');
  const changed = (token: string): string => keep('JWT', `${token.slice(0, -8)}AAAAAAAA`);

  test.each<[string, () => Promise<string>]>([
    ['expired', () => minted({ exp: 1 })],
    ['not yet good', () => minted({ nbf: now_s() + 600 })],
    ['for another audience', () => minted({ aud: 'https://other.example' })],
    ['without a subject', () => minted({ sub: undefined })],
    ['of another type', () => minted({}, { typ: 'JWT' })],
    ['with an unknown key', () => minted({}, { kid: 'k9' })],
    ['of an unknown issuer', () => minted({ iss: 'https://unknown.example' })],
    ['of another client', () => minted({ client_id: 'agent-2' })],
    ['for an unknown mandate', () => minted({ mission: { ...mission(), id: 'msn_unknown' } })],
    ['for other terms', () => minted({ mission: { ...mission(), authority_hash: 'sha-256:x' } })],
    ['with a broken claim', () => minted({ mission: 'x', act: 'x', cnf: 'x' })],
    ['with actors that are not its own', () => minted({ act: { sub: 'x', act: { sub: 'y' } } })],
    ['with details that nobody knows', () => minted({ authorization_details: [{ type: 'x' }] })],
    ['whose signature was changed', async () => changed(await minted())],
    ['without a signature', async () => unsigned(await minted())],
    ['that is too long', () => minted({ pad: newSecret().repeat(500) })],
    [
      'that somebody else has signed',
      async () => {
        const claims = { iss: AS, aud: GIT, sub: 'alice', client_id: 'agent-1', exp: now_s() + 60 };
        const header = { alg: 'ES256', kid: 'k1', typ: 'at+jwt' };
        return keep(
          'JWT',
          await new SignJWT(claims).setProtectedHeader(header).sign((await other).privateKey),
        );
      },
    ],
  ])('%s', async (_title, obtain) => {
    const token = await obtain();
    for (const { status } of [await reads(bearer(token)), await pushes(bearer(token))])
      expect([401, 403, 431]).toContain(status);
    await asks(question({ token }));
    await asks({ ...question({ token }), check_point: 'resume' });
  });
});

/** Servers that say again what they were told: the token, the form, the client`s credential. */
const ECHOES: Readonly<Record<string, (echo: string, token: string) => Reply>> = {
  'in a body that is not JSON': (echo) => sends(echo, 'text/plain'),
  'in JSON that is none': (echo) => sends(`{"active": true, ${echo}`),
  'in an error': (echo, token) => says({ error: token, error_description: echo }, 400),
  'in a failure': (echo) => sends(echo, 'text/html', 500),
  'in a status line': (_echo, token) => (response) => response.writeHead(500, token).end(),
  'in a header': (_echo, token) => (response) => response.writeHead(502, { [token]: token }).end(),
  'in a redirect': (_echo, token) => (response) => {
    return response.writeHead(302, { location: server.url(`/${token}`) }).end();
  },
  'in a content type': (_echo, token) => sends('{}', `application/${token}`),
  'in what is not HTTP': (_echo, token) => (response) => response.socket!.end(`${token} ${token}\r\n\r\n`),
  'in a header that is not one': (_echo, token) => (response) =>
    response.socket!.end(`HTTP/1.1 200 OK\r\n${token}\r\n\r\n`),
  'as whether it is active': (_echo, token) => says({ active: token }),
  'as a name of a member, twice': (_echo, token) => sends(`{"active":true,"${token}":1,"${token}":1}`),
  'as its issuer': (_echo, token) => says(good({ iss: token })),
  'as its audience': (_echo, token) => says(good({ aud: token })),
  'as its times': (_echo, token) => says(good({ exp: token, iat: token })),
  'as what it is bound to': (_echo, token) => says(good({ cnf: { [token]: token } })),
  'as who acts': (_echo, token) => says(good({ act: token })),
  'as its type of details': (_echo, token) =>
    says(good({ authorization_details: [{ type: 'x', [token]: 1 }] })),
};

const echoing =
  (of: (echo: string, token: string) => Reply): Reply =>
  (response, posted) => {
    const echo = `${posted.form.toString()} ${JSON.stringify(posted.headers)}`;
    return of(echo, posted.form.get('token')!)(response, posted);
  };

describe('an issuer that says the token again', () => {
  test.each(Object.entries(ECHOES))('%s', async (_title, of) => {
    const token = opaque(echoing(of));
    for (const { status } of [await reads(bearer(token)), await pushes(bearer(token))])
      expect([401, 403]).toContain(status);
    await asks(question({ token }));
    await controls('GET /readyz');
  });

  test('one that closes, that stops inside the body, and that does not answer', async () => {
    const cut: Reply = (response) => {
      response.writeHead(200, { 'content-length': 99 });
      response.write('{', () => response.destroy());
    };
    const broken: readonly Reply[] = [(response) => response.destroy(), cut, () => undefined];
    const tokens = broken.map(opaque);
    const said = await Promise.all(tokens.map((token) => reads(bearer(token))));
    expect(statuses(said)).toEqual([401, 401, 401]);
  });

  test('one that is away', async () => {
    await server.leave();
    const said = [await reads(bearer(opaque(says(good())))), await asks(question({ token: newToken() }))];
    await controls('GET /readyz');
    await server.comeBack();
    expect(statuses(said)).toEqual([401, 200]);
  });
});

const newToken = (): string => keep('opaque token', newSecret());

describe('a token in the wrong place', () => {
  test.each<[string, (token: string) => Promise<RawResponse>]>([
    ['another scheme', (token) => reads(`authorization: Basic ${token}`)],
    ['no scheme', (token) => reads(`authorization: ${token}`)],
    ['two headers', (token) => reads(bearer(token), bearer(token))],
    ['two in one', (token) => reads(`${bearer(token)}, Bearer ${token}`)],
    ['what is not one token', (token) => reads(`${bearer(token)} ${token}"`)],
    ['a scheme that wants a proof', (token) => reads(`authorization: DPoP ${token}`)],
    ['a proof that is none', (token) => reads(`authorization: DPoP ${token}`, `dpop: ${token}`)],
    ['a reference', (token) => reads(bearer(token), `mission-reference: ${token}`)],
    ['a name in a reference', (token) => reads(`mission-reference: id="${token}", issuer="${token}"`)],
    ['a certificate', (token) => reads(`x-forwarded-client-cert: Hash=${token}`)],
    ['a cookie', (token) => reads(`cookie: token=${token}`)],
    [
      'a query',
      (token) => send([`GET /envoy${READ_PATH}?access_token=${token} HTTP/1.1`, 'host: git.example']),
    ],
    ['a header that is not one', (token) => reads(`bad header ${token}`)],
    ['a question that is not JSON', (token) => asks(`{"credential":{"token":"${token}"`)],
    ['a question whose token is no object', (token) => asks({ ...question(token) })],
    ['a question with a list of them', (token) => asks(question({ token: [token] }))],
    ['a question with one that is too long', (token) => asks(question({ token: token.repeat(500) }))],
    [
      'a question that is twice the same',
      (token) => asks(`{"credential":{"token":"${token}"},"credential":1}`),
    ],
    ['a question at a point that is none', (token) => asks(question({ token }, { check_point: 1 }))],
    ['the caller`s own place', (token) => asks(question({ token }), bearer(token))],
    ['a caller`s scheme that is none', (token) => asks(question({ token }), `authorization: Basic ${token}`)],
    ['the control listener', (token) => controls('GET /v1/mandates', '', bearer(token))],
    ['its events', (token) => controls('GET /v1/events', '', bearer(token))],
    [
      'its introspection',
      (token) => controls('POST /oauth/introspect', `token=${token}`, FORM, bearer(token)),
    ],
    ['its introspection, twice', (token) => asOperator(`token=${token}&token=${token}`)],
    ['its introspection, as JSON', (token) => asOperator(`{"token":"${token}"}`, JSON_TYPE)],
    ['its introspection, unknown', (token) => asOperator(`token=${token}`)],
  ])('%s', async (_title, put) => {
    for (const token of [newToken(), await minted()]) await put(token);
  });

  test('its introspection, where it is good, and where the issuer fails', async () => {
    expect((await asOperator(`token=${await minted()}`)).body).toContain('"active":true');
    expect((await asOperator(`token=${opaque(says(good()))}`)).body).toContain('"active":true');
    expect((await asOperator(`token=${opaque(echoing(ECHOES['in a failure']!))}`)).status).toBe(503);
  });
});

const FORM = 'content-type: application/x-www-form-urlencoded';
const JSON_TYPE = 'content-type: application/json';

function asOperator(form: string, type = FORM): Promise<RawResponse> {
  return controls('POST /oauth/introspect', form, type, bearer(operatorToken()));
}

describe('RFC 9449: proofs', () => {
  let pair: DPoP.KeyPair;
  let bound: readonly string[];
  beforeAll(async () => {
    pair = await DPoP.generateKeyPair('ES256', { extractable: true });
    keep('private key of a holder', (await exportJWK(pair.privateKey)).d!);
    const cnf = { jkt: await DPoP.calculateThumbprint(pair.publicKey) };
    bound = [await minted({ cnf }), opaque(says(good({ cnf })))];
  });

  const prove = async (token: string, nonce?: string, target = TARGET, by = pair) =>
    keep('proof', await DPoP.generateProof(by, target, 'GET', nonce, token));
  const shows = (token: string, proof: string) => reads(`authorization: DPoP ${token}`, `dpop: ${proof}`);
  const nonceOf = ({ headers }: RawResponse) =>
    headers.find(([name]) => name.toLowerCase() === 'dpop-nonce')![1];

  test('without a nonce, with it, and again', async () => {
    for (const token of bound) {
      const first = await shows(token, await prove(token));
      const proof = await prove(token, nonceOf(first));
      const said = [first, await shows(token, proof), await shows(token, proof)];
      expect(statuses(said)).toEqual([401, 200, 401]);
    }
  });

  test.each<[string, (token: string, nonce: string) => Promise<string>]>([
    ['for another url', (token, nonce) => prove(token, nonce, `${GIT}/elsewhere`)],
    ['for another token', async (_token, nonce) => prove(newToken(), nonce)],
    [
      'of another key',
      async (token, nonce) => prove(token, nonce, TARGET, await DPoP.generateKeyPair('ES256')),
    ],
    ['that was changed', async (token, nonce) => `${(await prove(token, nonce)).slice(0, -8)}AAAAAAAA`],
    ['that is no JWT', async (token) => token],
    [
      'that is too long',
      async (token, nonce) => keep('proof', `${await prove(token, nonce)}${'A'.repeat(9000)}`),
    ],
    ['that holds its private key', async (token, nonce) => withPrivateKey(token, nonce)],
  ])('%s', async (_title, make) => {
    for (const token of bound) {
      const nonce = nonceOf(await shows(token, await prove(token)));
      const said = await shows(token, await make(token, nonce));
      expect([401, 431]).toContain(said.status);
      await asks(question({ token, dpop: await make(token, nonce) }, { method: 'GET', url: TARGET }));
    }
  });

  async function withPrivateKey(token: string, nonce: string): Promise<string> {
    const jwk = await exportJWK(pair.privateKey);
    const claims = { jti: newSecret(), htm: 'GET', htu: TARGET, nonce, ath: digestOf(token) };
    const header = { alg: 'ES256', typ: 'dpop+jwt', jwk };
    return keep(
      'proof',
      await new SignJWT(claims).setIssuedAt().setProtectedHeader(header).sign(pair.privateKey),
    );
  }

  test('a bound token that is shown as a bearer token', async () => {
    expect(statuses(await Promise.all(bound.map((token) => reads(bearer(token)))))).toEqual([401, 401]);
  });
});

const digestOf = (token: string): string => createHash('sha256').update(token).digest('base64url');

describe('RFC 7009: mandates end, and their tokens are told of', () => {
  /** A mandate of its own, and tokens that were used under it. */
  async function begin(): Promise<{ readonly own: JsonObject; readonly tokens: readonly string[] }> {
    const own = await sidecar.mandate();
    const claim = { id: own.id!, issuer: own.issuer!, authority_hash: own.authority_hash! };
    const tokens = [await minted({ mission: claim }), opaque(says(good({ mission: claim })))];
    for (const token of tokens) expect((await reads(bearer(token))).status).toBe(200);
    return { own, tokens };
  }

  test.each(['in an error', 'in a failure', 'in a redirect', 'in a status line', 'in what is not HTTP'])(
    'to a server that says the token again, %s',
    async (how) => {
      const { own, tokens } = await begin();
      const before = tokens.map(server.asked);
      for (const token of tokens) replies.set(token, echoing(ECHOES[how]!));
      await operate(sidecar, own, 'revoke');
      await expect.poll(() => server.asked(tokens[0]!), PATIENCE).toBeGreaterThan(before[0]!);
      await expect.poll(() => told(sidecar, 'away'), PATIENCE).toBeGreaterThan(0);
      for (const token of tokens) replies.set(token, sends(''));
    },
  );

  test('to one that does not revoke such tokens, and says so with them', async () => {
    const { own, tokens } = await begin();
    for (const token of tokens)
      replies.set(token, says({ error: 'unsupported_token_type', error_description: token }, 400));
    await operate(sidecar, own, 'complete');
    await expect.poll(() => told(sidecar, 'refused'), PATIENCE).toBeGreaterThan(0);
  });

  test('to one that is away, and then back', async () => {
    const { own } = await begin();
    await server.leave();
    await operate(sidecar, own, 'revoke');
    await expect.poll(() => waiting(sidecar), PATIENCE).toBeGreaterThan(0);
    expect(leaksOf(secretsByName(), await everywhere())).toEqual([]);
    await server.comeBack();
    await expect.poll(() => waiting(sidecar), PATIENCE).toBe(0);
    await controls(`GET /v1/mandates/${String(own.id)}/history`, '', bearer(operatorToken()));
  });
});

function secretsByName(): ReadonlyMap<string, string> {
  return new Map([...kept].map(([secret, what], index) => [`${what} ${index}`, secret]));
}

/** Where a secret could have come to. */
async function everywhere(): Promise<Places> {
  const files = new Map(bytesBelow(sidecar.folder));
  // The one place where the operator's token stands.
  files.delete('data/control-token');
  const said = answers.map((each, index): [string, Buffer] => [
    `answer ${index}`,
    Buffer.from(JSON.stringify(each)),
  ]);
  const told_of = [sidecar.stderr(), await metricsOf(sidecar)].map((text) => Buffer.from(text));
  return new Map([...files, ['standard error', told_of[0]!], ['metrics', told_of[1]!], ...said]);
}

describe('a start that is refused', () => {
  const SECRET = newSecret();
  const jwk = { kty: 'EC', crv: 'P-256', x: SECRET, y: SECRET, d: SECRET };
  const introspecting = (proof: JsonObject): string =>
    JSON.stringify({ endpoint: 'https://as.example', client_id: 'x', ...proof });

  /** What is written where: into the key file, and into the configuration. */
  const REFUSED: Readonly<Record<string, readonly [file: string, entry: string, store: string]>> = {
    'a private key without `alg`': [JSON.stringify(jwk), introspecting({ private_key_file: 'key' }), ''],
    'a private key that is no JSON': [`{"d":"${SECRET}"`, introspecting({ private_key_file: 'key' }), ''],
    'a secret instead of its file': ['', introspecting({ client_secret: SECRET }), ''],
    'YAML that is wrong beside it': ['', '', `redis://:${SECRET}@127.0.0.1", url: "x`],
  };

  test.each(Object.entries(REFUSED))('%s', async (_title, [key, introspection, store]) => {
    const config = join(folder, 'refused.yaml');
    writeFileSync(join(folder, 'key'), key);
    writeFileSync(config, configuration(introspection, store));
    const { code, stdout, stderr } = await mandated('check', '--config', config);
    expect(code).not.toBe(0);
    const said = new Map(Object.entries({ stdout, stderr }).map(([name, text]) => [name, Buffer.from(text)]));
    expect(leaksOf(new Map([['the secret', SECRET]]), said)).toEqual([]);
  });

  function configuration(introspection: string, store: string): string {
    const asked = introspection === '' ? '' : `, introspection: ${introspection}`;
    return `issuer: https://mandates.example
credentials: [{ name: corp, issuer: "${AS}", audiences: [x], algorithms: [ES256]${asked} }]
policies: { cedar: ${JSON.stringify(join(ROOT, 'policies/cedar'))} }
store: { ${store === '' ? 'path: data' : `engine: redis, url: "${store}"`} }
`;
  }
});

describe('at the end', () => {
  test('nothing of all that is anywhere', async () => {
    const places = await everywhere();
    const looked_at = ['standard error', 'metrics', 'decisions.jsonl', 'data/outbox/outbox.db-wal'];
    for (const place of looked_at) expect(places.get(place)!.length).toBeGreaterThan(1000);
    expect([...places.keys()].filter((each) => each.startsWith('data/')).length).toBeGreaterThan(2);
    expect(answers.length).toBeGreaterThan(200);
    expect(leaksOf(secretsByName(), places)).toEqual([]);
  });

  test('what has gone wrong was complained of', () => {
    for (const what of ['a token could not be introspected', 'are still to be revoked'])
      expect(sidecar.stderr()).toContain(what);
  });

  test.each<[string, (secret: string) => string]>([
    ['as it is', (secret) => `x ${secret} x`],
    ['cut short at its end', (secret) => secret.slice(0, -4)],
    ['cut short at its beginning', (secret) => secret.slice(4)],
    ['in base64', (secret) => btoa(`x:${secret}:y`)],
    ['in base64, shifted', (secret) => btoa(`xy:${secret}:y`)],
    ['in base64url', (secret) => Buffer.from(`${secret}\u00ff`).toString('base64url')],
    ['in hex', (secret) => Buffer.from(secret).toString('hex')],
    ['in a form', (secret) => new URLSearchParams({ secret }).toString()],
  ])('a secret would be found: %s', (_title, write) => {
    const places = new Map([['place', Buffer.from(write(SAMPLE))]]);
    expect(leaksOf(new Map([['sample', SAMPLE]]), places)).toEqual(['sample in place']);
  });
});

const SAMPLE = randomBytes(48).toString('base64');
