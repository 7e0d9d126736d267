/** One question, three answers: every reason that this version can give, at both doors, and the shape of a decision. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Json, type JsonObject, canonicalJson, isObject } from '../../src/core/json.ts';
import { anchor } from '../../src/core/mandate/anchors.ts';
import { sha256 } from '../../src/digest.ts';
import { type Answered, type Asking, ask, askEnvoyDoor, askNative } from '../support/ask.ts';
import { AS, GIT, MANDATES, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';

const APP = `${GIT}/repos/example/app`;

const OPERATIONS = `
  - match: { methods: [GET], path: /healthz }
    action: health.read
    class: non_consequential
  - match: { methods: [POST], host: git.example, path: '/repos/{owner}/{repo}/git/refs' }
    action: repo.push
    resource: https://git.example/repos/{owner}/{repo}
    class: irreversible_action
    parameters: { ref: 'body:/ref' }
  - match: { methods: [GET], host: git.example, path: '/repos/{owner}/{repo}/contents' }
    action: repo.read
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
  - match: { methods: [PUT], host: git.example, path: '/repos/{owner}/{repo}/issues' }
    action: repo.issue
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_write
  - match: { methods: [POST], host: git.example, path: '/repos/{owner}/{repo}/orders' }
    action: repo.order
    resource: https://git.example/repos/{owner}/{repo}
    class: external_commitment
  - match: { methods: [POST], host: git.example, path: '/repos/{owner}/{repo}/grants' }
    action: repo.grant
    resource: https://git.example/repos/{owner}/{repo}
    class: privileged_administration
  - match: { methods: [PUT], host: git.example, path: '/repos/{owner}/{repo}/forbidden' }
    action: repo.forbidden
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_write
  - match: { methods: [PUT], host: git.example, path: '/repos/{owner}/{repo}/broken' }
    action: repo.broken
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_write
    parameters: { n: { from: 'query:n', type: long } }
  - match: { methods: [GET], host: git.example, path: '/repos/{owner}/{repo}/others' }
    action: other.read
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
  - match: { methods: [GET], host: git.example, path: '/repos/{owner}/{repo}/raised' }
    action: raised.read
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
  - match: { methods: [PUT], host: git.example, path: '/repos/{owner}/{repo}/twice' }
    action: repo.twice
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_write
  - match: { methods: [POST], host: git.example, path: '/repos/{owner}/{repo}/twice' }
    action: repo.twice
    resource: https://git.example/repos/{owner}/{repo}
    class: external_commitment
  - match: { tool: payments.send }
    class: external_commitment
    parameters: { amount: { type: decimal }, currency: string, recipient: string }
`;

/** The second floor is lower than what it meets, so it changes nothing. */
const ACTIONS = `unmapped: http
floors: { 'raised.*': privileged_administration, repo.push: consequential_write }
operations:${OPERATIONS}`;

const POLICIES = `
@id("everything")
permit (principal, action, resource);

@id("not-this")
forbid (principal, action == Action::"repo.forbidden", resource);

// Whatever n is from 2 on, the product overflows: an error, not an answer.
@id("overflows")
forbid (principal, action == Action::"repo.broken", resource)
when { context.parameters.n * 9223372036854775807 > 0 };
`;

// --- the world -------------------------------------------------------------------------------------------------

const STORIES = [
  'active',
  'suspended',
  'revoked',
  'expired',
  'suspended_then_expired',
  'revoked_then_expired',
  'constrained',
  'constrained_elsewhere',
  'of_bob',
  'of_other_subject_issuer',
  'of_other_client',
  'of_other_client_issuer',
  'of_bob_revoked',
  'ends_soon',
  'of_zoe',
] as const;

type Story = (typeof STORIES)[number];

let folder: string;
let sidecar: Sidecar;
/** `unmapped: deny`, tighter budgets, terse denials, an upstream of our own domain. */
let strict: Sidecar;
let records: Readonly<Record<Story, JsonObject>>;
let strict_record: JsonObject;

const entryOf = (replaced: JsonObject = {}): JsonObject => ({
  type: 'mission_resource_access',
  resource: APP,
  resource_match: 'prefix',
  actions: ['repo.*', 'raised.*', 'payments.*'],
  ...replaced,
});

const UNMAPPED = entryOf({ resource: `${GIT}/free`, actions: ['http.*'] });

function proposal(replaced: JsonObject = {}, lifetime_ms = 3_600_000): JsonObject {
  const { intent } = proposalBody();
  const expires_at = new Date(Date.now() + lifetime_ms).toISOString();
  return proposalBody({
    intent: { ...(intent as JsonObject), expires_at },
    authorization_details: [entryOf(), UNMAPPED],
    ...replaced,
  });
}

/** Long enough to be suspended, short enough to be waited for. */
const SHORT_MS = 2000;
const SOON_MS = 40_000;

const PROPOSALS: Readonly<Record<Story, () => JsonObject>> = {
  active: () => proposal(),
  suspended: () => proposal(),
  revoked: () => proposal(),
  expired: () => proposal({}, SHORT_MS),
  suspended_then_expired: () => proposal({}, SHORT_MS),
  revoked_then_expired: () => proposal({}, SHORT_MS),
  constrained: () => proposal({ authorization_details: [entryOf({ constraints: { colour: 'red' } })] }),
  constrained_elsewhere: () =>
    proposal({
      authorization_details: [entryOf(), entryOf({ constraints: { tenant: 'acme' }, actions: ['x.y'] })],
    }),
  of_bob: () => proposal({ subject: { iss: AS, sub: 'bob' } }),
  of_other_subject_issuer: () =>
    proposal({ subject: { iss: 'https://other.example', sub: 'alice' }, client_issuer: AS }),
  of_other_client: () => proposal({ client_id: 'agent-2' }),
  of_other_client_issuer: () => proposal({ client_issuer: 'https://other.example' }),
  of_bob_revoked: () => proposal({ subject: { iss: AS, sub: 'bob' } }),
  ends_soon: () => proposal({}, SOON_MS),
  of_zoe: () => proposal({ subject: { iss: AS, sub: 'zoë' } }),
};

const ENDINGS: Readonly<Partial<Record<Story, string>>> = {
  suspended: 'suspend',
  revoked: 'revoke',
  suspended_then_expired: 'suspend',
  revoked_then_expired: 'revoke',
  of_bob_revoked: 'revoke',
};

async function tell(story: Story): Promise<readonly [Story, JsonObject]> {
  const record = await sidecar.mandate(PROPOSALS[story]());
  const operation = ENDINGS[story];
  if (operation !== undefined) {
    const { status } = await sidecar.control('POST', `/v1/mandates/${String(record['id'])}/${operation}`, {});
    expect(status).toBe(200);
  }
  return [story, record];
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-decision-'));
  mkdirSync(join(folder, 'cedar'));
  writeFileSync(join(folder, 'cedar/policies.cedar'), POLICIES);
  writeFileSync(join(folder, 'actions.yaml'), ACTIONS);
  writeFileSync(join(folder, 'strict.yaml'), `unmapped: deny\noperations:${OPERATIONS}`);
  const policies = { cedar: join(folder, 'cedar') };
  [sidecar, strict] = await Promise.all([
    startSidecar({ policies, actions: join(folder, 'actions.yaml') }),
    startSidecar({
      policies,
      actions: join(folder, 'strict.yaml'),
      check: `{ listen: "127.0.0.1:0", deny_detail: reason, forward_reference: ["${GIT}"] }`,
      extra: 'budgets: { consequential_read: 5s, consequential_write: 2s }\npermit_validity_ms: 250',
    }),
  ]);
  records = Object.fromEntries(await Promise.all(STORIES.map(tell))) as typeof records;
  strict_record = await strict.mandate(proposal());
  const ends = STORIES.filter((story) => story.endsWith('expired')).map((story) =>
    Date.parse(String(records[story]['expires_at'])),
  );
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(Math.max(...ends)), { timeout: 2 * SHORT_MS });
});

afterAll(async () => {
  await Promise.all([sidecar.discard(), strict.discard()]);
  rmSync(folder, { recursive: true, force: true });
});

