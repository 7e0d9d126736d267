/**
 * The attacks of design/4, each through a real Envoy that normalises nothing, in front of a real sidecar and of an
 * upstream that remembers what reached it. A group is a row of the table, or a paragraph; its name cites it.
 */
import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { type RequestListener, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CryptoKey, type JWK, SignJWT, exportJWK, exportSPKI, generateKeyPair, importJWK } from 'jose';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { type Json, type JsonObject, isObject, member, parseJson } from '../../src/core/json.ts';
import { start } from '../../src/main.ts';
import { ask, askEnvoyDoor } from '../support/ask.ts';
import { AS, GIT, ROOT, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';
import { type Envoy, startEnvoy } from '../tools/envoy.ts';
import { type RawResponse, headerOf, rawRequest } from '../tools/raw.ts';
import { type Upstream, startUpstream } from '../tools/upstream.ts';

const APP = '/repos/example/app';
const CONTENTS = `${APP}/contents`;
const TOOLS = `${APP}/tools`;
const MAX_BODY_BYTES = 4096;

/** What the sample policies know, with operations that read a query, a header and a body. */
const ACTIONS = `
operations:
  - match: { methods: [GET], path: /healthz }
    action: health.read
    class: non_consequential
  - match: { methods: [GET], host: git.example, path: '/repos/{owner}/{repo}/search' }
    action: repo.search
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
    parameters: { kind: 'query:kind', tenant: { from: 'header:x-tenant', optional: true } }
  - match: { methods: [GET], host: git.example, path: '/repos/{owner}/{repo}/**' }
    action: repo.read
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
  - match: { methods: [POST], host: git.example, path: '/repos/{owner}/{repo}/tools' }
    action: repo.push
    resource: https://git.example/repos/{owner}/{repo}
    class: irreversible_action
    parameters: { tool: 'body:/params/name', task: { from: 'body:/params/task', optional: true } }
  - match: { tool: payments.send }
    class: external_commitment
`;

const IDENTITY = ['decision', 'id', 'version', 'subject', 'actor', 'lineage', 'parent'];
const UNLISTED = ['x-mandate', 'x-mandate-foo', 'x_mandate_foo', 'x-mandate_foo'];
const FORGED_IDENTITY = IDENTITY.flatMap((name) => [
  `x-mandate-${name}: forged`,
  `X-Mandate-${name.toUpperCase()}: forged`,
  `x_mandate_${name}: forged`,
  `X-Mandate_${name}: forged`,
  `x_mandate-${name}: forged`,
]).concat(UNLISTED.map((name) => `${name}: forged`));

/** Headers by which a client was seen to name another target; every one of them is shown to the sidecar. */
const FORWARDED = [
  'x-forwarded-uri',
  'x-forwarded-path',
  'x-forwarded-prefix',
  'x-original-uri',
  'x-original-url',
  'x-rewrite-url',
  'x-envoy-original-path',
];
const FORWARDED_HOST = ['x-forwarded-host', 'x-original-host', 'x-envoy-original-host', 'x-host'];
const FORWARDED_METHOD = ['x-forwarded-method', 'x-original-method', 'x-http-method-override'];
const SHOWN = [
  'mission-reference',
  'content-type',
  'content-encoding',
  'connection',
  'user-agent',
  'x-forwarded-proto',
  'x-tenant',
  ...IDENTITY.map((name) => `x-mandate-${name}`),
  ...UNLISTED,
  ...FORWARDED,
  ...FORWARDED_HOST,
  ...FORWARDED_METHOD,
];

let sidecar: Sidecar;
let upstream: Upstream;
let envoy: Envoy;
let record: JsonObject;
let token: string;

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-attacks-'));
  const actions = join(folder, 'actions.yaml');
  writeFileSync(actions, ACTIONS);
  // Patient with a busy machine, and exact about the end of a token.
  const check = '{ listen: "127.0.0.1:0", deadline_ms: 1000 }';
  sidecar = await startSidecar({ folder, actions, check, extra: 'clock_tolerance_s: 0' });
  upstream = await startUpstream();
  envoy = await startEnvoy({
    authorizer_port: sidecar.check_port,
    upstream_port: upstream.port,
    allowed_headers: SHOWN,
    with_request_body: { max_request_bytes: MAX_BODY_BYTES },
    normalize: false,
    timeout_ms: 5000,
  });
  record = await sidecar.mandate();
  token = await sidecar.tokenFor(record);
});

afterAll(async () => {
  await envoy.stop();
  await upstream.stop();
  await sidecar.discard();
});

beforeEach(() => {
  upstream.requests.length = 0;
});

interface Sending {
  readonly method?: string;
  /** As it goes over the wire, one byte per character. */
  readonly target?: string;
  readonly host?: string;
  /** Undefined: the good token; null: no such header. */
  readonly authorization?: string | null;
  /** Further header lines; `$TOKEN` stands for the good token. */
  readonly lines?: readonly string[];
  readonly body?: string;
}

interface Outcome extends RawResponse {
  readonly problem: JsonObject;
  /** What the sidecar decided meanwhile. */
  readonly decisions: readonly JsonObject[];
  /** What reached the upstream meanwhile. */
  readonly reached: Upstream['requests'];
}

