/** The listeners asked directly, no proxy between: the ext_authz door, its sockets, its shutdown, and the health. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { METHODS, request as requestPlain } from 'node:http';
import { type RequestOptions, request as requestTls } from 'node:https';
import { type Socket, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as later } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type JsonObject, isObject, member, parseJson } from '../../src/core/json.ts';
import { ask } from '../support/ask.ts';
import { type Certificate, certify } from '../support/certificate.ts';
import {
  AS,
  GIT,
  ROOT,
  type Sidecar,
  type SidecarOptions,
  proposalBody,
  startSidecar,
} from '../support/sidecar.ts';
import { type RawResponse, headerOf, rawRequest } from '../tools/raw.ts';

const APP = '/repos/example/app';
const CONTENTS = `${APP}/contents`;
const REFS = `${APP}/git/refs`;
const MEBIBYTE = 1024 * 1024;
/** Patient with a busy machine. */
const PATIENT = 'listen: "127.0.0.1:0", deadline_ms: 2000';

let sidecar: Sidecar;
let record: JsonObject;
let token: string;
/** Of a mandate that covers unmapped requests as well. */
let wide_token: string;

beforeAll(async () => {
  sidecar = await startSidecar({ check: `{ ${PATIENT} }` });
  record = await sidecar.mandate();
  token = await sidecar.tokenFor(record);
  wide_token = await sidecar.tokenFor(await wideMandate(sidecar));
});
afterAll(() => sidecar.discard());

/** A sidecar of one test alone, which ends with it. */
async function startOwn(options: SidecarOptions): Promise<Sidecar> {
  const own = await startSidecar(options);
  onTestFinished(() => own.discard());
  return own;
}

function wideMandate(at: Sidecar): Promise<JsonObject> {
  const resource = `${GIT}${APP}`;
  const actions = ['repo.*', 'http.*'];
  const entry = { type: 'mission_resource_access', resource, resource_match: 'prefix', actions };
  return at.mandate(proposalBody({ authorization_details: [entry] }));
}

interface Sending {
  readonly method?: string;
  readonly host?: string;
  /** The whole target, the door's prefix included; one byte per character. */
  readonly target?: string;
  /** Undefined: none. */
  readonly bearer?: string | undefined;
  readonly lines?: readonly string[];
  readonly body?: string;
}

