/** The command line: what it prints, what it exits with, and what `check` and `serve` refuse. */
import { chmodSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../src/core/json.ts';
import { checkConfiguration } from '../src/main.ts';
import { ConfigurationError } from '../src/reading.ts';
import { mandated } from './support/cli.ts';
import { ROOT, type Sidecar, createIssuer, proposalBody, startSidecar } from './support/sidecar.ts';

let sidecar: Sidecar;
let proposal: string;

beforeAll(async () => {
  sidecar = await startSidecar();
  proposal = join(sidecar.folder, 'proposal.json');
  writeFileSync(proposal, JSON.stringify(proposalBody()));
});
afterAll(() => sidecar.discard());

const mandate = (...args: string[]) =>
  mandated(
    'mandate',
    ...args,
    '--control',
    `http://127.0.0.1:${sidecar.control_port}`,
    '--token-file',
    sidecar.token_file,
  );

const propose = async (): Promise<string> => {
  const { stdout } = await mandate('propose', proposal, '--json');
  return (JSON.parse(stdout) as { submission_id: string }).submission_id;
};

describe('mandated mandate', () => {
  test('propose, approve, show, list, suspend, resume, revoke: the way through', async () => {
    const submission = await propose();
    const approved = await mandate('approve', submission);
    expect(approved).toMatchObject({ code: 0, stderr: '' });
    expect(approved.stdout).toMatch(
      /goal +Release version 1\.4[^]*may +repo\.\* on https:\/\/git\.example\/repos\/example\/app and below/,
    );
    const id = /mandate +(msn_\S+)/.exec(approved.stdout)![1]!;
    expect((await mandate('suspend', id, '--reason', 'lunch')).stdout).toBe(
      `${id} is suspended at version 2 (durable)\n`,
    );
    expect((await mandate('resume', id)).stdout).toBe(`${id} is active at version 3 (durable)\n`);
    expect((await mandate('revoke', id)).stdout).toBe(`${id} is revoked at version 4 (durable)\n`);
    const shown = await mandate('show', id);
    expect(shown.stdout).toMatch(
      /state +revoked, version 4[^]*suspend → suspended by operator \(https:\/\/mandates\.example\): lunch/,
    );
    expect((await mandate('list', '--state', 'revoked')).stdout).toContain(id);
    expect(JSON.parse((await mandate('show', id, '--json')).stdout)).toMatchObject({
      id,
      state: 'revoked',
      version: 4,
    });
  });

  test('diff says what a change took away, and renew asks for a successor', async () => {
    const [entry] = proposalBody().authorization_details as JsonObject[];
    const record = await sidecar.mandate(
      proposalBody({
        authorization_details: [
          { ...entry, actions: ['repo.push'] },
          { ...entry, actions: ['repo.read'] },
        ],
      }),
    );
    const id = String(record.id);
    const [push, read] = record.entry_digests as [string, string];
    expect((await mandate('diff', id)).stdout).toBe('version 1 → 1\n  nothing was taken away\n');
    await mandate('contain', id, '--entry', push);
    expect((await mandate('diff', id)).stdout).toMatch(
      /^version 1 → 2\n- may {4}repo\.push on \S+ and below {2}\(contained\)\n$/,
    );
    await mandate('tighten', id, '--entry', read, '--constraints', '{"tenant":"acme"}');
    await mandate('suspend', id);
    const all = await mandate('diff', id, '--from', '1');
    expect(all.stdout).toContain('state  active → suspended');
    expect(all.stdout).toContain('now also if {"tenant":"acme"}');
    const json = JSON.parse(
      (await mandate('diff', id, '--from', '2', '--to', '3', '--json')).stdout,
    ) as JsonObject;
    expect(json).toMatchObject({
      from: 2,
      to: 3,
      taken: [],
      tightened: [{ constraints: { tenant: 'acme' } }],
    });
    expect(await mandate('diff', id, '--to', '99')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('not_found'),
    });
    await mandate('resume', id);
    const renewed = await mandate('renew', id);
    expect(renewed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^proposal {2}sub_/) });
    const successor = await mandate('approve', renewed.stdout.split(/\s+/)[1]!);
    expect(successor.stdout).toContain(`renews    ${id}`);
    expect((await mandate('show', id)).stdout).toMatch(/state {5}superseded, version 6\n/);
  });

  test('deny ends a proposal', async () => {
    const submission = await propose();
    expect(await mandate('deny', submission, '--reason', 'too broad')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/status +denied/),
    });
    expect(await mandate('approve', submission)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('conflict: the proposal is denied'),
    });
  });

  test('a goal cannot repaint the terminal of whoever approves it', async () => {
    const hostile = join(sidecar.folder, 'hostile.json');
    const body = proposalBody();
    writeFileSync(
      hostile,
      JSON.stringify({ ...body, intent: { ...(body.intent as object), goal: 'read\u001b[2Konly' } }),
    );
    const { stdout } = await mandate('propose', hostile, '--json');
    const { submission_id } = JSON.parse(stdout) as { submission_id: string };
    const approved = await mandate('approve', submission_id);
    expect(approved.stdout).toContain('read\\u{1b}[2Konly');
    expect(approved.stdout).not.toContain('\u001b');
  });

  test.each([
    ['an id that nobody has', ['show', 'msn_nobody'], 1, 'not_found'],
    ['a command that does not exist', ['befriend', 'x'], 2, 'expected one of: propose, approve'],
    ['a missing id', ['revoke'], 2, 'needs an id'],
    ['a file that is not there', ['propose', '/nonexistent.json'], 2, 'cannot be read'],
    ['a bad version', ['resume', 'msn_nobody', '--expected-version', 'x'], 1, 'invalid_request'],
  ])('%s: exit code and a reason', async (_, args, code, message) => {
    expect(await mandate(...args)).toMatchObject({ code, stderr: expect.stringContaining(message) });
  });

  test('a listener that is away, and a wrong token: could not tell, and no', async () => {
    const away = await mandated(
      'mandate',
      'list',
      '--control',
      'http://127.0.0.1:1',
      '--token-file',
      sidecar.token_file,
    );
    expect(away).toMatchObject({ code: 2, stderr: expect.stringContaining('did not answer') });
    const wrong = join(sidecar.folder, 'wrong-token');
    writeFileSync(wrong, 'x'.repeat(43));
    const refused = await mandated(
      'mandate',
      'list',
      '--control',
      `http://127.0.0.1:${sidecar.control_port}`,
      '--token-file',
      wrong,
    );
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('unauthorized') });
  });
});