function message(sending: Sending, prefix: string): Buffer {
  const {
    method = 'GET',
    target = CONTENTS,
    host = 'git.example',
    authorization,
    lines = [],
    body,
  } = sending;
  const credential = authorization === undefined ? 'Bearer $TOKEN' : authorization;
  const head = [
    `${method} ${prefix}${target} HTTP/1.1`,
    `Host: ${host}`,
    ...(credential === null ? [] : [`Authorization: ${credential}`]),
    ...lines,
    ...(body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
  ];
  const text = head.join('\r\n').replaceAll('$TOKEN', token);
  return Buffer.concat([Buffer.from(`${text}\r\n\r\n`, 'latin1'), Buffer.from(body ?? '', 'utf8')]);
}

async function exchange(port: number, bytes: Buffer): Promise<Outcome> {
  const before = sidecar.decisions().length;
  const response = await rawRequest(port, bytes);
  const parsed = parseJson(response.body);
  return {
    ...response,
    problem: parsed.ok && isObject(parsed.value) ? parsed.value : {},
    decisions: sidecar.decisions().slice(before),
    reached: [...upstream.requests],
  };
}

const throughEnvoy = (sending: Sending): Promise<Outcome> => exchange(envoy.port, message(sending, ''));
const atDoor = (sending: Sending): Promise<Outcome> =>
  exchange(sidecar.check_port, message(sending, '/envoy'));

interface Denial {
  readonly status: 401 | 403;
  readonly reason: string;
  /** Of credential, mandate and request. */
  readonly verdicts: readonly [string, string, string];
}

const deny = (status: 401 | 403, reason: string, ...verdicts: [string, string, string]): Denial => ({
  status,
  reason,
  verdicts,
});
const MALFORMED = deny(403, 'malformed_request', 'not_evaluated', 'not_evaluated', 'not_evaluated');
const UNUSABLE = deny(401, 'credential_invalid', 'unusable', 'not_evaluated', 'not_evaluated');
const ABSENT = deny(401, 'credential_invalid', 'not_presented', 'not_evaluated', 'not_evaluated');
/** A read that the policy permits and the mandate does not cover. */
const UNCOVERED_READ = deny(403, 'out_of_authority', 'usable', 'illegitimate', 'permitted');
const UNCOVERED_WRITE = deny(403, 'out_of_authority', 'usable', 'illegitimate', 'forbidden');
const VIOLATION = deny(403, 'parameter_violation', 'usable', 'illegitimate', 'not_evaluated');

function expectDenied(outcome: Outcome, { status, reason, verdicts }: Denial): JsonObject {
  expect(outcome.reached).toEqual([]);
  expect({ status: outcome.status, reason: outcome.problem.reason }).toEqual({ status, reason });
  expect(outcome.decisions).toHaveLength(1);
  const decision = outcome.decisions[0]!;
  expect(outcome.problem).toMatchObject(decision);
  expect(decision.effect).toBe('deny');
  expect(verdictsOf(decision)).toEqual(verdicts);
  expect(headerOf(outcome, 'content-type')).toMatch(/^application\/problem\+json\b/);
  expect(headerOf(outcome, 'cache-control')).toBe('no-store');
  return decision;
}

function verdictsOf(decision: JsonObject): readonly (Json | undefined)[] {
  return ['credential', 'mandate', 'request'].map((part) => member(decision[part], 'verdict'));
}

/** Envoy itself refuses such bytes: nobody is asked, and nothing goes on. */
function expectNotCarried(outcome: Outcome, status: number): void {
  expect({ status: outcome.status, decisions: outcome.decisions, reached: outcome.reached }).toEqual({
    status,
    decisions: [],
    reached: [],
  });
}

interface Holder {
  readonly record: JsonObject | undefined;
  readonly subject?: string;
  readonly actor?: string;
}

/** Exactly our headers, each once, in place of whatever was forged. */
function expectAllowed(outcome: Outcome, sending: Sending, holder: Holder = agent1()): JsonObject {
  expect({ status: outcome.status, reason: outcome.problem.reason }).toEqual({ status: 200 });
  expect(outcome.decisions).toHaveLength(1);
  const decision = outcome.decisions[0]!;
  expect(decision.effect).toBe('allow');
  const { method = 'GET', target = CONTENTS, body = '' } = sending;
  expect(outcome.reached).toMatchObject([{ method, url: target, body }]);
  expect(ours(outcome.reached[0]!.headers)).toEqual(identity(decision, holder));
  return decision;
}

const agent1 = (): Holder => ({ record, subject: 'corp/alice', actor: 'corp/agent-1' });

function identity(decision: JsonObject, holder: Holder): readonly (readonly [string, unknown])[] {
  const { id, version } = holder.record ?? {};
  const named = [
    ['x-mandate-actor', holder.actor],
    ['x-mandate-decision', decision.decision_id],
    ['x-mandate-id', id],
    ['x-mandate-lineage', id],
    ['x-mandate-subject', holder.subject],
    ['x-mandate-version', version === undefined ? undefined : String(version)],
  ] as const;
  return named.filter(([, value]) => value !== undefined);
}

/** Whatever could be taken for our word, in any spelling; sorted, duplicates kept. */
function ours(headers: readonly [string, string][]): readonly [string, string][] {
  const named = /^(?:x[-_]mandate|mission[-_]reference|x-envoy-auth)/i;
  return headers.filter(([name]) => named.test(name)).toSorted(([a], [b]) => a.localeCompare(b));
}

describe('`//admin/x` loses its first segment when parsed as a URI (CVE-2026-26205)', () => {
  test.each([
    '//admin/secret',
    '//git.example/repos/example/app/contents',
    `/${CONTENTS}`,
    '///repos/example/app/contents',
    '/repos//example/app/contents',
    `${CONTENTS}//`,
    '//',
  ])('%s is refused', async (target) => {
    expectDenied(await throughEnvoy({ target }), MALFORMED);
  });

  test('a target in absolute form is judged by its own host, whatever the Host line says', async () => {
    const target = 'http://evil.example/repos/example/app/contents';
    const decision = expectDenied(await throughEnvoy({ target }), UNCOVERED_READ);
    expect(decision.resource).toBe('https://evil.example/repos/example/app/contents');
  });
});

describe('`?` or `#` encoded into the path, `..`, `%2e%2e`, `%2f`, `;`, `\\` (CVE-2026-32811, CVE-2026-33494, CVE-2021-32779, CVE-2021-29492)', () => {
  test.each([
    ['a dot segment', `${APP}/../../admin`],
    ['a dot segment at the end', `${APP}/..`],
    ['a single dot', `${APP}/./x`],
    ['a single dot at the end', `${APP}/.`],
    ['encoded dots', `${APP}/%2e%2e/%2E%2E/admin`],
    ['half encoded dots', `${APP}/.%2e/%2E./admin`],
    ['dots encoded twice', `${APP}/%252e%252e/admin`],
    ['dots encoded three times', `${APP}/%25252e./admin`],
    ['an escape of an escape of an escape of an escape', `${APP}/%2525252525252e`],
    ['an encoded slash', `${APP}/..%2fadmin`],
    ['an encoded slash in upper case', `${APP}%2Fadmin`],
    ['a slash encoded twice', `${APP}/a%252fb`],
    ['a backslash', `${APP}/..\\admin`],
    ['an encoded backslash', `${APP}/..%5cadmin`],
    ['a backslash encoded twice', `${APP}/..%255Cadmin`],
    ['a path parameter', `${APP}/contents;v=1/x`],
    ['a path parameter behind dots', `${APP}/..;/admin`],
    ['a session in the path', `${APP};jsessionid=1/contents`],
    ['a NUL escape', `${APP}/x%00.png`],
    ['a line break escape', `${APP}/x%0d%0aX-Mandate-Id:%20forged`],
    ['a tab escape', `${APP}/%09`],
    ['a DEL escape', `${APP}/%7f`],
    ['a control character beyond ASCII, U+0085', `${APP}/%c2%85`],
    ['a control character escaped twice', `${APP}/%2500`],
    ['an escape that is none', `${APP}/%zz`],
    ['an escape that ends early', `${APP}/%2`],
    ['a bare percent sign', `${APP}/100%`],
    ['a `%u` escape', `${APP}/%u002e%u002e/admin`],
    ['an overlong dot', `${APP}/%c0%ae%c0%ae/admin`],
    ['an overlong slash', `${APP}/..%c0%afadmin`],
    ['bytes that are not UTF-8', `${APP}/%ff%fe`],
    ['a surrogate in UTF-8', `${APP}/%ed%a0%80`],
  ])('%s is refused', async (_, target) => {
    expectDenied(await throughEnvoy({ target }), MALFORMED);
  });

  test.each([
    ['`%3F` and `%23` stay encoded', `${APP}/a%3fb%23c`],
    ['an escape of an unreserved character is that character', `/repos/ex%61mple/%61pp/contents`],
    ['text beyond ASCII', `${APP}/%C3%A9%E2%82%AC`],
    ['dots within a segment', `${APP}/...`],
    ['dots beside a name', `${APP}/..a/.b`],
  ])('%s: allowed, and the upstream gets it as it was written', async (_, target) => {
    const decision = expectAllowed(await throughEnvoy({ target }), { target });
    expect(decision.resource).toBe(`${GIT}${APP}`);
  });

  test('`%3F` and `%23` stay encoded in what is judged', async () => {
    const decision = expectDenied(await throughEnvoy({ target: '/other%3fadmin%23x' }), UNCOVERED_READ);
    expect(decision.resource).toBe(`${GIT}/other%3Fadmin%23x`);
  });

  test.each(['/healthz%3f', '/healthz%3F/../repos', '/healthz%23', '/HEALTHZ', '/healthz/', '/healthz/x'])(
    '%s is not the harmless `/healthz`',
    async (target) => {
      const outcome = await throughEnvoy({ target, authorization: null });
      expectDenied(outcome, target.includes('..') ? MALFORMED : ABSENT);
    },
  );

  test.each([
    `${CONTENTS}?next=/../..//admin%2f;a\\b&c=%zz`,
    `${CONTENTS}?`,
    `${CONTENTS}??a=%00`,
    `${CONTENTS}?redirect=//evil.example/%2e%2e`,
  ])('the query of %s is never judged, and is kept raw', async (target) => {
    expectAllowed(await throughEnvoy({ target }), { target });
  });

  test('`#`: Envoy does not carry it, and the door refuses it', async () => {
    const target = `${CONTENTS}#x`;
    expectNotCarried(await throughEnvoy({ target }), 400);
    expectDenied(await atDoor({ target }), MALFORMED);
  });

  test.each([
    ['a space', `${APP}/a b`],
    ['a control character', `${APP}/\u0001`],
    ['a tab', `${APP}/a\tb`],
    ['DEL', `${APP}/\u007f`],
    ['a byte beyond ASCII', `${APP}/\u00e9`],
  ])('a target with %s: neither Envoy nor Node’s parser takes it for a request', async (_, target) => {
    expectNotCarried(await throughEnvoy({ target }), 400);
    expectNotCarried(await atDoor({ target }), 400);
  });

  test('a target without a slash at its beginning is not carried by Envoy', async () => {
    expectNotCarried(await throughEnvoy({ target: 'repos/example/app' }), 400);
  });
});

describe('client-sent `X-Forwarded-Uri`, `x-envoy-original-path` choose the evaluated path (CVE-2026-40575, CVE-2023-27487)', () => {
  test.each(FORWARDED)('%s neither opens another path nor closes this one', async (name) => {
    const outside = { target: '/admin/secret', lines: [`${name}: ${CONTENTS}`] };
    const decision = expectDenied(await throughEnvoy(outside), UNCOVERED_READ);
    expect(decision.resource).toBe(`${GIT}/admin/secret`);
    const inside = { lines: [`${name}: /admin/secret`] };
    expectAllowed(await throughEnvoy(inside), inside);
  });

  test.each(FORWARDED)('%s does not make a path harmless', async (name) => {
    expectDenied(await throughEnvoy({ authorization: null, lines: [`${name}: /healthz`] }), ABSENT);
  });

  test.each(FORWARDED_HOST)('%s does not choose the host', async (name) => {
    const outside = { host: 'evil.example', lines: [`${name}: git.example`] };
    const decision = expectDenied(await throughEnvoy(outside), UNCOVERED_READ);
    expect(decision.resource).toBe(`https://evil.example${CONTENTS}`);
  });

  test.each(FORWARDED_METHOD)('%s does not choose the method', async (name) => {
    const outside = { method: 'DELETE', lines: [`${name}: GET`] };
    const decision = expectDenied(await throughEnvoy(outside), UNCOVERED_WRITE);
    expect(decision.action).toEqual({
      name: 'http.delete',
      class: 'irreversible_action',
      class_source: 'unmapped',
    });
  });

  test('`X-Forwarded-Proto` does not choose the scheme', async () => {
    const sending = { lines: ['X-Forwarded-Proto: http'] };
    const decision = expectAllowed(await throughEnvoy(sending), sending);
    expect(decision.resource).toBe(`${GIT}${APP}`);
  });
});

describe('an identity header from the client survives an allow (CVE-2026-30851), `X_Forwarded_User` underscore aliases (CVE-2026-39858)', () => {
  test.each(FORGED_IDENTITY)('%s', async (line) => {
    const sending = { lines: [line] };
    expectAllowed(await throughEnvoy(sending), sending);
  });

  test('all of them at once, each twice, one behind the other', async () => {
    const sending = { lines: [...FORGED_IDENTITY, ...FORGED_IDENTITY] };
    expectAllowed(await throughEnvoy(sending), sending);
  });

  test('without a mandate and a credential nothing but the decision is said of the caller', async () => {
    const sending = { target: '/healthz', authorization: null, lines: FORGED_IDENTITY };
    const decision = expectAllowed(await throughEnvoy(sending), sending, { record: undefined });
    expect(verdictsOf(decision)).toEqual(['not_presented', 'not_required', 'permitted']);
  });

  test('a subject that would begin another header line is percent-encoded', async () => {
    const sub = 'alice\r\nx-mandate-id: forged, é %2C';
    const sending = {
      target: '/healthz',
      authorization: `Bearer ${await sidecar.issuer.mint({ sub })}`,
    };
    expectAllowed(await throughEnvoy(sending), sending, {
      record: undefined,
      subject: 'corp/alice%0D%0Ax-mandate-id:%20forged,%20%C3%A9%20%252C',
      actor: 'corp/agent-1',
    });
  });

  test('every name of the set is emitted or listed for removal on every 200, and every alias listed', async () => {
    for (const sending of [{}, { target: '/healthz' }, { target: '/healthz', authorization: null }]) {
      const outcome = await atDoor(sending);
      expect({ status: outcome.status, body: outcome.body }).toEqual({ status: 200, body: '' });
      const emitted = ours(outcome.headers).map(([name]) => name);
      const listed = (headerOf(outcome, 'x-envoy-auth-headers-to-remove') ?? '').split(',');
      const names = IDENTITY.map((name) => `x-mandate-${name}`);
      const aliases = IDENTITY.flatMap((name) => [
        `x_mandate_${name}`,
        `x_mandate-${name}`,
        `x-mandate_${name}`,
      ]);
      expect([...emitted, ...listed]).toEqual(expect.arrayContaining([...names, ...aliases]));
      expect(emitted.filter((name) => listed.includes(name))).toEqual([]);
    }
  });
});

describe('`Connection: x-mandate-id` strips our injected headers (CVE-2026-29054)', () => {
  test.each(['x-mandate-id', 'keep-alive, X-Mandate-Subject', 'close, x-mandate-version,x-mandate-actor'])(
    'through Envoy, `Connection: %s` strips nothing',
    async (value) => {
      const sending = { lines: [`Connection: ${value}`] };
      const outcome = await throughEnvoy(sending);
      expectAllowed(outcome, sending);
      expect(outcome.reached[0]!.headers.filter(([name]) => name.toLowerCase() === 'connection')).toEqual([]);
    },
  );

  test('through Envoy, `Connection: authorization` takes the credential from the check and the upstream', async () => {
    expectDenied(await throughEnvoy({ lines: ['Connection: authorization'] }), ABSENT);
  });

  test('Envoy does not carry an upgrade, which would keep the client’s Connection line', async () => {
    const lines = ['Connection: upgrade, x-mandate-id', 'Upgrade: websocket'];
    expectNotCarried(await throughEnvoy({ lines }), 403);
  });

  test.each([
    'x-mandate-id',
    'X-MANDATE-SUBJECT',
    'keep-alive,x-mandate-lineage',
    'upgrade, x_mandate_id',
    'close,\tmission-reference',
    'authorization',
    'x-tenant',
  ])('the door refuses `Connection: %s`', async (value) => {
    expectDenied(await atDoor({ lines: [`Connection: ${value}`] }), MALFORMED);
  });

  test('the door refuses one that stands in a second line', async () => {
    const lines = ['Connection: keep-alive', 'Connection: x-mandate-id'];
    expectDenied(await atDoor({ lines }), MALFORMED);
  });

  test('the door takes `Connection: keep-alive, upgrade` for what it is', async () => {
    const outcome = await atDoor({ lines: ['Connection: keep-alive, upgrade', 'Upgrade: websocket'] });
    expect(outcome.status).toBe(200);
  });
});

describe('only the first or last of duplicate headers is judged; comma-joined values defeat exact match (CVE-2021-32777, CVE-2026-26308)', () => {
  test.each([
    ['the same token twice', 'Bearer $TOKEN', 'Bearer $TOKEN'],
    ['a good one first', 'Bearer $TOKEN', 'Bearer other'],
    ['a good one last', 'Bearer other', 'Bearer $TOKEN'],
    ['another scheme last', 'Bearer $TOKEN', 'Basic YTpi'],
    ['another scheme first', 'Basic YTpi', 'Bearer $TOKEN'],
    ['DPoP first', 'DPoP $TOKEN', 'Bearer $TOKEN'],
  ])('two Authorization lines, %s: refused, joined by Envoy or not', async (_, first, second) => {
    const sending = { authorization: first, lines: [`Authorization: ${second}`] };
    expectDenied(await atDoor(sending), MALFORMED);
    expectDenied(await throughEnvoy(sending), MALFORMED);
  });

  test('two credentials joined by the client itself', async () => {
    expectDenied(await throughEnvoy({ authorization: 'Bearer $TOKEN, Bearer $TOKEN' }), MALFORMED);
  });

  test.each(['git.example', 'evil.example'])(
    'two Host lines, the second %s (they arrive as `Host: a,b`)',
    async (second) => {
      const sending = { lines: [`Host: ${second}`] };
      expectDenied(await throughEnvoy(sending), MALFORMED);
      expectDenied(await atDoor(sending), MALFORMED);
    },
  );

  test('two Mission-Reference lines: no usable reference, or a conflict beside a claim', async () => {
    const { id, issuer } = record;
    const reference = `Mission-Reference: id="${String(id)}", issuer="${String(issuer)}"`;
    const unnamed = { authorization: `Bearer ${await sidecar.issuer.mint()}`, lines: [reference] };
    expectAllowed(await throughEnvoy(unnamed), unnamed);
    upstream.requests.length = 0;
    const twice = { ...unnamed, lines: [reference, reference] };
    const missing = deny(403, 'mission_context_missing', 'usable', 'illegitimate', 'not_evaluated');
    expectDenied(await throughEnvoy(twice), missing);
    expectDenied(await atDoor(twice), missing);
    const conflict = deny(403, 'mission_reference_conflict', 'usable', 'illegitimate', 'not_evaluated');
    expectDenied(await throughEnvoy({ lines: [reference, reference] }), conflict);
  });

  test.each([
    ['?kind=code&kind=admin', []],
    ['?kind=code&k%69nd=admin', []],
    ['?kind=code&kind', []],
    ['?kind=code', ['X-Tenant: acme', 'X-Tenant: other']],
    ['?kind=code', ['X-Tenant: acme', 'x-tenant: acme']],
    ['?kind=code', ['X-Tenant: acme,other']],
  ])('a mapped parameter that occurs twice: %s %j', async (query, lines) => {
    const sending = { target: `${APP}/search${query}`, lines };
    expectDenied(await throughEnvoy(sending), MALFORMED);
    expectDenied(await atDoor(sending), MALFORMED);
  });

  test('a mapped parameter is required unless optional', async () => {
    expectDenied(
      await throughEnvoy({ target: `${APP}/search?Kind=code`, lines: ['X-Tenant: a'] }),
      VIOLATION,
    );
    const sending = { target: `${APP}/search?kind=code&KIND=b&kind%5B%5D=c` };
    expectAllowed(await throughEnvoy(sending), sending);
  });
});

describe('health-check User-Agent bypass (CVE-2026-34457)', () => {
  test.each(['kube-probe/1.30', 'GoogleHC/1.0', 'ELB-HealthChecker/2.0', 'Envoy/HC', 'Consul Health Check'])(
    '%s needs a credential like anybody',
    async (agent) => {
      const lines = [`User-Agent: ${agent}`];
      expectDenied(await throughEnvoy({ authorization: null, lines }), ABSENT);
    },
  );

  test('a token in the query or in the body is no credential', async () => {
    const target = `${CONTENTS}?access_token=${token}`;
    expectDenied(await throughEnvoy({ target, authorization: null }), ABSENT);
    const posted = {
      method: 'POST',
      target: TOOLS,
      body: `access_token=${token}`,
      lines: ['Content-Type: application/x-www-form-urlencoded'],
    };
    expectDenied(await throughEnvoy({ ...posted, authorization: null }), ABSENT);
  });
});

describe('cache keys that collide or omit context (CVE-2026-33496, CVE-2026-41131, CVE-2026-48096)', () => {
  test('a token that was accepted here is judged anew for another host, path and method', async () => {
    expectAllowed(await throughEnvoy({}), {});
    upstream.requests.length = 0;
    expectDenied(await throughEnvoy({ host: 'evil.example' }), UNCOVERED_READ);
    expectDenied(await throughEnvoy({ target: '/repos/example/other/contents' }), UNCOVERED_READ);
    expectDenied(await throughEnvoy({ method: 'DELETE' }), UNCOVERED_WRITE);
  });

  test('a good token’s claims under another signature, kept apart from the good one', async () => {
    const [header, payload, signature = ''] = token.split('.');
    const forged = `${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`;
    expectAllowed(await throughEnvoy({}), {});
    upstream.requests.length = 0;
    const outcome = await throughEnvoy({ authorization: `Bearer ${header}.${payload}.${forged}` });
    expectDenied(outcome, UNUSABLE);
    expectAllowed(await throughEnvoy({}), {});
  });

  test('two agents in turn on one connection pool: each is named as itself', async () => {
    const bob = { iss: AS, sub: 'bob' };
    const other = await sidecar.mandate(proposalBody({ subject: bob, client_id: 'agent-2' }));
    const others = await sidecar.tokenFor(other, { sub: 'bob', client_id: 'agent-2' });
    const holder = { record: other, subject: 'corp/bob', actor: 'corp/agent-2' };
    for (let turn = 0; turn < 3; turn += 1) {
      upstream.requests.length = 0;
      expectAllowed(await throughEnvoy({}), {});
      upstream.requests.length = 0;
      expectAllowed(await throughEnvoy({ authorization: `Bearer ${others}` }), {}, holder);
    }
  });

  test('one token, another Mission-Reference: the reference is part of the question', async () => {
    const other = await sidecar.mandate(proposalBody({ client_id: 'agent-3' }));
    const authorization = `Bearer ${await sidecar.issuer.mint()}`;
    const naming = ({ id, issuer }: JsonObject): Sending => ({
      authorization,
      lines: [`Mission-Reference: id="${String(id)}", issuer="${String(issuer)}"`],
    });
    const mismatch = deny(403, 'mission_mismatch', 'usable', 'illegitimate', 'not_evaluated');
    for (let turn = 0; turn < 2; turn += 1) {
      upstream.requests.length = 0;
      expectAllowed(await throughEnvoy(naming(record)), {});
      upstream.requests.length = 0;
      const decision = expectDenied(await throughEnvoy(naming(other)), mismatch);
      expect(decision.mandate).toEqual({ verdict: 'illegitimate', reason: 'mission_mismatch' });
      expectDenied(await throughEnvoy({ authorization }), {
        ...mismatch,
        reason: 'mission_context_missing',
      });
    }
  });

  test('a token that was accepted does not outlive its end', async () => {
    const exp = Math.floor(Date.now() / 1000) + 2;
    const sending = { authorization: `Bearer ${await sidecar.tokenFor(record, { exp })}` };
    expectAllowed(await throughEnvoy(sending), sending);
    await vi.waitUntil(() => Date.now() >= exp * 1000, { timeout: 3000, interval: 20 });
    upstream.requests.length = 0;
    expectDenied(await throughEnvoy(sending), UNUSABLE);
  });

  test('a token that was accepted does not outlive its mission', async () => {
    const ended = await sidecar.mandate();
    const sending = { authorization: `Bearer ${await sidecar.tokenFor(ended)}` };
    expectAllowed(await throughEnvoy(sending), sending, { ...agent1(), record: ended });
    await sidecar.control('POST', `/v1/mandates/${String(ended.id)}/revoke`, {});
    upstream.requests.length = 0;
    const decision = expectDenied(
      await throughEnvoy(sending),
      deny(403, 'mission_inactive', 'usable', 'illegitimate', 'permitted'),
    );
    expect(decision.mandate).toMatchObject({ state: 'revoked', reason: 'mission_inactive' });
    expect(decision.next_action).toBe('stop');
  });
});

interface Forge {
  /** Claims of a token that would be allowed. */
  readonly claims: Record<string, unknown>;
  /** The issuer's public key, as it publishes it, and that as a PEM. */
  readonly published: JWK;
  readonly pem: string;
  readonly attacker: { readonly privateKey: CryptoKey; readonly jwk: JWK };
  /** Where the attacker publishes its own key. */
  readonly url: string;
}

const HEADER = { alg: 'ES256', typ: 'at+jwt', kid: 'k1' };
const HS256 = { ...HEADER, alg: 'HS256' };
const NONE = { ...HEADER, alg: 'none' };

const encoded = (json: unknown): string => Buffer.from(JSON.stringify(json)).toString('base64url');
const decoded = (part: string): Json => JSON.parse(Buffer.from(part, 'base64url').toString()) as Json;

function unsigned(header: object, claims: object, signature = ''): string {
  return `${encoded(header)}.${encoded(claims)}.${signature}`;
}

function hmac(header: object, claims: object, secret: string | Buffer): string {
  const signed = `${encoded(header)}.${encoded(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

function byAttacker({ attacker, claims }: Forge, header: object): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ ...HEADER, ...header }).sign(attacker.privateKey);
}

/** The issuer itself signs, so that only the claim or the type is wrong. */
function byIssuer({ claims }: Forge, replaced: object, header = {}): Promise<string> {
  return sidecar.issuer.mint({ ...claims, ...replaced }, header);
}

const FORGERIES: Readonly<Record<string, (forge: Forge) => string | Promise<string>>> = {
  'alg `none`': ({ claims }) => unsigned(NONE, claims),
  'alg `None`': ({ claims }) => unsigned({ ...NONE, alg: 'None' }, claims),
  'alg `none` with a good token’s signature': ({ claims }) => unsigned(NONE, claims, token.split('.')[2]),
  'no alg': ({ claims }) => unsigned({ typ: 'at+jwt', kid: 'k1' }, claims, 'AAAA'),
  'no signature': ({ claims }) => unsigned(HEADER, claims),
  'a signature of zeros': ({ claims }) => unsigned(HEADER, claims, 'A'.repeat(86)),
  'a critical extension': ({ claims }) => unsigned({ ...HEADER, crit: ['x'], x: 1 }, claims, 'A'.repeat(86)),
  'HS256, secret: the public JWK': (all) => hmac(HS256, all.claims, JSON.stringify(all.published)),
  'HS256, secret: the key set': (all) => hmac(HS256, all.claims, JSON.stringify(sidecar.issuer.jwks)),
  'HS256, secret: the public PEM': ({ claims, pem }) => hmac(HS256, claims, pem),
  'HS256, secret: the public DER': ({ claims, pem }) =>
    hmac(HS256, claims, Buffer.from(pem.replaceAll(/-----.*?-----|\s/g, ''), 'base64')),
  'HS256, secret: nothing': ({ claims }) => hmac(HS256, claims, ''),
  'HS256, secret: nothing, unknown kid': ({ claims }) => hmac({ ...HS256, kid: 'k2' }, claims, ''),
  'HMAC that says ES256': (all) => hmac(HEADER, all.claims, JSON.stringify(all.published)),
  'another key under the known kid': (all) => byAttacker(all, {}),
  'another key without a kid': (all) => byAttacker(all, { kid: undefined }),
  'an unknown kid': (all) => byAttacker(all, { kid: 'k2' }),
  'an empty kid': (all) => byAttacker(all, { kid: '' }),
  'the kid `__proto__`': (all) => byAttacker(all, { kid: '__proto__' }),
  'the kid `constructor`': (all) => byAttacker(all, { kid: 'constructor' }),
  'a kid that is a path': (all) => byAttacker(all, { kid: '../../../../dev/null' }),
  'an embedded JWK': (all) => byAttacker(all, { jwk: all.attacker.jwk }),
  'an embedded JWK without a kid': (all) => byAttacker(all, { kid: undefined, jwk: all.attacker.jwk }),
  'an embedded JWK of an unknown kid': (all) =>
    byAttacker(all, { kid: 'k2', jwk: { ...all.attacker.jwk, kid: 'k2' } }),
  'a key set of its own, `jku`': (all) => byAttacker(all, { kid: 'k2', jku: all.url }),
  'a certificate of its own, `x5u`': (all) => byAttacker(all, { kid: 'k2', x5u: all.url }),
  'another audience': (all) => byIssuer(all, { aud: 'https://other.example' }),
  'no audience': (all) => byIssuer(all, { aud: undefined }),
  'an empty audience': (all) => byIssuer(all, { aud: '' }),
  'an empty list of audiences': (all) => byIssuer(all, { aud: [] }),
  'an audience that is a prefix': (all) => byIssuer(all, { aud: 'https://git' }),
  'an audience with a slash more': (all) => byIssuer(all, { aud: `${GIT}/` }),
  'another issuer': (all) => byIssuer(all, { iss: 'https://evil.example' }),
  'an issuer with a slash more': (all) => byIssuer(all, { iss: `${AS}/` }),
  'an issuer in capitals': (all) => byIssuer(all, { iss: 'https://AS.example' }),
  'an ID token': (all) => byIssuer(all, {}, { typ: 'JWT' }),
  'no type': (all) => byIssuer(all, {}, { typ: undefined }),
};

describe('audience check skipped when unset; empty key from `keys[kid] ?? ""`; alg confusion; embedded JWK (CVE-2026-55689, CVE-2026-44351, CVE-2026-34950)', () => {
  let forge: Forge;
  let asked_for_keys = 0;
  let keys: KeyServer;

  beforeAll(async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(publicKey);
    keys = await serveKeys((_, response) => {
      asked_for_keys += 1;
      response.end(JSON.stringify({ keys: [{ ...jwk, kid: 'k2' }] }));
    });
    const published = (member(sidecar.issuer.jwks, 'keys') as readonly unknown[])[0] as JWK;
    const at = Math.floor(Date.now() / 1000);
    const names = { iss: AS, sub: 'alice', aud: GIT, client_id: 'agent-1', jti: 'j1' };
    const mission = member(decoded(token.split('.')[1]!), 'mission');
    forge = {
      claims: { ...names, iat: at, exp: at + 600, mission },
      published,
      pem: await exportSPKI((await importJWK(published, 'ES256')) as CryptoKey),
      attacker: { privateKey, jwk },
      url: keys.uri,
    };
  });
  afterAll(() => keys.close());

  test('the claims that are forged are good ones', async () => {
    const sending = { authorization: `Bearer ${await sidecar.issuer.mint(forge.claims)}` };
    expectAllowed(await throughEnvoy(sending), sending);
  });

  test.each(Object.entries(FORGERIES))('%s', async (_, make) => {
    const outcome = await throughEnvoy({ authorization: `Bearer ${await make(forge)}` });
    const decision = expectDenied(outcome, UNUSABLE);
    // Nothing that an unverified token says is recorded as fact.
    expect(decision.credential).toEqual({ verdict: 'unusable', reason: 'credential_invalid' });
    expect(headerOf(outcome, 'www-authenticate')).toBe('Bearer error="invalid_token"');
    expect(asked_for_keys).toBe(0);
  });

  test('an unusable credential is refused where none is needed', async () => {
    const authorization = `Bearer ${unsigned(NONE, forge.claims)}`;
    expectDenied(await throughEnvoy({ target: '/healthz', authorization }), UNUSABLE);
  });

  test.each([
    ['no audiences', `audiences: ["${GIT}"], `, '', 'credentials.0.audiences'],
    ['an empty list of audiences', `audiences: ["${GIT}"]`, 'audiences: []', 'credentials.0.audiences'],
    ['an empty audience', `audiences: ["${GIT}"]`, 'audiences: [""]', 'credentials.0.audiences.0'],
    ['HS256', 'algorithms: [ES256]', 'algorithms: [ES256, HS256]', 'credentials.0.algorithms.1'],
    ['none', 'algorithms: [ES256]', 'algorithms: [none]', 'credentials.0.algorithms.0'],
    ['no algorithm', 'algorithms: [ES256]', 'algorithms: []', 'credentials.0.algorithms'],
    [
      'plain-http keys',
      'jwks: { file: keys.json }',
      'jwks: { uri: "http://as.example/keys" }',
      'credentials.0.jwks.uri',
    ],
    [
      'a symmetric key',
      'jwks: { file: keys.json }',
      'jwks: { file: symmetric.json }',
      'credentials.0.jwks.file',
    ],
  ])('a configuration with %s does not start', (_, from, to, field) => {
    const text = readFileSync(sidecar.config_file, 'utf8');
    expect(text).toContain(from);
    const file = join(sidecar.folder, 'unsafe.yaml');
    writeFileSync(join(sidecar.folder, 'symmetric.json'), '{"keys":[{"kty":"oct","k":"AAAA","kid":"k1"}]}');
    writeFileSync(file, text.replace(from, to).replace('path: data', 'path: unsafe'));
    const argv = [join(ROOT, 'src/mandated.mjs'), 'serve', '--config', file];
    const ran = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 10_000 });
    expect({ code: ran.status, said: ran.stderr }).toEqual({
      code: 2,
      said: expect.stringContaining(`${field}: `),
    });
  });
});

describe('case-variant or duplicate JSON keys smuggle a tool name (GHSA-4gph-2hhr-5mwg)', () => {
  const call = (body: string, ...lines: string[]): Sending => ({
    method: 'POST',
    target: TOOLS,
    lines: lines.length === 0 ? ['Content-Type: application/json'] : lines,
    body,
  });
  const read = '{"params":{"name":"read"}}';

  test('a tool that is named once is allowed, and bound to its parameters', async () => {
    const sending = call('{"params":{"name":"read","arguments":{"Name":"x"}},"id":1}');
    const decision = expectAllowed(await throughEnvoy(sending), sending);
    expect(decision.parameter_digest).toMatch(/^sha-256:/);
  });

  test.each([
    ['twice', '{"params":{"name":"read","name":"delete"}}'],
    ['twice, once in escapes', '{"params":{"name":"read","n\\u0061me":"delete"}}'],
    ['twice with the same value', '{"params":{"name":"read","name":"read"}}'],
    ['in capitals beside it', '{"params":{"name":"read","NAME":"delete"}}'],
    ['in capitals instead of it', '{"params":{"Name":"delete"}}'],
    ['below a duplicate', '{"params":{"name":"read"},"params":{"name":"delete"}}'],
    ['below a case variant', '{"params":{"name":"read"},"Params":{"name":"delete"}}'],
    ['with a member that occurs twice elsewhere', '{"a":1,"a":2,"params":{"name":"read"}}'],
    ['with a Kelvin sign for a `k`, which lowers to it', '{"params":{"name":"read","tas\u212a":"x"}}'],
    ['with a long s, which Go’s encoding/json folds to `s`', '{"params":{"name":"read","ta\u017fk":"x"}}'],
    ['behind a byte order mark', `\uFEFF${read}`],
    ['before a second document', `${read}{"params":{"name":"delete"}}`],
    ['with a comment', '{"params":{/*"*/"name":"read"}}'],
    ['below too many levels', `{"x":${'['.repeat(100)}${']'.repeat(100)},"params":{"name":"read"}}`],
  ])('named %s: refused', async (_, body) => {
    expectDenied(await throughEnvoy(call(body)), MALFORMED);
  });

  test.each([
    ['not at all', call('{"params":{}}')],
    ['by something that is no string', call('{"params":{"name":["read"]}}')],
    ['in a list', call('[{"params":{"name":"read"}}]')],
    ['without a body', { method: 'POST', target: TOOLS, lines: ['Content-Type: application/json'] }],
    ['as plain text', call(read, 'Content-Type: text/plain')],
    ['under two content types', call(read, 'Content-Type: application/json', 'Content-Type: text/plain')],
    ['in another charset', call(read, 'Content-Type: application/json; charset=utf-16')],
    ['compressed', call(read, 'Content-Type: application/json', 'Content-Encoding: gzip')],
  ])('named %s: a violation', async (_, sending) => {
    expectDenied(await throughEnvoy(sending), VIOLATION);
  });

  test('a body that Envoy does not forward whole is not judged, and goes nowhere', async () => {
    const longest = call(read.padEnd(MAX_BODY_BYTES));
    expectAllowed(await throughEnvoy(longest), longest);
    upstream.requests.length = 0;
    expectNotCarried(await throughEnvoy(call(read.padEnd(MAX_BODY_BYTES + 1))), 413);
  });
});

interface KeyServer {
  readonly uri: string;
  readonly close: () => void;
}

async function serveKeys(listener: RequestListener): Promise<KeyServer> {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`, close };
}