function message(sending: Sending): Buffer {
  const { method = 'GET', target = `/envoy${CONTENTS}`, host = 'git.example' } = sending;
  const { bearer, lines = [], body } = sending;
  const head = [
    `${method} ${target} HTTP/1.1`,
    `Host: ${host}`,
    ...(bearer === undefined ? [] : [`Authorization: Bearer ${bearer}`]),
    ...lines,
    ...(body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body ?? ''}`, 'latin1');
}

interface Outcome extends RawResponse {
  readonly problem: JsonObject;
  readonly decisions: readonly JsonObject[];
}

async function exchange(sending: Sending, at: Sidecar = sidecar): Promise<Outcome> {
  const before = at.decisions().length;
  const response = await rawRequest(at.check_port, message(sending));
  return { ...response, problem: jsonOf(response.body), decisions: at.decisions().slice(before) };
}

function jsonOf(text: string): JsonObject {
  const parsed = parseJson(text);
  return parsed.ok && isObject(parsed.value) ? parsed.value : {};
}

/** Status, reason and the three verdicts of the one decision that an exchange made. */
function summary({ status, decisions }: Outcome): readonly unknown[] {
  const verdicts = decisions.flatMap((decision) => [
    decision.reason,
    ...['credential', 'mandate', 'request'].map((part) => member(decision[part], 'verdict')),
  ]);
  return [status, ...verdicts];
}

const ALLOWED = [200, undefined, 'usable', 'legitimate', 'permitted'];
const MALFORMED = [403, 'malformed_request', 'not_evaluated', 'not_evaluated', 'not_evaluated'];
const UNUSABLE = [401, 'credential_invalid', 'unusable', 'not_evaluated', 'not_evaluated'];
const ABSENT = [401, 'credential_invalid', 'not_presented', 'not_evaluated', 'not_evaluated'];
const FORBIDDEN = [403, 'resource_policy', 'usable', 'legitimate', 'forbidden'];
const VIOLATION = [403, 'parameter_violation', 'usable', 'illegitimate', 'not_evaluated'];

/** One connection, several exchanges. */
interface Conversation {
  readonly socket: Socket;
  /** The statuses of all whole answers so far, once there are `count`, or the connection has ended. */
  readonly statuses: (count: number) => Promise<readonly number[]>;
}

function converse(port: number): Conversation {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let received = '';
  let isOver = false;
  socket.setEncoding('latin1').on('data', (text: string) => (received += text));
  socket.on('end', () => (isOver = true)).on('close', () => (isOver = true));
  const statuses = async (count: number): Promise<readonly number[]> => {
    for (;;) {
      const found = statusesIn(received);
      if (found.length >= count || isOver) return found;
      await Promise.race([once(socket, 'data'), once(socket, 'end'), once(socket, 'close')]);
    }
  };
  return { socket, statuses };
}

const get = (bearer?: string): Buffer => message({ bearer });

/** Every answer of ours has a length. */
function statusesIn(text: string): readonly number[] {
  const statuses: number[] = [];
  for (let at = 0; ;) {
    const end = text.indexOf('\r\n\r\n', at);
    const head = text.slice(at, end);
    const next = end + 4 + Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
    if (end === -1 || text.length < next) return statuses;
    statuses.push(Number(head.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length)));
    at = next;
  }
}

describe('4 · every method must be answered, and never 5xx', () => {
  test.each(METHODS.filter((method) => method !== 'CONNECT'))('%s', async (method) => {
    expect(summary(await exchange({ method }))).toEqual(ABSENT);
    const outcome = await exchange({ method, bearer: wide_token });
    expect(summary(outcome)).toEqual(method === 'GET' || method === 'HEAD' ? ALLOWED : FORBIDDEN);
    const action = method === 'GET' ? 'repo.read' : `http.${method.toLowerCase()}`;
    expect(member(outcome.decisions[0]!.action, 'name')).toBe(action);
  });

  test('CONNECT, which Node hands over as a bare socket', async () => {
    const outcome = await exchange({ method: 'CONNECT', target: 'git.example:443', bearer: token });
    expect(summary(outcome)).toEqual(MALFORMED);
    expect(outcome.problem).toMatchObject({ ...outcome.decisions[0], status: 403 });
  });

  test.each(['FOO', 'get'])('%s is none to Node’s parser, whose refusal is a deny too', async (method) => {
    expect(await exchange({ method, bearer: token })).toMatchObject({ status: 400, decisions: [] });
  });

  test('OPTIONS *: the prefix and the original path, plainly joined, are still a question to the door', async () => {
    expect(summary(await exchange({ method: 'OPTIONS', target: '/envoy*', bearer: token }))).toEqual(
      MALFORMED,
    );
  });

  test.each(['/envoy', '/envoy?a=b', '/envoy//', '/envoy/../v1/check', '/envoy/%2e%2e/livez'])(
    'the target %s has no path that can be judged',
    async (target) => {
      expect(summary(await exchange({ target, bearer: token }))).toEqual(MALFORMED);
    },
  );

  test.each(['/', '/envoyx/repos', '/%65nvoy/healthz', '/ENVOY/healthz', '/livez', '/readyz', '/metrics'])(
    '%s is not the door: 404, and nothing is decided',
    async (target) => {
      const outcome = await exchange({ target, bearer: token });
      expect(outcome).toMatchObject({ status: 404, problem: { status: 404 }, decisions: [] });
      expect(headerOf(outcome, 'content-type')).toMatch(/^application\/problem\+json\b/);
    },
  );
});

describe('4 · maxHeaderSize is more than what Envoy passes on', () => {
  test.each([
    ['64 KiB in one header', [`X-Large: ${'x'.repeat(64 * 1024)}`]],
    ['64 KiB in a hundred headers', Array.from({ length: 100 }, (_, at) => `X-${at}: ${'x'.repeat(650)}`)],
  ])('%s', async (_, lines) => {
    expect(summary(await exchange({ bearer: token, lines }))).toEqual(ALLOWED);
  });

  test('a target of 60 KiB', async () => {
    const target = `/envoy${CONTENTS}/${'a%20/'.repeat(12 * 1024)}?${'q'.repeat(1024)}`;
    expect(summary(await exchange({ target, bearer: token }))).toEqual(ALLOWED);
  });

  test.each([
    ['200 KiB in one header', [`X-Large: ${'x'.repeat(200 * 1024)}`]],
    ['a credential behind thousands of headers', [...Array<string>(5000).fill('a: b'), 'Authorization: x y']],
  ])('%s: refused by the parser, never judged in part', async (_, lines) => {
    expect(await exchange({ bearer: token, lines })).toMatchObject({ status: 431, decisions: [] });
  });
});

const now_s = Math.floor(Date.now() / 1000);
const part = (text: string): string => Buffer.from(text).toString('base64url');

describe('7 · a credential that is not usable: 401, whatever is wrong with it', () => {
  const HEADER = part('{"alg":"ES256","typ":"at+jwt","kid":"k1"}');

  test.each([
    ['one part', 'abc'],
    ['two parts', 'a.b'],
    ['four parts', 'a.b.c.d'],
    ['five parts, as of a JWE', 'a.b.c.d.e'],
    ['empty parts', '..'],
    ['an empty payload', `${HEADER}..AAAA`],
    ['parts that are not base64url', 'a+b.c/d.e='],
    ['a header that is not JSON', `${part('{')}.${part('{}')}.AAAA`],
    ['a header that is a list', `${part('[]')}.${part('{}')}.AAAA`],
    ['a payload that is null', `${HEADER}.${part('null')}.AAAA`],
    ['an issuer that is no string', `${HEADER}.${part(`{"iss":["${AS}"]}`)}.AAAA`],
    ['an issuer twice', `${HEADER}.${part(`{"iss":"https://x.example","iss":"${AS}"}`)}.AAAA`],
    ['a payload nested too deep', `${HEADER}.${part(`{"a":${'['.repeat(99)}${']'.repeat(99)}}`)}.AAAA`],
    ['a number out of range', `${HEADER}.${part(`{"iss":"${AS}","exp":1e999}`)}.AAAA`],
    ['a lone surrogate', `${HEADER}.${part(`{"iss":"${AS}","sub":"\\ud800"}`)}.AAAA`],
    ['bytes that are not UTF-8', `${HEADER}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.AAAA`],
    ['a signature of one byte', `${HEADER}.${part(`{"iss":"${AS}"}`)}.AA`],
    ['17 KiB', `${HEADER}.${'A'.repeat(17 * 1024)}.AAAA`],
    ['characters no token has', 'a b'],
    ['bytes beyond ASCII', 'é.é.é'],
  ])('a token of %s', async (_, bearer) => {
    const outcome = await exchange({ bearer });
    expect(summary(outcome)).toEqual(UNUSABLE);
    expect(outcome.decisions[0]!.credential).toEqual({ verdict: 'unusable', reason: 'credential_invalid' });
  });

  test.each(['', 'Bearer', 'Bearer ', 'Basic YTpi', 'DPoP abc', 'Bearer: abc', '"Bearer abc"', 'Negotiate'])(
    '`Authorization: %s`',
    async (value) => {
      expect(summary(await exchange({ lines: [`Authorization: ${value}`] }))).toEqual(UNUSABLE);
    },
  );

  test.each([
    ['no subject', { sub: undefined }],
    ['an empty subject', { sub: '' }],
    ['a subject that is a number', { sub: 7 }],
    ['a subject that is too long', { sub: 's'.repeat(513) }],
    ['no client', { client_id: undefined }],
    ['a list of clients', { client_id: ['agent-1'] }],
    ['no id', { jti: undefined }],
    ['no end', { exp: undefined }],
    ['an end that is a string', { exp: String(now_s + 600) }],
    ['an end beyond RFC 3339', { exp: 1e15 }],
    ['an end in the past', { exp: now_s - 60 }],
    ['no beginning', { iat: undefined }],
    ['a beginning in the future', { iat: now_s + 600 }],
    ['a validity that begins in the future', { nbf: now_s + 600 }],
    ['a key that nobody proved to hold', { cnf: { jkt: 'x' } }],
    ['a certificate that nobody showed', { cnf: { 'x5t#S256': 'x' } }],
    ['an empty confirmation', { cnf: {} }],
    ['more than 16 KiB', { pad: 'x'.repeat(13 * 1024) }],
  ])('a well-signed token with %s', async (_, claims) => {
    const bearer = await sidecar.tokenFor(record, claims);
    expect(summary(await exchange({ bearer }))).toEqual(UNUSABLE);
  });

  test('a chain of actors that the mandate does not hand on to: 403 actor_invalid', async () => {
    const bearer = await sidecar.tokenFor(record, { act: { sub: 'agent-0' } });
    const expected = [403, 'actor_invalid', 'unusable', 'not_evaluated', 'not_evaluated'];
    expect(summary(await exchange({ bearer }))).toEqual(expected);
  });

  test.each([
    ['an id that is a number', { id: 7 }],
    ['no authority hash', { authority_hash: undefined }],
    ['an id that is too long', { id: 'm'.repeat(257) }],
  ])('a mission claim with %s: nothing usable names a mission', async (_, replaced) => {
    const { id, issuer, authority_hash } = record;
    const mission = { id, issuer, authority_hash, ...replaced };
    const bearer = await sidecar.issuer.mint({ mission });
    const missing = [403, 'mission_context_missing', 'usable', 'illegitimate', 'not_evaluated'];
    expect(summary(await exchange({ bearer }))).toEqual(missing);
    const lines = [`Mission-Reference: id="${String(id)}", issuer="${String(issuer)}"`];
    const conflict = [403, 'mission_reference_conflict', 'usable', 'illegitimate', 'not_evaluated'];
    expect(summary(await exchange({ bearer, lines }))).toEqual(conflict);
  });
});

async function digestOf(sending: Sending) {
  return (await exchange({ bearer: wide_token, ...sending })).decisions[0]!.parameter_digest;
}

describe('4, 8 · bodies', () => {
  const JSON_TYPE = 'Content-Type: application/json';
  const push = (replaced: Sending = {}): Sending => ({
    method: 'POST',
    target: `/envoy${REFS}`,
    bearer: token,
    lines: [JSON_TYPE],
    body: '{"ref":"refs/heads/release"}',
    ...replaced,
  });

  test('a whole one is judged, however it comes', async () => {
    expect(summary(await exchange(push()))).toEqual(ALLOWED);
    expect(summary(await exchange(push({ lines: [JSON_TYPE, 'Expect: 100-continue'] })))).toEqual(ALLOWED);
    const { body: _, ...rest } = push();
    const chunked = { ...rest, lines: [JSON_TYPE, 'Transfer-Encoding: chunked'] };
    const pieces = '5\r\n{"ref\r\n6\r\n":"x"}\r\n0\r\n\r\n';
    const response = await rawRequest(
      sidecar.check_port,
      Buffer.concat([message(chunked), Buffer.from(pieces)]),
    );
    expect(response.status).toBe(200);
  });

  test('one of just the limit is judged', async () => {
    expect(summary(await exchange(push({ body: '{"ref":"x"}'.padEnd(MEBIBYTE) })))).toEqual(ALLOWED);
  });

  test('one over the limit is refused, by its length or as it comes', async () => {
    const body = '{"ref":"x"}'.padEnd(MEBIBYTE + 1);
    expect(summary(await exchange(push({ body })))).toEqual(MALFORMED);
    const { body: _, ...rest } = push();
    const chunked = message({ ...rest, lines: [JSON_TYPE, 'Transfer-Encoding: chunked'] });
    const pieces = Buffer.from(`${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
    const response = await rawRequest(sidecar.check_port, Buffer.concat([chunked, pieces]));
    expect(response).toMatchObject({ status: 403 });
    expect(jsonOf(response.body)).toMatchObject({ reason: 'malformed_request' });
  });

  test('the bound holds for methods that seldom have one as well', async () => {
    const body = 'x'.repeat(MEBIBYTE + 1);
    expect(summary(await exchange({ bearer: token, body }))).toEqual(MALFORMED);
    expect(summary(await exchange({ bearer: token, body: 'x' }))).toEqual(ALLOWED);
  });

  test('4 · a list of forgeries too long to be removed is refused', async () => {
    const lines = (count: number) => Array.from({ length: count }, (_, index) => `X-Mandate-${index}: x`);
    expect(summary(await exchange({ bearer: token, lines: lines(64) }))).toEqual(ALLOWED);
    expect(summary(await exchange({ bearer: token, lines: lines(65) }))).toEqual(MALFORMED);
  });

  test.each(['Content-Length: 99', 'Transfer-Encoding: chunked'])(
    'one that was cut off (%s) is a 400 of the parser, and never an allow',
    async (framing) => {
      const own = await startOwn({ issuer: sidecar.issuer });
      const bearer = await own.tokenFor(await own.mandate());
      const { body: _, ...rest } = push({ bearer, lines: [JSON_TYPE, framing] });
      const { socket, statuses } = converse(own.check_port);
      socket.end(Buffer.concat([message(rest), Buffer.from('b\r\n{"ref":"x"}\r\n')]));
      expect(await statuses(1)).toEqual([400]);
      socket.destroy();
      expect(own.decisions().map(({ effect }) => effect)).not.toContain('allow');
    },
  );

  test.each(['true', 'TRUE', '1', ''])(
    'one that was not forwarded whole (`x-envoy-auth-partial-body: %s`) is a violation where it holds a parameter',
    async (value) => {
      const lines = [JSON_TYPE, `x-envoy-auth-partial-body: ${value}`];
      expect(summary(await exchange(push({ lines })))).toEqual(VIOLATION);
    },
  );

  test('2 · so is one whose digest is what an unmapped write is bound to', async () => {
    const lines = ['x-envoy-auth-partial-body: true'];
    const sending = { method: 'POST', bearer: wide_token, lines, body: 'the first piece' };
    expect(summary(await exchange(sending))).toEqual(VIOLATION);
  });

  test('2 · an unmapped write is bound to its method, its target with the query, and its body', async () => {
    const target = `/envoy${APP}/x?a=1`;
    const one = await digestOf({ method: 'POST', target, body: 'a' });
    expect(one).toMatch(/^sha-256:/);
    expect(await digestOf({ method: 'POST', target, body: 'a' })).toBe(one);
    const others = [
      await digestOf({ method: 'PUT', target, body: 'a' }),
      await digestOf({ method: 'POST', target, body: 'b' }),
      await digestOf({ method: 'POST', target: `${target}&b=2`, body: 'a' }),
    ];
    expect(new Set([one, ...others]).size).toBe(4);
  });

  test.each(['POST', 'DELETE', 'OPTIONS', 'QUERY', 'TRACE'])(
    '2 · the body of an unmapped %s is part of what is bound, or is not let in',
    async (method) => {
      const [one, other] = [await digestOf({ method, body: 'a' }), await digestOf({ method, body: 'b' })];
      if (one !== undefined) expect(one).not.toBe(other);
    },
  );
});

