/** The control listener: proposals and their approval, mandates and what may be done to them, and who may do it. */
import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Json, type JsonObject, isObject } from '../../src/core/json.ts';
import { anchor } from '../../src/core/mandate/anchors.ts';
import type { AnchorType } from '../../src/core/mandate/record.ts';
import { sha256 } from '../../src/digest.ts';
import { type Answered, ask, askEnvoyDoor } from '../support/ask.ts';
import { AS, GIT, MANDATES, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';

let sidecar: Sidecar;
let operator_token: string;

beforeAll(async () => {
  sidecar = await startSidecar();
  operator_token = readFileSync(sidecar.token_file, 'utf8').trim();
});

afterAll(() => sidecar.discard());

// --- asking ----------------------------------------------------------------------------------------------------

/** Sends this text, or this value as JSON, as the operator. */
function call(method: string, path: string, body?: Json, text?: string): Promise<Answered> {
  const sent = text ?? (body === undefined ? undefined : JSON.stringify(body));
  return ask(sidecar.control_port, {
    method,
    path,
    headers: {
      authorization: `Bearer ${operator_token}`,
      ...(sent === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(sent === undefined ? {} : { body: sent }),
  });
}

interface Expected {
  readonly status: number;
  readonly reason: string;
  readonly field?: RegExp;
}

function expectProblem(
  { status, headers, body }: Answered,
  { status: wanted, reason, field }: Expected,
): void {
  expect({ status, reason: body['reason'] }).toEqual({ status: wanted, reason });
  expect(headers['content-type']).toMatch(/^application\/problem\+json/);
  expect(body).toMatchObject({ status: wanted, type: expect.any(String), title: expect.any(String) });
  if (field !== undefined) expect(body['field']).toMatch(field);
}

const text = (value: Json | undefined): string => String(value);

const statusesOf = (answers: readonly Answered[]): readonly number[] =>
  answers.map(({ status }) => status).toSorted((a, b) => a - b);

interface Proposal {
  readonly id: string;
  readonly hash: string;
  readonly path: string;
}

async function propose(body: JsonObject = proposalBody()): Promise<Proposal> {
  const { status, body: answer } = await call('POST', '/v1/proposals', body);
  expect(status).toBe(202);
  const id = text(answer['submission_id']);
  return { id, hash: text(answer['proposal_hash']), path: `/v1/proposals/${id}` };
}

const approve = ({ path, hash }: Proposal, more: JsonObject = {}): Promise<Answered> =>
  call('POST', `${path}/approve`, { proposal_hash: hash, ...more });

const statusOf = async ({ path }: Proposal): Promise<Json | undefined> =>
  (await call('GET', path)).body['status'];

const pathOf = (record: JsonObject): string => `/v1/mandates/${text(record['id'])}`;

const operate = (record: JsonObject, operation: string, body: JsonObject = {}): Promise<Answered> =>
  call('POST', `${pathOf(record)}/${operation}`, body);

const show = async (record: JsonObject): Promise<JsonObject> => (await call('GET', pathOf(record))).body;

const itemsOf = ({ body }: Answered): readonly JsonObject[] =>
  (Array.isArray(body['items']) ? body['items'] : []).filter(isObject);

const historyOf = async (record: JsonObject): Promise<readonly JsonObject[]> =>
  itemsOf(await call('GET', `${pathOf(record)}/history`));

interface Standing {
  readonly record: JsonObject;
  readonly history: readonly JsonObject[];
}

/** All that is known of a mandate: what a refused or repeated call must leave as it was. */
const standing = async (record: JsonObject): Promise<Standing> => ({
  record: await show(record),
  history: await historyOf(record),
});

const INTENT = proposalBody()['intent'] as JsonObject;
const ENTRY = (proposalBody()['authorization_details'] as JsonObject[])[0]!;
const APP = text(ENTRY['resource']);

const withIntent = (replaced: JsonObject): JsonObject => proposalBody({ intent: { ...INTENT, ...replaced } });
const withEntry = (replaced: JsonObject): JsonObject =>
  proposalBody({ authorization_details: [{ ...ENTRY, ...replaced }] });

const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/) as unknown;
const OPERATOR = { iss: MANDATES, sub: 'operator' };
const hours = (count: number): string => new Date(Date.now() + count * 3_600_000).toISOString();

// --- who may ask -----------------------------------------------------------------------------------------------

describe('the operator token (design/7, "Control listener")', () => {
  test('lies in the store’s folder, readable by its owner alone', () => {
    expect((statSync(sidecar.token_file).mode & 0o777).toString(8)).toBe('600');
    expect(operator_token.length).toBeGreaterThanOrEqual(22);
  });

  const authorizations: readonly (readonly [name: string, make: () => string | string[] | undefined])[] = [
    ['nothing', () => undefined],
    ['an empty one', () => ''],
    ['no token', () => 'Bearer'],
    ['another token', () => `Bearer ${'x'.repeat(operator_token.length)}`],
    ['its beginning', () => `Bearer ${operator_token.slice(0, -1)}`],
    ['more than it', () => `Bearer ${operator_token}x`],
    ['another case', () => `Bearer ${operator_token.toUpperCase()}`],
    ['another scheme', () => `Basic ${Buffer.from(`operator:${operator_token}`).toString('base64')}`],
    ['no scheme', () => operator_token],
    ['two of them in a line', () => `Bearer ${operator_token}, Bearer ${operator_token}`],
  ];

  test.each(authorizations)('401 for %s', async (_name, make) => {
    const authorization = make();
    const headers = authorization === undefined ? {} : { authorization };
    for (const [method, path] of [
      ['GET', '/v1/mandates'],
      ['GET', '/v1/mandates/msn_unknown'],
      ['POST', '/v1/proposals'],
    ] as const) {
      const answered = await ask(sidecar.control_port, { method, path, headers });
      expectProblem(answered, { status: 401, reason: 'unauthorized' });
      // RFC 9110, section 15.5.2
      expect(answered.headers['www-authenticate']).toMatch(/^Bearer\b/);
    }
  });

  test('401 for the token of an agent: control.issuers is not served yet', async () => {
    const headers = { authorization: `Bearer ${await sidecar.issuer.mint()}` };
    const answered = await ask(sidecar.control_port, { path: '/v1/mandates', headers });
    expectProblem(answered, { status: 401, reason: 'unauthorized' });
  });

  test('two Authorization lines are refused', async () => {
    const headers = { authorization: [`Bearer ${operator_token}`, 'Bearer other'] };
    const { status } = await ask(sidecar.control_port, { path: '/v1/mandates', headers });
    expect([400, 401, 403]).toContain(status);
  });

  test.each(['/livez', '/readyz', '/metrics'])('%s needs none', async (path) => {
    expect((await ask(sidecar.control_port, { path })).status).toBe(200);
  });

  test('control calls are not at the check listener', async () => {
    const headers = { authorization: `Bearer ${operator_token}` };
    expect((await ask(sidecar.check_port, { path: '/v1/mandates', headers })).status).toBe(404);
  });
});

test('a restart keeps the token and every record', async () => {
  const first = await startSidecar();
  const record = await first.mandate();
  const token = readFileSync(first.token_file, 'utf8');
  const path = pathOf(record);
  await first.control('POST', `${path}/suspend`, { reason: 'a restart', nonce: 'n1' });
  const { body: before } = await first.control('GET', path);
  await first.stop();
  const second = await startSidecar({ folder: first.folder, issuer: first.issuer });
  try {
    expect(readFileSync(second.token_file, 'utf8')).toBe(token);
    expect((statSync(second.token_file).mode & 0o777).toString(8)).toBe('600');
    expect((await second.control('GET', path)).body).toEqual(before);
    const again = await second.control('POST', `${path}/suspend`, { reason: 'a restart', nonce: 'n1' });
    expect(again).toMatchObject({ status: 200, body: { state: 'suspended', version: 2 } });
  } finally {
    await second.discard();
  }
});

// --- proposals -------------------------------------------------------------------------------------------------

const anchorOf = (typ: AnchorType, value: Json): string => anchor(sha256, MANDATES, typ, value);

describe('a proposal', () => {
  test('is answered with 202, its hash and its end', async () => {
    const { status, body } = await call('POST', '/v1/proposals', proposalBody());
    expect(status).toBe(202);
    expect(body).toMatchObject({ submission_id: expect.any(String), status: 'pending', expires_at: TIME });
    const lapses_in = Date.parse(text(body['expires_at'])) - Date.now();
    expect(Math.abs(lapses_in - 24 * 3_600_000)).toBeLessThan(60_000);
    const { authorization_details } = proposalBody();
    expect(body['proposal_hash']).toBe(anchorOf('mission-proposed-authority', authorization_details!));
  });

  test('is pending, then approved, and names its mission', async () => {
    const proposal = await propose();
    expect((await call('GET', proposal.path)).body).toMatchObject({ status: 'pending' });
    expect((await call('GET', proposal.path)).body).not.toHaveProperty('mission_id');
    const { status, body } = await approve(proposal);
    expect(status).toBe(201);
    expect((await call('GET', proposal.path)).body).toMatchObject({
      status: 'approved',
      mission_id: body['id'],
    });
  });

  test('its approval answers the record (design/2)', async () => {
    const proposed = proposalBody();
    const { body } = await approve(await propose(proposed), { approval_event_id: 'ape_of_this_test' });
    const id = text(body['id']);
    expect(id).toMatch(/^msn_[A-Za-z0-9_-]{22,}$/);
    expect(body).toMatchObject({
      issuer: MANDATES,
      state: 'active',
      version: 1,
      intent: proposed['intent'],
      authority_set: proposed['authorization_details'],
      subject: proposed['subject'],
      approver: OPERATOR,
      approval_basis: { type: 'direct' },
      approval_event_id: 'ape_of_this_test',
      policy_version: expect.any(String),
      client_id: 'agent-1',
      client_issuer: AS,
      created_at: TIME,
      expires_at: (proposed['intent'] as JsonObject)['expires_at'],
      lineage: [id],
      depth: 0,
    });
    expect(body).not.toHaveProperty('parent');
    expect(await show(body)).toEqual(body);
  });

  test('commits to what was wanted, proposed and granted', async () => {
    const proposed = proposalBody();
    const granted = [{ ...ENTRY, actions: ['repo.read'] }];
    const { body } = await approve(await propose(proposed), { authorization_details: granted });
    expect(body).toMatchObject({
      intent_hash: anchorOf('mission-intent', proposed['intent']!),
      proposal_hash: anchorOf('mission-proposed-authority', proposed['authorization_details']!),
      authority_hash: anchorOf('mission-authority-set', granted),
      proposed_authority: proposed['authorization_details'],
      authority_set: granted,
    });
  });

  test('may name another issuer for its client', async () => {
    const { body } = await approve(await propose(proposalBody({ client_issuer: 'https://other.example' })));
    expect(body).toMatchObject({ client_id: 'agent-1', client_issuer: 'https://other.example' });
  });

  test('approved under another hash: 409, and it stays pending', async () => {
    const proposal = await propose();
    const hash = `sha-256:${'A'.repeat(43)}`;
    expectProblem(await approve({ ...proposal, hash }), { status: 409, reason: 'conflict' });
    expect(await statusOf(proposal)).toBe('pending');
    expect((await approve(proposal)).status).toBe(201);
  });

  test('approved twice: 409, but the same record for the same event', async () => {
    const proposal = await propose();
    const { body } = await approve(proposal, { approval_event_id: 'once' });
    expect((await approve(proposal, { approval_event_id: 'once' })).body).toEqual(body);
    expectProblem(await approve(proposal, { approval_event_id: 'twice' }), {
      status: 409,
      reason: 'conflict',
    });
    expectProblem(await approve(proposal), { status: 409, reason: 'conflict' });
    expect(await show(body)).toEqual(body);
  });

  test('denied: never approved', async () => {
    const proposal = await propose();
    expect((await call('POST', `${proposal.path}/deny`, { reason: 'not now' })).status).toBe(200);
    expect(await statusOf(proposal)).toBe('denied');
    expectProblem(await approve(proposal), { status: 409, reason: 'conflict' });
    expect(await statusOf(proposal)).toBe('denied');
  });

  test('approved: no longer denied', async () => {
    const proposal = await propose();
    const { body } = await approve(proposal);
    expectProblem(await call('POST', `${proposal.path}/deny`, {}), { status: 409, reason: 'conflict' });
    expect(await show(body)).toMatchObject({ state: 'active' });
  });

  test('of eight approvals at once one wins', async () => {
    const proposal = await propose();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_each, at) => approve(proposal, { approval_event_id: `race-${at}` })),
    );
    expect(statusesOf(answers)).toEqual([201, ...Array<number>(7).fill(409)]);
    const { body } = await call('GET', proposal.path);
    const won = answers.find(({ status }) => status === 201)!;
    expect(body).toMatchObject({ status: 'approved', mission_id: won.body['id'] });
  });

  test('of an approval and a denial at once one wins', async () => {
    const proposal = await propose();
    const [approved, denied] = await Promise.all([
      approve(proposal),
      call('POST', `${proposal.path}/deny`, {}),
    ]);
    expect([approved.status, denied.status]).toSatisfy(
      ([one, other]: readonly number[]) => (one === 201 && other === 409) || (one === 409 && other === 200),
    );
    expect(await statusOf(proposal)).toBe(approved.status === 201 ? 'approved' : 'denied');
  });
});

