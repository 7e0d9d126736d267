/** Guards over the wire that no other test notices when they are taken away. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, type JsonObject, member } from '../src/core/json.ts';
import { type Answered, PUSH, ask as askPort, askEnvoyDoor } from './support/ask.ts';
import { type Asked, PUSH_PARAMETERS, RESOURCE, outcome, question } from './support/question.ts';
import { AS, MANDATES, type Sidecar, proposalBody, startSidecar } from './support/sidecar.ts';

const CONTROL = 'https://mandates.example/control';
const ACTIONS = `
floors: { "payments.*": external_commitment }
operations:
  - match: { methods: [GET], host: git.example, path: "/repos/{owner}/{repo}/**" }
    action: repo.read
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
  - match: { methods: [POST], host: git.example, path: "/repos/{owner}/{repo}/git/refs" }
    action: repo.push
    resource: https://git.example/repos/{owner}/{repo}
    class: irreversible_action
    parameters: { ref: "body:/ref" }
  - match: { tool: repo.label }
    class: consequential_write
`;
const POLICY = '@id("all")\npermit (principal, action, resource);\n';
const CONTROL_POLICY = `
@id("only-settles")
permit (principal == User::"corp/clerk", action == Action::"decision.settle", resource);
@id("nine")
permit (principal == Agent::"corp/agent-9", action, resource);
@id("one")
permit (principal == Agent::"corp/agent-1", action, resource);
@id("two")
permit (principal == Agent::"corp/agent-2", action, resource);
@id("broken")
permit (principal == User::"corp/odd", action, resource) when { resource.version + 9223372036854775807 > 0 };
`;

let folder: string;
let sidecar: Sidecar;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-guards-'));
  writeFileSync(join(folder, 'actions.yaml'), ACTIONS);
  writeFileSync(join(folder, 'all.cedar'), POLICY);
  sidecar = await startSidecar({
    extra: 'settle_within: 1s\n',
    check: '{ listen: "127.0.0.1:0", request_ids: proxy, deadline_ms: 2000 }',
    actions: join(folder, 'actions.yaml'),
    policies: { cedar: folder },
    control: `{ listen: "127.0.0.1:0", issuers: [{ name: corp, issuer: "${AS}", audiences: ["${CONTROL}"], jwks: { file: keys.json }, algorithms: [ES256] }] }`,
  });
});
afterAll(async () => {
  await sidecar.discard();
  rmSync(folder, { recursive: true });
});

const ENTRY = {
  type: 'mission_resource_access',
  resource: RESOURCE,
  resource_match: 'prefix',
  actions: ['repo.*', 'payments.*'],
} as const;
const delegation = { max_depth: 3, allowed_delegates: [{ sub: 'agent-2' }] };

async function begin(of: { controls?: JsonObject; entry?: JsonObject; more?: JsonObject } = {}) {
  const body = proposalBody({ authorization_details: [{ ...ENTRY, ...of.entry }], ...of.more });
  const controls = of.controls === undefined ? {} : { controls: of.controls };
  const record = await sidecar.mandate({ ...body, intent: { ...(body.intent as JsonObject), ...controls } });
  const token = await sidecar.tokenFor(record);
  const path = `/v1/mandates/${String(record.id)}`;
  return {
    record,
    token,
    path,
    ask: (more: JsonObject = {}, asked: Asked = {}) => question(sidecar, { token, more, ...asked }),
    operate: (operation: string, own: JsonObject = {}) =>
      sidecar.control('POST', `${path}/${operation}`, own),
    show: async () => (await sidecar.control('GET', path)).body as JsonObject,
  };
}
const idOf = ({ body }: Answered): string => String(body.decision_id);
const speak = (point: 'commit' | 'renew', decision_id: string, asked: Asked, more: JsonObject = {}) =>
  question(sidecar, {
    point,
    ...asked,
    more: { decision_id, ...(point === 'commit' ? { outcome: 'completed' } : {}), ...more },
  });
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const soon = (ms: number) => new Date(Date.now() + ms).toISOString();
const personOf = (sub: string, client_id = 'console') =>
  sidecar.issuer.mint({ sub, client_id, aud: CONTROL });
const call = (of: Sidecar, token: string, method: string, path: string, body?: Json): Promise<Answered> =>
  askPort(of.control_port, {
    method,
    path,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

describe('a repeat', () => {
  test('says which decision it repeats: another action or resource is a conflict', async () => {
    const { ask } = await begin();
    const retry_of = idOf(await ask({ idempotency_key: 'k' }));
    expect(outcome(await ask({ retry_of, action: { name: 'repo.label' } }))).toBe('idempotency_conflict');
    expect(outcome(await ask({ retry_of, resource: `${RESOURCE}/x` }))).toBe('idempotency_conflict');
    expect(outcome(await ask({ retry_of }))).toBe('allow');
  });

  test('has keys of its own for each mandate and each action', async () => {
    const [one, two] = [await begin(), await begin()];
    await one.ask({ idempotency_key: 'k' });
    expect(outcome(await two.ask({ idempotency_key: 'k', parameters: { ref: 'x' } }))).toBe('allow');
    expect(
      outcome(await one.ask({ idempotency_key: 'k', action: { name: 'repo.label' }, parameters: {} })),
    ).toBe('allow');
  });

  test('a proxy`s request id and a key of the same text are two', async () => {
    const { token, ask, show } = await begin({ controls: { max_calls: 5 } });
    const headers = { ...PUSH.headers, 'x-request-id': 'same' };
    expect((await askEnvoyDoor(sidecar.check_port, token, { ...PUSH, headers })).status).toBe(200);
    expect(outcome(await ask({ idempotency_key: 'same' }))).toBe('allow');
    expect(await show()).toMatchObject({ usage: { max_calls: { charged: 2 } } });
  });

  test('that was decided without an approval does not rest on one that was given since', async () => {
    const { ask, operate, record } = await begin();
    const first = await ask({ idempotency_key: 'k' });
    const [entry] = record.entry_digests as string[];
    await operate('tighten', { entry: entry!, constraints: { requires_action_approval: true } });
    await sidecar.control('POST', '/v1/approvals', {
      mandate: record.id!,
      action: 'repo.push',
      resource: RESOURCE,
      parameter_digest: first.body.parameter_digest!,
      approved_until: soon(60_000),
    });
    expect(outcome(await ask({ idempotency_key: 'k' }))).toBe('approval_required');
    expect(outcome(await ask({ idempotency_key: 'other' }))).toBe('allow');
  });

  test('does not put off the moment at which a decision counts as lost', async () => {
    const { ask } = await begin({ controls: { max_duration: '1h' } });
    const again = () => ask({ idempotency_key: 'k' });
    await again();
    await pause(600);
    expect(outcome(await again())).toBe('allow');
    await pause(600);
    expect((await again()).body).toMatchObject({ reason: 'duplicate_suppressed', next_action: 'retry' });
  });

  test('of what can be undone is not lost by waiting', async () => {
    const { ask } = await begin();
    const label = () => ask({ idempotency_key: 'k', action: { name: 'repo.label' } });
    const first = await label();
    await pause(1100);
    const again = await label();
    expect([outcome(again), idOf(again)]).toEqual(['allow', idOf(first)]);
  });

  test('of a read, and of what a proxy asked without a bound, is not kept', async () => {
    const { ask, token } = await begin();
    const read = await ask({ idempotency_key: 'k', action: { name: 'repo.read' } });
    expect(outcome(await speak('commit', idOf(read), { token }))).toBe('malformed_request');
    const headers = { ...PUSH.headers, 'x-request-id': 'r' };
    const pushed = await askEnvoyDoor(sidecar.check_port, token, { ...PUSH, headers });
    const id = String(pushed.headers['x-mandate-decision']);
    expect(outcome(await speak('commit', id, { token }))).toBe('malformed_request');
  });

  test('with parameters that are too large to keep is renewed by repeating them', async () => {
    const { ask, token } = await begin();
    const parameters = { text: 'x'.repeat(20_000) };
    const label = { action: { name: 'repo.label' }, parameters };
    const id = idOf(await ask({ idempotency_key: 'k', ...label }));
    expect(outcome(await speak('renew', id, { token }))).toBe('idempotency_conflict');
    expect(outcome(await speak('renew', id, { token }, { parameters }))).toBe('allow');
  });
});

describe('what a commit and a renewal say', () => {
  test.each([
    ['another mandate', { id: 'msn_other', issuer: MANDATES }],
    ['another issuer', { issuer: 'https://other.example' }],
  ])('of the mandate must be what was decided: %s', async (_, mandate) => {
    const { ask, record } = await begin();
    // A token without a claim: the question alone names the mandate.
    const token = await sidecar.issuer.mint();
    const id = idOf(await ask({ idempotency_key: 'k' }, { token, of: record }));
    const named = { id: record.id!, ...mandate };
    expect(outcome(await speak('commit', id, { token }, { mandate: named }))).toBe('malformed_request');
    expect(
      outcome(await speak('commit', id, { token }, { mandate: { id: record.id!, issuer: MANDATES } })),
    ).toBe('allow');
  });

  test('the principal that was given the decision may say on its own word', async () => {
    const { ask, token } = await begin();
    const id = idOf(await ask({ idempotency_key: 'k' }, { token, caller: 'operator' }));
    expect(outcome(await speak('renew', id, { caller: 'operator' }))).toBe('allow');
    expect(outcome(await speak('commit', id, { caller: 'operator' }))).toBe('allow');
  });

  test('another client of the same person is another caller', async () => {
    const { ask, record } = await begin();
    const id = idOf(await ask({ idempotency_key: 'k' }));
    const other = await sidecar.tokenFor(record, { client_id: 'agent-7' });
    expect(outcome(await speak('commit', id, { token: other }))).toBe('malformed_request');
  });
});

describe('money', () => {
  const controls = { max_budget: { amount: '5', currency: 'EUR' } };
  test.each([
    ['a currency alone', { currency: 'EUR' }],
    ['no amount', { amount: 'much', currency: 'EUR' }],
    ['a negative one', { amount: '-1', currency: 'EUR' }],
    ['a number', { amount: 1, currency: 'EUR' }],
  ] as const)('that is not said in full is a violation: %s', async (_, more) => {
    const { ask } = await begin({ controls });
    expect(outcome(await ask({ parameters: { ...PUSH_PARAMETERS, ...more } }))).toBe('parameter_violation');
  });

  test('is said by what cannot be undone and nobody has declared', async () => {
    const { ask } = await begin({ controls });
    const sell = { action: { name: 'repo.sell' }, parameters: {} };
    expect(outcome(await ask(sell))).toBe('parameter_violation');
    expect(outcome(await ask({ ...sell, parameters: { amount: '1', currency: 'EUR' } }))).toBe('allow');
  });
});

describe('an approval of one action', () => {
  const needing = () => begin({ entry: { constraints: { requires_action_approval: true }, delegation } });
  const approve = (record: JsonObject, refused: Answered, more: JsonObject = {}) =>
    sidecar.control('POST', '/v1/approvals', {
      mandate: record.id!,
      action: 'repo.push',
      resource: RESOURCE,
      parameter_digest: refused.body.parameter_digest!,
      approved_until: soon(60_000),
      ...more,
    });

  test.each([
    ['another action', { action: 'repo.label' }],
    ['another resource', { resource: `${RESOURCE}/x` }],
  ])('is of that action alone: not of %s', async (_, more) => {
    const { ask, record } = await needing();
    expect((await approve(record, await ask(), more)).status).toBe(201);
    expect(outcome(await ask())).toBe('approval_required');
  });

  test('names the resource as any URI does', async () => {
    const { ask, record } = await needing();
    const resource = RESOURCE.replace('git.example', 'GIT.example:443');
    await approve(record, await ask(), { resource });
    expect(outcome(await ask())).toBe('allow');
  });

  test('is not given of a mandate that has ended, nor without end', async () => {
    const { ask, record, operate } = await needing();
    const refused = await ask();
    for (let given = 0; given < 64; given += 1) await approve(record, refused);
    expect(await approve(record, refused)).toMatchObject({ status: 409, body: { reason: 'conflict' } });
    await operate('revoke');
    expect(await approve(record, refused)).toMatchObject({ status: 409, body: { reason: 'conflict' } });
  });

  test('of a child does not outlive a suspension of its parent', async () => {
    const { record, operate } = await needing();
    const made = await sidecar.control('POST', `/v1/mandates/${String(record.id)}/children`, {
      client_id: 'agent-2',
      authorization_details: [{ ...ENTRY, constraints: { requires_action_approval: true } }],
    });
    const child = made.body as JsonObject;
    const token = await sidecar.tokenFor(child, { client_id: 'agent-2' });
    await approve(child, await question(sidecar, { token }));
    await operate('suspend');
    await operate('resume', { expected_version: 2 });
    expect(outcome(await question(sidecar, { token }))).toBe('approval_required');
  });

  test('is kept with its mandate until it has run out, and is then forgotten', async () => {
    const { ask, record, show } = await needing();
    const refused = await ask();
    await approve(record, refused, { approved_until: soon(50) });
    await pause(60);
    await approve(record, refused);
    expect((await show()).action_approvals).toHaveLength(1);
  });

  test('carries a renewal of what it was used for', async () => {
    const { ask, record, token } = await needing();
    await approve(record, await ask());
    const id = idOf(await ask({ idempotency_key: 'k' }));
    expect(outcome(await speak('renew', id, { token }))).toBe('allow');
  });
});

describe('the check points', () => {
  const child = { client_id: 'agent-2', authorization_details: [ENTRY] };
  test.each([
    ['tool', { cnf: {} }, 'cnf'],
    ['tool', { authorization_details: [ENTRY] }, 'authorization_details'],
    ['tool', { queued_at: new Date().toISOString() }, 'queued_at'],
    ['resume', { items: [{ id: '1', action: { name: 'a' }, resource: 'urn:x:y' }] }, 'items'],
    ['issue', { child }, 'child'],
    ['renew', { decision_id: 'd', outcome: 'completed' }, 'outcome'],
  ] as const)('have members of their own: %s %j', async (point, more, field) => {
    const { status, body } = await question(sidecar, { point, more: more });
    expect([status, body.field]).toEqual([400, field]);
  });

  test('a drain waits for a credential that is to be had', async () => {
    const items = [
      { id: 'a', action: { name: 'repo.push' }, resource: RESOURCE, parameters: PUSH_PARAMETERS },
    ];
    const more = { items, action: { name: 'repo.push' }, resource: RESOURCE };
    const answer = await question(sidecar, { point: 'drain', token: 'a.b.c', more });
    expect(answer.body.items).toMatchObject([{ effect: 'hold', reason: 'credential_invalid' }]);
  });

  test('queued before a suspension: what can be undone goes on', async () => {
    const { record, operate } = await begin();
    const queued_at = new Date().toISOString();
    await pause(5);
    await operate('suspend');
    await operate('resume', { expected_version: 2 });
    const more = { queued_at, action: { name: 'repo.label' }, parameters: {} };
    const answer = await question(sidecar, { point: 'drain', of: record, caller: 'operator', more });
    expect(answer.body.items).toMatchObject([{ effect: 'allow' }]);
  });

  test('a delegation and a token are looked at with a barrier, whatever is asked about', async () => {
    const { record } = await begin({ entry: { delegation } });
    for (const [point, more] of [
      ['delegate', { child }],
      ['issue', {}],
    ] as const) {
      const { body } = await question(sidecar, {
        point,
        of: record,
        caller: 'operator',
        more: { ...more, action: { name: 'repo.read' }, resource: RESOURCE },
      });
      expect(body).toMatchObject({
        action: { class: 'privileged_administration' },
        freshness: { budget_ms: 0 },
      });
    }
  });

  test('what is issued is inside every mandate above, and nothing while a condition withholds it', async () => {
    const { record, operate } = await begin({ entry: { delegation } });
    const made = await sidecar.control('POST', `/v1/mandates/${String(record.id)}/children`, child);
    const of = made.body as JsonObject;
    const issue = (more: JsonObject = {}) =>
      question(sidecar, { point: 'issue', of, caller: 'operator', more });
    expect(outcome(await issue())).toBe('allow');
    await operate('contain', { entries: record.entry_digests! });
    expect(outcome(await issue())).toBe('out_of_authority');
    expect(outcome(await issue({ authorization_details: [ENTRY] }))).toBe('out_of_authority');

    const conditions = [{ id: 'c', event_type: 'x', key: 'issued', on_false: 'contain', max_stale_s: 1 }];
    const held = await begin({ more: { conditions } });
    await sidecar.control('POST', '/v1/conditions/events', {
      event_id: crypto.randomUUID(),
      event_type: 'x',
      key: 'issued',
      value: true,
      observed_at: new Date().toISOString(),
    });
    const asked = () => question(sidecar, { point: 'issue', of: held.record, caller: 'operator' });
    expect(outcome(await asked())).toBe('allow');
    await pause(1100);
    expect(outcome(await asked())).toBe('out_of_authority');
  });

  test('a refresh carries what still fits as it was granted', async () => {
    const { record } = await begin();
    const part = { ...ENTRY, resource: `${RESOURCE}/docs`, actions: ['repo.read'] };
    const more = { authorization_details: [part] };
    const answer = await question(sidecar, { point: 'refresh', of: record, caller: 'operator', more });
    expect(answer.body.authorization_details).toEqual([part]);
  });

  test('a view that is too old for the one who asks is no reason to throw a token away', async () => {
    const { record } = await begin();
    const more = { min_version: 9 };
    const answer = await question(sidecar, { point: 'issue', of: record, caller: 'operator', more });
    expect(answer.body).toMatchObject({ reason: 'stale_state', error: 'temporarily_unavailable' });
  });

  test('a commit takes a credential', async () => {
    const { ask } = await begin();
    const id = idOf(await ask({ idempotency_key: 'k' }));
    expect(outcome(await speak('commit', id, {}))).toBe('credential_invalid');
    expect(outcome(await speak('commit', id, { token: 'a.b.c' }))).toBe('credential_invalid');
  });
});

describe('who may', () => {
  let own: Sidecar;
  let policies: string;
  beforeAll(async () => {
    policies = mkdtempSync(join(tmpdir(), 'mandated-guards-control-'));
    writeFileSync(join(policies, 'team.cedar'), CONTROL_POLICY);
    own = await startSidecar({
      issuer: sidecar.issuer,
      policies: { cedar: 'policies/cedar', control: policies },
      control: `{ listen: "127.0.0.1:0", issuers: [{ name: corp, issuer: "${AS}", audiences: ["${CONTROL}"], jwks: { file: keys.json }, algorithms: [ES256] }] }`,
    });
  });
  afterAll(async () => {
    await own.discard();
    rmSync(policies, { recursive: true });
  });
  const tree = async () => {
    const body = proposalBody({ authorization_details: [{ ...ENTRY, delegation }] });
    const root = await own.mandate(body);
    const made = await own.control('POST', `/v1/mandates/${String(root.id)}/children`, {
      client_id: 'agent-2',
      authorization_details: [ENTRY],
    });
    return { root, child: made.body as JsonObject };
  };
  const operate = async (token: string, of: JsonObject, operation: string, body: JsonObject) =>
    (await call(own, token, 'POST', `/v1/mandates/${String(of.id)}/${operation}`, body)).status;

  test('no agent gives back or approves, whichever it is and whatever a policy says', async () => {
    const { root, child } = await tree();
    const extend = { expires_at: soon(7 * 3_600_000), expected_version: 1 };
    const amend = { authorization_details: [ENTRY] as unknown as Json, expected_version: 1 };
    const approval = {
      mandate: child.id!,
      action: 'repo.push',
      resource: RESOURCE,
      parameter_digest: `sha-256:${'A'.repeat(43)}`,
      approved_until: soon(60_000),
    };
    // A stranger's agent; the agent itself through a person; and the one above it through a person.
    for (const token of [
      await personOf('agent-9', 'agent-9'),
      await personOf('alice', 'agent-2'),
      await personOf('alice', 'agent-1'),
    ]) {
      expect(await operate(token, child, 'extend', extend)).toBe(403);
      expect(await operate(token, child, 'amend', amend)).toBe(403);
      expect((await call(own, token, 'POST', '/v1/approvals', approval)).status).toBe(403);
    }
    expect(await operate(await personOf('agent-9', 'agent-9'), root, 'extend', extend)).toBe(403);
  });

  test('a party is one of its issuer', async () => {
    const { root } = await tree();
    const body = proposalBody({
      subject: { iss: 'https://other.example', sub: 'alice' },
      client_id: 'agent-8',
    });
    const theirs = await own.mandate({ ...body, client_issuer: 'https://other.example' });
    const alice = await personOf('alice');
    expect((await call(own, alice, 'GET', `/v1/mandates/${String(theirs.id)}`)).status).toBe(404);
    expect((await call(own, alice, 'GET', `/v1/mandates/${String(root.id)}`)).status).toBe(200);
  });

  test('a policy that errs permits nothing, to nobody', async () => {
    const { root } = await tree();
    expect((await call(own, await personOf('odd'), 'GET', `/v1/mandates/${String(root.id)}`)).status).toBe(
      404,
    );
  });

  test('who approved a mandate has a say in its renewal', async () => {
    const asked = proposalBody({ subject: { iss: AS, sub: 'bob' } });
    const root = await own.mandate(asked);
    const renewed = await own.control('POST', `/v1/mandates/${String(root.id)}/renew`, {
      expected_version: 1,
    });
    const path = `/v1/proposals/${String(member(renewed.body, 'submission_id'))}`;
    expect((await call(own, await personOf('alice'), 'GET', path)).status).toBe(404);
    const first = await call(own, await personOf('bob'), 'POST', `${path}/approve`, {
      proposal_hash: member(renewed.body, 'proposal_hash')!,
    });
    expect(first.body).toMatchObject({ approver: { sub: 'bob' } });
    const again = await own.control('POST', `/v1/mandates/${String(first.body.id)}/renew`, {
      expected_version: 1,
    });
    const next = `/v1/proposals/${String(member(again.body, 'submission_id'))}`;
    expect((await call(own, await personOf('bob'), 'GET', next)).status).toBe(200);
  });

  test('a proposal, a version and a decision are not there for strangers', async () => {
    const { root } = await tree();
    const mallory = await personOf('mallory');
    const proposed = await own.control('POST', '/v1/proposals', proposalBody());
    const sub = String(member(proposed.body, 'submission_id'));
    const token = await own.tokenFor(root);
    const decided = await question(own, { token, more: { idempotency_key: 'k' } });
    const paths: (readonly [string, string, Json?])[] = [
      ['GET', `/v1/proposals/${sub}`],
      ['POST', `/v1/proposals/${sub}/approve`, { proposal_hash: 'x' }],
      ['POST', `/v1/proposals/${sub}/deny`, {}],
      ['GET', `/v1/mandates/${String(root.id)}/versions/1`],
      ['GET', `/v1/decisions/${idOf(decided)}`],
      ['POST', `/v1/decisions/${idOf(decided)}/settle`, { outcome: 'failed' }],
    ];
    for (const [method, path, body] of paths) {
      const answer = await call(own, mallory, method, path, body);
      expect([path, answer.status, answer.body.reason]).toEqual([path, 404, 'not_found']);
    }
    // Who may settle and not see does settle; what is shown has neither the key nor the parameters.
    const settled = await call(
      own,
      await personOf('clerk'),
      'POST',
      `/v1/decisions/${idOf(decided)}/settle`,
      {
        outcome: 'failed',
      },
    );
    expect(settled.status).toBe(200);
    expect(settled.body).not.toHaveProperty('key');
    expect(settled.body).not.toHaveProperty('parameters');
    expect((await call(own, await personOf('clerk'), 'GET', `/v1/decisions/${idOf(decided)}`)).status).toBe(
      404,
    );
  });

  test('a list shows what its reader may see', async () => {
    await tree();
    const { body } = await call(own, await personOf('mallory'), 'GET', '/v1/mandates?limit=1');
    expect(body.items).toEqual([]);
  });
});

test('a decision is shown with the status that counts now', async () => {
  const { ask } = await begin();
  const path = `/v1/decisions/${idOf(await ask({ idempotency_key: 'k' }))}`;
  expect((await sidecar.control('GET', path)).body).toMatchObject({ status: 'decided' });
  await pause(1100);
  expect((await sidecar.control('GET', path)).body).toMatchObject({ status: 'unknown' });
});

test('a request id stands for its time, and the latest decision for its id', async () => {
  const { token, show } = await begin({ controls: { max_calls: 5 } });
  const push = () =>
    askEnvoyDoor(sidecar.check_port, token, {
      ...PUSH,
      headers: { ...PUSH.headers, 'x-request-id': 'late' },
    });
  const first = await push();
  await pause(10_100);
  const [second, third] = [await push(), await push()];
  const ids = [first, second, third].map(({ headers }) => headers['x-mandate-decision']);
  expect(ids[0]).not.toBe(ids[1]);
  expect(ids[2]).toBe(ids[1]);
  expect(await show()).toMatchObject({ usage: { max_calls: { charged: 2 } } });
});
