import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readActions } from '../../src/actions-file.ts';
import { type Action, classify } from '../../src/core/action.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { fitsCedarDecimal } from '../../src/core/parameter-types.ts';
import type { HttpRequest, Question } from '../../src/core/request.ts';
import { sha256 } from '../../src/digest.ts';
import { at } from '../support/records.ts';

const TABLE = `
floors: { "admin.*": privileged_administration, "repo.read": consequential_write }
operations:
  - match: { methods: [GET], path: /healthz }
    action: health.read
    class: non_consequential
  - match: { methods: [POST], host: git.example, path: "/repos/{owner}/{repo}/git/refs" }
    action: repo.push
    resource: https://git.example/repos/{owner}/{repo}
    class: irreversible_action
    parameters:
      ref: "body:/ref"
      force: { from: "body:/options/0/force", type: boolean, optional: true }
      dry_run: { from: "query:dry_run", type: boolean, optional: true }
      tenant: { from: "header:X-Tenant", optional: true }
      labels: { from: "header:x-labels", type: strings, optional: true }
      depth: { from: "query:depth", type: long, optional: true }
      price: { from: "body:/price", type: decimal, optional: true }
      owner: "path:owner"
  - match: { methods: [GET], path: "/repos/{owner}/{repo}/**" }
    action: repo.read
    class: consequential_read
  - match: { path: "/admin/**" }
    action: admin.touch
    class: consequential_read
  - match: { tool: payments.send }
    class: external_commitment
    parameters: { amount: { type: decimal }, currency: string, memo: { type: string, optional: true } }
`;

function tableOf(text: string, is_cedar_bound = true) {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-actions-'));
  const file = join(folder, 'actions.yaml');
  writeFileSync(file, text);
  const table = readActions(file, { scheme: 'https', is_cedar_bound });
  rmSync(folder, { recursive: true });
  return table;
}

const table = tableOf(TABLE);

