/**
 * What a server that is asked about a token may answer (RFC 7662 section 2.2, RFC 9701 section 5): a hostile or broken
 * one in its place. Each row is good in every respect but one.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/core/json.ts';
import { PUSH, type Answered, ask, askEnvoyDoor } from '../support/ask.ts';
import { outcome, question } from '../support/question.ts';
import {
  AS,
  GIT,
  type Sidecar,
  type TestIssuer,
  createIssuer,
  proposalBody,
  startSidecar,
} from '../support/sidecar.ts';
import { membersOf } from './opaque-stage.ts';
import { type Posted, type Reply, type StandIn, says, sends, startStandIn } from './stand-in.ts';

const CLIENT_ID = 'the-sidecar';
const SECRET = randomBytes(32).toString('base64url');
const SECOND = 'https://second.example';
const ALONE = 'https://alone.example';
const MIB = 1024 * 1024;

type Replaced = Readonly<Record<string, unknown>>;

let folder: string;
let server: StandIn;
let issuer: TestIssuer;
let plain: Sidecar;
let signing: Sidecar;
/** Three issuers: the first has keys as well, the last has none. */
let several: Sidecar;
/** Its checks must be quick. */
let hasty: Sidecar;

/** What is done about each token; what is not here nobody has issued. */
const replies = new Map<string, Reply>();
const dispatch: Reply = (response, posted) => {
  const reply = replies.get(posted.form.get('token') ?? '') ?? says({ active: false });
  return reply(response, posted);
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-answers-'));
  writeFileSync(join(folder, 'secret'), SECRET);
  server = await startStandIn(dispatch);
  issuer = await createIssuer();
  const begun = [
    start(membersOf({ introspection: asking('/plain') })),
    start(membersOf({ introspection: { ...asking('/signed'), signed: true } })),
    start(severalEntries()),
    start(membersOf({ introspection: asking('/plain') }), 50),
  ] as const;
  [plain, signing, several, hasty] = await Promise.all(begun);
});
afterAll(async () => {
  for (const each of [plain, signing, several, hasty]) await each.discard();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The deadline of a check is longer than that of an introspection, so that the latter is what is seen. */
function start(credential: string, deadline_ms = 4000): Promise<Sidecar> {
  return startSidecar({
    issuer,
    credential,
    check: `{ listen: "127.0.0.1:0", deadline_ms: ${deadline_ms} }`,
  });
}

function asking(path: string): JsonObject {
  const client_secret_file = join(folder, 'secret');
  return { endpoint: server.url(path), client_id: CLIENT_ID, client_secret_file, ca: server.ca };
}

function severalEntries(): string {
  const common = { audiences: [GIT], algorithms: ['ES256'] };
  const second = { name: 'second', issuer: SECOND, ...common, introspection: asking('/second') };
  const alone = { name: 'alone', issuer: ALONE, ...common, introspection: asking('/alone') };
  const first = membersOf({ introspection: asking('/first') });
  // The template closes the last map.
  return `${first} }\n  - ${JSON.stringify(second)}\n  - { ${membersOf(alone)}`;
}

const newToken = (): string => randomBytes(32).toString('base64url');
const now_s = (): number => Math.floor(Date.now() / 1000);

/** What is said of a token that is good in every respect; `undefined` removes a member. */
function claims(record: JsonObject, replaced: Replaced = {}): JsonObject {
  const { id, issuer: iss, authority_hash } = record;
  const mission = { id, issuer: iss, authority_hash };
  const good = { active: true, iss: AS, aud: GIT, sub: 'alice', client_id: 'agent-1', exp: now_s() + 600 };
  return JSON.parse(JSON.stringify({ ...good, iat: now_s(), mission, ...replaced })) as JsonObject;
}

/** RFC 9701 section 5. */
const TYPE = 'application/token-introspection+jwt';

function answerOf(said: Json, more: Replaced = {}, header: Replaced = {}, by = issuer): Promise<string> {
  const none = { sub: undefined, client_id: undefined, exp: undefined };
  const own = { ...none, aud: CLIENT_ID, token_introspection: said, ...more };
  return by.mint(own, { typ: 'token-introspection+jwt', ...header });
}

const signs =
  (said: Json, more: Replaced = {}, header: Replaced = {}, by = issuer): Reply =>
  async (response, posted) =>
    sends(await answerOf(said, more, header, by), TYPE)(response, posted);

const details = async ({ control_port }: Sidecar): Promise<Json | undefined> => {
  const { status, body } = await ask(control_port, { path: '/readyz' });
  expect(status).toBe(200);
  return body.details;
};

/** Everything that is told of a token that is not believed. */
function expectDenied({ status, body }: Answered, verdict: string): void {
  expect(status).toBe(401);
  expect(body).toMatchObject({
    reason: 'credential_invalid',
    next_action: verdict === 'unverifiable' ? 'retry' : 'none',
    credential: { verdict },
    mandate: { verdict: 'not_evaluated' },
    request: { verdict: 'not_evaluated' },
  });
  expect(JSON.stringify(body)).not.toContain('msn_');
}

interface Case {
  readonly sidecar: Sidecar;
  readonly reply: (record: JsonObject) => Reply;
  readonly good: (record: JsonObject) => Reply;
  readonly verdict: 'unusable' | 'unverifiable';
}

/** Denied at every door, whatever was remembered; and good again by itself as soon as the server is. */
async function expectJudged({ sidecar, reply, good, verdict }: Case): Promise<void> {
  const record = await sidecar.mandate();
  const token = newToken();
  replies.set(token, reply(record));
  expectDenied(await askEnvoyDoor(sidecar.check_port, token), verdict);
  expectDenied(await askEnvoyDoor(sidecar.check_port, token, PUSH), verdict);
  expect((await question(sidecar, { token })).body).toMatchObject({ credential: { verdict } });
  expect(await details(sidecar)).toHaveLength(verdict === 'unverifiable' ? 1 : 0);
  replies.set(token, good(record));
  expect((await askEnvoyDoor(sidecar.check_port, token)).status).toBe(200);
  expect(await details(sidecar)).toEqual([]);
}

const goodPlain = (record: JsonObject): Reply => says(claims(record));
const goodSigned = (record: JsonObject): Reply => signs(claims(record));

/** The answer itself cannot be believed, or there is none. */
const NO_ANSWERS: readonly (readonly [string, (record: JsonObject) => Reply])[] = [
  ['status 500', (record) => says(claims(record), 500)],
  ['status 401', (record) => says(claims(record), 401)],
  ['status 201', (record) => says(claims(record), 201)],
  ['status 204', () => (response) => response.writeHead(204).end()],
  [
    'a redirect to where the answer is good',
    (record) => (response, posted) => {
      if (posted.path === '/elsewhere') return says(claims(record))(response, posted);
      return response.writeHead(302, { location: server.url('/elsewhere') }).end();
    },
  ],
  [
    'a redirect that repeats the form (307)',
    (record) => (response, posted) => {
      if (posted.path === '/elsewhere') return says(claims(record))(response, posted);
      return response.writeHead(307, { location: server.url('/elsewhere') }).end();
    },
  ],
  ['JSON that is called HTML', (record) => sends(JSON.stringify(claims(record)), 'text/html')],
  [
    'JSON without a content type',
    (record) => (response) => response.writeHead(200).end(JSON.stringify(claims(record))),
  ],
  ['what is not JSON', () => sends('active')],
  ['nothing', () => sends('')],
  ['JSON that is compressed', (record) => compressed(claims(record))],
  ['a list', (record) => says([claims(record)])],
  ['a string', () => says('active')],
  ['null', () => says(null)],
  ['`active` missing', (record) => says(claims(record, { active: undefined }))],
  ['`active` a string', (record) => says(claims(record, { active: 'true' }))],
  ['`active` a number', (record) => says(claims(record, { active: 1 }))],
  ['`active` null', (record) => says(claims(record, { active: null }))],
  ['a name twice', (record) => sends(twice(claims(record), '"active":false'))],
  ['a name twice, inside', (record) => sends(twice(claims(record), '"a":{"b":1,"b":2}'))],
  ['a member `__proto__`', (record) => sends(twice(claims(record), '"__proto__":{}'))],
  ['what lies too deep', (record) => sends(twice(claims(record), `"a":${'['.repeat(99)}${']'.repeat(99)}`))],
  ['more than 1 MiB', (record) => says(claims(record, { pad: 'x'.repeat(MIB) }))],
  ['more than 1 MiB without an end', (record) => endless(claims(record))],
  ['closed instead of answered', () => (response) => response.destroy()],
  ['closed inside the body', (record) => cut(claims(record))],
  ['what is not HTTP', () => (response) => response.socket!.end('active: true\r\n\r\n')],
];

function twice(said: JsonObject, inserted: string): string {
  return JSON.stringify(said).replace('{', `{${inserted},`);
}

function compressed(said: JsonObject): Reply {
  const head = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
  return (response) => response.writeHead(200, head).end(gzipSync(JSON.stringify(said)));
}

function cut(said: JsonObject): Reply {
  return (response) => {
    const text = JSON.stringify(said);
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length + 9 });
    response.write(text, () => response.destroy());
  };
}