// --- asking ----------------------------------------------------------------------------------------------------

interface Wish {
  readonly envoy: Partial<Asking>;
  readonly native: JsonObject;
}

const json = (path: string, method: string, body: string): Partial<Asking> => ({
  method,
  path,
  headers: { 'content-type': 'application/json' },
  body,
});

const wish = (envoy: Partial<Asking>, name: string, parameters?: JsonObject): Wish => ({
  envoy,
  native: { action: { name }, resource: APP, ...(parameters === undefined ? {} : { parameters }) },
});

const PATH = '/repos/example/app';

/** The same wish in the words of each door. */
const WISHES = {
  read: wish({ path: `${PATH}/contents` }, 'repo.read'),
  push: wish(json(`${PATH}/git/refs`, 'POST', '{"ref":"main"}'), 'repo.push', { ref: 'main' }),
  push_without_ref: wish(json(`${PATH}/git/refs`, 'POST', '{}'), 'repo.push', {}),
  issue: wish(json(`${PATH}/issues`, 'PUT', '{"title":"x"}'), 'repo.issue', { title: 'x' }),
  order: wish(json(`${PATH}/orders`, 'POST', '{}'), 'repo.order'),
  grant: wish(json(`${PATH}/grants`, 'POST', '{}'), 'repo.grant'),
  forbidden: wish(json(`${PATH}/forbidden`, 'PUT', '{}'), 'repo.forbidden'),
  broken: wish(json(`${PATH}/broken?n=2`, 'PUT', '{}'), 'repo.broken', { n: 2 }),
  other: wish({ path: `${PATH}/others` }, 'other.read'),
  raised: wish({ path: `${PATH}/raised` }, 'raised.read'),
  elsewhere: {
    envoy: { path: '/repos/example/app2/contents' },
    native: { action: { name: 'repo.read' }, resource: `${GIT}/repos/example/app2` },
  },
  health: wish({ path: '/healthz' }, 'health.read'),
} as const satisfies Record<string, Wish>;

type WishName = keyof typeof WISHES;
type Door = 'envoy' | 'native';
type Claims = Record<string, unknown>;

interface Question {
  readonly wish?: WishName;
  /** Whose mandate the token claims; none: no `mission` claim. */
  readonly claims?: Story;
  readonly token?: Claims;
  readonly without_token?: boolean;
  readonly raw_token?: string;
  /** Named beside the token: by header at a proxy's door, by the question at ours. */
  readonly names?: JsonObject;
  /** Members of a native question. */
  readonly members?: JsonObject;
}

const missionOf = (record: JsonObject): JsonObject => ({
  id: record['id']!,
  issuer: record['issuer']!,
  authority_hash: record['authority_hash']!,
});

const referenceOf = (record: JsonObject): JsonObject => ({ id: record['id']!, issuer: record['issuer']! });

const headerOf = ({ id, issuer }: JsonObject): string => `id="${String(id)}", issuer="${String(issuer)}"`;

function tokenFor({ claims, token = {}, raw_token, without_token }: Question): Promise<string | undefined> {
  if (without_token === true) return Promise.resolve(undefined);
  if (raw_token !== undefined) return Promise.resolve(raw_token);
  const mission = claims === undefined ? {} : { mission: missionOf(records[claims]) };
  return sidecar.issuer.mint({ ...mission, ...token });
}

async function put(door: Door, question: Question): Promise<Answered> {
  const { envoy, native }: Wish = WISHES[question.wish ?? 'read'];
  const token = await tokenFor(question);
  const { names } = question;
  if (door === 'envoy') {
    const named = names === undefined ? {} : { 'mission-reference': headerOf(names) };
    return askEnvoyDoor(sidecar.check_port, token, { ...envoy, headers: { ...envoy.headers, ...named } });
  }
  return askNative(sidecar.check_port, {
    check_point: 'tool',
    ...(token === undefined ? {} : { credential: { token } }),
    ...(names === undefined ? {} : { mandate: names }),
    ...native,
    ...question.members,
  });
}

/** The decision, wherever it stands: an allow at a proxy's door has no body, so it is read from the log. */
async function decisionOf(answered: Answered, of: Sidecar = sidecar): Promise<JsonObject> {
  const id = answered.body['decision_id'] ?? answered.headers['x-mandate-decision'];
  expect(id).toBeDefined();
  return Object.keys(answered.body).length > 0
    ? answered.body
    : logged((each) => each['decision_id'] === id, of);
}

async function logged(is: (decision: JsonObject) => boolean, of: Sidecar = sidecar): Promise<JsonObject> {
  await expect.poll(() => of.decisions().some(is)).toBe(true);
  return of.decisions().find(is)!;
}

const part = (decision: JsonObject, name: string): JsonObject => {
  const found = decision[name];
  return isObject(found) ? found : {};
};

const timeOf = (value: Json | undefined): number => Date.parse(String(value));

const native = (question: Question): Promise<Answered> => put('native', question);

// --- reasons ---------------------------------------------------------------------------------------------------

interface Case extends Question {
  readonly name: string;
  readonly reason: string;
  readonly status: 401 | 403;
  readonly next: string;
  /** Verdict and own reason of each part; `undefined`: the part has no reason. */
  readonly credential: readonly [string, string?];
  readonly mandate: readonly [string, string?];
  readonly request: readonly [string, string?];
  readonly state?: string;
}

const USABLE = ['usable'] as const;
const PERMITTED = ['permitted'] as const;
const FORBIDDEN = ['forbidden', 'resource_policy'] as const;
const UNDETERMINED = ['undetermined', 'resource_policy'] as const;
const LEGITIMATE = ['legitimate'] as const;
const NOT_EVALUATED = ['not_evaluated'] as const;

const nobody = (
  name: string,
  credential: readonly [string, string?],
  question: Question,
  reason = 'credential_invalid',
): Case => ({
  name,
  reason,
  status: reason === 'credential_invalid' ? 401 : 403,
  next: 'none',
  credential,
  mandate: NOT_EVALUATED,
  request: NOT_EVALUATED,
  ...question,
});

/** The mandate's part holds nothing but the reason, and the request is not evaluated. */
const unnamed = (name: string, reason: string, question: Question): Case => ({
  name,
  reason,
  status: 403,
  next: 'none',
  credential: USABLE,
  mandate: ['illegitimate', reason],
  request: NOT_EVALUATED,
  ...question,
});

const inactive = (claims: Story, state: string, next: string, question: Question = {}): Case => ({
  name: state,
  reason: 'mission_inactive',
  status: 403,
  next,
  credential: USABLE,
  mandate: ['illegitimate', 'mission_inactive'],
  request: PERMITTED,
  state,
  claims,
  ...question,
});

const illegitimate = (
  name: string,
  reason: string,
  question: Question,
  request: Case['request'] = PERMITTED,
): Case => ({
  name,
  reason,
  status: 403,
  next: 'none',
  credential: USABLE,
  mandate: ['illegitimate', reason],
  request,
  ...question,
});

const policy = (name: string, request: Case['request'], question: Question): Case => ({
  name,
  reason: 'resource_policy',
  status: 403,
  next: 'none',
  credential: USABLE,
  mandate: LEGITIMATE,
  request,
  claims: 'active',
  ...question,
});

const UNKNOWN = { id: 'msn_AAAAAAAAAAAAAAAAAAAAAAAA', issuer: MANDATES } as const;
const UNKNOWN_CLAIM = { mission: { ...UNKNOWN, authority_hash: 'sha-256:AAAA' } };

