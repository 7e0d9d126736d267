/** Tokens: what RFC 9068 and RFC 8725 refuse, one property negated per row; and where their keys come from. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  type JsonWebKey,
  type KeyObject,
  constants,
  createHmac,
  generateKeyPairSync,
  randomUUID,
  sign as signBytes,
} from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import {
  type IncomingMessage,
  type Server,
  type ServerResponse,
  createServer as createPlainServer,
} from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, type JsonObject, isObject, member } from '../../src/core/json.ts';
import { type Answered, ask, askEnvoyDoor, askNative } from '../support/ask.ts';
import { AS, GIT, MANDATES, ROOT, type Sidecar, type TestIssuer, startSidecar } from '../support/sidecar.ts';

// --- keys and tokens, made by hand so that every byte of them can be wrong ---------------------------------------

interface Key {
  readonly kid: string;
  readonly private_key: KeyObject;
  readonly public_key: KeyObject;
  readonly jwk: JsonObject;
}

type Claims = Record<string, unknown>;

function makeKey(kid: string, alg: string, members: JsonObject = {}): Key {
  const pair =
    alg === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: alg === 'ES384' ? 'P-384' : 'P-256' });
  const jwk = { ...jwkOf(pair.publicKey), kid, alg, use: 'sig', ...members };
  return { kid, private_key: pair.privateKey, public_key: pair.publicKey, jwk };
}

const jwkOf = (key: KeyObject): JsonObject => key.export({ format: 'jwk' }) as JsonWebKey & JsonObject;

const SIGNERS: Readonly<Record<string, (data: Buffer, key: KeyObject) => Buffer>> = {
  ES256: (data, key) => signBytes('sha256', data, { key, dsaEncoding: 'ieee-p1363' }),
  ES384: (data, key) => signBytes('sha384', data, { key, dsaEncoding: 'ieee-p1363' }),
  RS256: (data, key) => signBytes('sha256', data, key),
  PS256: (data, key) =>
    signBytes('sha256', data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
};

const base64url = (data: string | Buffer): string => Buffer.from(data).toString('base64url');

/** A JWS of exactly these texts. */
function jws(header: string, payload: string | Buffer, sign: (data: Buffer) => Buffer): string {
  const signed = `${base64url(header)}.${base64url(payload)}`;
  return `${signed}.${base64url(sign(Buffer.from(signed)))}`;
}

/** Like `mint` of the harness, but any header, any claim and any key go. */
function mint(key: Key, claims: Claims, header: Record<string, unknown> = {}, signer = 'ES256'): string {
  const head = { alg: signer, typ: 'at+jwt', kid: key.kid, ...header };
  return jws(JSON.stringify(head), JSON.stringify(claims), (data) => SIGNERS[signer]!(data, key.private_key));
}

const now = (): number => Math.floor(Date.now() / 1000);

function baseClaims(iss = AS): Claims {
  return {
    iss,
    sub: 'alice',
    aud: GIT,
    client_id: 'agent-1',
    iat: now(),
    exp: now() + 3600,
    jti: randomUUID(),
  };
}

// --- what a refusal looks like ----------------------------------------------------------------------------------

/** Every text of a payload that would betray what the token said. */
function textsOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return value.length > 3 ? [value] : [];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsOf) : [];
}

/** The audience is left out: it is the resource's own name too. */
const withoutAudience = (name: string, value: unknown): unknown => (name === 'aud' ? undefined : value);

function payloadTexts(token: string): readonly string[] {
  try {
    const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString();
    return textsOf(JSON.parse(payload, withoutAudience));
  } catch {
    return [];
  }
}

const part = (body: JsonObject, name: string): JsonObject => {
  const found = body[name];
  return isObject(found) ? found : {};
};

/** design/7 and 8: 401, the credential's verdict and reason, nothing else evaluated, nothing of the token told. */
function expectRefused(answered: Answered, token: string, verdict = 'unusable'): void {
  const { status, headers, body } = answered;
  expect({ status, reason: body['reason'], effect: body['effect'] }).toEqual({
    status: 401,
    reason: 'credential_invalid',
    effect: 'deny',
  });
  expect(part(body, 'credential')).toEqual({ verdict, reason: 'credential_invalid' });
  expect(part(body, 'mandate')).toEqual({ verdict: 'not_evaluated' });
  expect(part(body, 'request')).toEqual({ verdict: 'not_evaluated' });
  expect(body['next_action']).toBe(verdict === 'unverifiable' ? 'retry' : 'none');
  expect(headers['content-type']).toMatch(/^application\/problem\+json/);
  expect(headers['www-authenticate']).toMatch(
    verdict === 'unusable' ? /^Bearer\b.*error="invalid_token"/ : /^Bearer\b/,
  );
  const text = JSON.stringify(body);
  expect(payloadTexts(token).filter((each) => text.includes(each))).toEqual([]);
}

// --- one property negated per row -------------------------------------------------------------------------------

const K1 = makeKey('k1', 'ES256');
const ES384 = makeKey('e384', 'ES384');
const RSA = makeKey('r1', 'RS256');
const ENCRYPTION = makeKey('enc', 'ES256', { use: 'enc' });
const STRANGER = makeKey('k1', 'ES256');

const KEYS: JsonObject = { keys: [K1.jwk, ES384.jwk, RSA.jwk, ENCRYPTION.jwk] };

const ISSUER: TestIssuer = {
  jwks: KEYS,
  mint: (claims = {}, header = {}) => Promise.resolve(mint(K1, { ...baseClaims(), ...claims }, header)),
};

let sidecar: Sidecar;
let mission: JsonObject;
/** A place that no token may make the sidecar visit. */
let lure: { readonly url: string; readonly visits: () => number; readonly close: () => void };