/** A good answer, and then blanks for as long as somebody reads. */
function endless(said: JsonObject): Reply {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write(JSON.stringify(said));
    pour(response);
  };
}

function pour(response: ServerResponse): void {
  if (!response.destroyed) response.write(' '.repeat(65_536), () => pour(response));
}

/** What the issuer says of the token does not make it good here. */
const CLAIMS: readonly (readonly [string, Replaced])[] = [
  ['not active', { active: false }],
  ['`aud` of another', { aud: 'https://other.example' }],
  ['`aud` of others', { aud: ['https://other.example', `${GIT}/`] }],
  ['`aud` that holds ours', { aud: `${GIT} https://other.example` }],
  ['no `aud`', { aud: undefined }],
  ['an empty `aud`', { aud: [] }],
  ['`aud` an object', { aud: { [GIT]: GIT } }],
  ['no `sub`', { sub: undefined }],
  ['`sub` a number', { sub: 1 }],
  ['an empty `sub`', { sub: '' }],
  ['no `client_id`', { client_id: undefined }],
  ['`client_id` a list', { client_id: ['agent-1'] }],
  ['`iss` of another', { iss: 'https://other.example' }],
  ['`iss` almost the same', { iss: `${AS}/` }],
  ['`iss` null', { iss: null }],
  ['`exp` in the past', { exp: now_s() - 60 }],
  ['`exp` a string', { exp: String(now_s() + 600) }],
  ['`exp` out of range', { exp: 1e12 }],
  ['`iat` in the future', { iat: now_s() + 600 }],
  ['`nbf` in the future', { nbf: now_s() + 600 }],
  ['RFC 7800: `cnf` of a kind that nobody knows', { cnf: { kid: 'k' } }],
  ['RFC 7800: `cnf` that is empty', { cnf: {} }],
  ['RFC 7800: `cnf` that is no object', { cnf: 'k' }],
];