const portOf = (url: string): number => Number(URL.parse(url)?.port);

/** The same sidecar in this process, with `dev`'s licence to take keys over plain http. */
async function withKeysFrom(
  listener: RequestListener,
  run: (check_port: number, control_port: number) => Promise<void>,
): Promise<void> {
  const server = await serveKeys(listener);
  const file = join(sidecar.folder, 'remote.yaml');
  const text = readFileSync(sidecar.config_file, 'utf8')
    .replace('jwks: { file: keys.json }', `jwks: { uri: "${server.uri}" }`)
    .replace('path: data', 'path: remote')
    .replace('decisions: decisions.jsonl', 'decisions: remote.jsonl');
  writeFileSync(file, text);
  const running = await start(readConfig(file, { is_dev: true }), pino({ level: 'silent' }), () => false);
  try {
    await run(portOf(running.check), portOf(running.control));
  } finally {
    await running.stop();
    server.close();
  }
}

const MEBIBYTE = 1024 * 1024;
/** Far beyond the limit and what the sockets between hold, far below what would hurt the test. */
const ENOUGH_BYTES = 48 * MEBIBYTE;

/** Writes for as long as it is read; resolves with how much that was. */
function pour(response: ServerResponse): Promise<number> {
  const piece = Buffer.alloc(64 * 1024, ' ');
  let bytes = 0;
  const more = (): void => {
    while (bytes < ENOUGH_BYTES) {
      bytes += piece.length;
      if (!response.write(piece)) return;
    }
  };
  response.writeHead(200, { 'content-type': 'application/json' });
  response.on('drain', more);
  more();
  return new Promise((resolve) => response.on('close', () => resolve(bytes)));
}