async function isReferenceRemoved(at: Sidecar, host: string): Promise<boolean> {
  const outcome = await exchange({ target: '/envoy/healthz', host }, at);
  expect(outcome.status).toBe(200);
  return (headerOf(outcome, 'x-envoy-auth-headers-to-remove') ?? '').split(',').includes('mission-reference');
}

test('2 · Mission-Reference is removed on an allow, unless the upstream is of our own domain', async () => {
  const own = await startOwn({ check: `{ ${PATIENT}, forward_reference: ["https://git.example"] }` });
  expect(await isReferenceRemoved(own, 'git.example')).toBe(false);
  expect(await isReferenceRemoved(own, 'GIT.example:443')).toBe(false);
  expect(await isReferenceRemoved(own, 'git.example:80')).toBe(true);
  expect(await isReferenceRemoved(own, 'git.example.evil.example')).toBe(true);
  expect(await isReferenceRemoved(sidecar, 'git.example')).toBe(true);
});

/** The members of RFC 9457 and the decision, as the log has it. */
const problemOf = (decision: JsonObject | undefined, reason: string, status: number) => ({
  ...decision,
  type: `urn:mandated:problem:${reason}`,
  title: expect.any(String) as string,
  status,
  detail: expect.any(String) as string,
});

describe('7 · a deny', () => {
  test.each([
    ['credential_invalid', 401, {}],
    ['out_of_authority', 403, { target: '/envoy/elsewhere' }],
    ['malformed_request', 403, { target: '/envoy//' }],
  ])('%s is problem+json with the decision, and is not to be stored', async (reason, status, sending) => {
    const bearer = status === 401 ? undefined : token;
    const outcome = await exchange({ ...sending, bearer });
    expect(outcome.problem).toEqual(problemOf(outcome.decisions[0], reason, status));
    expect(headerOf(outcome, 'content-type')).toMatch(/^application\/problem\+json\b/);
    expect(headerOf(outcome, 'cache-control')).toBe('no-store');
  });

  test.each<readonly [string, string | undefined, () => Sending]>([
    ['RFC 6750 section 3: nothing was presented', 'Bearer', () => ({})],
    [
      'RFC 6750 section 3.1: an unsupported method is no error of a token',
      'Bearer',
      () => ({ lines: ['Authorization: Basic YTpi'] }),
    ],
    ['RFC 6750 section 3.1: a bad token', 'Bearer error="invalid_token"', () => ({ bearer: 'a.b.c' })],
    [
      'outside the mandate',
      'Bearer error="insufficient_scope", mission_denial="insufficient_authority"',
      () => ({ bearer: token, target: '/envoy/elsewhere' }),
    ],
    ['malformed', undefined, () => ({ bearer: token, target: '/envoy//' })],
  ])('WWW-Authenticate, %s', async (_, challenge, sending) => {
    expect(headerOf(await exchange(sending()), 'www-authenticate')).toBe(challenge);
  });

  test('unknown and not yours are the same answer', async () => {
    const other = await sidecar.mandate(proposalBody({ client_id: 'agent-2' }));
    const { issuer, authority_hash } = other;
    const answers: JsonObject[] = [];
    for (const id of [other.id, 'msn_unknown']) {
      const bearer = await sidecar.issuer.mint({ mission: { id, issuer, authority_hash }, exp: now_s + 900 });
      const { problem, status } = await exchange({ bearer });
      expect(status).toBe(403);
      answers.push({ ...problem, decision_id: '', sequence: 0, evaluated_at: '' });
    }
    expect(answers[0]).toMatchObject({
      reason: 'mission_mismatch',
      mandate: { verdict: 'illegitimate', reason: 'mission_mismatch' },
      freshness: { source: 'none' },
      request: { verdict: 'not_evaluated' },
    });
    expect(answers[0]).toEqual(answers[1]);
  });
});