const CASES: readonly Case[] = [
  nobody('no credential', ['not_presented', 'credential_invalid'], { without_token: true }),
  nobody('a credential that is not usable', ['unusable', 'credential_invalid'], { raw_token: 'a.b.c' }),
  nobody('an expired credential', ['unusable', 'credential_invalid'], {
    claims: 'active',
    token: { exp: 1 },
  }),
  nobody(
    'an act chain that is malformed',
    ['unusable', 'actor_invalid'],
    { claims: 'active', token: { act: { sub: 2 } } },
    'actor_invalid',
  ),
  unnamed('no reference', 'mission_context_missing', {}),
  unnamed('an unknown mandate', 'mission_mismatch', { token: UNKNOWN_CLAIM }),
  unnamed('a mandate of another subject', 'mission_mismatch', { claims: 'of_bob' }),
  unnamed('a mandate of another issuer’s subject', 'mission_mismatch', { claims: 'of_other_subject_issuer' }),
  unnamed('a mandate of another client', 'mission_mismatch', { claims: 'of_other_client' }),
  unnamed('a mandate of another issuer’s client', 'mission_mismatch', { claims: 'of_other_client_issuer' }),
  unnamed('a reference that differs from the claim', 'mission_reference_conflict', {
    claims: 'active',
    names: UNKNOWN,
  }),
  inactive('suspended', 'suspended', 'pause'),
  inactive('revoked', 'revoked', 'stop'),
  inactive('expired', 'expired', 'stop'),
  illegitimate('an action that no entry covers', 'out_of_authority', { claims: 'active', wish: 'other' }),
  illegitimate('a resource that no entry covers', 'out_of_authority', {
    claims: 'active',
    wish: 'elsewhere',
  }),
  illegitimate('a constraint', 'constraint_unsupported', { claims: 'constrained' }),
  illegitimate('authorization_details of a type that is not ours', 'unsupported_authorization_type', {
    claims: 'active',
    token: { authorization_details: [{ type: 'payment_initiation' }] },
  }),
  policy('a policy that forbids', FORBIDDEN, { wish: 'forbidden' }),
  policy('a policy that fails', UNDETERMINED, { wish: 'broken' }),
  {
    ...illegitimate('a version not seen yet', 'stale_state', {
      claims: 'active',
      members: { min_version: 2 },
    }),
    mandate: ['unproven', 'stale_state'],
    next: 'retry',
  },
];

/** Only a native question has members of its own. */
const doorsOf = ({ members }: Question): readonly Door[] =>
  members === undefined ? ['envoy', 'native'] : ['native'];
const onEachDoor = (cases: readonly Case[]): readonly (readonly [string, Door, Case])[] =>
  cases.flatMap((each) => doorsOf(each).map((door) => [`${each.reason}: ${each.name}`, door, each] as const));

const opinion = (decision: JsonObject, name: string): readonly (Json | undefined)[] => {
  const { verdict, reason } = part(decision, name);
  return reason === undefined ? [verdict] : [verdict, reason];
};

function expectCase(decision: JsonObject, wanted: Case): void {
  const { reason, next, credential, mandate, request, state } = wanted;
  expect({
    effect: decision['effect'],
    reason: decision['reason'],
    next: decision['next_action'],
    credential: opinion(decision, 'credential'),
    mandate: opinion(decision, 'mandate'),
    request: opinion(decision, 'request'),
  }).toEqual({ effect: 'deny', reason, next, credential, mandate, request });
  expect(part(decision, 'mandate')['state']).toBe(state ?? part(decision, 'mandate')['state']);
}

describe('every reason → status, verdicts, next_action (design/8)', () => {
  test.each(onEachDoor(CASES))('%s (%s)', async (_name, door, wanted) => {
    const { status, headers, body } = await put(door, wanted);
    expect(status).toBe(door === 'native' ? 200 : wanted.status);
    expectCase(body, wanted);
    if (door === 'native') return;
    expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(headers['cache-control']).toBe('no-store');
    expect(body).toMatchObject({
      status: wanted.status,
      type: expect.any(String),
      title: expect.any(String),
    });
    if (wanted.status === 401) expect(headers['www-authenticate']).toMatch(/^Bearer\b/);
  });

  const bare = CASES.filter((each) => each.mandate[0] === 'illegitimate' && each.request === NOT_EVALUATED);

  test.each(onEachDoor(bare))('%s (%s) tells nothing of a mandate', async (_name, door, wanted) => {
    const { body } = await put(door, wanted);
    expect(body['mandate']).toEqual({ verdict: 'illegitimate', reason: wanted.reason });
    expect(body['freshness']).toEqual({ source: 'none' });
    expect(body['request']).toEqual({ verdict: 'not_evaluated' });
    expect(body).not.toHaveProperty('entry_digest');
    expect(JSON.stringify(body)).not.toMatch(/msn_/);
  });

  test.each(['envoy', 'native'] as const)('view_inconsistent → rebind (%s)', async (door) => {
    const token = {
      mission: { ...missionOf(records.active), authority_hash: records.constrained['authority_hash'] },
    };
    const { status, body } = await put(door, { token });
    expect(status).toBe(door === 'native' ? 200 : 403);
    expect(body).toMatchObject({ effect: 'deny', reason: 'view_inconsistent', next_action: 'rebind' });
    expect(opinion(body, 'mandate')).toEqual(['illegitimate', 'view_inconsistent']);
  });

  test.each([
    ['without authority_hash', () => referenceOf(records.active)],
    ['without issuer', () => ({ ...missionOf(records.active), issuer: undefined })],
    ['without id', () => ({ ...missionOf(records.active), id: undefined })],
    ['that is a text', () => records.active['id']],
    ['that is a list', () => [missionOf(records.active)]],
  ])('a mission claim %s does not join', async (_name, mission) => {
    const { status, body } = await put('envoy', { token: { mission: mission() } });
    expect({ status, effect: body['effect'] }).toEqual({ status: 403, effect: 'deny' });
  });

  test('a mission claim that cannot be read leaves no room for a header (docs/decisions.md, 4)', async () => {
    const token = { mission: 'msn_x' };
    expect((await put('envoy', { token })).body['reason']).toBe('mission_context_missing');
    const { body } = await put('envoy', { token, names: referenceOf(records.active) });
    expect(body['reason']).toBe('mission_reference_conflict');
  });

  test('an unproven view shows no state (docs/decisions.md, 5)', async () => {
    const { body } = await native({ claims: 'active', members: { min_version: 2 } });
    expect(body['mandate']).toMatchObject({ verdict: 'unproven', id: records.active['id'] });
    expect(body['mandate']).not.toHaveProperty('state');
    expect(body['mandate']).not.toHaveProperty('version');
  });

  test.each(['envoy', 'native'] as const)(
    'parameter_violation: a required parameter is absent (%s)',
    async (door) => {
      const { body } = await put(door, { claims: 'active', wish: 'push_without_ref' });
      expect(body).toMatchObject({ effect: 'deny', reason: 'parameter_violation', next_action: 'none' });
      expect(opinion(body, 'mandate')).toEqual(['illegitimate', 'parameter_violation']);
    },
  );

  test('parameter_violation: a body that was not forwarded whole', async () => {
    const headers = { 'x-envoy-auth-partial-body': 'true' };
    const token = await tokenFor({ claims: 'active' });
    const { envoy } = WISHES.push;
    const { status, body } = await askEnvoyDoor(sidecar.check_port, token, {
      ...envoy,
      headers: { ...envoy.headers, ...headers },
    });
    expect({ status, reason: body['reason'] }).toEqual({ status: 403, reason: 'parameter_violation' });
  });

  test('parameter_violation: a decimal that Cedar cannot hold (design/7, "Types")', async () => {
    const parameters = { amount: '1.23456', currency: 'EUR', recipient: 'x' };
    const { body } = await native({
      claims: 'active',
      members: { action: { name: 'payments.send' }, parameters },
    });
    expect(body).toMatchObject({ effect: 'deny', reason: 'parameter_violation' });
    const whole = { ...parameters, amount: '1' };
    const padded = await native({
      claims: 'active',
      members: { action: { name: 'payments.send' }, parameters: whole },
    });
    expect(padded.body).toMatchObject({ effect: 'allow' });
  });

  test('resource_policy: `unmapped: deny`', async () => {
    const token = await strict.tokenFor(strict_record);
    const { status, body } = await askEnvoyDoor(strict.check_port, token, { path: '/free/x' });
    expect({ status, reason: body['reason'] }).toEqual({ status: 403, reason: 'resource_policy' });
    const { request, next_action } = await logged(
      (each) => each['decision_id'] === body['decision_id'],
      strict,
    );
    expect(request).toMatchObject({ verdict: 'forbidden', reason: 'resource_policy' });
    expect(next_action).toBe('none');
  });

  test.each([
    ['out_of_authority', 'active', 'other', 'insufficient_authority'],
    ['constraint_unsupported', 'constrained', 'read', 'constraint_unrecognized'],
  ] as const)(
    '%s points at its way out (oauth-mission, `mission_denial`)',
    async (_reason, claims, name, denial) => {
      const { headers } = await put('envoy', { claims, wish: name });
      expect(headers['www-authenticate']).toMatch(new RegExp(`^Bearer\\b.*mission_denial="${denial}"`));
    },
  );
});