const UNVERIFIABLE = {
  status: 401,
  body: {
    reason: 'credential_invalid',
    credential: { verdict: 'unverifiable', reason: 'credential_invalid' },
    mandate: { verdict: 'not_evaluated' },
    request: { verdict: 'not_evaluated' },
    next_action: 'retry',
  },
};

describe('unbounded read of a JWKS or introspection answer (CVE-2026-26998)', () => {
  test('an endless key set is read up to its limit, and is no key set', async () => {
    const poured = Promise.withResolvers<number>();
    const answer: RequestListener = (_, response) => void pour(response).then(poured.resolve);
    await withKeysFrom(answer, async (check_port, control_port) => {
      expect(await poured.promise).toBeLessThan(ENOUGH_BYTES);
      expect(await askEnvoyDoor(check_port, token)).toMatchObject(UNVERIFIABLE);
      const ready = await ask(control_port, { path: '/readyz' });
      expect(ready).toMatchObject({ status: 200, body: { status: 'ready' } });
      expect(ready.body.details).toEqual([
        expect.stringMatching(/^credentials corp: .*larger than 1048576 bytes/),
      ]);
    });
  });

  test('a key set that never comes does not hold the check beyond its deadline', async () => {
    await withKeysFrom(
      () => undefined,
      async (check_port) => {
        const begun = performance.now();
        expect(await askEnvoyDoor(check_port, token)).toMatchObject(UNVERIFIABLE);
        expect(performance.now() - begun).toBeLessThan(3000);
      },
    );
  });

  test('a redirect to a good key set is not followed', async () => {
    const asked: (string | undefined)[] = [];
    const answer: RequestListener = (request, response) => {
      asked.push(request.url);
      if (request.url === '/keys') response.writeHead(302, { location: '/elsewhere' }).end();
      else response.end(JSON.stringify(sidecar.issuer.jwks));
    };
    await withKeysFrom(answer, async (check_port) => {
      expect(await askEnvoyDoor(check_port, token)).toMatchObject(UNVERIFIABLE);
    });
    expect(asked).toEqual(['/keys']);
  });

  test('a key set of just the limit is a key set', async () => {
    const text = JSON.stringify(sidecar.issuer.jwks).padEnd(MEBIBYTE);
    await withKeysFrom(
      (_, response) => response.end(text),
      async (check_port) => {
        // The keys are good; the mandate is in the other sidecar's store.
        expect(await askEnvoyDoor(check_port, token)).toMatchObject({
          status: 403,
          body: { reason: 'mission_mismatch', credential: { verdict: 'usable' } },
        });
      },
    );
  });
});