type Narrowing = readonly [name: string, proposed: JsonObject, granted: readonly JsonObject[]];

const exact = (resource: string): JsonObject => ({ ...ENTRY, resource, resource_match: 'exact' });
const prefix = (resource: string): JsonObject => ({ ...ENTRY, resource });
const actions = (...names: string[]): JsonObject => ({ ...ENTRY, actions: names });
const TWO = proposalBody({ authorization_details: [ENTRY, prefix(`${GIT}/repos/example/docs`)] });

const NARROWER: readonly Narrowing[] = [
  ['the same', proposalBody(), [ENTRY]],
  ['one action of a family', proposalBody(), [actions('repo.read')]],
  ['a family inside a family', proposalBody(), [actions('repo.issues.*')]],
  ['further down', proposalBody(), [prefix(`${APP}/contents`)]],
  ['exactly the same resource', proposalBody(), [exact(APP)]],
  ['one thing further down', proposalBody(), [exact(`${APP}/contents/README.md`)]],
  ['one entry of two', TWO, [prefix(`${GIT}/repos/example/docs`)]],
  ['two parts of one entry', proposalBody(), [prefix(`${APP}/a`), prefix(`${APP}/b`)]],
];

const BROADER: readonly Narrowing[] = [
  ['an action of another family', proposalBody(), [actions('repo.read', 'admin.grant')]],
  ['a family for an action', withEntry({ actions: ['repo.read'] }), [ENTRY]],
  ['a family that only begins alike', proposalBody(), [actions('repository.read')]],
  ['the name of the family itself', proposalBody(), [actions('repo')]],
  ['a resource further up', proposalBody(), [prefix(`${GIT}/repos/example`)]],
  ['a resource beside it that begins alike', proposalBody(), [prefix(`${APP}2`)]],
  ['another host', proposalBody(), [prefix('https://evil.example/repos/example/app')]],
  ['another scheme', proposalBody(), [prefix(APP.replace('https', 'http'))]],
  ['another port', proposalBody(), [prefix(APP.replace(GIT, `${GIT}:8443`))]],
  ['a prefix for an exact', withEntry({ resource_match: 'exact' }), [ENTRY]],
  ['below an exact', withEntry({ resource_match: 'exact' }), [exact(`${APP}/x`)]],
  ['one entry more', proposalBody(), [ENTRY, prefix(`${GIT}/repos/example/docs`)]],
  ['an entry that only two together cover', TWO, [prefix(`${GIT}/repos/example`)]],
  ['a constraint dropped', withEntry({ constraints: { tenant: 'acme' } }), [ENTRY]],
  [
    'a constraint changed',
    withEntry({ constraints: { tenant: 'acme' } }),
    [{ ...ENTRY, constraints: { tenant: 'b' } }],
  ],
];