const AMBIGUOUS: readonly string[] = [
  '/repos/example/./app/contents',
  '/repos/example/app/../app/contents',
  '/repos/example/%2e%2e/app/contents',
  '/repos/example%2fapp/contents',
  '/repos/example%5capp/contents',
  '/repos//example/app/contents',
  '//repos/example/app/contents',
  '/repos/example/app;v=1/contents',
  '/repos/example/app/%zz',
  '/repos/example/app/%00',
  '/repos/example/app/%ff',
  '/repos/example/app\\contents',
];

const expectMalformed = ({ status, body }: Answered): void => {
  expect({ status, reason: body['reason'], next: body['next_action'] }).toEqual({
    status: 403,
    reason: 'malformed_request',
    next: 'none',
  });
  expect(part(body, 'request')['verdict']).toBe('not_evaluated');
};

describe('malformed_request: what could be read in two ways', () => {
  test.each(AMBIGUOUS)('%s', async (path) => {
    const token = await tokenFor({ claims: 'active' });
    expectMalformed(await askEnvoyDoor(sidecar.check_port, token, { path }));
    const { status, body } = await native({ claims: 'active', members: { resource: `${GIT}${path}` } });
    expect([200, 400]).toContain(status);
    expect(body['reason']).toBe('malformed_request');
  });

  test.each([
    ['a name twice', '{"ref":"main","ref":"release"}'],
    ['a name twice, once escaped', '{"ref":"main","\\u0072ef":"release"}'],
    ['a name in another case', '{"ref":"main","Ref":"release"}'],
  ])('a body with %s', async (_name, body) => {
    const token = await tokenFor({ claims: 'active' });
    expectMalformed(await askEnvoyDoor(sidecar.check_port, token, { ...WISHES.push.envoy, body }));
  });

  test('but a long path is only long', async () => {
    const token = await tokenFor({ claims: 'active' });
    const path = `/free/${'long/'.repeat(400)}${'x'.repeat(2000)}`;
    expect((await askEnvoyDoor(sidecar.check_port, token, { path })).status).toBe(200);
  });

  test('a query parameter twice', async () => {
    const token = await tokenFor({ claims: 'active' });
    const twice = { ...WISHES.broken.envoy, path: `${PATH}/broken?n=1&n=2` };
    expectMalformed(await askEnvoyDoor(sidecar.check_port, token, twice));
  });
});

const QUESTIONS: readonly (readonly [name: string, replaced: JsonObject])[] = [
  ['an unknown member', { surprise: 1 }],
  ['an unknown check point', { check_point: 'whenever' }],
  ['no action', { action: null }],
  ['an action without a name', { action: {} }],
  ['an action that is a text', { action: 'repo.read' }],
  ['an unknown class', { action: { name: 'repo.read', class: 'harmless' } }],
  ['a resource that is a number', { resource: 5 }],
  ['parameters that are a list', { parameters: [] }],
  ['a mandate that is a text', { mandate: 'msn_x' }],
  ['a mandate without an issuer', { mandate: { id: 'msn_x' } }],
  ['a credential that is a text', { credential: 'x' }],
  ['min_version that is a text', { min_version: '1' }],
  ['min_version with a fraction', { min_version: 1.5 }],
];

const GOOD = { check_point: 'tool', action: { name: 'repo.read' }, resource: APP };

const post = (body: string): Promise<Answered> =>
  ask(sidecar.check_port, {
    method: 'POST',
    path: '/v1/check',
    headers: { 'content-type': 'application/json' },
    body,
  });

const expectBad = ({ status, headers, body }: Answered): void => {
  expect({ status, reason: body['reason'] }).toEqual({ status: 400, reason: 'malformed_request' });
  expect(headers['content-type']).toMatch(/^application\/problem\+json/);
  expect(body).not.toHaveProperty('effect');
};

describe('a malformed question: 400 problem+json', () => {
  test.each(QUESTIONS)('%s', async (_name, replaced) => {
    expectBad(await post(JSON.stringify({ ...GOOD, ...replaced })));
  });

  test.each([
    ['no JSON', '{check_point}'],
    ['nothing', ''],
    ['a list', '[]'],
    ['a name twice', `{"resource":"${APP}",${JSON.stringify(GOOD).slice(1)}`],
    [
      'a name twice, deeper',
      `{"action":{"name":"repo.push","name":"repo.read"},"check_point":"tool","resource":"${APP}"}`,
    ],
  ])('%s', async (_name, text) => expectBad(await post(text)));
});

// --- the order of reasons ---------------------------------------------------------------------------------------

const EXPIRED: Question = { token: { exp: 1 } };
const ACTOR: Question = { token: { act: { sub: 2 } } };
const BEHIND: Question = { members: { min_version: 9 } };

type Pair = readonly [earlier: string, later: string, question: Question, wanted?: JsonObject];

const says = (verdict: string, reason?: string): JsonObject =>
  reason === undefined ? { verdict } : { verdict, reason };
const forbidden = { request: says(...FORBIDDEN) };
const undetermined = { request: says(...UNDETERMINED) };
const unasked = { request: says(...NOT_EVALUATED) };
const inState = (state: string): JsonObject => ({ mandate: { state } });

/** Both faults are there at once; `wanted` is what else stays visible. */
const PAIRS: readonly Pair[] = [
  ['credential_invalid', 'mission_context_missing', EXPIRED],
  ['credential_invalid', 'mission_reference_conflict', { claims: 'active', names: UNKNOWN, ...EXPIRED }],
  ['credential_invalid', 'mission_mismatch', { claims: 'of_bob', ...EXPIRED }],
  ['credential_invalid', 'mission_inactive', { claims: 'revoked', ...EXPIRED }],
  ['credential_invalid', 'resource_policy', { claims: 'active', wish: 'forbidden', ...EXPIRED }, unasked],
  ['actor_invalid', 'mission_context_missing', ACTOR],
  ['actor_invalid', 'mission_inactive', { claims: 'revoked', ...ACTOR }],
  ['mission_context_missing', 'resource_policy', { wish: 'forbidden' }, unasked],
  ['mission_reference_conflict', 'mission_mismatch', { claims: 'of_bob', names: UNKNOWN }],
  ['mission_reference_conflict', 'mission_inactive', { claims: 'revoked', names: UNKNOWN }],
  ['mission_mismatch', 'mission_inactive', { claims: 'of_bob_revoked' }],
  ['mission_mismatch', 'out_of_authority', { claims: 'of_bob', wish: 'other' }, unasked],
  ['mission_mismatch', 'stale_state', { claims: 'of_bob', ...BEHIND }],
  ['mission_inactive', 'out_of_authority', { claims: 'suspended', wish: 'other' }, inState('suspended')],
  ['mission_inactive', 'out_of_authority', { claims: 'revoked', wish: 'elsewhere' }, inState('revoked')],
  ['mission_inactive', 'parameter_violation', { claims: 'revoked', wish: 'push_without_ref' }],
  ['mission_inactive', 'resource_policy', { claims: 'revoked', wish: 'forbidden' }, forbidden],
  ['mission_inactive', 'resource_policy', { claims: 'expired', wish: 'broken' }, undetermined],
  ['stale_state', 'out_of_authority', { claims: 'active', wish: 'other', ...BEHIND }],
  ['stale_state', 'resource_policy', { claims: 'active', wish: 'forbidden', ...BEHIND }, forbidden],
  ['out_of_authority', 'constraint_unsupported', { claims: 'constrained', wish: 'other' }],
  ['constraint_unsupported', 'resource_policy', { claims: 'constrained', wish: 'forbidden' }, forbidden],
  ['constraint_unsupported', 'resource_policy', { claims: 'constrained', wish: 'broken' }, undetermined],
];