describe('host compared with case; trailing dot (CVE-2026-48794)', () => {
  test.each(['GIT.Example', 'git.example:443', 'Git.EXAMPLE:0443'])(
    '`Host: %s` is git.example',
    async (host) => {
      const decision = expectAllowed(await throughEnvoy({ host }), {});
      expect(decision.resource).toBe(`${GIT}${APP}`);
    },
  );

  test.each([
    'git.example.',
    'git.example.:443',
    'GIT.EXAMPLE.',
    'git.example:',
    'git.example:99999',
    'git.example:443:443',
    'user@git.example',
    'git.example,evil.example',
    'git.example/',
    'git.example%2e',
    'evil.example#git.example',
    'git..example',
    '-git.example',
    'gít.example',
    '',
  ])('`Host: %s` is refused', async (host) => {
    const outcome = await throughEnvoy({ host });
    // Some of these Envoy itself does not take for a host.
    if (outcome.decisions.length === 0) expectNotCarried(outcome, 400);
    else expectDenied(outcome, MALFORMED);
    const direct = await atDoor({ host });
    if (direct.decisions.length > 0) expectDenied(direct, MALFORMED);
    else expect(direct.status).toBe(400);
  });

  test.each(['git.example:80', 'git.example:8443', 'www.git.example', 'git.example.evil.example', '[::1]'])(
    '`Host: %s` is another origin',
    async (host) => {
      const decision = expectDenied(await throughEnvoy({ host }), UNCOVERED_READ);
      expect(decision.resource).toBe(`https://${host}${CONTENTS}`);
    },
  );
});

