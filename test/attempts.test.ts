/** Defects found in review. Each states what the design promises and is expected to fail today: `test` flips when mended. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, type JsonObject, member } from '../src/core/json.ts';
import { type Answered, ask } from './support/ask.ts';
import { PUSH_PARAMETERS, RESOURCE, outcome, question } from './support/question.ts';
import { AS, GIT, type Sidecar, proposalBody, startSidecar } from './support/sidecar.ts';

const CONTROL = 'https://mandates.example/control';
const POLICIES = `
@id("agents-may-pause-themselves")
permit (principal is Agent, action == Action::"mandate.suspend", resource) when { context.is_agent };
@id("no-chatbot")
forbid (principal == Agent::"corp/chatbot", action, resource);
@id("carol-sees-no-children")
forbid (principal == User::"corp/carol", action == Action::"mandate.read", resource) when { resource.depth > 0 };
`;

let folder: string;
let sidecar: Sidecar;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-control-'));
  writeFileSync(join(folder, 'team.cedar'), POLICIES);
  sidecar = await startSidecar({
    control: `{ listen: "127.0.0.1:0", issuers: [{ name: corp, issuer: "${AS}", audiences: ["${CONTROL}"], jwks: { file: keys.json }, algorithms: [ES256] }] }`,
    policies: { cedar: 'policies/cedar', control: folder },
  });
});
afterAll(async () => {
  await sidecar.discard();
  rmSync(folder, { recursive: true });
});

const personOf = (sub: string, client_id = 'console') =>
  sidecar.issuer.mint({ sub, client_id, aud: CONTROL });
const call = (token: string, method: string, path: string, body?: Json): Promise<Answered> =>
  ask(sidecar.control_port, {
    method,
    path,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const operate = async (record: JsonObject, operation: string, body: JsonObject = {}) =>
  (await sidecar.control('POST', `/v1/mandates/${String(record.id)}/${operation}`, body)).body as JsonObject;
const stateOf = async (record: JsonObject) =>
  member((await sidecar.control('GET', `/v1/mandates/${String(record.id)}`)).body, 'state');
const report = (key: string, value: Json, more: JsonObject = {}) =>
  sidecar.control('POST', '/v1/conditions/events', {
    event_id: crypto.randomUUID(),
    event_type: 't',
    key,
    value,
    observed_at: new Date().toISOString(),
    ...more,
  });
const conditioned = (key: string, on_false: string, max_stale_s = 600, more: JsonObject = {}) =>
  sidecar.mandate(
    proposalBody({ conditions: [{ id: 'c', event_type: 't', key, on_false, max_stale_s }], ...more }),
  );
const soon = (ms: number) => new Date(Date.now() + ms).toISOString();
const delegation = { max_depth: 3, allowed_delegates: [{ sub: 'agent-2' }] };
const ENTRY = {
  type: 'mission_resource_access',
  resource: RESOURCE,
  resource_match: 'prefix',
  actions: ['repo.*'],
};
const DELEGABLE = { ...ENTRY, delegation };
const needing = () =>
  sidecar.mandate(
    proposalBody({ authorization_details: [{ ...ENTRY, constraints: { requires_action_approval: true } }] }),
  );
const approveAction = async (record: JsonObject, refused: Answered) =>
  (
    await sidecar.control('POST', '/v1/approvals', {
      mandate: record.id!,
      action: 'repo.push',
      resource: RESOURCE,
      parameter_digest: refused.body.parameter_digest!,
      approved_until: soon(60_000),
    })
  ).body as JsonObject;
async function childOf(root: JsonObject): Promise<JsonObject> {
  const child = await sidecar.control('POST', `/v1/mandates/${String(root.id)}/children`, {
    client_id: 'agent-2',
    authorization_details: [DELEGABLE],
  });
  return child.body as JsonObject;
}

describe('what has ended or is held comes back', () => {
  test.each([
    ['the agent, that a policy lets pause itself', 'agent-1', 'agent-1'],
    ['the subject, who may not resume', 'alice', 'console'],
  ])('a suspension by the operator is not lifted by %s', async (_, sub, client) => {
    const record = await sidecar.mandate();
    await operate(record, 'suspend', { reason: 'incident' });
    const token = await personOf(sub, client);
    const path = `/v1/mandates/${String(record.id)}`;
    expect((await call(token, 'POST', `${path}/resume`, { expected_version: 2 })).status).toBe(403);
    await call(token, 'POST', `${path}/suspend`, { suspend_until: soon(200), on_expiry: 'resume' });
    await pause(300);
    expect(await stateOf(record)).toBe('suspended');
  });

  test('a revoke-condition that is false at the approval has ended the mandate for good', async () => {
    await report('d2', false);
    const record = await conditioned('d2', 'revoke');
    expect(record.state).toBe('revoked');
    await report('d2', true);
    expect(await stateOf(record)).toBe('revoked');
  });

  test('a suspend-condition that fails during a suspension that ends by itself is not lost', async () => {
    const record = await conditioned('d3', 'suspend');
    await report('d3', true);
    await operate(record, 'suspend', { suspend_until: soon(300), on_expiry: 'resume' });
    await report('d3', false);
    await report('d3', true);
    await pause(400);
    expect(await stateOf(record)).toBe('suspended');
  });

  test('an approval of one action does not outlive a suspension by a stale condition', async () => {
    const record = await conditioned('d4', 'suspend', 1, {
      authorization_details: [{ ...ENTRY, constraints: { requires_action_approval: true } }],
    });
    const token = await sidecar.tokenFor(record);
    await report('d4', true);
    await approveAction(record, await question(sidecar, { token }));
    await pause(1100);
    expect(outcome(await question(sidecar, { token }))).toBe('mission_inactive');
    await report('d4', true);
    expect(outcome(await question(sidecar, { token }))).toBe('approval_required');
  });

  test('a report from a clock that is ahead does not hide a later one', async () => {
    const record = await conditioned('d5', 'suspend');
    await report('d5', true, { observed_at: soon(4500) });
    await report('d5', false);
    expect(await stateOf(record)).toBe('suspended');
  });

  test('an item of a drain that does not say when it was queued was queued before the suspension', async () => {
    const record = await sidecar.mandate();
    await operate(record, 'suspend');
    await operate(record, 'resume', { expected_version: 2 });
    const items = [
      { id: 'a', action: { name: 'repo.push' }, resource: RESOURCE, parameters: PUSH_PARAMETERS },
    ];
    const more = { items, action: { name: 'repo.push' }, resource: RESOURCE };
    const answer = await question(sidecar, { point: 'drain', of: record, caller: 'operator', more });
    expect(answer.body.items ?? answer.status).not.toMatchObject([{ effect: 'allow' }]);
  });
});

describe('what is not theirs', () => {
  test.each([['nobody'], ['mallory']])('%s learns nothing of a decision by naming it', async (who) => {
    const record = await sidecar.mandate();
    const decided = await question(sidecar, {
      token: await sidecar.tokenFor(record),
      more: { idempotency_key: 'k' },
    });
    const asked =
      who === 'nobody' ? {} : { token: await sidecar.issuer.mint({ sub: who, client_id: 'evil' }) };
    const [known, unknown] = await Promise.all(
      [decided.body.decision_id!, 'dec_nobody'].map(async (decision_id) => {
        const more = { decision_id, outcome: 'completed' };
        const { body } = await question(sidecar, { point: 'commit', ...asked, more });
        const { decision_id: _d, sequence: _s, evaluated_at: _e, ...rest } = body;
        return rest;
      }),
    );
    expect(known).toEqual(unknown);
  });

  test('a next_cursor does not tell of mandates that are not to be seen', async () => {
    const of = (sub: string) => sidecar.mandate(proposalBody({ client_id: 'd8', subject: { iss: AS, sub } }));
    const token = await personOf('dora');
    await of('dora');
    await of('bob');
    expect((await call(token, 'GET', '/v1/mandates?client_id=d8&limit=1')).body.next_cursor).toBeUndefined();
  });

  test('a tree shows what its reader may see', async () => {
    const subject = { iss: AS, sub: 'carol' };
    const root = await sidecar.mandate(proposalBody({ subject, authorization_details: [DELEGABLE] }));
    const child = await childOf(root);
    const carol = await personOf('carol');
    expect((await call(carol, 'GET', `/v1/mandates/${String(child.id)}`)).status).toBe(404);
    const { body } = await call(carol, 'GET', `/v1/mandates/${String(root.id)}/tree`);
    expect(body.items).toHaveLength(1);
  });
});

describe('who may', () => {
  test('the renewal of a child is not approved through the agent above it', async () => {
    const child = await childOf(await sidecar.mandate(proposalBody({ authorization_details: [DELEGABLE] })));
    const { submission_id, proposal_hash } = await operate(child, 'renew', { expected_version: 1 });
    const above = await personOf('alice', 'agent-1');
    const path = `/v1/proposals/${String(submission_id)}/approve`;
    expect((await call(above, 'POST', path, { proposal_hash: proposal_hash! })).status).toBe(403);
  });

  test('a forbid on a client holds for what is approved through it', async () => {
    const body = proposalBody({ client_id: 'd11' });
    const proposed = await call(await personOf('d11', 'd11'), 'POST', '/v1/proposals', body);
    const path = `/v1/proposals/${String(proposed.body.submission_id)}/approve`;
    const through = await personOf('alice', 'chatbot');
    const answer = await call(through, 'POST', path, { proposal_hash: proposed.body.proposal_hash! });
    // It may not even see what it asks about.
    expect(answer.status).toBe(404);
  });

  test('a bound that was approved in the renewal of a child is enforced, or refused', async () => {
    const child = await childOf(await sidecar.mandate(proposalBody({ authorization_details: [DELEGABLE] })));
    const intent = { ...(child.intent as JsonObject), controls: { max_calls: 1 } };
    const proposed = await operate(child, 'renew', { expected_version: 1, intent });
    const approved = await sidecar.control(
      'POST',
      `/v1/proposals/${String(proposed.submission_id)}/approve`,
      {
        proposal_hash: proposed.proposal_hash!,
      },
    );
    if (approved.status !== 201) return;
    const token = await sidecar.tokenFor(approved.body as JsonObject, { client_id: 'agent-2' });
    await question(sidecar, { token });
    expect(outcome(await question(sidecar, { token }))).toBe('quota_exceeded');
  });

  test('a token may not be issued with more to hand on than the mandate has', async () => {
    const record = await sidecar.mandate();
    const details = [{ ...ENTRY, delegation: { max_depth: 99, allowed_delegates: [{ sub: 'evil' }] } }];
    const more = { authorization_details: details };
    const answer = await question(sidecar, { point: 'issue', of: record, caller: 'operator', more });
    expect(outcome(answer)).toBe('out_of_authority');
  });
});

describe('repeats and approvals', () => {
  test('a commit is accepted after the natural end too', async () => {
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor(record);
    const { body } = await question(sidecar, { token, more: { idempotency_key: 'k' } });
    await operate(record, 'shorten', { expires_at: soon(200) });
    await pause(300);
    const more = { decision_id: body.decision_id!, outcome: 'completed' };
    expect(outcome(await question(sidecar, { point: 'commit', token, more }))).toBe('allow');
  });

  test('a fresh approval is found beside one that was used', async () => {
    const record = await needing();
    const token = await sidecar.tokenFor(record);
    const refused = await question(sidecar, { token });
    await approveAction(record, refused);
    expect(outcome(await question(sidecar, { token, more: { idempotency_key: '1' } }))).toBe('allow');
    await approveAction(record, refused);
    expect(outcome(await question(sidecar, { token, more: { idempotency_key: '2' } }))).toBe('allow');
  });

  test('a decision is bound to every parameter, whatever its name', async () => {
    const token = await sidecar.tokenFor(await sidecar.mandate());
    const check = (parameters: string) =>
      ask(sidecar.check_port, {
        method: 'POST',
        path: '/v1/check',
        headers: { 'content-type': 'application/json' },
        body: `{"check_point":"tool","action":{"name":"repo.push"},"resource":"${RESOURCE}","credential":{"token":"${token}"},"parameters":${parameters}}`,
      });
    const [plain, more] = [await check('{"ref":"x"}'), await check('{"ref":"x","__proto__":{"admin":true}}')];
    expect(more.body.parameter_digest).not.toBe(plain.body.parameter_digest);
  });
});

describe('much at once', () => {
  test('a refresh answers each entry once', async () => {
    const details = Array.from({ length: 64 }, (_, index) => ({
      ...ENTRY,
      resource: `${RESOURCE}/d${index}`,
    }));
    const record = await sidecar.mandate(proposalBody({ authorization_details: details }));
    const token = await sidecar.tokenFor(record);
    const broad = { ...ENTRY, resource: `${GIT}/` };
    const more = { authorization_details: Array.from({ length: 64 }, () => broad) };
    const answer = await question(sidecar, { point: 'refresh', token, more });
    expect(answer.body.authorization_details).toEqual(details);
  });

  test('a drain is answered whole', async () => {
    const body = proposalBody();
    const intent = { ...(body.intent as JsonObject), controls: { max_calls: 1000 } };
    const token = await sidecar.tokenFor(await sidecar.mandate({ ...body, intent }));
    const items = Array.from({ length: 256 }, (_, index) => ({
      id: String(index),
      action: { name: 'repo.push' },
      resource: RESOURCE,
      parameters: PUSH_PARAMETERS,
      queued_at: new Date().toISOString(),
    }));
    const answers = await Promise.all(
      Array.from({ length: 4 }, () =>
        question(sidecar, {
          point: 'drain',
          token,
          more: { items, action: { name: 'repo.push' }, resource: RESOURCE },
        }),
      ),
    );
    const effects = answers.flatMap((each) => (each.body.items as JsonObject[]).map(({ effect }) => effect));
    expect(new Set(effects)).toEqual(new Set(['allow']));
  });
});

test('/v1/check answers 200 with a decision, also when a caller`s own credential cannot be verified', async () => {
  const issuer = sidecar.issuer;
  const own = await startSidecar({
    issuer,
    control: `{ listen: "127.0.0.1:0", issuers: [{ name: corp, issuer: "${AS}", audiences: ["${CONTROL}"], jwks: { uri: "https://127.0.0.1:9/keys" }, algorithms: [ES256] }] }`,
  });
  try {
    const record = await own.mandate();
    const caller = await personOf('alice');
    const answer = await question(own, { token: await own.tokenFor(record), caller });
    expect(answer.status).toBe(200);
  } finally {
    await own.discard();
  }
});

test('an issue that is refused at the last moment says so to the authorization server', async () => {
  // The refusal afterwards keeps `authorization_details` and has no `error` (src/core/permit.ts, refuseAfterwards).
  const { refuseAfterwards } = await import('../src/core/permit.ts');
  const decision = {
    check_point: 'issue',
    effect: 'allow',
    authorization_details: [ENTRY],
    mandate: { verdict: 'legitimate', id: 'm', state: 'active', version: 3 },
    request: {},
  };
  const refused = refuseAfterwards(
    decision as never,
    'state_unavailable',
    'the permit ended before it was given',
  );
  expect(refused).toMatchObject({ error: 'temporarily_unavailable' });
  // An unproven view shows no state (docs/decisions.md, 5).
  expect(refused.mandate).toEqual({ verdict: 'unproven', reason: 'state_unavailable', id: 'm' });
  expect(refused.authorization_details).toBeUndefined();
});

test('a renewal does not propose what was seen of its conditions', async () => {
  const record = await conditioned('d21', 'suspend');
  await report('d21', true);
  const { submission_id } = await operate(record, 'renew', { expected_version: 1 });
  const { body } = await sidecar.control('GET', `/v1/proposals/${String(submission_id)}`);
  expect(member(body, 'conditions')).toEqual([expect.not.objectContaining({ last: expect.anything() })]);
});