describe('the first reason in the order of "One decision" is the reason', () => {
  const asked = PAIRS.flatMap(([earlier, later, question, wanted = {}]) =>
    doorsOf(question).map((door) => ({ earlier, later, question, wanted, door })),
  );

  test.each(asked)('$earlier before $later ($door)', async ({ earlier, question, wanted, door }) => {
    const { body } = await put(door, question);
    expect(body).toMatchObject({ effect: 'deny', reason: earlier, ...wanted });
  });

  test.each(['envoy', 'native'] as const)(
    'malformed_request before credential_invalid (%s)',
    async (door) => {
      const path = '/repos/example/../app';
      const { body } =
        door === 'envoy'
          ? await askEnvoyDoor(sidecar.check_port, undefined, { path })
          : await native({ without_token: true, members: { resource: `${GIT}${path}` } });
      expect(body['reason']).toBe('malformed_request');
    },
  );

  test('mission_mismatch before view_inconsistent', async () => {
    const mission = { ...missionOf(records.of_bob), authority_hash: 'sha-256:AAAA' };
    expect((await put('envoy', { token: { mission } })).body['reason']).toBe('mission_mismatch');
  });

  test('view_inconsistent (the join) before mission_inactive (the state)', async () => {
    const mission = { ...missionOf(records.revoked), authority_hash: 'sha-256:AAAA' };
    expect((await put('envoy', { token: { mission } })).body['reason']).toBe('view_inconsistent');
  });

  test('expiry is tested before the stored state: suspended, then past its end', async () => {
    const { body } = await put('envoy', { claims: 'suspended_then_expired' });
    expect(body).toMatchObject({
      reason: 'mission_inactive',
      next_action: 'stop',
      mandate: { state: 'expired' },
    });
  });

  test('but a stored terminal state wins over a later expiry', async () => {
    const { body } = await put('envoy', { claims: 'revoked_then_expired' });
    expect(body).toMatchObject({
      reason: 'mission_inactive',
      next_action: 'stop',
      mandate: { state: 'revoked' },
    });
  });

  test('a constraint counts only where its entry is the one that covers', async () => {
    expect((await put('envoy', { claims: 'constrained_elsewhere' })).status).toBe(200);
  });
});

// --- unknown and not-yours --------------------------------------------------------------------------------------

/** What may differ between two answers that are otherwise the same. */
function comparable({ status, headers, body }: Answered): JsonObject {
  const rest = Object.entries(body).filter(
    ([name]) => !['decision_id', 'sequence', 'evaluated_at'].includes(name),
  );
  const kept = Object.entries(headers).filter(([name]) => !['date', 'content-length'].includes(name));
  return { status, headers: Object.fromEntries(kept) as JsonObject, body: Object.fromEntries(rest) };
}

const HIDDEN: readonly Story[] = [
  'of_bob',
  'of_bob_revoked',
  'of_other_subject_issuer',
  'of_other_client',
  'of_other_client_issuer',
];

const elsewhere = (): JsonObject => ({ ...referenceOf(records.active), issuer: 'https://other.example' });

describe('unknown and not-yours are one answer (design/7)', () => {
  /** Every token ends at the same second, which is the one thing an answer repeats of it that would differ. */
  const exp = Math.floor(Date.now() / 1000) + 3600;

  const answer = async (door: Door, question: Question): Promise<JsonObject> => {
    const found = comparable(await put(door, { ...question, token: { ...question.token, exp } }));
    expect(part(found, 'body')['reason']).toBe('mission_mismatch');
    return found;
  };

  test('named by the claim', async () => {
    const unknown = await answer('envoy', { token: UNKNOWN_CLAIM });
    for (const claims of HIDDEN) expect(await answer('envoy', { claims })).toEqual(unknown);
    const mission = { ...missionOf(records.active), issuer: 'https://other.example' };
    expect(await answer('envoy', { token: { mission } })).toEqual(unknown);
  });

  test.each([
    ['the header', 'envoy'],
    ['the question', 'native'],
  ] as const)('named by %s', async (_name, door) => {
    const unknown = await answer(door, { names: UNKNOWN });
    for (const story of HIDDEN) {
      expect(await answer(door, { names: referenceOf(records[story]) })).toEqual(unknown);
    }
    expect(await answer(door, { names: elsewhere() })).toEqual(unknown);
  });

  test('nor does min_version or an action that it does not cover tell them apart', async () => {
    const members = { min_version: 9 };
    const unknown = await answer('native', { names: UNKNOWN, members, wish: 'other' });
    const hidden = await answer('native', { names: referenceOf(records.of_bob), members, wish: 'other' });
    expect(hidden).toEqual(unknown);
  });
});

// --- naming a mandate -------------------------------------------------------------------------------------------

type Header = (id: string, issuer: string) => string | string[];

const MALFORMED: readonly (readonly [name: string, header: Header])[] = [
  ['nothing', () => ''],
  ['only id', (id) => `id="${id}"`],
  ['only issuer', (_id, issuer) => `issuer="${issuer}"`],
  ['id twice', (id, issuer) => `id="${id}", issuer="${issuer}", id="${id}"`],
  ['issuer twice', (id, issuer) => `issuer="${issuer}", id="${id}", issuer="${issuer}"`],
  ['another id first', (id, issuer) => `id="msn_other", id="${id}", issuer="${issuer}"`],
  ['a parameter of id', (id, issuer) => `id="${id}";v=1, issuer="${issuer}"`],
  ['a bare parameter of issuer', (id, issuer) => `id="${id}", issuer="${issuer}";v`],
  ['an inner list', (id, issuer) => `id=("${id}"), issuer="${issuer}"`],
  ['an inner list of issuers', (id, issuer) => `id="${id}", issuer=("${issuer}" "${issuer}")`],
  ['a token', (id, issuer) => `id=${id}, issuer="${issuer}"`],
  ['an integer', (_id, issuer) => `id=42, issuer="${issuer}"`],
  ['a decimal', (_id, issuer) => `id=4.2, issuer="${issuer}"`],
  ['a boolean', (_id, issuer) => `id=?1, issuer="${issuer}"`],
  ['a bare key', (_id, issuer) => `id, issuer="${issuer}"`],
  ['bytes', (_id, issuer) => `id=:bXNu:, issuer="${issuer}"`],
  ['a date', (_id, issuer) => `id=@1659578233, issuer="${issuer}"`],
  ['a display string', (id, issuer) => `id=%"${id}", issuer="${issuer}"`],
  ['one member more', (id, issuer) => `id="${id}", issuer="${issuer}", state="active"`],
  ['one bare member more', (id, issuer) => `id="${id}", issuer="${issuer}", x`],
  ['authority_hash', (id, issuer) => `id="${id}", issuer="${issuer}", authority_hash="sha-256:AAAA"`],
  ['id in another case', (id, issuer) => `ID="${id}", issuer="${issuer}"`],
  ['a comma at the end', (id, issuer) => `id="${id}", issuer="${issuer}",`],
  ['no comma', (id, issuer) => `id="${id}" issuer="${issuer}"`],
  ['a semicolon for the comma', (id, issuer) => `id="${id}"; issuer="${issuer}"`],
  ['a space around =', (id, issuer) => `id = "${id}", issuer="${issuer}"`],
  ['an open quote', (id, issuer) => `id="${id}, issuer="${issuer}`],
  ['single quotes', (id, issuer) => `id='${id}', issuer='${issuer}'`],
  ['a bad escape', (id, issuer) => `id="\\${id}", issuer="${issuer}"`],
  ['something after it', (id, issuer) => `id="${id}", issuer="${issuer}" x`],
  ['an id of 257 characters', (_id, issuer) => `id="${'x'.repeat(257)}", issuer="${issuer}"`],
  ['an issuer of 513 characters', (id) => `id="${id}", issuer="https://${'x'.repeat(505)}"`],
  ['two lines that make one dictionary', (id, issuer) => [`id="${id}"`, `issuer="${issuer}"`]],
  ['two equal lines', (id, issuer) => [`id="${id}", issuer="${issuer}"`, `id="${id}", issuer="${issuer}"`]],
];