describe('7 · `deny_detail: reason` hides the decision from the answer, not from the log', () => {
  let terse: Sidecar;
  let revoked: JsonObject;
  const MEMBERS = ['decision_id', 'detail', 'next_action', 'reason', 'status', 'title', 'type'];

  beforeAll(async () => {
    terse = await startSidecar({ check: `{ ${PATIENT}, deny_detail: reason }` });
    revoked = await terse.mandate();
    await terse.control('POST', `/v1/mandates/${String(revoked.id)}/revoke`, {
      reason: 'of no concern to agents',
    });
  });
  afterAll(() => terse.discard());

  test.each<readonly [string, string, Sending]>([
    ['a read', 'mission_inactive', {}],
    ['a push', 'mission_inactive', { method: 'POST', target: `/envoy${REFS}`, body: '{}' }],
    ['an ambiguous path', 'malformed_request', { target: '/envoy//' }],
    ['a CONNECT', 'malformed_request', { method: 'CONNECT', target: 'git.example:443' }],
    ['a body over the limit', 'malformed_request', { method: 'POST', body: 'x'.repeat(MEBIBYTE + 1) }],
  ])('%s', async (_, reason, sending) => {
    const bearer = await terse.tokenFor(revoked);
    const { problem, body, decisions } = await exchange({ bearer, ...sending }, terse);
    expect(Object.keys(problem).toSorted()).toEqual(MEMBERS);
    const { decision_id, next_action } = decisions[0]!;
    expect(problem).toMatchObject({ decision_id, reason, next_action });
    expect(body).not.toMatch(/revoked|msn_|alice|agent-1|example|of no concern/);
  });

  test('the log keeps all of it', async () => {
    const bearer = await terse.tokenFor(revoked);
    const { decisions } = await exchange({ bearer }, terse);
    expect(decisions[0]).toMatchObject({
      credential: { verdict: 'usable', subject: 'alice', client_id: 'agent-1' },
      mandate: { verdict: 'illegitimate', id: revoked.id, state: 'revoked', lineage: [revoked.id] },
      request: { verdict: 'permitted', engines: { cedar: { decision: 'allow' } } },
      resource: `${GIT}${APP}`,
      freshness: { source: 'embedded' },
      stop: { revoke_tokens: true },
    });
  });
});