describe('an approval may grant less (design/2, "Attenuation"), never more', () => {
  test.each(NARROWER)('%s', async (_name, proposed, granted) => {
    const { status, body } = await approve(await propose(proposed), { authorization_details: granted });
    expect({ status, authority_set: body['authority_set'] }).toEqual({ status: 201, authority_set: granted });
    expect(body['proposed_authority']).toEqual(proposed['authorization_details']);
  });

  test.each(BROADER)('%s: 422, and it stays pending', async (_name, proposed, granted) => {
    const proposal = await propose(proposed);
    const answered = await approve(proposal, { authorization_details: granted });
    expectProblem(answered, { status: 422, reason: 'not_strict_subset' });
    expect(await statusOf(proposal)).toBe('pending');
  });

  test('an encoded slash never separates: such a grant is refused, as broader or as bad input', async () => {
    const proposal = await propose();
    const authorization_details = [prefix(`${APP}%2Fcontents`)];
    expect([400, 422]).toContain((await approve(proposal, { authorization_details })).status);
    expect(await statusOf(proposal)).toBe('pending');
  });

  test('the narrower grant is what the next decision knows', async () => {
    const { body } = await approve(await propose(), { authorization_details: [actions('repo.push')] });
    const answered = await askEnvoyDoor(sidecar.check_port, await sidecar.tokenFor(body));
    expect({ status: answered.status, reason: answered.body['reason'] }).toEqual({
      status: 403,
      reason: 'out_of_authority',
    });
  });

  test('an end that is sooner', async () => {
    const expires_at = hours(1);
    const { status, body } = await approve(await propose(), { expires_at });
    expect({ status, at: Date.parse(text(body['expires_at'])) }).toEqual({
      status: 201,
      at: Date.parse(expires_at),
    });
    expect((body['intent'] as JsonObject)['expires_at']).not.toBe(expires_at);
  });

  test('an end that is later is refused', async () => {
    const proposal = await propose();
    expectProblem(await approve(proposal, { expires_at: hours(9) }), {
      status: 422,
      reason: 'not_strict_subset',
    });
    expect(await statusOf(proposal)).toBe('pending');
  });

  test.each<readonly [string, JsonObject, RegExp]>([
    ['no hash', { proposal_hash: null }, /^proposal_hash$/],
    ['a hash that is a number', { proposal_hash: 5 }, /^proposal_hash$/],
    ['an end that has passed', { expires_at: hours(-1) }, /^expires_at$/],
    ['an end that is no time', { expires_at: 'tomorrow' }, /^expires_at$/],
    ['entries that are no list', { authorization_details: ENTRY }, /^authorization_details/],
    ['an entry with action *', { authorization_details: [actions('*')] }, /^authorization_details.*actions/],
    ['an event that is a number', { approval_event_id: 5 }, /^approval_event_id$/],
    ['an unknown member', { surprise: true }, /^surprise$/],
  ])('%s: 400 with its field, and it stays pending', async (_name, more, field) => {
    const proposal = await propose();
    expectProblem(await approve(proposal, more), { status: 400, reason: 'invalid_request', field });
    expect(await statusOf(proposal)).toBe('pending');
  });

  test.each<readonly [string, JsonObject]>([
    ['a bound of another shape', { max_calls: [{ call_class: 'x', count: 5 }] }],
    ['an amount that is none', { max_budget: { amount: '1e3', currency: 'EUR' } }],
    ['a negative one', { max_budget: { amount: '-1', currency: 'EUR' } }],
    ['an unknown one', { acr: 'urn:example:acr:mfa' }],
  ])('controls that cannot be enforced are kept, and refuse approval: %s', async (_name, controls) => {
    const proposal = await propose(withIntent({ controls }));
    const { status, headers } = await approve(proposal);
    expect(status).toBe(422);
    expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(await statusOf(proposal)).toBe('pending');
  });
});