const STRICT_BUT_GOOD: readonly (readonly [name: string, header: Header])[] = [
  ['as the draft writes it', (id, issuer) => `id="${id}", issuer="${issuer}"`],
  ['issuer first', (id, issuer) => `issuer="${issuer}", id="${id}"`],
  ['no space', (id, issuer) => `id="${id}",issuer="${issuer}"`],
  ['tabs and spaces around the comma', (id, issuer) => `id="${id}" \t,\t issuer="${issuer}"`],
];

const underHeader = async (header: string | string[], claims?: Story): Promise<Answered> =>
  askEnvoyDoor(sidecar.check_port, await tokenFor(claims === undefined ? {} : { claims }), {
    ...WISHES.read.envoy,
    headers: { 'mission-reference': header },
  });

const made = (header: Header): string | string[] => header(String(records.active['id']), MANDATES);

describe('Mission-Reference (design/2 and 7; RFC 9651, closed and strict)', () => {
  test.each(MALFORMED)('%s: mission_context_missing', async (_name, header) => {
    const { status, body } = await underHeader(made(header));
    expect({ status, reason: body['reason'] }).toEqual({ status: 403, reason: 'mission_context_missing' });
    expect(body['mandate']).toEqual({ verdict: 'illegitimate', reason: 'mission_context_missing' });
    expect(body['freshness']).toEqual({ source: 'none' });
  });

  test.each(MALFORMED)('%s, beside a claim: mission_reference_conflict', async (_name, header) => {
    const { status, body } = await underHeader(made(header), 'active');
    expect({ status, reason: body['reason'] }).toEqual({ status: 403, reason: 'mission_reference_conflict' });
    expect(body['mandate']).toEqual({ verdict: 'illegitimate', reason: 'mission_reference_conflict' });
  });

  test.each(STRICT_BUT_GOOD)('%s: selects', async (_name, header) => {
    const answered = await underHeader(made(header));
    expect(answered.status).toBe(200);
    expect(await decisionOf(answered)).toMatchObject({
      mandate: { id: records.active['id'], named_by: 'header' },
    });
  });

  test.each(STRICT_BUT_GOOD)('%s, beside an equal claim: the claim names it', async (_name, header) => {
    const answered = await underHeader(made(header), 'active');
    expect(answered.status).toBe(200);
    expect(await decisionOf(answered)).toMatchObject({ mandate: { named_by: 'claim' } });
  });

  test('256 and 512 characters are well-formed, so merely unknown', async () => {
    const header = headerOf({ id: 'x'.repeat(256), issuer: `https://${'x'.repeat(504)}` });
    expect((await underHeader(header)).body['reason']).toBe('mission_mismatch');
  });

  test.each([
    ['another id', () => UNKNOWN],
    ['another issuer', () => ({ ...referenceOf(records.active), issuer: 'https://other.example' })],
    ['another mandate of mine', () => referenceOf(records.suspended)],
  ])('%s than the claim: mission_reference_conflict, at both doors', async (_name, names) => {
    for (const door of ['envoy', 'native'] as const) {
      const { body } = await put(door, { claims: 'active', names: names() });
      expect(body['reason']).toBe('mission_reference_conflict');
      expect(body['mandate']).toEqual({ verdict: 'illegitimate', reason: 'mission_reference_conflict' });
    }
  });

  test('a header selects, it never grants', async () => {
    const headers = {
      ...WISHES.read.envoy,
      headers: { 'mission-reference': headerOf(referenceOf(records.active)) },
    };
    const answered = await askEnvoyDoor(sidecar.check_port, undefined, headers);
    expect({ status: answered.status, reason: answered.body['reason'] }).toEqual({
      status: 401,
      reason: 'credential_invalid',
    });
    const outside = await put('envoy', { names: referenceOf(records.active), wish: 'other' });
    expect(outside.body['reason']).toBe('out_of_authority');
  });

  test('a question may name it too', async () => {
    const { body } = await native({ names: referenceOf(records.active) });
    expect(body).toMatchObject({
      effect: 'allow',
      mandate: { named_by: 'question', id: records.active['id'] },
    });
    const both = await native({ names: referenceOf(records.active), claims: 'active' });
    expect(both.body).toMatchObject({ effect: 'allow', mandate: { named_by: 'claim' } });
  });
});

// --- the decision -----------------------------------------------------------------------------------------------

const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/) as unknown;
const DIGEST = expect.stringMatching(/^sha-256:[A-Za-z0-9_-]{43}$/) as unknown;
const NO_STOP = {
  stop_issuance: false,
  revoke_tokens: false,
  cancel_queued: false,
  interrupt_in_flight: false,
  pause: false,
};

function fullShape(record: JsonObject): JsonObject {
  const shape = {
    decision_id: expect.stringMatching(/^dec_/),
    effect: 'allow',
    credential: {
      verdict: 'usable',
      issuer: AS,
      subject: 'alice',
      client_id: 'agent-1',
      expires_at: TIME,
    },
    mandate: {
      verdict: 'legitimate',
      id: record['id'],
      state: 'active',
      version: 1,
      lineage: [record['id']],
      named_by: 'claim',
    },
    request: {
      verdict: 'permitted',
      engines: { cedar: { decision: 'allow', determining: ['everything'] } },
    },
    action: { name: 'repo.push', class: 'irreversible_action', class_source: 'operation' },
    resource: APP,
    entry_digest: DIGEST,
    parameter_digest: DIGEST,
    policy_revision: expect.any(String),
    emitter: expect.any(String),
    sequence: expect.any(Number),
    freshness: {
      source: 'embedded',
      epoch: expect.any(Number),
      seq: expect.any(Number),
      eid: expect.any(String),
      as_of: TIME,
      age_ms: expect.any(Number),
      budget_ms: 0,
    },
    stop: { ...NO_STOP, reevaluate: false },
    obligations: [],
    next_action: 'none',
    valid_until: TIME,
    evaluated_at: TIME,
  };
  return shape as unknown as JsonObject;
}