describe('8 · duplicate security headers: 403 malformed_request', () => {
  test.each([
    ['Authorization', ['Authorization: Bearer $TOKEN', 'Authorization: Bearer $TOKEN']],
    ['Authorization, one of them in capitals', ['Authorization: Bearer $TOKEN', 'AUTHORIZATION: Basic YTpi']],
    ['Authorization, the first empty', ['Authorization:', 'Authorization: Bearer $TOKEN']],
    ['Authorization, joined', ['Authorization: Bearer $TOKEN, Bearer $TOKEN']],
    ['Host', ['Authorization: Bearer $TOKEN', 'Host: git.example']],
    ['Host, the second elsewhere', ['Authorization: Bearer $TOKEN', 'HOST: evil.example']],
  ])('%s', async (_, lines) => {
    const written = lines.map((line) => line.replaceAll('$TOKEN', token));
    expect(summary(await exchange({ lines: written }))).toEqual(MALFORMED);
  });

  test('Mission-Reference: no usable reference, or a conflict beside a claim', async () => {
    const { id, issuer } = record;
    const line = `Mission-Reference: id="${String(id)}", issuer="${String(issuer)}"`;
    const unnamed = await sidecar.issuer.mint();
    expect(summary(await exchange({ bearer: unnamed, lines: [line] }))).toEqual(ALLOWED);
    const twice = [line, line];
    const rest = ['usable', 'illegitimate', 'not_evaluated'];
    const missing = [403, 'mission_context_missing', ...rest];
    expect(summary(await exchange({ bearer: unnamed, lines: twice }))).toEqual(missing);
    const conflict = [403, 'mission_reference_conflict', ...rest];
    expect(summary(await exchange({ bearer: token, lines: twice }))).toEqual(conflict);
  });
});