// --- bad input -------------------------------------------------------------------------------------------------

const BAD: readonly (readonly [name: string, body: JsonObject, field: RegExp])[] = [
  ['an unknown member', proposalBody({ surprise: 1 }), /^surprise$/],
  ['an unknown member of the intent', withIntent({ surprise: 1 }), /^intent\W+surprise$/],
  ['an unknown member of an entry', withEntry({ surprise: 1 }), /^authorization_details\W+0\W+surprise$/],
  [
    'an unknown member of the subject',
    proposalBody({ subject: { iss: AS, sub: 'alice', x: 1 } }),
    /^subject\W+x$/,
  ],
  ['no intent', proposalBody({ intent: null }), /^intent$/],
  ['an intent that is a text', proposalBody({ intent: 'release' }), /^intent$/],
  ['no goal', withIntent({ goal: null }), /^intent\W+goal$/],
  ['a goal that is a number', withIntent({ goal: 5 }), /^intent\W+goal$/],
  ['a goal of 60,000 characters', withIntent({ goal: 'x'.repeat(60_000) }), /^intent\W+goal$/],
  ['a purpose of 60,000 characters', withIntent({ purpose: 'x'.repeat(60_000) }), /^intent\W+purpose$/],
  ['a purpose that is a list', withIntent({ purpose: ['release'] }), /^intent\W+purpose$/],
  ['resources that are a text', withIntent({ resources: APP }), /^intent\W+resources$/],
  ['resources that are numbers', withIntent({ resources: [5] }), /^intent\W+resources/],
  [
    'success criteria that are a text',
    withIntent({ success_criteria: 'done' }),
    /^intent\W+success_criteria/,
  ],
  ['controls that are a list', withIntent({ controls: [] }), /^intent\W+controls/],
  ['no end', withIntent({ expires_at: null }), /^intent\W+expires_at$/],
  ['an end that has passed', withIntent({ expires_at: hours(-1) }), /^intent\W+expires_at$/],
  ['an end that is a number', withIntent({ expires_at: 1_900_000_000 }), /^intent\W+expires_at$/],
  ['an end that is a day', withIntent({ expires_at: '2099-01-01' }), /^intent\W+expires_at$/],
  ['an end without a zone', withIntent({ expires_at: '2099-01-01T00:00:00' }), /^intent\W+expires_at$/],
  [
    'an end on a day that is none',
    withIntent({ expires_at: '2099-02-30T00:00:00Z' }),
    /^intent\W+expires_at$/,
  ],
  ['no entries', proposalBody({ authorization_details: null }), /^authorization_details$/],
  ['entries that are no list', proposalBody({ authorization_details: ENTRY }), /^authorization_details$/],
  [
    'an entry that is a text',
    proposalBody({ authorization_details: ['all'] }),
    /^authorization_details\W+0$/,
  ],
  ['another type', withEntry({ type: 'payment_initiation' }), /^authorization_details\W+0\W+type$/],
  ['no resource', withEntry({ resource: null }), /^authorization_details\W+0\W+resource$/],
  [
    'a relative resource',
    withEntry({ resource: '/repos/example/app' }),
    /^authorization_details\W+0\W+resource$/,
  ],
  [
    'a resource without a scheme',
    withEntry({ resource: 'git.example/x' }),
    /^authorization_details\W+0\W+resource$/,
  ],
  [
    'a resource with dot segments',
    withEntry({ resource: `${GIT}/a/../b` }),
    /^authorization_details\W+0\W+resource$/,
  ],
  [
    'an unknown match',
    withEntry({ resource_match: 'regex' }),
    /^authorization_details\W+0\W+resource_match$/,
  ],
  ['action *', withEntry({ actions: ['*'] }), /^authorization_details\W+0\W+actions/],
  ['action *.read', withEntry({ actions: ['*.read'] }), /^authorization_details\W+0\W+actions/],
  ['action repo.**', withEntry({ actions: ['repo.**'] }), /^authorization_details\W+0\W+actions/],
  ['action repo.*.x', withEntry({ actions: ['repo.*.x'] }), /^authorization_details\W+0\W+actions/],
  ['an empty action', withEntry({ actions: [''] }), /^authorization_details\W+0\W+actions/],
  ['actions that are a text', withEntry({ actions: 'repo.*' }), /^authorization_details\W+0\W+actions$/],
  [
    'constraints that are a list',
    withEntry({ constraints: [] }),
    /^authorization_details\W+0\W+constraints$/,
  ],
  ['no subject', proposalBody({ subject: null }), /^subject$/],
  ['a subject without sub', proposalBody({ subject: { iss: AS } }), /^subject\W+sub$/],
  ['a subject without iss', proposalBody({ subject: { sub: 'alice' } }), /^subject\W+iss$/],
  ['no client', proposalBody({ client_id: null }), /^client_id$/],
  ['an empty client', proposalBody({ client_id: '' }), /^client_id$/],
  ['a client that is a number', proposalBody({ client_id: 5 }), /^client_id$/],
  ['a client issuer that is a number', proposalBody({ client_issuer: 5 }), /^client_issuer$/],
];