beforeAll(async () => {
  sidecar = await startSidecar({ issuer: ISSUER });
  const { id, issuer, authority_hash } = await sidecar.mandate();
  mission = { id: id!, issuer: issuer!, authority_hash: authority_hash! };
  lure = await openLure();
});

afterAll(async () => {
  lure.close();
  await sidecar.discard();
});

async function openLure(): Promise<typeof lure> {
  let visits = 0;
  const server = createPlainServer((_request, response) => {
    visits += 1;
    response.end(JSON.stringify({ keys: [STRANGER.jwk] }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys.json`;
  return { url, visits: () => visits, close: () => server.close() };
}

const claimed = (claims: Claims = {}): Claims => ({ ...baseClaims(), mission, ...claims });
const token = (claims: Claims = {}, header: Record<string, unknown> = {}): string =>
  mint(K1, claimed(claims), header);
const HEADER = JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid: 'k1' });
const signK1 = (data: Buffer): Buffer => SIGNERS['ES256']!(data, K1.private_key);
const withPayload = (payload: string | Buffer): string => jws(HEADER, payload, signK1);
const withHeader = (header: string): string => jws(header, JSON.stringify(claimed()), signK1);
const segments = (): [string, string, string] => token().split('.') as [string, string, string];

function hmacToken(secret: string | Buffer, header: Record<string, unknown> = {}): string {
  const head = JSON.stringify({ alg: 'HS256', typ: 'at+jwt', kid: 'k1', ...header });
  return jws(head, JSON.stringify(claimed()), (data) => createHmac('sha256', secret).update(data).digest());
}

/** Signed as it is sent, whatever its second part holds. */
function withSegments(header: string, payload: string): string {
  const signed = `${base64url(header)}.${payload}`;
  return `${signed}.${base64url(signK1(Buffer.from(signed)))}`;
}

/** Base64 with `+` and `/`, which base64url writes `-` and `_`; three characters a group, so without padding. */
function plainBase64(): string {
  const text = JSON.stringify(claimed({ x: '\u00fb\u00ef\u00be\u00ff?????>>>>>' }));
  return Buffer.from(text.padEnd(Math.ceil(text.length / 3) * 3))
    .toString('base64')
    .replaceAll('=', '');
}

/** RFC 7797: whoever passes over `crit` finds a good token here. */
function unencodedToken(): string {
  const head = base64url(JSON.stringify({ ...JSON.parse(HEADER), b64: false, crit: ['b64'] }));
  const payload = base64url(JSON.stringify(claimed()));
  return `${head}.${payload}.${base64url(signK1(Buffer.from(`${head}.${payload}`)))}`;
}

type Row = readonly [name: string, make: () => string];

const REQUIRED = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'] as const;
const NUMERIC = ['exp', 'iat', 'nbf'] as const;
const NOT_NUMBERS: readonly unknown[] = [`${now() + 3000}`, null, true, {}, [now()]];
const NOT_TEXTS: readonly unknown[] = [5, null, true, {}, ['alice']];

const CLAIM_ROWS: readonly Row[] = [
  ...REQUIRED.map((name): Row => [`no ${name}`, () => token({ [name]: undefined })]),
  ...NUMERIC.flatMap((name) =>
    NOT_NUMBERS.map((value): Row => [`${name} is ${JSON.stringify(value)}`, () => token({ [name]: value })]),
  ),
  ...(['iss', 'sub', 'client_id', 'jti'] as const).flatMap((name) =>
    NOT_TEXTS.map((value): Row => [`${name} is ${JSON.stringify(value)}`, () => token({ [name]: value })]),
  ),
  ['empty sub', () => token({ sub: '' })],
  ['empty client_id', () => token({ client_id: '' })],
  ['iss with a trailing slash', () => token({ iss: `${AS}/` })],
  ['iss in another case', () => token({ iss: 'https://AS.example' })],
  ['iss with its default port', () => token({ iss: `${AS}:443` })],
  ['iss over plain http', () => token({ iss: 'http://as.example' })],
  ['iss with a space', () => token({ iss: `${AS} ` })],
  ['iss of a stranger', () => token({ iss: 'https://other.example' })],
  ['aud of another resource', () => token({ aud: 'https://other.example' })],
  ['aud with a trailing slash', () => token({ aud: `${GIT}/` })],
  ['aud in another case', () => token({ aud: 'https://GIT.example' })],
  ['aud that begins like ours', () => token({ aud: `${GIT}.evil` })],
  ['aud is an empty list', () => token({ aud: [] })],
  ['aud is a list without ours', () => token({ aud: ['https://a.example', 'https://b.example'] })],
  ['aud is a number', () => token({ aud: 5 })],
  ['aud is an object', () => token({ aud: { [GIT]: true } })],
  ['expired beyond the tolerance', () => token({ exp: now() - 7 })],
  ['exp 0', () => token({ exp: 0 })],
  ['exp is negative', () => token({ exp: -(now() + 3600) })],
  ['exp 1e300', () => token({ exp: 1e300 })],
  ['exp beyond what a number can hold', () => withPayload(rawPayload('"exp":1e999'))],
  ['nbf beyond the tolerance', () => token({ nbf: now() + 8 })],
  ['iat beyond the tolerance', () => token({ iat: now() + 8 })],
  ['cnf with a key thumbprint', () => token({ cnf: { jkt: 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs' } })],
  [
    'cnf with a certificate',
    () => token({ cnf: { 'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' } }),
  ],
  ['cnf is empty', () => token({ cnf: {} })],
  ['cnf is a text', () => token({ cnf: 'key' })],
  ['cnf is null', () => token({ cnf: null })],
];

/** The members of a good payload as text, the last of them replaced. */
function rawPayload(last: string): string {
  const name = /^"(\w+)"/.exec(last)![1]!;
  const text = JSON.stringify(claimed({ [name]: undefined }));
  return `${text.slice(0, -1)},${last}}`;
}

const HEADER_ROWS: readonly Row[] = [
  ['no typ', () => token({}, { typ: undefined })],
  ...['JWT', 'jwt', 'dpop+jwt', 'secevent+jwt', 'logout+jwt', 'id_token', 'application/jwt', ''].map(
    (typ): Row => [`typ ${JSON.stringify(typ)}`, () => token({}, { typ })],
  ),
  ['typ is a list', () => token({}, { typ: ['at+jwt'] })],
  ...['none', 'None', 'nOnE', 'NONE', ''].flatMap((alg): readonly Row[] => [
    [
      `alg ${JSON.stringify(alg)}, no signature`,
      () =>
        jws(JSON.stringify({ alg, typ: 'at+jwt', kid: 'k1' }), JSON.stringify(claimed()), () =>
          Buffer.alloc(0),
        ),
    ],
    [`alg ${JSON.stringify(alg)}, signed`, () => token({}, { alg })],
  ]),
  ['no alg', () => token({}, { alg: undefined })],
  ['alg in lower case', () => token({}, { alg: 'es256' })],
  ['alg is a list', () => token({}, { alg: ['ES256'] })],
  [
    'HS256 with the public key as PEM',
    () => hmacToken(K1.public_key.export({ format: 'pem', type: 'spki' })),
  ],
  [
    'HS256 with the public key as DER',
    () => hmacToken(K1.public_key.export({ format: 'der', type: 'spki' })),
  ],
  ['HS256 with the public key as JWK', () => hmacToken(JSON.stringify(K1.jwk))],
  [
    'HS256 with an RSA public key',
    () => hmacToken(RSA.public_key.export({ format: 'pem', type: 'spki' }), { kid: 'r1' }),
  ],
  ['HS256 with an empty secret', () => hmacToken('')],
  ['RS256, whose key is there but not in the list', () => mint(RSA, claimed(), {}, 'RS256')],
  ['PS256, whose key is there but not in the list', () => mint(RSA, claimed(), {}, 'PS256')],
  ['ES384, whose key is there but not in the list', () => mint(ES384, claimed(), {}, 'ES384')],
  ['ES256 named for a signature by RS256', () => mint(RSA, claimed(), { alg: 'ES256' }, 'RS256')],
  ['a key for encryption', () => mint(ENCRYPTION, claimed())],
  ['kid of an RSA key', () => token({}, { kid: 'r1' })],
  ['kid of another curve', () => token({}, { kid: 'e384' })],
  ['unknown kid', () => token({}, { kid: 'k2' })],
  ['empty kid', () => token({}, { kid: '' })],
  ['kid is a number', () => token({}, { kid: 1 })],
  ['kid __proto__', () => token({}, { kid: '__proto__' })],
  ['crit names an unknown parameter', () => token({}, { crit: ['exp'], exp: now() + 60 })],
  ['crit names what is absent', () => token({}, { crit: ['x'] })],
  ['crit is empty', () => token({}, { crit: [] })],
  ['crit is a text', () => token({}, { crit: 'b64' })],
  ['b64 is false', unencodedToken],
  ['the header is a list', () => withHeader('["ES256"]')],
  ['the header is null', () => withHeader('null')],
  ['the header is not JSON', () => withHeader('{alg:ES256}')],
  ['the header names alg twice', () => withHeader(`{"alg":"none",${HEADER.slice(1)}`)],
];

const FORM_ROWS: readonly Row[] = [
  ['no dots', () => 'opaque-token'],
  ['two parts', () => segments().slice(0, 2).join('.')],
  ['four parts', () => [...segments(), 'AAAA'].join('.')],
  [
    'five parts, as a JWE',
    () =>
      [base64url('{"alg":"dir","enc":"A256GCM","typ":"at+jwt","kid":"k1"}'), '', 'AAAA', 'AAAA', 'AAAA'].join(
        '.',
      ),
  ],
  ['only dots', () => '..'],
  ['an empty header', () => ['', ...segments().slice(1)].join('.')],
  ['an empty payload', () => [segments()[0], '', segments()[2]].join('.')],
  ['an empty payload, signed', () => withPayload('')],
  ['an empty signature', () => [...segments().slice(0, 2), ''].join('.')],
  ['a padded signature (RFC 7515, section 5.2)', () => `${token()}==`],
  ['a padded payload', () => withSegments(HEADER, `${base64url(JSON.stringify(claimed()))}=`)],
  ['a payload in the other base64 alphabet', () => withSegments(HEADER, plainBase64())],
  ['a character outside base64url in the signature', () => token().replace(/(.{9})$/, '!$1')],
  ['a nested JWT', () => jws(JSON.stringify({ ...JSON.parse(HEADER), cty: 'JWT' }), token(), signK1)],
  ['the payload is a list', () => withPayload(JSON.stringify([claimed()]))],
  ['the payload is a text', () => withPayload('"alice"')],
  ['the payload is null', () => withPayload('null')],
  ['the payload is a number', () => withPayload('5')],
  ['the payload is not JSON', () => withPayload('{sub:alice}')],
  [
    'the payload is not UTF-8',
    () => withPayload(Buffer.from(JSON.stringify(claimed({ x: '\u00ff' })), 'latin1')),
  ],
  ['the payload holds more than one document', () => withPayload(`${JSON.stringify(claimed())}{}`)],
  ['sub twice', () => withPayload(`{"sub":"mallory",${JSON.stringify(claimed()).slice(1)}`)],
  [
    'sub twice, once escaped',
    () => withPayload(`{"s\\u0075b":"mallory",${JSON.stringify(claimed()).slice(1)}`),
  ],
  ['exp twice', () => withPayload(`{"exp":1,${JSON.stringify(claimed()).slice(1)}`)],
];

const SIGNATURE_ROWS: readonly Row[] = [
  ['signed by a stranger', () => mint(STRANGER, claimed())],
  ['an all-zero signature', () => jws(HEADER, JSON.stringify(claimed()), () => Buffer.alloc(64))],
  [
    'a signature in DER',
    () => jws(HEADER, JSON.stringify(claimed()), (data) => signBytes('sha256', data, K1.private_key)),
  ],
  ['a truncated signature', () => token().slice(0, -4)],
  ['a longer signature', () => `${token()}AAAA`],
  [
    'the payload of another token',
    () => [segments()[0], token({ sub: 'bob' }).split('.')[1], segments()[2]].join('.'),
  ],
  [
    'the header of another token',
    () => [token({}, { x: 1 }).split('.')[0], segments()[1], segments()[2]].join('.'),
  ],
  ['an embedded jwk', () => mint(STRANGER, claimed(), { jwk: STRANGER.jwk })],
  ['an embedded jwk and no kid', () => mint(STRANGER, claimed(), { jwk: STRANGER.jwk, kid: undefined })],
  ['jku', () => mint(STRANGER, claimed(), { jku: lure.url })],
  ['x5u', () => mint(STRANGER, claimed(), { x5u: lure.url })],
  [
    'x5c',
    () =>
      mint(STRANGER, claimed(), {
        x5c: [STRANGER.public_key.export({ format: 'der', type: 'spki' }).toString('base64')],
      }),
  ],
  ['kid is a path', () => mint(STRANGER, claimed(), { kid: '../../../../dev/null' })],
  ['kid is an address', () => mint(STRANGER, claimed(), { kid: lure.url })],
];

const ACCEPTED: readonly Row[] = [
  ['the token that all rows start from', () => token()],
  ['typ application/at+jwt (RFC 9068, section 4)', () => token({}, { typ: 'application/at+jwt' })],
  ['aud is a list with ours', () => token({ aud: ['https://other.example', GIT] })],
  ['expired within the tolerance of 5 s', () => token({ exp: now() - 2 })],
  ['nbf within the tolerance', () => token({ nbf: now() + 3 })],
  ['iat within the tolerance', () => token({ iat: now() + 3 })],
  ['a date with a fraction (RFC 7519, section 2)', () => token({ exp: now() + 3600.5 })],
  ['unknown claims', () => token({ scope: 'x', extra: { deep: [1] } })],
  ['an unknown header parameter', () => token({}, { x: 1 })],
  ['an embedded jwk beside a good signature: ignored', () => token({}, { jwk: STRANGER.jwk })],
  ['jku and x5u beside a good signature: ignored', () => token({}, { jku: lure.url, x5u: lure.url })],
];

describe('a token that is not usable (design/2, "One decision"; RFC 9068, section 4; RFC 8725, section 3)', () => {
  describe.each([
    ['claims', CLAIM_ROWS],
    ['header', HEADER_ROWS],
    ['form', FORM_ROWS],
    ['signature', SIGNATURE_ROWS],
  ])('%s', (_name, rows) => {
    test.each(rows)('%s', async (_row, make) => {
      const bad = make();
      expectRefused(await askEnvoyDoor(sidecar.check_port, bad), bad);
    });
  });

  test('nothing of it stands in the decision log either', async () => {
    const bad = token({ sub: 'canary-subject', exp: now() - 60 });
    const { body } = await askEnvoyDoor(sidecar.check_port, bad);
    await expect.poll(() => logged(body['decision_id'])).toBeDefined();
    const line = logged(body['decision_id'])!;
    expect(line['credential']).toEqual({ verdict: 'unusable', reason: 'credential_invalid' });
    expect(payloadTexts(bad).filter((each) => JSON.stringify(line).includes(each))).toEqual([]);
  });

  test('the same at POST /v1/check, with 200', async () => {
    const bad = token({ exp: now() - 60 });
    const { status, body } = await askNative(sidecar.check_port, {
      check_point: 'tool',
      credential: { token: bad },
      action: { name: 'repo.read' },
      resource: `${GIT}/repos/example/app`,
    });
    expect({ status, reason: body['reason'] }).toEqual({ status: 200, reason: 'credential_invalid' });
    expect(part(body, 'credential')).toEqual({ verdict: 'unusable', reason: 'credential_invalid' });
    expect(part(body, 'mandate')).toEqual({ verdict: 'not_evaluated' });
    expect(payloadTexts(bad).filter((each) => JSON.stringify(body).includes(each))).toEqual([]);
  });

  test('any one bit of the signature flipped', async () => {
    const [header, payload, signature] = segments();
    const flipped = Array.from({ length: 64 }, (_each, at) => {
      const bytes = Buffer.from(signature, 'base64url');
      bytes[at]! ^= 1 << (at % 8);
      return `${header}.${payload}.${base64url(bytes)}`;
    });
    const answers = await Promise.all(flipped.map((each) => askEnvoyDoor(sidecar.check_port, each)));
    answers.forEach((each, at) => expectRefused(each, flipped[at]!));
  });

  test('17 KiB of token are refused, by the HTTP parser (design/4: 431) or as unusable', async () => {
    const big = token({ padding: 'x'.repeat(13 * 1024) });
    expect(big.length).toBeGreaterThan(17 * 1024);
    const { status } = await askEnvoyDoor(sidecar.check_port, big);
    expect([401, 431]).toContain(status);
  });

  test('no address in a token was ever visited', () => expect(lure.visits()).toBe(0));
});

describe('a token that is usable', () => {
  test.each(ACCEPTED)('%s', async (_row, make) => {
    const { status, body } = await askEnvoyDoor(sidecar.check_port, make());
    expect({ status, body }).toEqual({ status: 200, body: {} });
  });

  test('no address in a token was ever visited', () => expect(lure.visits()).toBe(0));
});

const AUTHORIZATIONS: readonly (readonly [name: string, make: () => string])[] = [
  ['no token', () => 'Bearer'],
  ['only a space', () => 'Bearer '],
  ['another scheme', () => `Basic ${base64url('alice:secret')}`],
  ['DPoP, which is off', () => `DPoP ${token()}`],
  ['the token alone', () => token()],
  ['two tokens', () => `Bearer ${token()} ${token()}`],
];

describe('an Authorization that holds no bearer token', () => {
  test.each(AUTHORIZATIONS)('%s', async (_name, make) => {
    const headers = { authorization: make() };
    const {
      status,
      headers: answered,
      body,
    } = await askEnvoyDoor(sidecar.check_port, undefined, { headers });
    expect({ status, reason: body['reason'] }).toEqual({ status: 401, reason: 'credential_invalid' });
    expect(['unusable', 'not_presented']).toContain(part(body, 'credential')['verdict']);
    expect(part(body, 'mandate')).toEqual({ verdict: 'not_evaluated' });
    expect(answered['www-authenticate']).toMatch(/^Bearer\b/);
  });

  test.each([
    ['two lines', () => [`Bearer ${token()}`, `Bearer ${token()}`]],
    ['two, joined as a proxy does (design/4)', () => `Bearer ${token()}, Bearer ${token()}`],
  ])('twice is malformed_request (design/8, "Also"): %s', async (_name, make) => {
    const headers = { authorization: make() };
    const { status, body } = await askEnvoyDoor(sidecar.check_port, undefined, { headers });
    expect({ status, reason: body['reason'] }).toEqual({ status: 403, reason: 'malformed_request' });
  });
});

const ACTORS: readonly (readonly [name: string, act: Json])[] = [
  ['one actor', { sub: 'agent-2' }],
  ['two actors', { sub: 'agent-3', act: { sub: 'agent-2' } }],
  ['an empty one', {}],
  ['a text', 'agent-2'],
  ['a list', [{ sub: 'agent-2' }]],
  ['no text in sub', { sub: 5 }],
  [
    'deeper than max_actor_depth',
    Array.from({ length: 6 }).reduce<JsonObject>((act, _each, at) => ({ sub: `a${at}`, act }), { sub: 'a' }),
  ],
];

describe('a token with an act chain that does not fit: 403 actor_invalid', () => {
  test.each(ACTORS)('%s', async (_name, act) => {
    const { status, body } = await askEnvoyDoor(sidecar.check_port, token({ act }));
    expect({ status, reason: body['reason'], next: body['next_action'] }).toEqual({
      status: 403,
      reason: 'actor_invalid',
      next: 'none',
    });
    expect(part(body, 'credential')).toMatchObject({ verdict: 'unusable', reason: 'actor_invalid' });
    for (const name of ['id', 'state', 'version', 'lineage'])
      expect(part(body, 'mandate')).not.toHaveProperty(name);
    expect(JSON.stringify(body)).not.toContain(mission['id']);
  });
});

const entry = (replaced: JsonObject = {}): JsonObject => ({
  type: 'mission_resource_access',
  resource: `${GIT}/repos/example/app`,
  resource_match: 'prefix',
  actions: ['repo.read'],
  ...replaced,
});

const DETAILS: readonly (readonly [name: string, details: Json, reason: string | undefined])[] = [
  ['that cover', [entry()], undefined],
  ['that cover by family', [entry({ actions: ['repo.*'] })], undefined],
  ['of which one covers', [entry({ actions: ['repo.push'] }), entry()], undefined],
  [
    'wider than the mandate, which still bounds it',
    [entry({ resource: GIT, actions: ['repo.*'] })],
    undefined,
  ],
  ['that are empty', [], 'out_of_authority'],
  ['for another action', [entry({ actions: ['repo.push'] })], 'out_of_authority'],
  ['for another resource', [entry({ resource: `${GIT}/repos/example/app2` })], 'out_of_authority'],
  [
    'for one thing below, exactly',
    [entry({ resource: `${GIT}/repos/example/app/x`, resource_match: 'exact' })],
    'out_of_authority',
  ],
  ['of an unknown type', [entry({ type: 'payment_initiation' })], 'unsupported_authorization_type'],
  [
    'with a constraint that is not known',
    [entry({ constraints: { colour: 'red' } })],
    'constraint_unsupported',
  ],
  ['with a constraint that is not met', [entry({ constraints: { tenant: 'acme' } })], 'parameter_violation'],
];

describe('authorization_details bound the request too (design/2, "Effective authority")', () => {
  test.each(DETAILS)('%s', async (_name, authorization_details, reason) => {
    const { status, body } = await askEnvoyDoor(sidecar.check_port, token({ authorization_details }));
    expect({ status, reason: body['reason'] }).toEqual({ status: reason === undefined ? 200 : 403, reason });
    if (reason === undefined) return;
    expect(part(body, 'credential')).toMatchObject({ verdict: 'usable' });
    expect(part(body, 'mandate')).toMatchObject({ verdict: 'illegitimate', reason });
  });

  test('never add to what the mandate covers', async () => {
    const wide = token({ authorization_details: [entry({ resource: GIT })] });
    const { status, body } = await askEnvoyDoor(sidecar.check_port, wide, {
      path: '/repos/other/x/contents',
    });
    expect({ status, reason: body['reason'] }).toEqual({ status: 403, reason: 'out_of_authority' });
  });

  test.each([
    ['a text', 'all'],
    ['an object', entry()],
    ['null', null],
    ['a list of texts', ['all']],
    ['an entry without a type', [{ resource: GIT, actions: ['repo.*'] }]],
    ['an entry without actions', [{ type: 'mission_resource_access', resource: GIT }]],
  ])('that cannot be read (%s) are never an allow', async (_name, authorization_details) => {
    const { status } = await askEnvoyDoor(sidecar.check_port, token({ authorization_details }));
    expect([401, 403]).toContain(status);
  });
});

function logged(id: Json | undefined): JsonObject | undefined {
  return sidecar.decisions().find((each) => each['decision_id'] === id);
}

// --- keys by address --------------------------------------------------------------------------------------------

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Answers each path as the test says, and remembers when it was asked. */
interface KeyServer {
  readonly origin: string;
  readonly asked: (path: string) => readonly number[];
  readonly on: (path: string, handler: Handler) => void;
  readonly close: () => void;
}

const OPENSSL = 'openssl';

function makeCertificate(folder: string, name: string): { readonly key: string; readonly cert: string } {
  const [key, cert] = [join(folder, `${name}-key.pem`), join(folder, `${name}.pem`)];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  execFileSync(
    OPENSSL,
    ['req', '-x509', ...algorithm, ...subject, '-days', '2', '-keyout', key, '-out', cert],
    {
      stdio: 'ignore',
    },
  );
  return { key, cert };
}

async function openKeyServer(files: { readonly key: string; readonly cert: string }): Promise<KeyServer> {
  const asked = new Map<string, number[]>();
  const handlers = new Map<string, Handler>();
  const server: Server = createServer(
    { key: readFileSync(files.key), cert: readFileSync(files.cert) },
    (request, response) => {
      const path = request.url!;
      asked.set(path, [...(asked.get(path) ?? []), Date.now()]);
      (handlers.get(path) ?? fails(404))(request, response);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: (path) => asked.get(path) ?? [],
    on: (path, handler) => handlers.set(path, handler),
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

const serves =
  (...keys: readonly Key[]): Handler =>
  (_request, response) =>
    void response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ keys: keys.map((each) => each.jwk) }));

const fails =
  (status: number): Handler =>
  (_request, response) =>
    void response.writeHead(status).end();

/** A key set of exactly this many bytes; in chunks it has no content-length to warn of it. */
function servesBytes(size: number, chunked = false): Handler {
  const text = JSON.stringify({ keys: [A.jwk], padding: '' });
  const body = text.replace('"padding":""', `"padding":"${'x'.repeat(size - text.length)}"`);
  return (_request, response) => {
    response.writeHead(200, {
      'content-type': 'application/json',
      ...(chunked ? {} : { 'content-length': body.length }),
    });
    response.write(body.slice(0, body.length / 2));
    response.end(body.slice(body.length / 2));
  };
}

const A = makeKey('a', 'ES256');
const B = makeKey('b', 'ES256');
const MIB = 1024 * 1024;
const MIN_INTERVAL_MS = 150;
const MAX_AGE_MS = 1500;

/** One credential entry each: `https://NAME.example`, with the key set at `/NAME`. */
const REMOTE: Readonly<Record<string, Handler>> = {
  rotation: (request, response) => serves(A)(request, response),
  removal: (request, response) => serves(A, B)(request, response),
  outage: (request, response) => serves(A)(request, response),
  away: fails(503),
  flood: serves(A),
  patient: serves(A),
  limit: servesBytes(MIB),
  over: servesBytes(MIB + 1),
  huge: servesBytes(2 * MIB),
  chunked: servesBytes(2 * MIB, true),
  endless: (_request, response) => {
    const drip = setInterval(() => response.write('x'.repeat(MIB)), 20);
    response.on('close', () => clearInterval(drip));
  },
  slow: () => undefined,
  stalled: (_request, response) => void response.writeHead(200).write('{"keys":['),
  redirect: (_request, response) => void response.writeHead(302, { location: '/elsewhere' }).end(),
  permanent: (_request, response) => void response.writeHead(308, { location: '/elsewhere' }).end(),
  failing: fails(500),
  missing: fails(404),
  empty: serves(),
  nonsense: (_request, response) => void response.writeHead(200).end('<html>'),
  list: (_request, response) => void response.writeHead(200).end(JSON.stringify([A.jwk])),
  cut: (_request, response) => {
    response.writeHead(200, { 'content-length': 5000 });
    response.write(JSON.stringify({ keys: [A.jwk] }), () => response.destroy());
  },
};

/** Their fetches are rare, so that one too many is seen. */
const RARE: Readonly<Record<string, string>> = { patient: 'min_interval_ms: 30000, max_age_ms: 600000' };
const OFTEN = `min_interval_ms: ${MIN_INTERVAL_MS}, max_age_ms: ${MAX_AGE_MS}`;

interface Served {
  readonly child: ChildProcess;
  readonly check_port: number;
  readonly control_port: number;
}

/** `serve` with credentials of the test's own; the harness knows one issuer with a file. */
async function serve(folder: string, credentials: readonly string[], ca?: string): Promise<Served> {
  const config = join(folder, 'mandated.yaml');
  writeFileSync(config, configuration(credentials));
  const env = { ...process.env, ...(ca === undefined ? {} : { NODE_EXTRA_CA_CERTS: ca }) };
  const child = spawn(process.execPath, [join(ROOT, 'src/mandated.mjs'), 'serve', '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env,
  });
  let stderr = '';
  return new Promise<Served>((resolve, reject) => {
    child.on('exit', (code) => reject(new Error(`mandated ended with ${code}: ${stderr}`)));
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      const line = stderr.split('\n').find((each) => each.includes('"msg":"serving"'));
      if (line === undefined) return;
      const { check, control } = JSON.parse(line) as { check: string; control: string };
      resolve({
        child,
        check_port: Number(new URL(check).port),
        control_port: Number(new URL(control).port),
      });
    });
  });
}

function configuration(credentials: readonly string[]): string {
  return `issuer: ${MANDATES}
check: { listen: "127.0.0.1:0" }
control: { listen: "127.0.0.1:0" }
store: { engine: sqlite, path: data }
credentials:
${credentials.map((each) => `  - ${each}`).join('\n')}
actions: ${JSON.stringify(join(ROOT, 'policies/actions.yaml'))}
policies: { cedar: ${JSON.stringify(join(ROOT, 'policies/cedar'))} }
log: { decisions: decisions.jsonl }
`;
}

const remoteEntry = (name: string, origin: string): string =>
  `{ name: ${name}, issuer: "https://${name}.example", audiences: ["${GIT}"], algorithms: [ES256], ` +
  `jwks: { uri: "${origin}/${name}", ${RARE[name] ?? OFTEN} } }`;

describe('keys by address (design/7, `jwks.uri`)', () => {
  let folder: string;
  let keys: KeyServer;
  let untrusted: KeyServer;
  let served: Served;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mandated-keys-'));
    const trusted = makeCertificate(folder, 'trusted');
    keys = await openKeyServer(trusted);
    untrusted = await openKeyServer(makeCertificate(folder, 'untrusted'));
    untrusted.on('/untrusted', serves(A));
    keys.on('/elsewhere', serves(A));
    for (const [name, handler] of Object.entries(REMOTE)) keys.on(`/${name}`, handler);
    const entries = Object.keys(REMOTE).map((name) => remoteEntry(name, keys.origin));
    served = await serve(folder, [...entries, remoteEntry('untrusted', untrusted.origin)], trusted.cert);
  });

  afterAll(() => {
    served.child.kill('SIGKILL');
    keys.close();
    untrusted.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const present = (name: string, key: Key = A, header: Record<string, unknown> = {}): Promise<Answered> =>
    askEnvoyDoor(served.check_port, mint(key, baseClaims(`https://${name}.example`), header));

  /** Without a reference a usable credential gets as far as `mission_context_missing`. */
  async function verdict(
    name: string,
    key: Key = A,
    header: Record<string, unknown> = {},
  ): Promise<Json | undefined> {
    const { status, body } = await present(name, key, header);
    const found = member(body['credential'], 'verdict');
    expect(status).toBe(found === 'usable' ? 403 : 401);
    return found;
  }

  const becomes = (name: string, key: Key, expected: string, timeout = 4000): Promise<void> =>
    expect.poll(() => verdict(name, key), { interval: 40, timeout }).toBe(expected);

  test('a key is used, with its kid and without', async () => {
    await becomes('flood', A, 'usable');
    expect(await verdict('flood', A, { kid: undefined })).toBe('usable');
    expect(await verdict('flood', STRANGER, { kid: undefined })).toBe('unusable');
    expect(await verdict('flood', STRANGER, { kid: 'a' })).toBe('unusable');
  });

  test('rotation: a new key is fetched when a token names it', async () => {
    await becomes('rotation', A, 'usable');
    keys.on('/rotation', serves(B));
    await becomes('rotation', B, 'usable');
    await becomes('rotation', A, 'unusable');
  });

  test('a removed key is refused after max_age_ms, by itself', async () => {
    await becomes('removal', A, 'usable');
    await becomes('removal', B, 'usable');
    keys.on('/removal', serves(B));
    await becomes('removal', A, 'unusable', 2 * MAX_AGE_MS);
    expect(await verdict('removal', B)).toBe('usable');
  });

  test('a key server that is away at the start: unverifiable, then it recovers by itself', async () => {
    const { status, headers, body } = await present('away');
    expect({ status, reason: body['reason'], next: body['next_action'] }).toEqual({
      status: 401,
      reason: 'credential_invalid',
      next: 'retry',
    });
    expect(part(body, 'credential')).toEqual({ verdict: 'unverifiable', reason: 'credential_invalid' });
    expect(part(body, 'mandate')).toEqual({ verdict: 'not_evaluated' });
    expect(headers['www-authenticate']).toMatch(/^Bearer\b/);
    const native = await askNative(served.check_port, {
      check_point: 'tool',
      credential: { token: mint(A, baseClaims('https://away.example')) },
      action: { name: 'repo.read' },
      resource: `${GIT}/repos/example/app`,
    });
    expect(native.status).toBe(200);
    expect(native.body).toMatchObject({ reason: 'credential_invalid', next_action: 'retry' });
    expect(part(native.body, 'credential')).toEqual({
      verdict: 'unverifiable',
      reason: 'credential_invalid',
    });
    keys.on('/away', serves(A));
    await becomes('away', A, 'usable');
  });

  test('while keys are away /readyz stays 200 and says so', async () => {
    const { status, body } = await ask(served.control_port, { path: '/readyz' });
    expect(status).toBe(200);
    expect(JSON.stringify(body)).toContain('failing');
  });

  test('an outage is bridged until max_age_ms, and not longer', async () => {
    await becomes('outage', A, 'usable');
    keys.on('/outage', fails(500));
    const until = keys.asked('/outage').at(-1)! + MAX_AGE_MS;
    while (Date.now() < until - 300) expect(await verdict('outage')).toBe('usable');
    await becomes('outage', A, 'unverifiable');
    expect(Math.abs(Date.now() - until)).toBeLessThan(1500);
    keys.on('/outage', serves(A));
    await becomes('outage', A, 'usable');
  });

  test('1 MiB is read to the end', () => becomes('limit', A, 'usable'));

  test.each([
    'over',
    'huge',
    'chunked',
    'endless',
    'redirect',
    'permanent',
    'failing',
    'missing',
    'nonsense',
    'list',
    'cut',
    'slow',
    'stalled',
    'untrusted',
  ])('an answer that is no key set (%s): unverifiable, and quickly', async (name) => {
    const origin = name === 'untrusted' ? untrusted : keys;
    const before = Date.now();
    const answered = await present(name);
    expect(Date.now() - before).toBeLessThan(1000);
    expectRefused(answered, mint(A, baseClaims(`https://${name}.example`)), 'unverifiable');
    if (name !== 'untrusted') expect(origin.asked(`/${name}`).length).toBeGreaterThan(0);
  });

  test('a set without keys lets nobody in', async () => expect(await verdict('empty')).not.toBe('usable'));

  test('where a redirect points was never visited', () => expect(keys.asked('/elsewhere')).toEqual([]));

  test('unknown kids cause no more fetches than min_interval_ms allows', async () => {
    await becomes('flood', A, 'usable');
    await becomes('patient', A, 'usable');
    const before = keys.asked('/flood').length;
    const since = Date.now();
    while (Date.now() < since + 4 * MIN_INTERVAL_MS) {
      const kids = Array.from({ length: 20 }, () => randomUUID());
      const found = await Promise.all(
        kids.flatMap((kid) => [verdict('flood', A, { kid }), verdict('patient', A, { kid })]),
      );
      expect(found).not.toContain('usable');
    }
    const allowed = Math.ceil((Date.now() - since) / MIN_INTERVAL_MS) + 1;
    expect(keys.asked('/flood').length - before).toBeLessThanOrEqual(allowed);
    expect(keys.asked('/patient').length).toBe(1);
    expect(await verdict('flood')).toBe('usable');
  });

  test('nor does an outage', () => {
    const asked = keys.asked('/failing');
    const allowed = Math.ceil((asked.at(-1)! - asked[0]!) / MIN_INTERVAL_MS) + 2;
    expect(asked.length).toBeLessThanOrEqual(allowed);
  });
});

// --- what stops the start ---------------------------------------------------------------------------------------

const privateJwk = (): JsonObject => ({ ...jwkOf(K1.private_key), kid: 'k1', alg: 'ES256', use: 'sig' });
const oct: JsonObject = {
  kty: 'oct',
  k: base64url('a secret that everybody shares..'),
  kid: 'o1',
  alg: 'HS256',
};

const KEY_FILES: readonly (readonly [name: string, text: string])[] = [
  ['a private key', JSON.stringify({ keys: [privateJwk()] })],
  ['a private key beside a public one', JSON.stringify({ keys: [K1.jwk, { ...privateJwk(), kid: 'k2' }] })],
  ['an oct key', JSON.stringify({ keys: [oct] })],
  ['an oct key beside a public one', JSON.stringify({ keys: [K1.jwk, oct] })],
  ['no key', JSON.stringify({ keys: [] })],
  ['no key set', JSON.stringify([K1.jwk])],
  ['no JSON', 'keys'],
];

const fileEntry = (replaced = ''): string =>
  `{ name: corp, issuer: "${AS}", audiences: ["${GIT}"], jwks: { file: keys.json }, algorithms: [ES256]${replaced} }`;

const ENTRIES: readonly (readonly [name: string, entries: readonly string[]])[] = [
  ['a plain-http address', [fileEntry().replace('file: keys.json', 'uri: "http://as.example/keys"')]],
  [
    'a plain-http address on loopback',
    [fileEntry().replace('file: keys.json', 'uri: "http://127.0.0.1:9/keys"')],
  ],
  ['a file that is not there', [fileEntry().replace('keys.json', 'nowhere.json')]],
  [
    'two key sources',
    [fileEntry().replace('file: keys.json', 'file: keys.json, uri: "https://as.example/keys"')],
  ],
  ['no key source', [fileEntry().replace('jwks: { file: keys.json }, ', '')]],
  ['a symmetric algorithm', [fileEntry().replace('ES256', 'HS256')]],
  ['algorithm none', [fileEntry().replace('ES256', 'none')]],
  ['no algorithm', [fileEntry().replace('[ES256]', '[]')]],
  ['no audience', [fileEntry().replace(`["${GIT}"]`, '[]')]],
  ['the same issuer twice', [fileEntry(), fileEntry().replace('corp', 'other')]],
  ['the same name twice', [fileEntry(), fileEntry().replace(AS, 'https://other.example')]],
];

describe('what stops the start (design/7, `credentials`)', () => {
  const cases = [
    ...KEY_FILES.map(([name, text]) => ({ name, text, entries: [fileEntry()] })),
    ...ENTRIES.map(([name, entries]) => ({ name, text: JSON.stringify({ keys: [K1.jwk] }), entries })),
  ];

  test.concurrent.each(cases)('$name', async ({ text, entries }) => {
    const folder = mkdtempSync(join(tmpdir(), 'mandated-refused-'));
    try {
      writeFileSync(join(folder, 'keys.json'), text);
      const outcome = await serve(folder, entries).then(
        ({ child }) => {
          child.kill('SIGKILL');
          return 'it served';
        },
        (error: Error) => error.message,
      );
      expect(outcome).toMatch(/^mandated ended with [1-9]/);
      expect(outcome).toMatch(/credentials|keys\.json|nowhere\.json/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