describe('4 · connections', () => {
  test('are kept for longer than Envoy’s hour, over denies and allows', async () => {
    const { socket, statuses } = converse(sidecar.check_port);
    const expected: number[] = [];
    for (const [bearer, status] of [
      [token, 200],
      [undefined, 401],
      ['a.b.c', 401],
      [token, 200],
    ] as const) {
      socket.write(get(bearer));
      expected.push(status);
      expect(await statuses(expected.length)).toEqual(expected);
    }
    socket.destroy();
    const kept = headerOf(await exchange({ bearer: token }), 'keep-alive');
    expect(Number(/timeout=(\d+)/.exec(kept ?? '')?.[1])).toBeGreaterThan(3600);
  });

  test('answer what is pipelined in its order, a token that must be verified first', async () => {
    const { socket, statuses } = converse(sidecar.check_port);
    socket.write(Buffer.concat([get(await sidecar.tokenFor(record)), get(), get(token), get('a.b.c')]));
    expect(await statuses(4)).toEqual([200, 401, 200, 401]);
    socket.destroy();
  });

  test('answer a CONNECT behind the requests before it', async () => {
    const { socket, statuses } = converse(sidecar.check_port);
    const behind = message({ method: 'CONNECT', target: 'git.example:443' });
    socket.write(Buffer.concat([get(await sidecar.tokenFor(record)), behind]));
    expect(await statuses(2)).toEqual([200, 403]);
    socket.destroy();
  });

  test('a client that goes away in between harms nobody', async () => {
    const { socket } = converse(sidecar.check_port);
    socket.write(get(await sidecar.tokenFor(record)));
    socket.resetAndDestroy();
    const { status } = await rawRequest(sidecar.check_port, get(token));
    expect(status).toBe(200);
  });
});

describe('7 · the check listener on a unix socket', () => {
  test('answers there, for its group alone, and takes the place of a socket that nobody answers on', async () => {
    const check = '{ listen: "unix:check.sock", shutdown_grace_ms: 0 }';
    const first = await startOwn({ check });
    const path = join(first.folder, 'check.sock');
    expect(statSync(path).mode & 0o777).toBe(0o660);
    expect(await statusOver(requestPlain, { socketPath: path })).toBe(401);
    await first.stop('SIGKILL');
    expect(existsSync(path)).toBe(true);
    const second = await startOwn({ check, folder: first.folder, issuer: first.issuer });
    const bearer = await second.tokenFor(await second.mandate());
    expect(await statusOver(requestPlain, { socketPath: path }, bearer)).toBe(200);
    expect(await second.stop('SIGTERM')).toBe(0);
  });

  test('is not taken from somebody who answers on it', async () => {
    const holder = await startOwn({ check: '{ listen: "unix:check.sock" }' });
    const socketPath = join(holder.folder, 'check.sock');
    const check = `{ listen: ${JSON.stringify(`unix:${socketPath}`)} }`;
    await expect(startSidecar({ check })).rejects.toThrow(/ended with 2.*cannot be listened on/s);
    expect(await statusOver(requestPlain, { socketPath })).toBe(401);
  });
});

/** Status of one check over whatever the options lead to. */
function statusOver(
  request: typeof requestPlain | typeof requestTls,
  options: RequestOptions,
  bearer?: string,
): Promise<number> {
  const authorization = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
  const headers = { host: 'git.example', ...authorization };
  return new Promise((resolve, reject) => {
    const sent = request({ path: `/envoy${CONTENTS}`, agent: false, ...options, headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    });
    sent.on('error', reject).end();
  });
}