const GOOD = JSON.stringify(proposalBody());

const UNREADABLE: readonly (readonly [name: string, text: string])[] = [
  ['nothing', ''],
  ['no JSON', '{intent}'],
  ['half of it', GOOD.slice(0, -1)],
  ['more than one', `${GOOD}${GOOD}`],
  ['a list', `[${GOOD}]`],
  ['a text', '"release"'],
  ['null', 'null'],
  ['a name twice', `{"client_id":"agent-2",${GOOD.slice(1)}`],
  ['a name twice, once escaped', `{"client\\u005fid":"agent-2",${GOOD.slice(1)}`],
  ['a name twice, deeper', GOOD.replace('"sub":"alice"', '"sub":"bob","sub":"alice"')],
  ['__proto__', `{"__proto__":{"client_id":"agent-1"},${GOOD.slice(1)}`],
  ['half a character', GOOD.replace('Release', '\\ud800')],
  ['a number beyond all bounds', `{"x":1e999,${GOOD.slice(1)}`],
  ['depth', `{"x":${'['.repeat(5000)}${']'.repeat(5000)},${GOOD.slice(1)}`],
];

/** How far the log is after one more proposal and its approval. */
async function sequenceAfterOneMore(): Promise<number> {
  const { body } = await approve(await propose());
  return Number((await historyOf(body))[0]!['seq']);
}

describe('bad input: 400, the field, and nothing is stored', () => {
  let before: number;

  beforeAll(async () => {
    before = await sequenceAfterOneMore();
  });

  test.each(BAD)('%s', async (_name, body, field) => {
    expectProblem(await call('POST', '/v1/proposals', body), {
      status: 400,
      reason: 'invalid_request',
      field,
    });
  });

  test.each(UNREADABLE)('%s', async (_name, sent) => {
    expectProblem(await call('POST', '/v1/proposals', undefined, sent), {
      status: 400,
      reason: 'invalid_request',
    });
  });

  test.each<readonly [string, JsonObject]>([
    ['10,000 entries', proposalBody({ authorization_details: Array<JsonObject>(10_000).fill(ENTRY) })],
    ['2,000 entries', proposalBody({ authorization_details: Array<JsonObject>(2000).fill(ENTRY) })],
    ['10,000 actions', withEntry({ actions: Array.from({ length: 10_000 }, (_each, at) => `repo.a${at}`) })],
    ['10,000 resources', withIntent({ resources: Array<string>(10_000).fill(APP) })],
    ['a goal of 2 MiB', withIntent({ goal: 'x'.repeat(2 * 1024 * 1024) })],
  ])('%s: refused, as too much or as too many', async (_name, body) => {
    const { status, body: answer } = await call('POST', '/v1/proposals', body);
    expect([400, 413]).toContain(status);
    expect(answer['reason']).toBe('invalid_request');
    if (status === 400) expect(answer['field']).toMatch(/^(authorization_details|intent)/);
  });

  test('nothing of all this is in the log', async () => {
    const after = await sequenceAfterOneMore();
    const next = await sequenceAfterOneMore();
    expect(after - before).toBe(next - after);
  });
});

// --- operations ------------------------------------------------------------------------------------------------

const NOTHING_STOPS = {
  stop_issuance: false,
  revoke_tokens: false,
  cancel_queued: false,
  interrupt_in_flight: false,
  pause: false,
};