describe('What Envoy takes back', () => {
  test('allow is exactly 200 and lean', async () => {
    const { status, body, headers } = await atDoor({});
    expect({ status, body }).toEqual({ status: 200, body: '' });
    const names = headers
      .map(([name]) => name.toLowerCase())
      .filter((name) => !name.startsWith('x-mandate-'));
    expect(names.toSorted()).toEqual([
      'connection',
      'content-length',
      'date',
      'keep-alive',
      'x-envoy-auth-headers-to-remove',
    ]);
  });

  test('a deny’s status, headers and body reach the client', async () => {
    const outcome = await throughEnvoy({ method: 'DELETE' });
    const decision = expectDenied(outcome, UNCOVERED_WRITE);
    expect(outcome.problem).toEqual({
      ...decision,
      type: 'urn:mandated:problem:out_of_authority',
      title: expect.any(String),
      status: 403,
      detail: expect.any(String),
    });
    expect(headerOf(outcome, 'www-authenticate')).toBe(
      'Bearer error="insufficient_scope", mission_denial="insufficient_authority"',
    );
    expect(outcome.headers.filter(([name]) => /^x-(?:mandate|envoy-auth)/.test(name))).toEqual([]);
  });

  test('the mission reference is removed on an allow', async () => {
    const { id, issuer } = record;
    const sending = { lines: [`Mission-Reference: id="${String(id)}", issuer="${String(issuer)}"`] };
    expectAllowed(await throughEnvoy(sending), sending);
  });

  test('the credential goes on to the upstream as it came', async () => {
    const outcome = await throughEnvoy({});
    expect(outcome.reached[0]!.headers).toContainEqual(['authorization', `Bearer ${token}`]);
  });

  test.each(['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'MKCOL', 'PURGE', 'REPORT'])(
    'a %s is judged as what it is',
    async (method) => {
      const decision = expectDenied(await throughEnvoy({ method }), UNCOVERED_WRITE);
      expect(member(decision.action, 'name')).toBe(`http.${method.toLowerCase()}`);
    },
  );

  test('CONNECT is not routed by Envoy, and answered at the door', async () => {
    const [target, authority] = ['git.example:443', { method: 'CONNECT', host: 'git.example:443' }];
    const carried = Buffer.from(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    expectNotCarried(await exchange(envoy.port, carried), 404);
    const direct = await exchange(sidecar.check_port, message({ ...authority, target }, ''));
    expectDenied(direct, MALFORMED);
  });

  test('OPTIONS * is not routed by Envoy', async () => {
    expectNotCarried(await throughEnvoy({ method: 'OPTIONS', target: '*' }), 404);
  });
});