/** A holder's key is no reason to ask again. */
const BOUND: readonly (readonly [string, Replaced])[] = [
  ['RFC 9449: to a key, where no proofs are checked', { cnf: { jkt: 'x'.repeat(43) } }],
  ['RFC 8705: to a certificate, where none are checked', { cnf: { 'x5t#S256': 'x'.repeat(43) } }],
];

describe('RFC 7662: an answer that cannot be believed makes the token unverifiable', () => {
  test.each(NO_ANSWERS)('%s', async (_title, reply) => {
    await expectJudged({ sidecar: plain, reply, good: goodPlain, verdict: 'unverifiable' });
  });

  test('a redirect is not followed', () => {
    expect(server.posted().map(({ path }) => path)).not.toContain('/elsewhere');
  });

  test('no answer, one that never comes to an end, and one that stops: all at once, within their deadline', async () => {
    const hang: readonly Reply[] = [
      () => undefined,
      (response) => response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders(),
      (response) => drip(response),
    ];
    const denied = await Promise.all(
      hang.map((reply) => {
        const token = newToken();
        replies.set(token, reply);
        return askEnvoyDoor(plain.check_port, token);
      }),
    );
    for (const each of denied) expectDenied(each, 'unverifiable');
    expect(String(denied[0]!.body.detail)).toContain('no answer in 2000 ms');
  });

  test('the check does not wait longer than its own deadline', async () => {
    const token = newToken();
    replies.set(token, () => undefined);
    const denied = await askEnvoyDoor(hasty.check_port, token);
    expectDenied(denied, 'unverifiable');
    expect(denied.body.detail).toBe('verification took too long');
  });

  test('while it is away `/readyz` stays 200 and says so, and one complaint stands in the log', async () => {
    const token = newToken();
    replies.set(token, goodPlain(await plain.mandate()));
    expect((await askEnvoyDoor(plain.check_port, token, PUSH)).status).toBe(200);
    const before = complaints(plain);
    await server.leave();
    for (let tries = 0; tries < 3; tries += 1)
      expectDenied(await askEnvoyDoor(plain.check_port, token, PUSH), 'unverifiable');
    expect(await details(plain)).toEqual([expect.stringContaining('credentials corp: ')]);
    await server.comeBack();
    expect((await askEnvoyDoor(plain.check_port, token)).status).toBe(200);
    expect(await details(plain)).toEqual([]);
    expect(complaints(plain) - before).toBe(1);
  });
});