describe('suspend, resume, revoke', () => {
  test('each answers the state, the version, what stops, and where it stands in the log', async () => {
    const record = await sidecar.mandate();
    const { id } = record;
    const suspended = await operate(record, 'suspend', { reason: 'an audit', nonce: 'n1' });
    const resumed = await operate(record, 'resume', { expected_version: 2 });
    const revoked = await operate(record, 'revoke', { reason: 'the end', expected_version: 3 });
    const common = {
      id,
      acknowledged: expect.stringMatching(/^(applied|durable|enforced)$/),
      cascaded: 0,
      freshness: { epoch: expect.any(Number), seq: expect.any(Number), eid: expect.any(String) },
    };
    expect(suspended).toMatchObject({ status: 200, body: { ...common, state: 'suspended', version: 2 } });
    expect(suspended.body['stop']).toMatchObject({ ...NOTHING_STOPS, stop_issuance: true, pause: true });
    expect(resumed).toMatchObject({ status: 200, body: { ...common, state: 'active', version: 3 } });
    expect(resumed.body['stop']).toMatchObject(NOTHING_STOPS);
    expect(revoked).toMatchObject({ status: 200, body: { ...common, state: 'revoked', version: 4 } });
    expect(revoked.body['stop']).toMatchObject({
      stop_issuance: true,
      revoke_tokens: true,
      cancel_queued: true,
      interrupt_in_flight: true,
      pause: false,
    });
    expect(await show(record)).toMatchObject({ id, state: 'revoked', version: 4 });
    const history = await historyOf(record);
    expect(history.map((item) => item['seq'])).toEqual([
      history[0]!['seq'],
      ...[suspended, resumed, revoked].map(({ body }) => (body['freshness'] as JsonObject)['seq']),
    ]);
  });

  test('the history keeps who, what, why and when (design/8, "Shapes")', async () => {
    const record = await sidecar.mandate();
    await operate(record, 'suspend', { reason: 'an audit', nonce: 'n1' });
    await operate(record, 'resume', { expected_version: 2 });
    await operate(record, 'revoke', { reason: 'the end' });
    const by = OPERATOR;
    const [approved, ...later] = await historyOf(record);
    expect(approved).toMatchObject({ seq: expect.any(Number), at: TIME, by, state: 'active', version: 1 });
    expect(later).toMatchObject([
      {
        at: TIME,
        by,
        operation: 'suspend',
        reason: 'an audit',
        prior_state: 'active',
        state: 'suspended',
        version: 2,
        nonce: 'n1',
      },
      { at: TIME, by, operation: 'resume', prior_state: 'suspended', state: 'active', version: 3 },
      {
        at: TIME,
        by,
        operation: 'revoke',
        reason: 'the end',
        prior_state: 'active',
        state: 'revoked',
        version: 4,
      },
    ]);
    expect(later[1]).not.toHaveProperty('reason');
    expect(later[1]).not.toHaveProperty('nonce');
    const sequences = [approved!, ...later].map((item) => Number(item['seq']));
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    expect((await show(record))['history']).toEqual([approved, ...later]);
  });

  const endings: readonly (readonly [operation: string, prepare: readonly string[]])[] = [
    ['suspend', ['suspend']],
    ['revoke', ['revoke']],
    ['revoke', ['suspend', 'revoke']],
  ];

  test.each(endings)('%s after %j: an idempotent success, with no event', async (operation, prepare) => {
    const record = await sidecar.mandate();
    for (const each of prepare) expect((await operate(record, each)).status).toBe(200);
    const before = await standing(record);
    const { status, body } = await operate(record, operation, { reason: 'again' });
    const { state, version } = before.record;
    expect({ status, state: body['state'], version: body['version'] }).toEqual({
      status: 200,
      state,
      version,
    });
    expect(await standing(record)).toEqual(before);
  });

  test('resume of an active mandate is a conflict', async () => {
    const record = await sidecar.mandate();
    const before = await standing(record);
    expectProblem(await operate(record, 'resume', { expected_version: 1 }), {
      status: 409,
      reason: 'conflict',
    });
    expect(await standing(record)).toEqual(before);
  });

  test.each(['suspend', 'resume'])('nothing returns from revoked: %s is a conflict', async (operation) => {
    const record = await sidecar.mandate();
    await operate(record, 'revoke');
    const before = await standing(record);
    const body = operation === 'resume' ? { expected_version: 2 } : {};
    expectProblem(await operate(record, operation, body), { status: 409, reason: 'conflict' });
    expect(await standing(record)).toEqual(before);
  });

  test('nor from an end that has passed', async () => {
    const record = await sidecar.mandate(
      withIntent({ expires_at: new Date(Date.now() + 1000).toISOString() }),
    );
    await operate(record, 'suspend');
    const end = Date.parse(text(record['expires_at']));
    await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(end), { timeout: 3000 });
    const resumed = await operate(record, 'resume', { expected_version: 2 });
    expectProblem(resumed, { status: 409, reason: 'conflict' });
    const { status, body } = await askEnvoyDoor(sidecar.check_port, await sidecar.tokenFor(record));
    expect({ status, reason: body['reason'] }).toEqual({ status: 403, reason: 'mission_inactive' });
  });

  test('the state decides at once, at every step', async () => {
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor(record);
    const push = {
      method: 'POST',
      path: '/repos/example/app/git/refs',
      headers: { 'content-type': 'application/json' },
      body: '{"ref":"x"}',
    };
    const decided = async (): Promise<number> => (await askEnvoyDoor(sidecar.check_port, token, push)).status;
    expect(await decided()).toBe(200);
    await operate(record, 'suspend');
    expect(await decided()).toBe(403);
    await operate(record, 'resume', { expected_version: 2 });
    expect(await decided()).toBe(200);
    await operate(record, 'revoke');
    expect(await decided()).toBe(403);
  });
});

describe('expected_version', () => {
  test('resume needs it: 400 with the field', async () => {
    const record = await sidecar.mandate();
    await operate(record, 'suspend');
    const before = await standing(record);
    const wanted = { status: 400, reason: 'invalid_request', field: /^expected_version$/ };
    expectProblem(await operate(record, 'resume'), wanted);
    expect(await standing(record)).toEqual(before);
  });

  test.each([
    ['suspend', 2],
    ['revoke', 2],
    ['revoke', 9],
  ])('%s at version %i of a mandate at 1: 409 stale_version', async (operation, expected_version) => {
    const record = await sidecar.mandate();
    const before = await standing(record);
    expectProblem(await operate(record, operation, { expected_version }), {
      status: 409,
      reason: 'stale_version',
    });
    expect(await standing(record)).toEqual(before);
  });

  test('resume at an earlier version: 409 stale_version', async () => {
    const record = await sidecar.mandate();
    await operate(record, 'suspend');
    expectProblem(await operate(record, 'resume', { expected_version: 1 }), {
      status: 409,
      reason: 'stale_version',
    });
    expect(await show(record)).toMatchObject({ state: 'suspended', version: 2 });
  });

  test('is tested before the same state, and before the transition (design/8, "Operations")', async () => {
    const record = await sidecar.mandate();
    await operate(record, 'revoke');
    const stale = { status: 409, reason: 'stale_version' };
    expectProblem(await operate(record, 'revoke', { expected_version: 1 }), stale);
    expectProblem(await operate(record, 'suspend', { expected_version: 1 }), stale);
    expect((await operate(record, 'revoke', { expected_version: 2 })).status).toBe(200);
  });

  test('of five resumes at once exactly one wins', async () => {
    const record = await sidecar.mandate();
    await operate(record, 'suspend');
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => operate(record, 'resume', { expected_version: 2 })),
    );
    expect(statusesOf(answers)).toEqual([200, 409, 409, 409, 409]);
    for (const answered of answers.filter(({ status }) => status === 409)) {
      expectProblem(answered, { status: 409, reason: 'stale_version' });
    }
    expect(await show(record)).toMatchObject({ state: 'active', version: 3 });
  });

  test('of a suspend and a revoke at once on one version exactly one wins', async () => {
    const record = await sidecar.mandate();
    const [suspended, revoked] = await Promise.all(
      ['suspend', 'revoke'].map((each) => operate(record, each, { expected_version: 1 })),
    );
    expect(statusesOf([suspended!, revoked!])).toEqual([200, 409]);
    const state = suspended!.status === 200 ? 'suspended' : 'revoked';
    expect(await show(record)).toMatchObject({ state, version: 2 });
    expect(await historyOf(record)).toHaveLength(2);
  });

  test('without it a revoke always gets through', async () => {
    const record = await sidecar.mandate();
    const answers = await Promise.all(
      ['suspend', 'revoke', 'suspend', 'revoke'].map((each) => operate(record, each)),
    );
    expect([answers[1]!.status, answers[3]!.status]).toEqual([200, 200]);
    expect(await show(record)).toMatchObject({ state: 'revoked' });
  });
});