test('the operator token is written once, for its owner alone', () => {
  expect(statSync(sidecar.token_file).mode & 0o777).toBe(0o600);
  expect(readFileSync(sidecar.token_file, 'utf8')).toMatch(/^[\w-]{43}\n$/);
});

test.each([['--help'], ['help'], []])('usage: %s', async (...args) => {
  expect(await mandated(...args)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('mandated serve'),
  });
});

test.each([
  [['--no-such-flag'], 2, "Unknown option '--no-such-flag'"],
  [['frobnicate'], 2, '`frobnicate` is not a command'],
  [['serve', '--config', '/nonexistent.yaml'], 2, 'the configuration `/nonexistent.yaml` cannot be read'],
])('%j: exit %i', async (args, code, message) => {
  expect(await mandated(...args)).toMatchObject({ code, stderr: expect.stringContaining(message) });
});

/** Lines of a good configuration; a test replaces some of them. */
const GOOD: Readonly<Record<string, string>> = {
  issuer: 'https://mandates.example',
  check: '{ listen: "127.0.0.1:0" }',
  control: '{ listen: "127.0.0.1:0" }',
  store: '{ engine: sqlite, path: data }',
  credentials:
    '[{ name: corp, issuer: "https://as.example", audiences: [a], jwks: { file: keys.json }, algorithms: [ES256] }]',
  actions: JSON.stringify(join(ROOT, 'policies/actions.yaml')),
  policies: `{ cedar: ${JSON.stringify(join(ROOT, 'policies/cedar'))} }`,
};

async function checkWith(
  replaced: Readonly<Record<string, string | undefined>>,
  files: Readonly<Record<string, string>> = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-config-'));
  writeFileSync(join(folder, 'keys.json'), JSON.stringify((await createIssuer()).jwks));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const lines = Object.entries({ ...GOOD, ...replaced }).filter(([, value]) => value !== undefined);
  const file = join(folder, 'mandated.yaml');
  writeFileSync(file, lines.map(([key, value]) => `${key}: ${value}\n`).join(''));
  return check(file);
}