describe('7 · the check listener over TLS, with client certificates', () => {
  let folder: string;
  let secured: Sidecar;
  let server: Certificate;
  let client: Certificate;
  let stranger: Certificate;
  let tls: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mandated-tls-'));
    [server, client, stranger] = ['server', 'client', 'stranger'].map((name) => certify(folder, name)) as [
      Certificate,
      Certificate,
      Certificate,
    ];
    tls = `{ cert: "${server.cert_file}", key: "${server.key_file}", client_ca: "${client.cert_file}" }`;
    secured = await startSidecar({ check: `{ ${PATIENT}, tls: ${tls} }` });
  });
  afterAll(async () => {
    await secured.discard();
    rmSync(folder, { recursive: true, force: true });
  });

  const options = (own?: Certificate): RequestOptions => ({
    host: '127.0.0.1',
    port: secured.check_port,
    ca: server.cert,
    ...(own === undefined ? {} : { cert: own.cert, key: own.key }),
  });

  test('a client of that authority is answered', async () => {
    const bearer = await secured.tokenFor(await secured.mandate());
    expect(await statusOver(requestTls, options(client), bearer)).toBe(200);
    expect(await statusOver(requestTls, options(client))).toBe(401);
  });

  test('nobody else is: no certificate, another’s, or no TLS', async () => {
    const before = secured.decisions().length;
    await expect(statusOver(requestTls, options())).rejects.toThrow();
    await expect(statusOver(requestTls, options(stranger))).rejects.toThrow();
    await expect(statusOver(requestPlain, { host: '127.0.0.1', port: secured.check_port })).rejects.toThrow();
    expect(secured.decisions()).toHaveLength(before);
  });

  test('CONNECT is answered here as well', async () => {
    const answered = await new Promise<number | undefined>((resolve, reject) => {
      const connection = { ...options(client), agent: false, headers: { host: 'git.example' } } as const;
      requestTls({ ...connection, method: 'CONNECT', path: 'git.example:443' })
        .on('connect', (response, socket) => {
          socket.destroy();
          resolve(response.statusCode);
        })
        .on('error', reject)
        .end();
    });
    expect(answered).toBe(403);
  });

  test('4 · shutdown ends soon after the grace, also while a connection has not begun its handshake', async () => {
    const ending = await startOwn({ check: `{ ${PATIENT}, shutdown_grace_ms: 200, tls: ${tls} }` });
    const { socket } = converse(ending.check_port);
    await once(socket, 'connect');
    const bearer = await ending.tokenFor(await ending.mandate());
    const at = { ...options(client), port: ending.check_port };
    expect(await statusOver(requestTls, at, bearer)).toBe(200);
    expect(await Promise.race([ending.stop('SIGTERM'), later(5000, 'still running')])).toBe(0);
    socket.destroy();
  });
});

test.each(['0.0.0.0:0', '[::]:0', '192.0.2.1:0', 'mandated.example:0'])(
  '7 · plaintext is for loopback and unix sockets only: `listen: %s` does not start',
  (listen) => {
    const text = readFileSync(sidecar.config_file, 'utf8');
    const file = join(sidecar.folder, 'open.yaml');
    writeFileSync(file, text.replace('listen: "127.0.0.1:0"', `listen: "${listen}"`));
    const argv = [join(ROOT, 'src/mandated.mjs'), 'serve', '--config', file];
    const ran = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 10_000 });
    expect(ran).toMatchObject({ status: 2, stderr: expect.stringContaining('check.listen: plaintext') });
  },
);

describe('4 · shutdown', () => {
  const GRACE_MS = 1500;

  test('/readyz turns 503 at once, the door answers until the grace is over, and a second SIGTERM changes nothing', async () => {
    const ending = await startOwn({ check: `{ ${PATIENT}, shutdown_grace_ms: ${GRACE_MS} }` });
    const bearer = await ending.tokenFor(await ending.mandate());
    const allowed = () => rawRequest(ending.check_port, message({ bearer })).then(({ status }) => status);
    const before = converse(ending.check_port);
    before.socket.write(message({ bearer }));
    expect(await before.statuses(1)).toEqual([200]);

    const exited = ending.stop('SIGTERM');
    await said(ending, '"msg":"shutting down"');
    const begun = performance.now();
    const ready = await ask(ending.control_port, { path: '/readyz' });
    expect(ready).toMatchObject({ status: 503, body: { status: 'shutting_down' } });
    expect(await ask(ending.control_port, { path: '/livez' })).toMatchObject({ status: 200 });
    before.socket.write(message({ bearer }));
    expect(await before.statuses(2)).toEqual([200, 200]);

    ending.process.kill('SIGTERM');
    ending.process.kill('SIGINT');
    let last_ms = 0;
    for (let isUp = true; isUp;) {
      const status = await allowed().catch(() => undefined);
      isUp = status !== undefined;
      if (!isUp) break;
      expect(status).toBe(200);
      last_ms = performance.now() - begun;
    }
    expect(await exited).toBe(0);
    expect(last_ms).toBeGreaterThan(GRACE_MS - 300);
    expect(performance.now() - begun).toBeLessThan(GRACE_MS + 3000);
    expect(ending.stderr().split('"msg":"shutting down"')).toHaveLength(2);
    before.socket.destroy();
  });

  test('a SIGTERM as soon as it serves is one like any other', async () => {
    const check = '{ listen: "127.0.0.1:0", shutdown_grace_ms: 0 }';
    const endings = Array.from({ length: 4 }, async () => (await startOwn({ check })).stop('SIGTERM'));
    expect(await Promise.all(endings)).toEqual([0, 0, 0, 0]);
  });

  test.each<readonly [string, string]>([
    ['has sent nothing', ''],
    ['is in the middle of a head', 'GET /envoy/x HTTP/1.1\r\nHost:'],
    [
      'is in the middle of a body',
      'POST /envoy/x HTTP/1.1\r\nHost: git.example\r\nContent-Length: 9\r\n\r\nabc',
    ],
    ['was answered a CONNECT and stays', 'CONNECT git.example:443 HTTP/1.1\r\nHost: git.example\r\n\r\n'],
    ['is idle', 'GET /envoy/healthz HTTP/1.1\r\nHost: git.example\r\n\r\n'],
  ])('ends soon after the grace, also while a connection %s', async (_, text) => {
    const ending = await startOwn({ check: `{ ${PATIENT}, shutdown_grace_ms: 200 }` });
    const { socket } = converse(ending.check_port);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    await new Promise((written) => socket.write(text, written));
    expect(await ask(ending.control_port, { path: '/livez' })).toMatchObject({ status: 200 });
    const code = await Promise.race([ending.stop('SIGTERM'), later(5000, 'still running')]);
    expect(code).toBe(0);
    socket.destroy();
  });
});