describe('nonce: the idempotency key, per mandate, over the whole body', () => {
  test('the same call again has the same answer and no event', async () => {
    const record = await sidecar.mandate();
    const body = { reason: 'an audit', nonce: 'n1' };
    const first = await operate(record, 'suspend', body);
    const before = await standing(record);
    const again = await operate(record, 'suspend', body);
    expect({ status: again.status, body: again.body }).toEqual({ status: 200, body: first.body });
    expect(await standing(record)).toEqual(before);
  });

  test('also when the mandate has moved on', async () => {
    const record = await sidecar.mandate();
    const body = { nonce: 'n1' };
    const first = await operate(record, 'suspend', body);
    await operate(record, 'resume', { expected_version: 2 });
    const before = await standing(record);
    const again = await operate(record, 'suspend', body);
    expect({ status: again.status, body: again.body }).toEqual({ status: 200, body: first.body });
    expect(await standing(record)).toEqual(before);
    expect(before.record['state']).toBe('active');
  });

  test('is tested before expected_version', async () => {
    const record = await sidecar.mandate();
    await operate(record, 'suspend');
    const body = { expected_version: 2, nonce: 'n1' };
    const first = await operate(record, 'resume', body);
    const again = await operate(record, 'resume', body);
    expect({ status: again.status, body: again.body }).toEqual({ status: 200, body: first.body });
  });

  test.each<readonly [string, string, JsonObject]>([
    ['another reason', 'suspend', { reason: 'other', nonce: 'n1' }],
    ['a reason less', 'suspend', { nonce: 'n1' }],
    ['a version more', 'suspend', { reason: 'an audit', expected_version: 2, nonce: 'n1' }],
    ['another operation', 'revoke', { reason: 'an audit', nonce: 'n1' }],
  ])('under it %s is refused', async (_name, operation, body) => {
    const record = await sidecar.mandate();
    await operate(record, 'suspend', { reason: 'an audit', nonce: 'n1' });
    const before = await standing(record);
    expectProblem(await operate(record, operation, body), { status: 409, reason: 'conflict' });
    expect(await standing(record)).toEqual(before);
  });

  test('the members may come in any order', async () => {
    const record = await sidecar.mandate();
    const first = await operate(record, 'suspend', { reason: 'an audit', nonce: 'n1' });
    const again = await operate(record, 'suspend', { nonce: 'n1', reason: 'an audit' });
    expect({ status: again.status, body: again.body }).toEqual({ status: 200, body: first.body });
  });

  test('another mandate has its own', async () => {
    const [one, other] = [await sidecar.mandate(), await sidecar.mandate()];
    await operate(one, 'suspend', { nonce: 'n1' });
    expect((await operate(other, 'revoke', { nonce: 'n1' })).status).toBe(200);
    expect(await show(other)).toMatchObject({ state: 'revoked' });
  });

  test('ten at once are one', async () => {
    const record = await sidecar.mandate();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => operate(record, 'suspend', { nonce: 'n1' })),
    );
    for (const { status, body } of answers) {
      expect({ status, body }).toEqual({ status: 200, body: answers[0]!.body });
    }
    expect(await historyOf(record)).toHaveLength(2);
  });
});

describe('bad input of an operation: 400, the field, and the mandate stays as it is', () => {
  let record: JsonObject;
  let before: Standing;

  beforeAll(async () => {
    record = await sidecar.mandate();
    before = await standing(record);
  });

  test.each<readonly [string, JsonObject, RegExp]>([
    ['an unknown member', { surprise: 1 }, /^surprise$/],
    ['a reason that is a number', { reason: 5 }, /^reason$/],
    ['a reason of 60,000 characters', { reason: 'x'.repeat(60_000) }, /^reason$/],
    ['a version that is a text', { expected_version: '1' }, /^expected_version$/],
    ['a version with a fraction', { expected_version: 1.5 }, /^expected_version$/],
    ['a negative version', { expected_version: -1 }, /^expected_version$/],
    ['a nonce that is a number', { nonce: 5 }, /^nonce$/],
    ['a nonce of 60,000 characters', { nonce: 'x'.repeat(60_000) }, /^nonce$/],
    ['an unknown acknowledgement', { acknowledge: 'maybe' }, /^acknowledge$/],
    ['entries, which are not for it', { entries: [] }, /^entries$/],
    ['suspend_until without its outcome', { suspend_until: hours(1) }, /^on_expiry$/],
    ['an outcome without suspend_until', { on_expiry: 'resume' }, /^suspend_until$/],
    ['suspend_until in the past', { suspend_until: hours(-1), on_expiry: 'resume' }, /^suspend_until$/],
  ])('%s', async (_name, body, field) => {
    expectProblem(await operate(record, 'suspend', body), { status: 400, reason: 'invalid_request', field });
  });

  test.each([
    ['no JSON', '{reason}'],
    ['a list', '[]'],
    ['a text', '"suspend"'],
    ['a name twice', '{"reason":"a","reason":"b"}'],
  ])('%s', async (_name, sent) => {
    const answered = await call('POST', `${pathOf(record)}/suspend`, undefined, sent);
    expectProblem(answered, { status: 400, reason: 'invalid_request' });
  });

  test('the mandate is as it was', async () => expect(await standing(record)).toEqual(before));
});