/** `mandated check` without its process, which is what would take the time of these tables. */
async function check(file: string): Promise<{ problems: string; warnings: readonly string[] }> {
  try {
    return { problems: '', warnings: await checkConfiguration(file) };
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return { problems: error.message, warnings: [] };
  }
}

const entry = (replaced: string): string => {
  const members = [
    'name: corp',
    'issuer: "https://as.example"',
    'audiences: [a]',
    'jwks: { file: keys.json }',
    'algorithms: [ES256]',
  ];
  const key = replaced.split(':')[0]!;
  return `[{ ${[...members.filter((member) => !member.startsWith(`${key}:`)), replaced].join(', ')} }]`;
};
const without = (key: string): string => entry(`${key}:`).replace(new RegExp(`, ${key}: \\}`), ' }');

test('mandated check says so when all is good', async () => {
  const good = await startSidecar();
  await good.stop('SIGKILL');
  expect(await mandated('check', '--config', good.config_file)).toMatchObject({
    code: 0,
    stderr: '',
    stdout: expect.stringContaining('are good'),
  });
  await good.discard();
});

describe('mandated check: what `serve` would refuse, by key path', () => {
  test('a good configuration is good', async () => {
    expect(await checkWith({})).toEqual({ problems: '', warnings: [] });
  });

  test.each<[string, Readonly<Record<string, string | undefined>>, string]>([
    ['an unknown key', { frobnicate: 'yes' }, 'frobnicate: this key is not known'],
    [
      'an unknown key further in',
      { check: '{ listen: "127.0.0.1:0", timeout: 3 }' },
      'check.timeout: this key is not known',
    ],
    ['a wrong type', { permit_validity_ms: '"1000"' }, 'permit_validity_ms: expected number, found a string'],
    ['no issuer', { issuer: undefined }, 'issuer: expected string, found nothing'],
    ['no credentials', { credentials: undefined }, 'credentials: expected array, found nothing'],
    [
      'an empty list of credentials',
      { credentials: '[]' },
      'credentials: expected at least one credential issuer',
    ],
    [
      'no audiences',
      { credentials: without('audiences') },
      'credentials.0.audiences: expected array, found nothing',
    ],
    [
      'empty audiences',
      { credentials: entry('audiences: []') },
      'credentials.0.audiences: expected at least one audience',
    ],
    [
      'no algorithms',
      { credentials: without('algorithms') },
      'credentials.0.algorithms: expected array, found nothing',
    ],
    [
      'a symmetric algorithm',
      { credentials: entry('algorithms: [HS256]') },
      'credentials.0.algorithms.0: expected "RS256" or',
    ],
    [
      'the algorithm `none`',
      { credentials: entry('algorithms: [none]') },
      'credentials.0.algorithms.0: expected "RS256" or',
    ],
    [
      'keys over plain http',
      { credentials: entry('jwks: { uri: "http://127.0.0.1/keys" }') },
      'credentials.0.jwks.uri: expected an https URL',
    ],
    [
      'nothing to verify tokens with',
      { credentials: without('jwks') },
      'credentials.0.jwks: expected `jwks`, `introspection`, or both',
    ],
    [
      'an introspection without a way to say who asks',
      { credentials: entry('introspection: { endpoint: "https://a.example/i", client_id: m }') },
      'credentials.0.introspection: expected exactly one of `client_secret_file`, `private_key_file` and `tls`',
    ],
    [
      'an introspection with two ways',
      {
        credentials: entry(
          'introspection: { endpoint: "https://a.example/i", client_id: m, client_secret_file: s, private_key_file: k }',
        ),
      },
      'credentials.0.introspection: expected exactly one of `client_secret_file`, `private_key_file` and `tls`',
    ],
    [
      'an introspection over plain http',
      {
        credentials: entry(
          'introspection: { endpoint: "http://127.0.0.1/i", client_id: m, client_secret_file: s }',
        ),
      },
      'credentials.0.introspection.endpoint: expected an https URL',
    ],
    [
      'signed answers that nothing verifies',
      {
        credentials: without('jwks').replace(
          ' }]',
          ', introspection: { endpoint: "https://a.example/i", client_id: m, client_secret_file: s, signed: true } }]',
        ),
      },
      'credentials.0.introspection.signed: signed answers are verified with `jwks`',
    ],
    [
      'a revocation over plain http',
      {
        credentials: entry(
          'revocation: { endpoint: "http://a.example/r", client_id: m, client_secret_file: s }',
        ),
      },
      'credentials.0.revocation.endpoint: expected an https URL',
    ],
    [
      'a nonce for proofs that are not checked',
      { credentials: entry('dpop_nonce: {}') },
      'credentials.0.dpop_nonce: proofs are not checked',
    ],
    [
      'a proof that nobody can give',
      { credentials: entry('require_proof: [irreversible_action]') },
      'credentials.0.require_proof: nobody could prove anything',
    ],
    [
      'a proof of what needs no credential',
      { credentials: entry('require_proof: [non_consequential]') },
      'credentials.0.require_proof.0: expected',
    ],
    [
      'another way to tell of certificates',
      { credentials: entry('mtls: header') },
      'credentials.0.mtls: expected "xfcc", found a string',
    ],
    [
      'certificates on the control listener',
      { control: `{ issuers: ${entry('mtls: xfcc')} }` },
      'control.issuers.0.mtls: this is for `credentials` alone',
    ],
    [
      'proofs on a control listener that is nowhere',
      { control: `{ issuers: ${entry('dpop: required')} }` },
      'control.issuers.0.dpop: a proof is for a url: `control.origin` must say where this listener is',
    ],
    [
      'two key sources',
      { credentials: entry('jwks: { file: keys.json, uri: "https://a.example/k" }') },
      'credentials.0.jwks',
    ],
    [
      'a key set that is not there',
      { credentials: entry('jwks: { file: nothing.json }') },
      'nothing.json` cannot be read',
    ],
    [
      'a key that nobody knows',
      { credentials: entry('dpop_window: 60s') },
      'credentials.0.dpop_window: this key is not known',
    ],
    [
      'the same issuer twice',
      { credentials: `${entry('name: a').slice(0, -1)}, ${entry('name: b').slice(1)}` },
      'credentials.1.issuer: the same issuer twice',
    ],
    [
      'the same name twice',
      {
        credentials: `${entry('issuer: "https://a"').slice(0, -1)}, ${entry('issuer: "https://b"').slice(1)}`,
      },
      'credentials.1.name: the same name twice',
    ],
    ['no policies', { policies: '{}' }, 'policies: expected `cedar`, `opa` or both'],
    [
      'a folder of policies that is not there',
      { policies: '{ cedar: nowhere }' },
      'policies.cedar: the folder',
    ],
    [
      'plaintext beyond this machine',
      { check: '{ listen: "0.0.0.0:9191" }' },
      'check.listen: plaintext is for loopback and unix sockets only',
    ],
    [
      'a control listener for everybody',
      { control: '{ listen: "[::]:9192" }' },
      'control.listen: plaintext is for loopback',
    ],
    ['no port', { check: '{ listen: "127.0.0.1" }' }, 'check.listen: expected `HOST:PORT` or `unix:PATH`'],
    [
      'a budget that is widened',
      { budgets: '{ consequential_read: 2m }' },
      'budgets.consequential_read: expected at most `60s`',
    ],
    [
      'a budget of a class that has none',
      { budgets: '{ irreversible_action: 1s }' },
      'budgets.irreversible_action: this key is not known',
    ],
    ['a duration without a unit', { budgets: '{ consequential_read: "60" }' }, 'expected a duration such as'],
    ['too much tolerance', { clock_tolerance_s: '61' }, 'clock_tolerance_s: '],
    [
      'another word for a setting',
      { actors: 'always' },
      'actors: expected "optional" or "required", found a string',
    ],
    ['another engine', { store: '{ engine: etcd }' }, 'store.engine: expected `sqlite` or `redis`'],
    ['a folder of the other engine', { store: '{ engine: redis, path: data }' }, 'store.url: '],
    [
      'a store in the clear on the network',
      { store: '{ engine: redis, url: "redis://store.example" }' },
      'store.url: `redis://` is for loopback only',
    ],
    [
      'a store of another protocol',
      { store: '{ engine: redis, url: "http://127.0.0.1:6379" }' },
      'store.url: expected `redis://…` or `rediss://…`',
    ],
    [
      'a tenant that would leave its keys',
      { store: '{ engine: redis, url: "redis://127.0.0.1", tenant: "a}b" }' },
      'store.tenant: expected letters, digits',
    ],
    [
      'something vouched for that says nothing',
      { store: '{ engine: redis, url: "redis://127.0.0.1", assume: ["safe"] }' },
      'store.assume.0: expected what is vouched for',
    ],
    [
      'a database without a number',
      { store: '{ engine: redis, url: "redis://127.0.0.1/one" }' },
      'store.url: expected the number of a database',
    ],
    [
      'two passwords',
      { store: '{ engine: redis, url: "redis://u:p@127.0.0.1", password_file: x }' },
      'store.password_file: the password stands in `store.url` already',
    ],
    [
      'a server that is not there',
      { store: '{ engine: redis, url: "redis://127.0.0.1:1" }' },
      'store: the server does not answer',
    ],
    ['a table of actions that is not there', { actions: 'nothing.yaml' }, 'nothing.yaml` cannot be read'],
    ['a key twice', { 'issuer ': 'https://other.example' }, 'Map keys must be unique'],
    ['a log that cannot be opened', { log: '{ decisions: /proc/nothing/decisions }' }, 'log.decisions: '],
  ])('%s', async (_, replaced, message) => {
    expect((await checkWith(replaced)).problems).toContain(message);
  });

  test.each([
    ['a private key', { d: 'x', kty: 'EC' }],
    ['a symmetric key', { kty: 'oct', k: 'c2VjcmV0' }],
  ])('%s in the key set', async (_, key) => {
    expect((await checkWith({}, { 'keys.json': JSON.stringify({ keys: [key] }) })).problems).toContain(
      'private or symmetric key',
    );
  });

  test.each([
    [
      'an unknown class',
      '{ match: { methods: [GET], path: /x }, class: harmless }',
      'operations.0.class: expected "non_consequential" or',
    ],
    [
      'a harmless write',
      '{ match: { methods: [GET, POST], path: /x }, class: non_consequential }',
      'operations.0.class: only GET, HEAD and OPTIONS',
    ],
    [
      'a harmless tool',
      '{ match: { tool: x.y }, class: non_consequential }',
      'operations.0.class: only GET, HEAD and OPTIONS',
    ],
    [
      'every method harmless',
      '{ match: { path: /x }, class: non_consequential }',
      'operations.0.class: only GET, HEAD and OPTIONS',
    ],
    [
      'a name that the path lacks',
      '{ match: { path: "/x/{a}" }, resource: "https://x/{b}" }',
      'operations.0.resource: `{b}` is not a name of the path',
    ],
    [
      'a path that no request can have',
      '{ match: { path: "/x/../y" } }',
      'operations.0.match.path: the path has a dot segment',
    ],
    [
      'half a segment',
      '{ match: { path: "/x-{a}" } }',
      'operations.0.match.path: expected `{name}` for a whole segment',
    ],
    [
      'a source that is none',
      '{ match: { path: /x }, parameters: { a: "cookie:b" } }',
      'operations.0.parameters.a',
    ],
    [
      'a parameter from nowhere',
      '{ match: { path: /x }, parameters: { a: string } }',
      'operations.0.parameters.a: expected where it comes from',
    ],
    [
      'a parameter type that is none',
      '{ match: { tool: t }, parameters: { a: { type: float } } }',
      'operations.0.parameters.a',
    ],
    [
      'a parameter of two types',
      '{ match: { tool: t }, parameters: { a: long } }, { match: { tool: t }, parameters: { a: string } }',
      'the parameter `a` of the action `t` has two types',
    ],
  ])('actions.yaml, %s', async (_, operations, message) => {
    expect(
      (await checkWith({ actions: 'actions.yaml' }, { 'actions.yaml': `operations: [${operations}]\n` }))
        .problems,
    ).toContain(message);
  });

  test('never repeats a value that may be a secret', async () => {
    const { problems } = await checkWith({ permit_validity_ms: '"s3cret-in-the-wrong-place"' });
    expect(problems).not.toContain('s3cret');
  });

  test('a store that another process has open', async () => {
    const { code, stderr } = await mandated('check', '--config', sidecar.config_file);
    expect([code, stderr]).toEqual([2, expect.stringContaining('another process has the store open')]);
  });

  test('a token file that others could have guessed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mandated-token-'));
    const file = join(folder, 'token');
    writeFileSync(file, 'short\n');
    chmodSync(file, 0o600);
    expect(
      (
        await checkWith({
          control: `{ listen: "127.0.0.1:0", token_file: ${JSON.stringify(file)} }`,
        })
      ).problems,
    ).toContain('fewer than 32 characters');
  });
});