const complaints = (sidecar: Sidecar): number =>
  sidecar.stderr().split('a token could not be introspected').length - 1;

function drip(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  const timer = setInterval(() => response.write(' '), 100);
  response.once('close', () => clearInterval(timer));
}

describe('RFC 7662: what the issuer says of a token may make it unusable', () => {
  test.each(CLAIMS)('%s', async (_title, replaced) => {
    const reply = (record: JsonObject) => says(claims(record, replaced));
    await expectJudged({ sidecar: plain, reply, good: goodPlain, verdict: 'unusable' });
  });

  test.each(BOUND)('what it is bound to cannot be passed over: %s', async (_title, replaced) => {
    const token = newToken();
    replies.set(token, says(claims(await plain.mandate(), replaced)));
    for (const each of [{}, {}, PUSH])
      expectDenied(await askEnvoyDoor(plain.check_port, token, each), 'unusable');
  });

  test.each<[string, (record: JsonObject) => Reply]>([
    ['nothing of its issuer, its beginning and its end', (record) => bare(record)],
    ['several audiences', (record) => says(claims(record, { aud: ['https://other.example', GIT] }))],
    ['members that nobody knows', (record) => says(claims(record, { constructor: 1, x: [null] }))],
    ['a content type with a charset', (record) => withCharset(claims(record))],
    ['nearly 1 MiB', (record) => says(claims(record, { pad: 'x'.repeat(MIB - 1024) }))],
    [
      'a clock that is ahead by less than the tolerance',
      (record) => says(claims(record, { iat: now_s() + 2 })),
    ],
  ])('it may say more, and less: %s', async (_title, reply) => {
    const record = await plain.mandate();
    const token = newToken();
    replies.set(token, reply(record));
    expect((await askEnvoyDoor(plain.check_port, token)).status).toBe(200);
    expect((await askEnvoyDoor(plain.check_port, token, PUSH)).status).toBe(200);
  });

  test('a token for another client of the same subject does not reach the mandate', async () => {
    const token = newToken();
    replies.set(token, says(claims(await plain.mandate(), { client_id: 'agent-2' })));
    const { status, body } = await askEnvoyDoor(plain.check_port, token);
    expect([status, body.reason]).toEqual([403, 'mission_mismatch']);
  });

  test('RFC 9396: its details bound it', async () => {
    const entry = { type: 'mission_resource_access', resource: `${GIT}/repos/example/app` };
    const authorization_details = [{ ...entry, resource_match: 'prefix', actions: ['repo.read'] }];
    const token = newToken();
    replies.set(token, says(claims(await plain.mandate(), { authorization_details })));
    expect((await askEnvoyDoor(plain.check_port, token)).status).toBe(200);
    expect((await askEnvoyDoor(plain.check_port, token, PUSH)).body.reason).toBe('out_of_authority');
  });

  test('RFC 8693: its actors are read', async () => {
    const token = newToken();
    replies.set(token, says(claims(await plain.mandate(), { act: 'agent-2' })));
    const { status, body } = await askEnvoyDoor(plain.check_port, token);
    expect([status, body.reason]).toEqual([403, 'actor_invalid']);
  });

  test('an answer that was asked for before a denial does not bring the token back', async () => {
    const record = await plain.mandate();
    const token = newToken();
    const [came, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    replies.set(token, async (response, posted) => {
      came.resolve();
      await after(released.promise, goodPlain(record))(response, posted);
    });
    const slow = askEnvoyDoor(plain.check_port, token);
    await came.promise;
    replies.set(token, says({ active: false }));
    expectDenied(await askEnvoyDoor(plain.check_port, token, PUSH), 'unusable');
    released.resolve();
    await slow;
    expectDenied(await askEnvoyDoor(plain.check_port, token), 'unusable');
  });
});

function bare(record: JsonObject): Reply {
  return says(claims(record, { iss: undefined, exp: undefined, iat: undefined }));
}

function withCharset(said: JsonObject): Reply {
  return sends(JSON.stringify(said), 'Application/JSON; charset=utf-8');
}

/** RFC 8725 section 3.1: the header is the attacker's, and so is an `alg` in it. */
async function keyed(record: JsonObject, secret: string, alg = 'HS256'): Promise<string> {
  const header = { alg, kid: 'k1', typ: 'token-introspection+jwt' };
  const payload = { iss: AS, aud: CLIENT_ID, token_introspection: claims(record) };
  return new SignJWT(payload).setIssuedAt().setProtectedHeader(header).sign(Buffer.from(secret));
}

const encoded = (value: Json): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function unsigned(record: JsonObject, signature: string): string {
  const header = { alg: 'none', typ: 'token-introspection+jwt' };
  const payload = { iss: AS, aud: CLIENT_ID, iat: now_s(), token_introspection: claims(record) };
  return `${encoded(header)}.${encoded(payload)}.${signature}`;
}

/** Signed by the right key, and then changed. */
async function altered(record: JsonObject): Promise<string> {
  const [header, , signature] = (await answerOf({ active: false })).split('.');
  const payload = { iss: AS, aud: CLIENT_ID, iat: now_s(), token_introspection: claims(record) };
  return `${header!}.${encoded(payload)}.${signature!}`;
}

const later =
  (text: (record: JsonObject) => Promise<string>, type = TYPE) =>
  (record: JsonObject): Reply =>
  async (response, posted) =>
    sends(await text(record), type)(response, posted);

const another = createIssuer('ES256', 'k1');
const unknown = createIssuer('ES256', 'k2');
const wider = createIssuer('ES384', 'k1');

const by =
  (other: Promise<TestIssuer>, header: Replaced = {}) =>
  (record: JsonObject): Reply =>
  async (response, posted) =>
    signs(claims(record), {}, header, await other)(response, posted);

/** Also `active` in the wrong place only: the claims of a token stand in `token_introspection`. */
const flat = (record: JsonObject, nested: Json | undefined): Reply => {
  const { iss, ...own } = claims(record);
  return signs({}, { ...own, aud: CLIENT_ID, iss, token_introspection: nested });
};

const SIGNED: readonly (readonly [string, (record: JsonObject) => Reply])[] = [
  ['RFC 8725 section 3.1: alg none', (record) => sends(unsigned(record, ''), TYPE)],
  ['alg none, with a signature', (record) => sends(unsigned(record, 'AA'), TYPE)],
  ['HS256 with the public key', later((record) => keyed(record, JSON.stringify(issuer.jwks.keys)))],
  ['HS256 with the client secret', later((record) => keyed(record, SECRET))],
  ['an algorithm that is not configured', by(wider)],
  ['another key of the same name', by(another)],
  ['a key that is not published', by(unknown)],
  ['a key that is unnamed, and not published', by(another, { kid: undefined })],
  ['a payload that was changed', later(altered)],
  ['typ of an access token', (record) => signs(claims(record), {}, { typ: 'at+jwt' })],
  ['typ JWT', (record) => signs(claims(record), {}, { typ: 'JWT' })],
  ['no typ', (record) => signs(claims(record), {}, { typ: undefined })],
  ['iss of another', (record) => signs(claims(record), { iss: 'https://other.example' })],
  ['no iss', (record) => signs(claims(record), { iss: undefined })],
  ['aud of another client', (record) => signs(claims(record), { aud: 'another' })],
  ['aud of what the token is for', (record) => signs(claims(record), { aud: GIT })],
  ['no aud', (record) => signs(claims(record), { aud: undefined })],
  ['iat of two minutes ago', (record) => signs(claims(record), { iat: now_s() - 120 })],
  ['iat in the future', (record) => signs(claims(record), { iat: now_s() + 120 })],
  ['no iat', (record) => signs(claims(record), { iat: undefined })],
  ['iat a string', (record) => signs(claims(record), { iat: String(now_s()) })],
  ['exp in the past', (record) => signs(claims(record), { exp: now_s() - 60 })],
  ['nbf in the future', (record) => signs(claims(record), { nbf: now_s() + 60 })],
  ['no token_introspection', (record) => flat(record, undefined)],
  ['token_introspection null', (record) => flat(record, null)],
  ['token_introspection a list', (record) => signs([claims(record)])],
  ['token_introspection a string', (record) => signs(JSON.stringify(claims(record)))],
  ['`active` at the top level alone', (record) => flat(record, {})],
  ['`active` a string', (record) => signs(claims(record, { active: 'true' }))],
  ['plain JSON', goodPlain],
  ['plain JSON, called a JWT', (record) => sends(JSON.stringify(claims(record)), TYPE)],
  ['a JWT, called JSON', later((record) => answerOf(claims(record)), 'application/json')],
  ['a JWT of another media type', later((record) => answerOf(claims(record)), 'application/jwt')],
  ['an access token', later((record) => issuer.mint({ ...claims(record), aud: CLIENT_ID }))],
];

describe('RFC 9701: a signed answer that does not verify makes the token unverifiable', () => {
  test.each(SIGNED)('%s', async (_title, reply) => {
    await expectJudged({ sidecar: signing, reply, good: goodSigned, verdict: 'unverifiable' });
  });

  test('a signed answer is what is asked for, and a plain one where nothing else is said', async () => {
    const token = newToken();
    for (const each of [plain, signing]) await askEnvoyDoor(each.check_port, token);
    const asked = server.posted().filter(({ form }) => form.get('token') === token);
    expect(asked.map(({ path, headers }) => [path, headers.accept])).toEqual([
      ['/plain', 'application/json'],
      ['/signed', TYPE],
    ]);
  });
});

describe('RFC 9701: what a signed answer says may make the token unusable', () => {
  test.each<[string, (record: JsonObject) => Reply]>([
    ['not active', () => signs({ active: false })],
    ['`active` at the top level, and not inside', (record) => flat(record, { active: false })],
    ...CLAIMS.slice(1).map(([title, replaced]): [string, (record: JsonObject) => Reply] => [
      title,
      (record) => signs(claims(record, replaced)),
    ]),
  ])('%s', async (_title, reply) => {
    await expectJudged({ sidecar: signing, reply, good: goodSigned, verdict: 'unusable' });
  });
});

const pathsOf = (token: string): readonly string[] =>
  server.posted().flatMap(({ path, form }: Posted) => (form.get('token') === token ? [path] : []));

/** A mandate of alice as this issuer knows her. */
const mandateOf = (iss: string) => several.mandate(proposalBody({ subject: { iss, sub: 'alice' } }));

/** Only at one of the endpoints something is known of it. */
const onlyAt =
  (known: string, reply: Reply): Reply =>
  (response, posted) =>
    (posted.path === known ? reply : says({ active: false }))(response, posted);

describe('whom a token is shown to', () => {
  const use = async (token: string) => {
    const answered = await askEnvoyDoor(several.check_port, token);
    return [answered.status, pathsOf(token)] as const;
  };

  test('issuers are asked in the order of the configuration, until one knows it', async () => {
    const [first, second] = [newToken(), newToken()];
    replies.set(first, says(claims(await mandateOf(AS))));
    const said = claims(await mandateOf(SECOND), { iss: SECOND });
    replies.set(second, onlyAt('/second', says(said)));
    expect(await use(first)).toEqual([200, ['/first']]);
    expect(await use(second)).toEqual([200, ['/first', '/second']]);
  });

  test('what nobody knows all were asked about', async () => {
    const token = newToken();
    expect(await use(token)).toEqual([401, ['/first', '/second', '/alone']]);
  });

  test('one that is away may be the one that knows it: unverifiable', async () => {
    const token = newToken();
    replies.set(token, onlyAt('/first', says({}, 500)));
    expectDenied(await askEnvoyDoor(several.check_port, token), 'unverifiable');
  });

  test('one that is away does not stand in the way of another that knows it', async () => {
    const token = newToken();
    const known = says(claims(await mandateOf(SECOND), { iss: SECOND }));
    replies.set(token, (response, posted) =>
      (posted.path === '/second' ? known : says({}, 500))(response, posted),
    );
    expect(await use(token)).toEqual([200, ['/first', '/second']]);
  });

  test('nobody speaks for the token of another issuer', async () => {
    const token = newToken();
    replies.set(token, says(claims(await mandateOf(SECOND), { iss: SECOND })));
    expectDenied(await askEnvoyDoor(several.check_port, token), 'unusable');
  });

  test.each<[string, Replaced, Replaced]>([
    ['good', {}, {}],
    ['expired', { exp: 1 }, {}],
    ['of another audience', { aud: 'https://other.example' }, {}],
    ['of another type', {}, { typ: 'JWT' }],
    ['with an unknown key', {}, { kid: 'k9' }],
  ])(
    'RFC 9068: a JWT of an issuer whose keys are known is never introspected: %s',
    async (_t, more, header) => {
      const { id, issuer: iss, authority_hash } = await mandateOf(AS);
      const token = await several.issuer.mint(
        { mission: { id, issuer: iss, authority_hash }, ...more },
        header,
      );
      replies.set(token, says({ active: true }));
      const isGood = Object.keys({ ...more, ...header }).length === 0;
      expect(await use(token)).toEqual([isGood ? 200 : 401, []]);
    },
  );

  test('a JWT whose signature was changed is not introspected either', async () => {
    const token = `${(await issuer.mint()).slice(0, -8)}AAAAAAAA`;
    expect(await use(token)).toEqual([401, []]);
  });

  test('a JWT of an issuer that is introspected is shown to that issuer alone', async () => {
    const token = await issuer.mint({ iss: ALONE });
    replies.set(token, says(claims(await mandateOf(ALONE), { iss: ALONE })));
    expect(await use(token)).toEqual([200, ['/alone']]);
  });

  test('a JWT of an issuer that nobody has configured is introspected', async () => {
    const token = await issuer.mint({ iss: 'https://unknown.example' });
    expect(await use(token)).toEqual([401, ['/first', '/second', '/alone']]);
  });

  test('a token that cannot be one is shown to nobody', async () => {
    const before = server.posted().length;
    for (const token of ['x'.repeat(16_385), 'not one token', 'x"y'])
      expect((await askEnvoyDoor(several.check_port, token)).status).toBe(401);
    expect(server.posted()).toHaveLength(before);
  });
});

test('of 200 tokens at once no more than 64 are under way, and the others are unverifiable', async () => {
  const gate = Promise.withResolvers<void>();
  const tokens = Array.from({ length: 200 }, newToken);
  for (const token of tokens) replies.set(token, after(gate.promise, says({ active: false })));
  const answered: Answered[] = [];
  const asked = tokens.map(async (token) => answered.push(await askEnvoyDoor(plain.check_port, token)));
  const refused = () => answered.filter(({ body }) => String(body.detail).includes('too many'));
  // The surplus is refused while the others are still under way.
  await expect.poll(() => refused().length, { timeout: 10_000 }).toBe(200 - 64);
  for (const each of refused()) expectDenied(each, 'unverifiable');
  gate.resolve();
  await Promise.all(asked);
  expect(server.most_at_once()).toBeLessThanOrEqual(64);
  expect(tokens.filter((token) => server.asked(token) > 0).length).toBeLessThanOrEqual(64);
  const token = newToken();
  replies.set(token, goodPlain(await plain.mandate()));
  expect(outcome(await question(plain, { token }))).toBe('allow');
});

test('one good token that is shown 200 times at once is denied to nobody', async () => {
  const [record, token] = [await plain.mandate(), newToken()];
  replies.set(token, after(sleep(50), goodPlain(record)));
  const asked = Array.from({ length: 200 }, () => askEnvoyDoor(plain.check_port, token));
  const statuses = (await Promise.all(asked)).map(({ status }) => status);
  expect(new Set(statuses)).toEqual(new Set([200]));
});

const after =
  (held: Promise<unknown>, reply: Reply): Reply =>
  async (response, posted) => {
    await held;
    return reply(response, posted);
  };