describe('the decision has one shape (design/7)', () => {
  test('in the answer of /v1/check', async () => {
    const { body } = await native({ claims: 'active', wish: 'push' });
    expect(body).toMatchObject({ ...fullShape(records.active), check_point: 'tool' });
  });

  test('in the log, for an allow at a proxy’s door', async () => {
    const decision = await decisionOf(await put('envoy', { claims: 'active', wish: 'push' }));
    expect(decision).toMatchObject({ ...fullShape(records.active), check_point: 'request' });
  });

  test('in the body and in the log of a denial alike', async () => {
    const { body } = await put('envoy', { claims: 'revoked', wish: 'push' });
    const line = await logged((each) => each['decision_id'] === body['decision_id']);
    const problem = Object.fromEntries(
      Object.entries(body).filter(([name]) => !['type', 'title', 'status', 'detail'].includes(name)),
    );
    const kept = Object.fromEntries(Object.entries(line).filter(([name]) => Object.hasOwn(problem, name)));
    expect(kept).toEqual(problem);
    expect(body).toMatchObject({
      ...fullShape(records.revoked),
      effect: 'deny',
      reason: 'mission_inactive',
      mandate: { verdict: 'illegitimate', id: records.revoked['id'], state: 'revoked', version: 2 },
      next_action: 'stop',
      stop: expect.any(Object),
    });
  });

  test('one emitter, a sequence without gaps, an id for each', async () => {
    await native({ claims: 'active' });
    const lines = sidecar.decisions();
    expect(new Set(lines.map((each) => each['emitter'])).size).toBe(1);
    expect(new Set(lines.map((each) => each['decision_id'])).size).toBe(lines.length);
    const sequences = lines.map((each) => Number(each['sequence'])).toSorted((a, b) => a - b);
    expect(sequences).toEqual(sequences.map((_each, at) => sequences[0]! + at));
  });

  test('entry_digest is the commitment to the entry that covers', async () => {
    const { body } = await native({ claims: 'active' });
    expect(body['entry_digest']).toBe(
      anchor(sha256, MANDATES, 'mission-authority-entry', entryOf() as never),
    );
  });

  test('parameter_digest is the digest of the canonical parameters, the same at both doors', async () => {
    const digest = sha256(canonicalJson({ ref: 'main' }));
    expect((await native({ claims: 'active', wish: 'push' })).body['parameter_digest']).toBe(digest);
    const pushed = await decisionOf(await put('envoy', { claims: 'active', wish: 'push' }));
    expect(pushed['parameter_digest']).toBe(digest);
    const other = await native({ claims: 'active', wish: 'push', members: { parameters: { ref: 'x' } } });
    expect(other.body['parameter_digest']).not.toBe(digest);
  });

  test('an unmapped write is bound to its method, target and body', async () => {
    const token = await tokenFor({ claims: 'active' });
    const digestOf = async (method: string, path: string, text: string): Promise<Json | undefined> => {
      const asking = json(path, method, text);
      return (await decisionOf(await askEnvoyDoor(sidecar.check_port, token, asking)))['parameter_digest'];
    };
    const one = await digestOf('POST', '/free/a', '{"x":1}');
    expect(one).toEqual(DIGEST);
    expect(await digestOf('POST', '/free/a', '{"x":1}')).toBe(one);
    expect(await digestOf('PUT', '/free/a', '{"x":1}')).not.toBe(one);
    expect(await digestOf('POST', '/free/b', '{"x":1}')).not.toBe(one);
    expect(await digestOf('POST', '/free/a?y', '{"x":1}')).not.toBe(one);
    expect(await digestOf('POST', '/free/a', '{"x":2}')).not.toBe(one);
  });

  test('deny_detail: reason keeps the id, the reason and the next action (design/8: and RFC 9457’s members)', async () => {
    const token = await strict.tokenFor(strict_record);
    const { status, body } = await askEnvoyDoor(strict.check_port, token, {
      path: '/repos/other/x/contents',
    });
    expect(status).toBe(403);
    expect(body).toMatchObject({
      decision_id: expect.any(String),
      reason: 'out_of_authority',
      next_action: 'none',
    });
    const allowed = new Set([
      'type',
      'title',
      'status',
      'detail',
      'instance',
      'decision_id',
      'reason',
      'next_action',
    ]);
    expect(Object.keys(body).filter((name) => !allowed.has(name))).toEqual([]);
    const line = await logged((each) => each['decision_id'] === body['decision_id'], strict);
    expect(line).toMatchObject({ mandate: { id: strict_record['id'], state: 'active' } });
  });
});

const removed = ({ headers }: Answered): readonly string[] =>
  String(headers['x-envoy-auth-headers-to-remove'])
    .split(',')
    .map((each) => each.trim());

const IDENTITY = ['decision', 'id', 'version', 'subject', 'actor', 'lineage', 'parent'].map(
  (each) => `x-mandate-${each}`,
);

describe('an allow at /envoy: 200, an empty body, the full set of headers', () => {
  test('of a mandate', async () => {
    const answered = await put('envoy', { claims: 'active' });
    expect({ status: answered.status, body: answered.body }).toEqual({ status: 200, body: {} });
    expect(answered.headers).toMatchObject({
      'content-length': '0',
      'x-mandate-decision': expect.stringMatching(/^dec_/) as unknown,
      'x-mandate-id': records.active['id'],
      'x-mandate-version': '1',
      'x-mandate-subject': 'corp/alice',
      'x-mandate-actor': 'corp/agent-1',
      'x-mandate-lineage': records.active['id'],
    });
    expect(answered.headers).not.toHaveProperty('x-mandate-parent');
    expect(removed(answered)).toContain('x-mandate-parent');
  });

  test.each(['active', undefined] as const)(
    'each identity header is set or removed, never both (%s)',
    async (claims) => {
      const answered = await put(
        'envoy',
        claims === undefined ? { without_token: true, wish: 'health' } : { claims },
      );
      expect(answered.status).toBe(200);
      const gone = removed(answered);
      for (const name of IDENTITY) {
        expect([name, gone.includes(name)]).toEqual([name, answered.headers[name] === undefined]);
      }
    },
  );

  test('what a client forges is removed', async () => {
    const forged = {
      'x-mandate-parent': 'x',
      'x-mandate-extra': 'x',
      x_mandate_id: 'x',
      'x-mandate_subject': 'x',
    };
    const answered = await askEnvoyDoor(sidecar.check_port, await tokenFor({ claims: 'active' }), {
      ...WISHES.read.envoy,
      headers: forged,
    });
    expect(removed(answered)).toEqual(expect.arrayContaining(Object.keys(forged)));
  });

  test('beyond visible ASCII it is percent-encoded UTF-8', async () => {
    const answered = await put('envoy', { claims: 'of_zoe', token: { sub: 'zoë' } });
    expect(answered.headers['x-mandate-subject']).toBe('corp/zo%C3%AB');
  });

  test('Mission-Reference is removed, unless the upstream is of the same domain', async () => {
    expect(removed(await put('envoy', { claims: 'active' }))).toContain('mission-reference');
    const token = await strict.tokenFor(strict_record);
    const kept = await askEnvoyDoor(strict.check_port, token, WISHES.read.envoy);
    expect(kept.status).toBe(200);
    expect(removed(kept)).not.toContain('mission-reference');
  });
});

// --- classes, freshness, validity --------------------------------------------------------------------------------

const CLASSES = [
  ['read', 'consequential_read', 60_000],
  ['issue', 'consequential_write', 15_000],
  ['push', 'irreversible_action', 0],
  ['order', 'external_commitment', 0],
  ['grant', 'privileged_administration', 0],
] as const;

describe('freshness', () => {
  test.each(CLASSES)('%s: %s, budget %i ms', async (name, action_class, budget_ms) => {
    for (const door of ['envoy', 'native'] as const) {
      const before = Date.now();
      const decision = await decisionOf(await put(door, { claims: 'active', wish: name }));
      expect(part(decision, 'action')['class']).toBe(action_class);
      const { source, as_of, age_ms, budget_ms: budget } = part(decision, 'freshness');
      expect({ source, budget }).toEqual({ source: 'embedded', budget: budget_ms });
      expect(Number(age_ms)).toBeGreaterThanOrEqual(0);
      if (budget_ms > 0) expect(Number(age_ms)).toBeLessThanOrEqual(budget_ms);
      else expect(timeOf(as_of)).toBeGreaterThanOrEqual(before);
      expect(timeOf(decision['evaluated_at'])).toBeGreaterThanOrEqual(before);
      expect(timeOf(decision['evaluated_at'])).toBeLessThanOrEqual(Date.now());
    }
  });

  test('budgets may be tightened', async () => {
    const token = await strict.tokenFor(strict_record);
    for (const [name, budget_ms] of [
      ['read', 5000],
      ['issue', 2000],
      ['push', 0],
    ] as const) {
      const decision = await decisionOf(
        await askEnvoyDoor(strict.check_port, token, WISHES[name].envoy),
        strict,
      );
      expect(part(decision, 'freshness')['budget_ms']).toBe(budget_ms);
    }
  });

  test('a write that returned is seen by the next question, whatever its class', async () => {
    const record = await sidecar.mandate(proposal());
    const token = await sidecar.tokenFor(record);
    const seen = async (): Promise<readonly (Json | undefined)[]> =>
      Promise.all(
        [WISHES.read, WISHES.push].map(
          async ({ envoy }) => (await askEnvoyDoor(sidecar.check_port, token, envoy)).body['reason'],
        ),
      );
    expect(await seen()).toEqual([undefined, undefined]);
    const path = `/v1/mandates/${String(record['id'])}`;
    await sidecar.control('POST', `${path}/suspend`, {});
    expect((await seen())[1]).toBe('mission_inactive');
    await sidecar.control('POST', `${path}/resume`, { expected_version: 2 });
    expect((await seen())[1]).toBe(undefined);
    await sidecar.control('POST', `${path}/revoke`, {});
    expect((await seen())[1]).toBe('mission_inactive');
  });

  test('min_version that is met', async () => {
    const { body } = await native({ claims: 'active', members: { min_version: 1 } });
    expect(body['effect']).toBe('allow');
  });
});