interface Asking {
  readonly method?: string;
  readonly host?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

function http(
  target: string,
  { method = 'GET', host = 'git.example', headers = [], body }: Asking = {},
): Action {
  const request: HttpRequest = {
    door: 'envoy',
    check_point: 'request',
    arrived: at(0),
    presented: { kind: 'none' },
    selected: 'absent',
    is_vouched: false,
    method,
    target,
    host,
    headers: body === undefined ? headers : ['Content-Type', 'application/json', ...headers],
    body: body === undefined ? { kind: 'none' } : { kind: 'whole', bytes: new TextEncoder().encode(body) },
  };
  return classify(request, table, sha256);
}

function question(name: string, parameters: JsonObject = {}, more: Partial<Question> = {}): Action {
  const asked: Question = {
    door: 'native',
    check_point: 'tool',
    arrived: at(0),
    presented: { kind: 'none' },
    selected: 'absent',
    is_vouched: false,
    action: { name },
    resource: 'https://pay.example/accounts/7',
    parameters,
    ...more,
  };
  return classify(asked, table, sha256);
}

const push = (body: string, more: Asking & { query?: string } = {}): Action =>
  http(`/repos/a/b/git/refs${more.query ?? ''}`, { method: 'POST', body, ...more });

describe('the first match wins', () => {
  test.each([
    [
      'a mapped path',
      http('/repos/a/b/git/refs', { method: 'POST', body: '{"ref":"x"}' }),
      'repo.push irreversible_action operation https://git.example/repos/a/b',
    ],
    [
      'the rest of a path, nothing included',
      http('/repos/a/b'),
      'repo.read consequential_write floor https://git.example/repos/a/b',
    ],
    [
      'the rest of a path',
      http('/repos/a/b/c/d'),
      'repo.read consequential_write floor https://git.example/repos/a/b/c/d',
    ],
    [
      'another host',
      http('/repos/a/b/git/refs', { method: 'POST', host: 'other.example' }),
      'http.post irreversible_action unmapped https://other.example/repos/a/b/git/refs',
    ],
    [
      'an empty segment is no name',
      http('/repos/a/'),
      'http.get consequential_read unmapped https://git.example/repos/a/',
    ],
    [
      'another method',
      http('/healthz', { method: 'HEAD' }),
      'http.head consequential_read unmapped https://git.example/healthz',
    ],
    [
      'OPTIONS is not reading',
      http('/x', { method: 'OPTIONS' }),
      'http.options irreversible_action unmapped https://git.example/x',
    ],
    [
      'a floor raises',
      http('/admin/x'),
      'admin.touch privileged_administration floor https://git.example/admin/x',
    ],
    [
      'a method of every letter',
      http('/x', { method: 'PROPFIND' }),
      'http.propfind irreversible_action unmapped https://git.example/x',
    ],
    [
      'the default port and case of the host',
      http('/x', { host: 'GIT.example:443' }),
      'http.get consequential_read unmapped https://git.example/x',
    ],
  ])('%s', (_, action, expected) => {
    expect([action.name, action.class, action.class_source, action.resource?.uri].join(' ')).toBe(expected);
  });

  test('families, nearest first', () => {
    expect(question('a.b.c').families).toEqual(['a.b.*', 'a.*']);
    expect(question('a').families).toEqual([]);
  });
});

describe('classes of questions (design/8, Who asks)', () => {
  test.each([
    ['an action that no operation names', question('x.y'), 'irreversible_action'],
    ['http.get', question('http.get'), 'consequential_read'],
    ['http.delete', question('http.delete'), 'irreversible_action'],
    ['what is harmless on one path is not so on any resource', question('health.read'), 'consequential_read'],
    ['the operation`s', question('payments.send', { amount: '1', currency: 'EUR' }), 'external_commitment'],
    [
      'raised by the question',
      question('http.get', {}, { action: { name: 'http.get', class: 'privileged_administration' } }),
      'privileged_administration',
    ],
    [
      'never lowered by it',
      question(
        'payments.send',
        { amount: '1', currency: 'EUR' },
        { action: { name: 'payments.send', class: 'non_consequential' } },
      ),
      'external_commitment',
    ],
  ])('%s', (_, action, name) => {
    expect(action.class).toBe(name);
  });
});

const faultOf = ({ fault }: Action): string | undefined => fault?.reason;

describe('parameters', () => {
  test('are read from where the table says, in their types', () => {
    const good = push('{"ref":"x","options":[{"force":true}],"price":"9.90"}', {
      query: '?dry_run=true&depth=-3&other=%zz',
      headers: ['x-tenant', 'acme', 'X-Labels', 'a, b'],
    });
    const plain = Object.fromEntries(
      Object.entries(good.parameters).map(([name, { value }]) => [name, value]),
    );
    expect(plain).toEqual({
      ref: 'x',
      force: true,
      dry_run: true,
      tenant: 'acme',
      labels: ['a', 'b'],
      depth: -3,
      price: '9.90',
      owner: 'a',
    });
    expect(good.fault).toBeUndefined();
  });

  test.each([
    ['absent', push('{}'), 'parameter_violation'],
    ['of another type', push('{"ref":7}'), 'parameter_violation'],
    ['a decimal as a number', push('{"ref":"x","price":9.9}'), 'parameter_violation'],
    ['a decimal in scientific notation', push('{"ref":"x","price":"1e3"}'), 'parameter_violation'],
    ['a decimal that Cedar does not hold', push('{"ref":"x","price":"0.00001"}'), 'parameter_violation'],
    ['a long beyond 2^53', push('{"ref":"x"}', { query: '?depth=9007199254740993' }), 'parameter_violation'],
    ['no body', http('/repos/a/b/git/refs', { method: 'POST' }), 'parameter_violation'],
    [
      'a body that was not forwarded whole',
      push('{"ref":"x"}', { headers: ['x-envoy-auth-partial-body', 'true'] }),
      'parameter_violation',
    ],
    [
      'a body of another type',
      http('/repos/a/b/git/refs', {
        method: 'POST',
        body: '{"ref":"x"}',
        headers: ['content-type', 'text/plain'],
      }),
      'parameter_violation',
    ],
    [
      'an encoded body',
      push('{"ref":"x"}', { headers: ['content-encoding', 'gzip'] }),
      'parameter_violation',
    ],
    ['a body that is not JSON', push('{"ref":'), 'malformed_request'],
    ['a duplicate key', push('{"ref":"x","ref":"y"}'), 'malformed_request'],
    ['a duplicate key elsewhere in the body', push('{"ref":"x","a":{"b":1,"b":2}}'), 'malformed_request'],
    ['a case variant of a used key', push('{"ref":"x","Ref":"y"}'), 'malformed_request'],
    ['a case variant alone', push('{"REF":"x"}'), 'malformed_request'],
    ['a case variant further in', push('{"ref":"x","options":[{"Force":true}]}'), 'malformed_request'],
    [
      'twice in the query',
      push('{"ref":"x"}', { query: '?dry_run=true&dry_run=false' }),
      'malformed_request',
    ],
    [
      'twice in the query, once encoded',
      push('{"ref":"x"}', { query: '?dry_run=true&dry%5Frun=false' }),
      'malformed_request',
    ],
    [
      'twice among the headers',
      push('{"ref":"x"}', { headers: ['x-tenant', 'a', 'X-TENANT', 'b'] }),
      'malformed_request',
    ],
    ['joined by a proxy', push('{"ref":"x"}', { headers: ['x-tenant', 'a,b'] }), 'malformed_request'],
  ])('%s: %s', (_, action, reason) => {
    expect(faultOf(action)).toBe(reason);
  });

  test('of questions keep their JSON type where no operation declares them', () => {
    const { parameters } = question('x.y', { s: 'a', n: 3, b: true, l: ['a'], f: 1.5, o: {}, m: ['a', 1] });
    expect(parameters).toEqual({
      s: { type: 'string', value: 'a' },
      n: { type: 'long', value: 3 },
      b: { type: 'boolean', value: true },
      l: { type: 'strings', value: ['a'] },
    });
  });

  test.each([
    ['a required one is absent', { amount: '1' }, 'parameter_violation'],
    ['one is of another type', { amount: 1, currency: 'EUR' }, 'parameter_violation'],
    ['one comes in another case', { amount: '1', currency: 'EUR', Amount: '9' }, 'malformed_request'],
  ])('of a declared tool: %s', (_, parameters, reason) => {
    expect(faultOf(question('payments.send', parameters as JsonObject))).toBe(reason);
  });
});

describe('parameter_digest (design/2, Parameters)', () => {
  test('from consequential_write up, over the JCS of the parameters', () => {
    expect(question('payments.send', { currency: 'EUR', amount: '1.50' }).parameter_digest).toBe(
      sha256('{"amount":"1.50","currency":"EUR"}'),
    );
    expect(push('{"ref":"x"}').parameter_digest).toBe(sha256('{"owner":"a","ref":"x"}'));
    expect(http('/healthz').parameter_digest).toBeUndefined();
    expect(question('http.get').parameter_digest).toBeUndefined();
  });

  test('of an unmapped write: method, target with its query, and body', () => {
    const of = (target: string, method: string, body?: string) =>
      http(target, body === undefined ? { method } : { method, body }).parameter_digest;
    const all = [
      of('/x', 'POST'),
      of('/x?a', 'POST'),
      of('/x', 'PUT'),
      of('/x', 'POST', 'a'),
      of('/x', 'POST', 'b'),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(of('/x', 'POST', 'a')).toBe(all[3]);
  });
});

test.each([
  ['0', true],
  ['922337203685477.5807', true],
  ['922337203685477.5808', false],
  ['-922337203685477.5808', true],
  ['1.00000', true],
  ['1.00001', false],
  ['00012.5', true],
  ['99999999999999999999', false],
  ['abc', false],
])('Cedar`s decimal holds %s: %s', (text, holds) => {
  expect(fitsCedarDecimal(text)).toBe(holds);
});

test('without Cedar a decimal is unbounded', () => {
  const own = tableOf(TABLE, false);
  const asked = {
    door: 'native',
    check_point: 'tool',
    arrived: at(0),
    presented: { kind: 'none' },
    selected: 'absent',
    is_vouched: false,
    action: { name: 'payments.send' },
    resource: 'urn:x:y',
    parameters: { amount: '99999999999999999999.123456', currency: 'EUR' },
  } as const;
  expect(classify(asked, own, sha256).fault).toBeUndefined();
});