/** Resolves when the operational log has said it. */
function said(at: Sidecar, text: string): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (at.stderr().includes(text)) resolve();
    };
    at.process.stderr?.on('data', look);
    look();
  });
}

describe('5 · a decision that cannot be recorded is not an allow', () => {
  test.skipIf(!existsSync('/dev/full'))(
    '403 internal_error, never 5xx, and nothing of it in the log',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'mandated-full-'));
      symlinkSync('/dev/full', join(folder, 'decisions.jsonl'));
      const full = await startOwn({ folder, check: `{ ${PATIENT} }` });
      const bearer = await full.tokenFor(await full.mandate());
      const response = await rawRequest(full.check_port, message({ bearer }));
      expect(response.status).toBe(403);
      expect(jsonOf(response.body)).toMatchObject({
        reason: 'internal_error',
        effect: 'deny',
        next_action: 'retry',
      });
      expect(headerOf(response, 'content-type')).toMatch(/^application\/problem\+json\b/);
      const refused = await rawRequest(
        full.check_port,
        message({ method: 'CONNECT', target: 'a:1', bearer }),
      );
      expect(refused.status).toBe(403);
      expect(full.stderr()).toContain('a decision could not be recorded');
      expect(full.stderr()).not.toContain(bearer);
      expect(full.stderr()).not.toContain(CONTENTS);
    },
  );
});

function metrics(): Promise<RawResponse> {
  return rawRequest(sidecar.control_port, 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n');
}

async function countOf(labels: string): Promise<number> {
  const { body } = await metrics();
  return Number(new RegExp(`^mandated_checks_total\\{${labels}\\} (\\d+)$`, 'm').exec(body)?.[1] ?? 0);
}

describe('7 · health', () => {
  test('/livez and /readyz say how the store is, and need no credential', async () => {
    expect(await ask(sidecar.control_port, { path: '/livez' })).toMatchObject({
      status: 200,
      body: { status: 'alive', store: 'ok' },
    });
    const ready = await ask(sidecar.control_port, { path: '/readyz' });
    expect(ready).toMatchObject({ status: 200, body: { status: 'ready', store: 'ok', details: [] } });
  });

  test('/metrics counts checks by effect, reason and class', async () => {
    expect(headerOf(await metrics(), 'content-type')).toMatch(/^text\/plain; version=/);
    for (const [labels, sending] of [
      ['effect="deny",reason="malformed_request",class="consequential_read"', { target: '/envoy//' }],
      ['effect="deny",reason="credential_invalid",class="irreversible_action"', { method: 'PUT' }],
      ['effect="allow",reason="none",class="consequential_read"', { bearer: token }],
    ] as const) {
      const before = await countOf(labels);
      await exchange(sending);
      expect(await countOf(labels)).toBe(before + 1);
    }
  });

  test('no token and no raw path stands in /metrics or in the operational log', async () => {
    const secret = 'do-not-tell-4711';
    const bearer = await sidecar.tokenFor(record, { jti: secret });
    const shown = { bearer, lines: [`X-Tenant: ${secret}`, `Mission-Reference: ${secret}`] };
    const targets = [`${CONTENTS}/${secret}`, `/${secret}`, `//${secret}`, `${CONTENTS}?q=${secret}`];
    for (const target of targets) await exchange({ ...shown, target: `/envoy${target}` });
    await exchange({ target: `/${secret}`, bearer });
    await exchange({ method: 'CONNECT', target: `${secret}:443`, bearer });
    await exchange({ method: 'POST', ...shown, body: secret.repeat(100_000) });
    await exchange({ method: 'POST', target: `/envoy${REFS}`, ...shown, body: secret });
    await rawRequest(sidecar.check_port, `GET /envoy/${secret} HTTP/9.9\r\n\r\n`);
    const { body } = await metrics();
    expect(body).toContain('mandated_checks_total{');
    for (const text of [body, sidecar.stderr()]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain(bearer.split('.')[2]);
      expect(text).not.toContain('/repos/');
      expect(text).not.toMatch(/msn_|alice|agent-1/);
    }
  });
});