const until = (decision: JsonObject): number => timeOf(decision['valid_until']);
const asOf = (decision: JsonObject): number => timeOf(part(decision, 'freshness')['as_of']);

describe('valid_until = min(token expiry, effective expiry, as_of + budget + permit validity)', () => {
  test.each(['push', 'order', 'grant'] as const)('%s: a permit of 1 s', async (name) => {
    const { body } = await native({ claims: 'active', wish: name });
    expect(until(body) - asOf(body)).toBe(1000);
  });

  test.each([
    ['read', 60_000],
    ['issue', 15_000],
  ] as const)('%s: within its budget', async (name, budget_ms) => {
    const { body } = await native({ claims: 'active', wish: name });
    expect(until(body) - asOf(body)).toBeGreaterThanOrEqual(budget_ms);
    expect(until(body) - asOf(body)).toBeLessThanOrEqual(budget_ms + 1000);
  });

  test('the token ends first', async () => {
    const exp = Math.floor(Date.now() / 1000) + 30;
    const { body } = await native({ claims: 'active', token: { exp } });
    expect(until(body)).toBe(exp * 1000);
    expect(timeOf(part(body, 'credential')['expires_at'])).toBe(exp * 1000);
  });

  test('the mandate ends first', async () => {
    const { body } = await native({ claims: 'ends_soon' });
    expect(until(body)).toBe(timeOf(records.ends_soon['expires_at']));
  });

  test('permit_validity_ms and budgets of the configuration count', async () => {
    const token = await strict.tokenFor(strict_record);
    const push = await decisionOf(await askEnvoyDoor(strict.check_port, token, WISHES.push.envoy), strict);
    expect(until(push) - asOf(push)).toBe(250);
    const read = await decisionOf(await askEnvoyDoor(strict.check_port, token, WISHES.read.envoy), strict);
    expect(until(read) - asOf(read)).toBeLessThanOrEqual(5000 + 1000);
  });
});

const classOf = async (question: Question): Promise<Json | undefined> =>
  part((await native({ claims: 'active', ...question })).body, 'action')['class'];

describe('classes are raised, never lowered', () => {
  test('by the question', async () => {
    const raised = { action: { name: 'repo.read', class: 'irreversible_action' } };
    const { body } = await native({ claims: 'active', members: raised });
    expect(part(body, 'action')['class']).toBe('irreversible_action');
    expect(part(body, 'freshness')['budget_ms']).toBe(0);
    const lowered = { action: { name: 'repo.push', class: 'non_consequential' } };
    expect(await classOf({ wish: 'push', members: lowered })).toBe('irreversible_action');
    const spared = { action: { name: 'repo.push', class: 'non_consequential' } };
    const alone = await native({ without_token: true, wish: 'push', members: spared });
    expect(alone.body['reason']).toBe('credential_invalid');
  });

  test('by a floor; a lower floor changes nothing', async () => {
    expect(await classOf({ wish: 'raised' })).toBe('privileged_administration');
    expect(await classOf({ wish: 'push' })).toBe('irreversible_action');
    const decision = await decisionOf(await put('envoy', { claims: 'active', wish: 'raised' }));
    expect(decision).toMatchObject({
      action: { class: 'privileged_administration' },
      freshness: { budget_ms: 0 },
    });
    const lowered = { action: { name: 'raised.read', class: 'consequential_read' } };
    expect(await classOf({ wish: 'raised', members: lowered })).toBe('privileged_administration');
    const unlisted = { action: { name: 'raised.anything' } };
    expect(await classOf({ members: unlisted })).toBe('privileged_administration');
  });

  test('the widest of several operations with one action, and of none', async () => {
    expect(await classOf({ members: { action: { name: 'repo.twice' } } })).toBe('external_commitment');
    expect(await classOf({ members: { action: { name: 'repo.unheard-of' } } })).toBe('irreversible_action');
    const free = { resource: `${GIT}/free/x` };
    expect(await classOf({ members: { ...free, action: { name: 'http.get' } } })).toBe('consequential_read');
    expect(await classOf({ members: { ...free, action: { name: 'http.head' } } })).toBe('consequential_read');
    expect(await classOf({ members: { ...free, action: { name: 'http.post' } } })).toBe(
      'irreversible_action',
    );
  });

  test.each([
    ['GET', 'consequential_read'],
    ['HEAD', 'consequential_read'],
    ['POST', 'irreversible_action'],
    ['PUT', 'irreversible_action'],
    ['PATCH', 'irreversible_action'],
    ['DELETE', 'irreversible_action'],
    ['OPTIONS', 'irreversible_action'],
    ['PROPFIND', 'irreversible_action'],
    ['QUERY', 'irreversible_action'],
  ])('unmapped %s: http.<method>, %s', async (method, action_class) => {
    const path = `/free/${method.toLowerCase()}`;
    const token = await tokenFor({ claims: 'active' });
    const answered = await askEnvoyDoor(sidecar.check_port, token, { method, path: `${path}?q=1` });
    expect(answered.status).toBe(200);
    expect(await decisionOf(answered)).toMatchObject({
      action: { name: `http.${method.toLowerCase()}`, class: action_class },
      resource: `${GIT}${path}`,
    });
  });
});

describe('non_consequential', () => {
  test('needs neither credential nor mandate', async () => {
    const answered = await put('envoy', { without_token: true, wish: 'health' });
    expect(answered.status).toBe(200);
    const decision = await decisionOf(answered);
    expect(decision).toMatchObject({
      effect: 'allow',
      credential: { verdict: 'not_presented' },
      mandate: { verdict: 'not_required' },
      request: { verdict: 'permitted' },
      action: { class: 'non_consequential' },
      freshness: { source: 'none' },
    });
    expect(part(decision, 'mandate')).not.toHaveProperty('id');
  });

  test('needs no mandate with a credential', async () => {
    expect(await decisionOf(await put('envoy', { wish: 'health' }))).toMatchObject({
      effect: 'allow',
      credential: { verdict: 'usable', subject: 'alice' },
      mandate: { verdict: 'not_required' },
    });
  });

  test('but a credential that is shown must be good (docs/decisions.md, 1)', async () => {
    const { status, body } = await put('envoy', { raw_token: 'a.b.c', wish: 'health' });
    expect({ status, reason: body['reason'] }).toEqual({ status: 401, reason: 'credential_invalid' });
  });

  test('never in a native question, whose floor is consequential_read (docs/decisions.md, 6)', async () => {
    const { body } = await native({ without_token: true, wish: 'health' });
    expect(body).toMatchObject({ reason: 'credential_invalid', action: { class: 'consequential_read' } });
  });
});

const stopOf = async (claims: Story): Promise<JsonObject> =>
  part((await put('envoy', { claims, wish: 'push' })).body, 'stop');

describe('the four stop problems are apart (design/2, "Life")', () => {
  test('suspended: hold and pause, take nothing back', async () => {
    expect(await stopOf('suspended')).toMatchObject({ ...NO_STOP, stop_issuance: true, pause: true });
  });

  test('revoked: stop all four', async () => {
    expect(await stopOf('revoked')).toMatchObject({
      stop_issuance: true,
      revoke_tokens: true,
      cancel_queued: true,
      interrupt_in_flight: true,
      pause: false,
    });
  });

  test('expired: no new work, no queued work, and as revoke for what is in flight', async () => {
    const ended = { stop_issuance: true, cancel_queued: true, interrupt_in_flight: true, pause: false };
    expect(await stopOf('expired')).toMatchObject(ended);
  });

  test('an allow stops nothing', async () => {
    const { body } = await native({ claims: 'active' });
    expect(body['stop']).toEqual({ ...NO_STOP, reevaluate: false });
  });
});