// --- what is not there, and what is ------------------------------------------------------------------------------

describe('what is not there', () => {
  const calls: readonly { readonly name: string; readonly body?: JsonObject }[] = [
    { name: 'GET /v1/mandates/msn_ID' },
    { name: 'GET /v1/mandates/msn_ID/history' },
    { name: 'POST /v1/mandates/msn_ID/suspend', body: {} },
    { name: 'POST /v1/mandates/msn_ID/resume', body: { expected_version: 1 } },
    { name: 'POST /v1/mandates/msn_ID/revoke', body: { nonce: 'n1' } },
    { name: 'GET /v1/proposals/sub_ID' },
    { name: 'POST /v1/proposals/sub_ID/approve', body: { proposal_hash: `sha-256:${'A'.repeat(43)}` } },
    { name: 'POST /v1/proposals/sub_ID/deny', body: {} },
  ];

  test.each(calls)('is 404, whatever it is called: $name', async ({ name, body }) => {
    const [method, path] = name.split(' ') as [string, string];
    const ids = ['A'.repeat(24), 'B'.repeat(24), '1'];
    const answers = await Promise.all(ids.map((id) => call(method, path.replace('ID', id), body)));
    for (const answered of answers) {
      expectProblem(answered, { status: 404, reason: 'not_found' });
      expect(answered.body).toEqual(answers[0]!.body);
    }
  });

  test.each(['__proto__', 'constructor', 'toString', '%00', 'a%2Fb', '..%2f..'])(
    'is 404 for the id %s',
    async (id) => {
      expectProblem(await call('GET', `/v1/mandates/${id}`), { status: 404, reason: 'not_found' });
    },
  );

  test.each([
    ['too long an id', 'x'.repeat(3000)],
    ['a bad escape', '%zz'],
    ['bytes that are not UTF-8', '%ff'],
  ])('is problem+json with a reason for %s too', async (_name, id) => {
    const { status, headers, body } = await call('GET', `/v1/mandates/${id}`);
    expect([400, 404, 414]).toContain(status);
    expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(['invalid_request', 'not_found']).toContain(body['reason']);
  });
});

const idsOf = (found: readonly JsonObject[]): readonly string[] => found.map(({ id }) => text(id)).toSorted();

describe('lists: {items, next_cursor?}', () => {
  const client_id = 'agent-of-lists';
  let records: readonly JsonObject[];

  beforeAll(async () => {
    const made: JsonObject[] = [];
    for (const sub of ['ann', 'ann', 'ben', 'ann', 'ben']) {
      made.push(await sidecar.mandate(proposalBody({ client_id, subject: { iss: AS, sub } })));
    }
    await operate(made[0]!, 'suspend');
    await operate(made[1]!, 'revoke');
    records = await Promise.all(made.map(show));
  });

  const list = (query: string): Promise<Answered> =>
    call('GET', `/v1/mandates?client_id=${client_id}&${query}`);

  test('hold the records themselves', async () => {
    const answered = await list('limit=100');
    const found = new Map(itemsOf(answered).map((item) => [item['id'], item]));
    expect(found.size).toBe(5);
    for (const record of records) expect(found.get(record['id'])).toEqual(record);
    expect(answered.body).not.toHaveProperty('next_cursor');
  });

  test.each<readonly [string, string, (record: JsonObject) => boolean]>([
    ['state', 'state=active', ({ state }) => state === 'active'],
    ['another state', 'state=revoked', ({ state }) => state === 'revoked'],
    ['subject', 'subject=ben', ({ subject }) => (subject as JsonObject)['sub'] === 'ben'],
    ['two at once', 'subject=ann&state=suspended', ({ state }) => state === 'suspended'],
    ['a state that none is in', 'state=completed', () => false],
    ['parent, which none has', 'parent=msn_x', () => false],
  ])('are filtered by %s', async (_name, query, is) => {
    const { status, body } = await list(query);
    expect(status).toBe(200);
    expect(idsOf(itemsOf({ status, headers: {}, body }))).toEqual(idsOf(records.filter(is)));
  });

  test('of a client that has none', async () => {
    const { status, body } = await call('GET', '/v1/mandates?client_id=nobody');
    expect({ status, body }).toEqual({ status: 200, body: { items: [] } });
  });

  async function pages(
    limit: number,
    between: () => Promise<void> = () => Promise.resolve(),
  ): Promise<JsonObject[][]> {
    const found: JsonObject[][] = [];
    let cursor: Json | undefined;
    do {
      const more: string = cursor === undefined ? '' : `&cursor=${encodeURIComponent(text(cursor))}`;
      const answered = await list(`limit=${limit}${more}`);
      expect(answered.status).toBe(200);
      found.push([...itemsOf(answered)]);
      cursor = answered.body['next_cursor'];
      await between();
    } while (cursor !== undefined && found.length < 20);
    return found;
  }

  test.each([
    [1, [1, 1, 1, 1, 1]],
    [2, [2, 2, 1]],
    [5, [5]],
    [100, [5]],
  ])('come in pages of %i', async (limit, sizes) => {
    const found = await pages(limit);
    expect(found.map((page) => page.length).filter((size) => size > 0)).toEqual(sizes);
    expect(idsOf(found.flat())).toEqual(idsOf(records));
  });

  test('a page is not disturbed by what happens between two of them', async () => {
    const found = await pages(2, async () => {
      await operate(records[2]!, 'suspend');
      await operate(records[2]!, 'resume', {
        expected_version: Number((await show(records[2]!))['version']),
      });
      await sidecar.mandate();
    });
    expect(idsOf(found.flat())).toEqual(idsOf(records));
  });

  test.each([
    ['limit=0', /^limit$/],
    ['limit=-1', /^limit$/],
    ['limit=1.5', /^limit$/],
    ['limit=many', /^limit$/],
    ['limit=', /^limit$/],
    ['cursor=nonsense', /^cursor$/],
    ['state=sleeping', /^state$/],
  ])('?%s: 400 with its field', async (query, field) => {
    expectProblem(await list(query), { status: 400, reason: 'invalid_request', field });
  });
});
