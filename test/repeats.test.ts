/** Repeats, budgets, approvals of one action and the check points that speak of them (design/2 and 8), over the wire. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type JsonObject, member } from '../src/core/json.ts';
import { PUSH, type Answered, askEnvoyDoor } from './support/ask.ts';
import { type Asked, PUSH_PARAMETERS, RESOURCE, outcome, question, verdicts } from './support/question.ts';
import { type Sidecar, proposalBody, startSidecar } from './support/sidecar.ts';

const options = { extra: 'settle_within: 1s\n' };
let sidecar: Sidecar;
beforeAll(async () => {
  sidecar = await startSidecar(options);
});
afterAll(() => sidecar.discard());

const ENTRY = {
  type: 'mission_resource_access',
  resource: RESOURCE,
  resource_match: 'prefix',
  actions: ['repo.*', 'payments.*'],
} as const;

/** A mandate with these controls, and how its agent asks. */
async function begin({ controls, entry = {} }: { controls?: JsonObject; entry?: JsonObject } = {}) {
  const body = proposalBody({ authorization_details: [{ ...ENTRY, ...entry }] });
  const intent = { ...(body.intent as JsonObject), ...(controls === undefined ? {} : { controls }) };
  const record = await sidecar.mandate({ ...body, intent });
  const token = await sidecar.tokenFor(record);
  return {
    record,
    token,
    ask: (more: JsonObject = {}, asked: Asked = {}) => question(sidecar, { token, more, ...asked }),
    operate: (operation: string, own: JsonObject = {}) =>
      sidecar.control('POST', `/v1/mandates/${String(record.id)}/${operation}`, own),
    usage: async () => (await sidecar.control('GET', `/v1/mandates/${String(record.id)}`)).body,
  };
}

const idOf = ({ body }: Answered): string => String(body.decision_id);
const commit = (decision_id: string, result: string, asked: Asked) =>
  question(sidecar, { point: 'commit', ...asked, more: { decision_id, outcome: result } });
const renew = (decision_id: string, asked: Asked) =>
  question(sidecar, { point: 'renew', ...asked, more: { decision_id } });
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('the same question again (design/2, the life of a decision)', () => {
  test('decided: checked anew, under the same id, with a fresh end', async () => {
    const { ask } = await begin();
    const first = await ask({ idempotency_key: 'k' });
    await pause(20);
    const again = await ask({ idempotency_key: 'k' });
    expect([outcome(first), outcome(again), idOf(again)]).toEqual(['allow', 'allow', idOf(first)]);
    expect(String(again.body.valid_until) > String(first.body.valid_until)).toBe(true);
    expect(idOf(await ask({ idempotency_key: 'other' }))).not.toBe(idOf(first));
  });

  test('decided, and the mandate has ended: a deny like any other', async () => {
    const { ask, operate } = await begin();
    await ask({ idempotency_key: 'k' });
    await operate('revoke');
    expect(outcome(await ask({ idempotency_key: 'k' }))).toBe('mission_inactive');
  });

  test.each(['completed', 'failed'])(
    'committed as %s: suppressed for ever, and not to be retried',
    async (result) => {
      const { ask, token } = await begin();
      const first = await ask({ idempotency_key: 'k' });
      expect(outcome(await commit(idOf(first), result, { token }))).toBe('allow');
      const again = await ask({ idempotency_key: 'k' });
      expect(again.body).toMatchObject({
        effect: 'deny',
        reason: 'duplicate_suppressed',
        next_action: 'none',
        mandate: { verdict: 'legitimate' },
        request: { verdict: 'not_evaluated', reason: 'duplicate_suppressed' },
      });
    },
  );

  test('unknown, by a commit or by itself: suppressed until it is settled', async () => {
    const { ask, token } = await begin();
    const said = await ask({ idempotency_key: 'said' });
    const silent = await ask({ idempotency_key: 'silent' });
    await commit(idOf(said), 'unknown', { token });
    expect(await ask({ idempotency_key: 'said' })).toMatchObject({
      body: { reason: 'duplicate_suppressed', next_action: 'retry' },
    });
    expect(outcome(await ask({ idempotency_key: 'silent' }))).toBe('allow');
    await pause(1100);
    expect(await ask({ idempotency_key: 'silent' })).toMatchObject({
      body: { reason: 'duplicate_suppressed', next_action: 'retry' },
    });
    expect(outcome(await commit(idOf(silent), 'completed', { token }))).toBe('allow');
    expect(await ask({ idempotency_key: 'silent' })).toMatchObject({ body: { next_action: 'none' } });
  });

  test('other parameters under the key are a conflict; another action or resource has keys of its own', async () => {
    const { ask } = await begin();
    const first = await ask({ idempotency_key: 'k' });
    const other = await ask({ idempotency_key: 'k', parameters: { ref: 'refs/heads/main' } });
    expect(other.body).toMatchObject({ reason: 'idempotency_conflict', next_action: 'none' });
    const elsewhere = await ask({ idempotency_key: 'k', resource: `${RESOURCE}/x` });
    expect([outcome(elsewhere), idOf(elsewhere) === idOf(first)]).toEqual(['allow', false]);
  });

  test('another mandate has keys of its own', async () => {
    const [one, two] = [await begin(), await begin()];
    const first = await one.ask({ idempotency_key: 'k' });
    expect(idOf(await two.ask({ idempotency_key: 'k', parameters: { ref: 'x' } }))).not.toBe(idOf(first));
  });

  test('ten at once are one', async () => {
    const { ask, record, usage } = await begin({ controls: { max_calls: 5 } });
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask({ idempotency_key: 'k' })));
    expect(new Set(answers.map(outcome))).toEqual(new Set(['allow']));
    expect(new Set(answers.map(idOf)).size).toBe(1);
    expect(await usage()).toMatchObject({ id: record.id, usage: { max_calls: { charged: 1 } } });
  });

  test('a retry is told what became of the decision that it names', async () => {
    const { ask, token } = await begin();
    const first = await ask({ idempotency_key: 'k' });
    const retry = () => ask({ retry_of: idOf(first) }, { point: 'retry' });
    expect([outcome(await retry()), idOf(await retry())]).toEqual(['allow', idOf(first)]);
    await commit(idOf(first), 'completed', { token });
    expect((await retry()).body).toMatchObject({ reason: 'duplicate_suppressed', next_action: 'none' });
    const other = await ask({ retry_of: idOf(first), parameters: { ref: 'x' } }, { point: 'retry' });
    expect(other.body.reason).toBe('idempotency_conflict');
  });

  test('all of it survives a restart', async () => {
    const { ask, token, operate } = await begin({ controls: { max_calls: 2 } });
    const first = await ask({ idempotency_key: 'k' });
    await commit(idOf(first), 'completed', { token });
    await ask({ idempotency_key: 'open' });
    await sidecar.stop();
    sidecar = await startSidecar({ ...options, folder: sidecar.folder, issuer: sidecar.issuer });
    expect((await ask({ idempotency_key: 'k' })).body).toMatchObject({
      reason: 'duplicate_suppressed',
      next_action: 'none',
    });
    await pause(1000);
    expect((await ask({ idempotency_key: 'open' })).body).toMatchObject({
      reason: 'duplicate_suppressed',
      next_action: 'retry',
    });
    expect(outcome(await ask({ idempotency_key: 'more' }))).toBe('quota_exceeded');
    await operate('revoke');
  });
});

describe('commit', () => {
  test('is taken down after the end too, and says what has become of the mandate', async () => {
    const { ask, token, record, operate } = await begin();
    const first = await ask({ idempotency_key: 'k' });
    await operate('revoke');
    const committed = await commit(idOf(first), 'completed', { token });
    expect(verdicts(committed)).toBe('usable not_required permitted');
    expect(committed.body).toMatchObject({
      decision_id: idOf(first),
      effect: 'allow',
      mandate: { id: record.id, state: 'revoked' },
      stop: { cancel_queued: true },
      next_action: 'stop',
    });
  });

  test('again with the same outcome changes nothing, with another it is a conflict', async () => {
    const { ask, token } = await begin();
    const id = idOf(await ask({ idempotency_key: 'k' }));
    const outcomes = ['unknown', 'unknown', 'failed', 'failed', 'completed', 'unknown'];
    const answers = [];
    for (const each of outcomes) answers.push(outcome(await commit(id, each, { token })));
    expect(answers).toEqual([
      'allow',
      'allow',
      'allow',
      'allow',
      'idempotency_conflict',
      'idempotency_conflict',
    ]);
  });

  test.each(['commit', 'renew'] as const)(
    'and renew: %s of an unknown or of another`s decision is one answer',
    async (point) => {
      const { ask, record } = await begin();
      const id = idOf(await ask({ idempotency_key: 'k' }));
      const stranger = (await begin()).token;
      const bob = await sidecar.tokenFor(record, { sub: 'bob' });
      const speak = (decision_id: string, asked: Asked) =>
        point === 'commit' ? commit(decision_id, 'completed', asked) : renew(decision_id, asked);
      const answers = await Promise.all([
        speak('dec_nobody', { token: stranger }),
        speak(id, { token: bob }),
        speak(id, { caller: 'operator', token: bob }),
      ]);
      for (const { status, body } of answers) {
        const { decision_id: _d, sequence: _s, evaluated_at: _e, action: _a, resource: _r, ...rest } = body;
        expect(status).toBe(200);
        expect(rest).toMatchObject({
          effect: 'deny',
          reason: 'malformed_request',
          mandate: { verdict: 'not_evaluated' },
          request: { verdict: 'not_evaluated' },
        });
      }
      expect(outcome(await speak(id, { caller: 'operator' }))).toBe('credential_invalid');
    },
  );

  test('what was decided without a key is not kept', async () => {
    const { ask, token } = await begin();
    expect((await commit(idOf(await ask()), 'completed', { token })).body.reason).toBe('malformed_request');
  });

  test('what it says of the action must be what was decided', async () => {
    const { ask, token } = await begin();
    const decision_id = idOf(await ask({ idempotency_key: 'k' }));
    const say = (more: JsonObject) =>
      question(sidecar, { point: 'commit', token, more: { decision_id, outcome: 'completed', ...more } });
    expect(outcome(await say({ parameters: { ref: 'x' } }))).toBe('malformed_request');
    expect(outcome(await say({ action: { name: 'repo.read' } }))).toBe('malformed_request');
    expect(outcome(await say({ resource: `${RESOURCE}/x` }))).toBe('malformed_request');
    expect(
      outcome(await say({ action: { name: 'repo.push' }, resource: RESOURCE, parameters: PUSH_PARAMETERS })),
    ).toBe('allow');
  });

  test('a person settles what nobody else can', async () => {
    const { ask, token } = await begin();
    const id = idOf(await ask({ idempotency_key: 'k' }));
    await commit(id, 'unknown', { token });
    const settled = await sidecar.control('POST', `/v1/decisions/${id}/settle`, { outcome: 'failed' });
    expect(settled).toMatchObject({
      status: 200,
      body: { status: 'failed', settled_by: { sub: 'operator' } },
    });
    expect((await ask({ idempotency_key: 'k' })).body.next_action).toBe('none');
    const again = await sidecar.control('POST', `/v1/decisions/${id}/settle`, { outcome: 'completed' });
    expect(again).toMatchObject({ status: 409, body: { reason: 'conflict' } });
    expect((await sidecar.control('GET', '/v1/decisions/dec_nobody')).status).toBe(404);
  });
});

describe('renew', () => {
  test('extends the lease of a running action, under the same id', async () => {
    const { ask, token } = await begin();
    const first = await ask({ idempotency_key: 'k' });
    await pause(20);
    const renewed = await renew(idOf(first), { token });
    expect([outcome(renewed), idOf(renewed)]).toEqual(['allow', idOf(first)]);
    expect(renewed.body).toMatchObject({
      action: { name: 'repo.push', class: 'irreversible_action' },
      resource: RESOURCE,
      parameter_digest: first.body.parameter_digest!,
    });
    expect(String(renewed.body.valid_until) > String(first.body.valid_until)).toBe(true);
  });

  test.each([
    ['suspend', 'pause', { pause: true, interrupt_in_flight: false }],
    ['revoke', 'stop', { interrupt_in_flight: true }],
  ])('ends it after a %s', async (operation, next_action, stop) => {
    const { ask, token, operate } = await begin();
    const id = idOf(await ask({ idempotency_key: 'k' }));
    await operate(operation);
    expect((await renew(id, { token })).body).toMatchObject({
      effect: 'deny',
      reason: 'mission_inactive',
      next_action,
      stop,
    });
  });

  test('keeps what runs from counting as lost; what was lost or is over is not renewed', async () => {
    const { ask, token } = await begin();
    const id = idOf(await ask({ idempotency_key: 'k' }));
    await pause(600);
    expect(outcome(await renew(id, { token }))).toBe('allow');
    await pause(600);
    expect(outcome(await renew(id, { token }))).toBe('allow');
    await pause(1100);
    expect((await renew(id, { token })).body).toMatchObject({
      reason: 'duplicate_suppressed',
      next_action: 'retry',
    });
    await commit(id, 'completed', { token });
    expect((await renew(id, { token })).body.next_action).toBe('none');
  });
});

describe('budgets (UCON: reserve before, renew during, settle after)', () => {
  test('max_calls: so many and no more, also of many at once', async () => {
    const { ask, usage } = await begin({ controls: { max_calls: 3 } });
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask()));
    expect(answers.map(outcome).toSorted()).toEqual([
      ...Array.from({ length: 3 }, () => 'allow'),
      ...Array.from({ length: 5 }, () => 'quota_exceeded'),
    ]);
    const refused = answers.find(({ body }) => body.effect === 'deny')!;
    expect(refused.body).toMatchObject({
      next_action: 'none',
      mandate: { verdict: 'illegitimate', reason: 'quota_exceeded', state: 'active' },
      request: { verdict: 'permitted' },
    });
    expect(await usage()).toMatchObject({ version: 1, usage: { max_calls: { limit: 3, charged: 3 } } });
  });

  test('through the proxy`s door as well, reads included; what a policy forbids is never charged', async () => {
    const { token, usage } = await begin({ controls: { max_calls: 2 } });
    expect((await askEnvoyDoor(sidecar.check_port, token)).status).toBe(200);
    // No policy of the sample permits to post here.
    const forbidden = await askEnvoyDoor(sidecar.check_port, token, { method: 'POST', body: '{}' });
    expect(forbidden.status).toBe(403);
    expect((await askEnvoyDoor(sidecar.check_port, token, PUSH)).status).toBe(200);
    const { status, body } = await askEnvoyDoor(sidecar.check_port, token);
    expect([status, body.reason]).toEqual([403, 'quota_exceeded']);
    expect(await usage()).toMatchObject({ usage: { max_calls: { charged: 2 } } });
  });

  const pay = (amount: unknown, currency = 'EUR') => ({
    action: { name: 'payments.send' },
    parameters: { amount, currency, recipient: 'x@shop.example' } as JsonObject,
  });

  test('max_budget: exact decimals, one currency', async () => {
    const { ask, usage } = await begin({ controls: { max_budget: { amount: '0.30', currency: 'EUR' } } });
    expect(outcome(await ask(pay('0.10')))).toBe('allow');
    expect(outcome(await ask(pay('0.2')))).toBe('allow');
    expect(outcome(await ask(pay('0.01')))).toBe('quota_exceeded');
    expect(outcome(await ask(pay('0.00', 'USD')))).toBe('parameter_violation');
    expect(outcome(await ask(pay('0')))).toBe('allow');
    // An operation that declares no amount spends none.
    expect(outcome(await ask())).toBe('allow');
    expect(await usage()).toMatchObject({ usage: { max_budget: { charged: '0.3' } } });
  });

  test('an action that nobody has declared must say what it spends', async () => {
    const { ask } = await begin({ controls: { max_budget: { amount: '5', currency: 'EUR' } } });
    expect(outcome(await ask({ action: { name: 'repo.sell' }, parameters: {} }))).not.toBe('allow');
    expect(outcome(await ask({ action: { name: 'repo.push', class: 'privileged_administration' } }))).toBe(
      'allow',
    );
  });

  test('failed gives back, completed and unknown do not', async () => {
    const { ask, token } = await begin({ controls: { max_calls: 1 } });
    const first = await ask({ idempotency_key: '1' });
    expect(outcome(await ask({ idempotency_key: '2' }))).toBe('quota_exceeded');
    await commit(idOf(first), 'unknown', { token });
    expect(outcome(await ask({ idempotency_key: '2' }))).toBe('quota_exceeded');
    await commit(idOf(first), 'failed', { token });
    const second = await ask({ idempotency_key: '2' });
    expect(outcome(second)).toBe('allow');
    await commit(idOf(second), 'completed', { token });
    expect(outcome(await ask({ idempotency_key: '3' }))).toBe('quota_exceeded');
  });

  test('what a proxy let through stays charged, whatever is said of it', async () => {
    const { token, usage } = await begin({ controls: { max_calls: 1 } });
    const through = await askEnvoyDoor(sidecar.check_port, token, PUSH);
    const id = String(through.headers['x-mandate-decision']);
    expect(outcome(await commit(id, 'failed', { token }))).toBe('allow');
    expect(await usage()).toMatchObject({ usage: { max_calls: { charged: 1 } } });
  });

  test('what is never settled stays charged', async () => {
    const { ask } = await begin({ controls: { max_calls: 1 } });
    await ask();
    await pause(1100);
    expect(outcome(await ask())).toBe('quota_exceeded');
  });

  test('max_duration: every allow is a lease that is paid for, and a commit gives back the rest', async () => {
    const { ask, token, usage } = await begin({ controls: { max_duration: 'PT2S' } });
    const first = await ask({ idempotency_key: '1' });
    const lease_ms = Date.parse(String(first.body.valid_until)) - Date.parse(String(first.body.evaluated_at));
    expect(lease_ms).toBeLessThanOrEqual(1000);
    await ask({ idempotency_key: '2' });
    expect(outcome(await ask({ idempotency_key: '3' }))).toBe('quota_exceeded');
    await commit(idOf(first), 'completed', { token });
    const charged = Number(member(member(member(await usage(), 'usage'), 'max_duration_ms'), 'charged'));
    expect(charged).toBeGreaterThan(1000);
    expect(charged).toBeLessThan(2000);
    const third = await ask({ idempotency_key: '3' });
    expect(outcome(third)).toBe('allow');
    expect(outcome(await renew(idOf(third), { token }))).toBe('quota_exceeded');
  });

  test('a harness that only looks is told, and charged nothing', async () => {
    const { ask, usage } = await begin({ controls: { max_calls: 1 } });
    const look = () => ask({}, { point: 'resume' });
    expect([outcome(await look()), outcome(await look())]).toEqual(['allow', 'allow']);
    await ask();
    expect(outcome(await look())).toBe('quota_exceeded');
    expect(await usage()).toMatchObject({ usage: { max_calls: { charged: 1 } } });
  });
});

describe('a proxy that tries again (check.request_ids)', () => {
  let proxied: Sidecar;
  beforeAll(async () => {
    proxied = await startSidecar({
      check: '{ listen: "127.0.0.1:0", request_ids: proxy, deadline_ms: 2000 }',
    });
  });
  afterAll(() => proxied.discard());

  const pushWith = (token: string, id: string | string[], body: string = PUSH.body) =>
    askEnvoyDoor(proxied.check_port, token, {
      ...PUSH,
      body,
      headers: { ...PUSH.headers, 'x-request-id': id },
    });

  test('is charged once under one id, and not let through with another body', async () => {
    const body = proposalBody();
    const record = await proxied.mandate({
      ...body,
      intent: { ...(body.intent as JsonObject), controls: { max_calls: 2 } },
    });
    const token = await proxied.tokenFor(record);
    const [first, again] = [await pushWith(token, 'r-1'), await pushWith(token, 'r-1')];
    expect([first.status, again.status]).toEqual([200, 200]);
    expect(again.headers['x-mandate-decision']).toBe(first.headers['x-mandate-decision']);
    const other = await pushWith(token, 'r-1', '{"ref":"refs/heads/other"}');
    expect([other.status, other.body.reason]).toEqual([403, 'idempotency_conflict']);
    expect((await pushWith(token, 'r-2')).status).toBe(200);
    expect((await pushWith(token, 'r-3')).body.reason).toBe('quota_exceeded');
    expect((await pushWith(token, ['r-2', 'r-2'])).status).toBe(403);
  });

  test('by default an id of the client stands for nothing', async () => {
    const { token } = await begin({ controls: { max_calls: 1 } });
    const push = () =>
      askEnvoyDoor(sidecar.check_port, token, { ...PUSH, headers: { ...PUSH.headers, 'x-request-id': 'r' } });
    expect([(await push()).status, (await push()).body.reason]).toEqual([200, 'quota_exceeded']);
  });
});

describe('requires_action_approval', () => {
  const needing = () => begin({ entry: { constraints: { requires_action_approval: true } } });
  const approve = async (record: JsonObject, refused: Answered, more: JsonObject = {}) =>
    sidecar.control('POST', '/v1/approvals', {
      mandate: record.id!,
      action: 'repo.push',
      resource: RESOURCE,
      parameter_digest: refused.body.parameter_digest!,
      approved_until: new Date(Date.now() + 60_000).toISOString(),
      ...more,
    });

  test('is met once, by an approval of exactly this action', async () => {
    const { ask, record } = await needing();
    const refused = await ask();
    expect(refused.body).toMatchObject({
      reason: 'approval_required',
      next_action: 'request_approval',
      mandate: { verdict: 'illegitimate' },
    });
    const approved = await approve(record, refused);
    expect(approved).toMatchObject({
      status: 201,
      body: { mandate: record.id, action: 'repo.push', approver: { sub: 'operator' } },
    });
    expect(outcome(await ask({ parameters: { ref: 'x' } }))).toBe('approval_required');
    const allowed = await ask();
    expect(allowed.body).toMatchObject({ effect: 'allow', approval: (approved.body as JsonObject).id });
    expect(outcome(await ask())).toBe('approval_required');
  });

  test('of many at once one uses it', async () => {
    const { ask, record } = await needing();
    await approve(record, await ask());
    const answers = await Promise.all(Array.from({ length: 6 }, () => ask()));
    expect(answers.map(outcome).filter((each) => each === 'allow')).toHaveLength(1);
    expect(new Set(answers.map(outcome))).toEqual(new Set(['allow', 'approval_required']));
  });

  test('a repeat under its key is the same use', async () => {
    const { ask, record } = await needing();
    await approve(record, await ask());
    const first = await ask({ idempotency_key: 'k' });
    const again = await ask({ idempotency_key: 'k' });
    expect([outcome(again), idOf(again)]).toEqual(['allow', idOf(first)]);
    expect(outcome(await ask({ idempotency_key: 'other' }))).toBe('approval_required');
  });

  test('through the proxy`s door as well', async () => {
    const { token, record } = await needing();
    const push = () => askEnvoyDoor(sidecar.check_port, token, PUSH);
    const refused = await push();
    expect([refused.status, refused.body.reason]).toEqual([403, 'approval_required']);
    await approve(record, refused);
    expect([(await push()).status, (await push()).status]).toEqual([200, 403]);
  });

  test('ends with its time, and bounds the decision', async () => {
    const { ask, record } = await needing();
    const until = new Date(Date.now() + 500).toISOString();
    await approve(record, await ask(), { approved_until: until });
    const looked = await ask({}, { point: 'resume' });
    expect(outcome(looked)).toBe('allow');
    expect(String(looked.body.valid_until) <= until).toBe(true);
    await pause(550);
    expect(outcome(await ask())).toBe('approval_required');
  });

  test('does not outlive a suspension', async () => {
    const { ask, record, operate } = await needing();
    const refused = await ask();
    await approve(record, refused);
    await operate('suspend');
    await operate('resume', { expected_version: 2 });
    expect(outcome(await ask())).toBe('approval_required');
    await approve(record, refused);
    expect(outcome(await ask())).toBe('allow');
  });

  test('never revives: a fresh check still decides', async () => {
    const { ask, record, operate } = await needing();
    await approve(record, await ask());
    await operate('revoke');
    expect(outcome(await ask())).toBe('mission_inactive');
  });

  test('the one that is named must be that one', async () => {
    const { ask, record } = await needing();
    const approved = (await approve(record, await ask())).body as JsonObject;
    expect(outcome(await ask({ approval: 'ape_other' }))).toBe('approval_required');
    expect(outcome(await ask({ approval: approved.id! }))).toBe('allow');
  });

  test.each([
    ['a mandate that is not there', { mandate: 'msn_nobody' }, 404, 'not_found', undefined],
    ['in the past', { approved_until: '2020-01-01T00:00:00Z' }, 400, 'invalid_request', 'approved_until'],
    ['for ever', { approved_until: '2090-01-01T00:00:00Z' }, 400, 'invalid_request', 'approved_until'],
    ['not a digest', { parameter_digest: 'x' }, 400, 'invalid_request', 'parameter_digest'],
    ['not a resource', { resource: 'x' }, 400, 'invalid_request', 'resource'],
    ['an unknown member', { surprise: 1 }, 400, 'invalid_request', 'surprise'],
  ] as const)('bad input: %s', async (_, more, status, reason, field) => {
    const { ask, record } = await needing();
    expect(await approve(record, await ask(), more)).toMatchObject({
      status,
      body: field === undefined ? { reason } : { reason, field },
    });
  });
});

describe('drain', () => {
  const item = (id: string, more: JsonObject = {}) => ({
    id,
    action: { name: 'repo.push' },
    resource: RESOURCE,
    parameters: PUSH_PARAMETERS,
    queued_at: new Date().toISOString(),
    ...more,
  });
  const drain = (items: JsonObject[], asked: Asked) =>
    question(sidecar, {
      point: 'drain',
      ...asked,
      more: { items, action: { name: 'repo.push' }, resource: RESOURCE, parameters: {} },
    });
  const effects = ({ body }: Answered) =>
    (body.items as JsonObject[]).map(({ id, effect, reason }) =>
      `${String(id)} ${String(effect)} ${String(reason ?? '')}`.trim(),
    );

  test('answers per item: allow, hold or cancel', async () => {
    const { record } = await begin();
    const answer = await drain([item('a'), item('b', { resource: `${RESOURCE}lication` }), item('c')], {
      of: record,
      caller: 'operator',
    });
    expect(effects(answer)).toEqual(['a allow', 'b cancel out_of_authority', 'c allow']);
    expect(outcome(answer)).toBe('out_of_authority');
  });

  test('holds while suspended, in order, and cancels after the end', async () => {
    const { record, operate, token } = await begin();
    await operate('suspend');
    const items = [item('a'), item('b')];
    expect(effects(await drain(items, { token }))).toEqual([
      'a hold mission_inactive',
      'b hold mission_inactive',
    ]);
    await operate('revoke');
    expect(effects(await drain(items, { of: record, caller: 'operator' }))).toEqual([
      'a cancel mission_inactive',
      'b cancel mission_inactive',
    ]);
  });

  test('after a resume what cannot be undone needs a fresh approval, what was queued since does not', async () => {
    const { record, operate } = await begin();
    const before = item('before');
    await pause(5);
    await operate('suspend');
    await operate('resume', { expected_version: 2 });
    await pause(5);
    const asked = { of: record, caller: 'operator' };
    const answer = await drain([before, item('since')], asked);
    expect(effects(answer)).toEqual(['before hold approval_required', 'since allow']);
    await sidecar.control('POST', '/v1/approvals', {
      mandate: record.id!,
      action: 'repo.push',
      resource: RESOURCE,
      parameter_digest: answer.body.parameter_digest!,
      approved_until: new Date(Date.now() + 60_000).toISOString(),
    });
    expect(effects(await drain([before], asked))).toEqual(['before allow']);
  });

  test('one question with a queued_at is a drain of one', async () => {
    const { record, operate } = await begin();
    const queued_at = new Date().toISOString();
    const one = () =>
      question(sidecar, { point: 'drain', of: record, caller: 'operator', more: { queued_at } });
    expect((await one()).body).toMatchObject({ effect: 'allow', items: [{ effect: 'allow' }] });
    await operate('suspend');
    expect((await one()).body).toMatchObject({ effect: 'deny', items: [{ effect: 'hold' }] });
  });

  test.each([
    ['no items', { items: [] }, 'items'],
    ['too many', { items: Array.from({ length: 257 }, (_, index) => item(String(index))) }, 'items'],
    ['an item without an id', { items: [{ action: { name: 'x' }, resource: 'urn:x:y' }] }, 'items.0.id'],
    ['items at another point', { check_point: 'tool', items: [item('a')] }, 'items'],
    ['no time', { queued_at: 'yesterday' }, 'queued_at'],
  ])('bad input: %s', async (_, more, field) => {
    const { status, body } = await question(sidecar, { point: 'drain', more });
    expect([status, body.field]).toEqual([400, field]);
  });
});

describe('delegate', () => {
  const delegation = { max_depth: 2, allowed_delegates: [{ sub: 'agent-2' }] };
  const child = { client_id: 'agent-2', authorization_details: [{ ...ENTRY, actions: ['repo.push'] }] };
  const delegate = (asked: Asked, more: JsonObject = {}) =>
    question(sidecar, { point: 'delegate', ...asked, more: { child: { ...child, ...more } } });

  test('answers as creating the child would be answered, and creates none', async () => {
    const { token, record } = await begin({ entry: { delegation }, controls: { max_calls: 5 } });
    expect((await delegate({ token })).body).toMatchObject({
      effect: 'deny',
      reason: 'out_of_authority',
      child: { reason: 'not_strict_subset', field: 'budget.max_calls' },
      mandate: { verdict: 'illegitimate' },
    });
    const budget = { max_calls: 5 };
    expect(verdicts(await delegate({ token }, { budget }))).toBe('usable legitimate permitted');
    expect(outcome(await delegate({ of: record, caller: 'operator' }, { budget }))).toBe('allow');
    expect((await sidecar.control('GET', `/v1/mandates?parent=${String(record.id)}`)).body).toEqual({
      items: [],
    });
  });

  test.each([
    ['another actor', { client_id: 'agent-3' }, 'child_actor_not_allowed'],
    [
      'more than the parent has',
      { authorization_details: [{ ...ENTRY, actions: ['repo.*', 'x'] }] },
      'not_strict_subset',
    ],
    ['later than the parent', { expires_at: '2090-01-01T00:00:00Z' }, 'not_strict_subset'],
  ] as const)('refuses %s', async (_, more, reason) => {
    const { token } = await begin({ entry: { delegation } });
    expect((await delegate({ token }, more as JsonObject)).body).toMatchObject({
      reason: 'out_of_authority',
      child: { reason },
    });
  });

  test('a suspended parent says so itself', async () => {
    const { token, operate } = await begin({ entry: { delegation } });
    await operate('suspend');
    expect((await delegate({ token })).body).toMatchObject({
      reason: 'mission_inactive',
      next_action: 'pause',
    });
  });
});

describe('issue and refresh', () => {
  const issue = (asked: Asked, more: JsonObject = {}, point = 'issue') =>
    question(sidecar, { point, ...asked, more });

  test('what a token may carry: all that is covered, or what is asked for inside of it', async () => {
    const { record, operate } = await begin();
    const asked = { of: record, caller: 'operator' };
    const whole = await issue(asked);
    expect(whole.body).toMatchObject({
      effect: 'allow',
      authorization_details: [ENTRY],
      max_exp: record.expires_at,
      version: 1,
    });
    const part = { ...ENTRY, actions: ['repo.read'] };
    expect((await issue(asked, { authorization_details: [part] })).body.authorization_details).toEqual([
      part,
    ]);
    const wider = { ...ENTRY, actions: ['other.x'] };
    expect((await issue(asked, { authorization_details: [wider] })).body).toMatchObject({
      effect: 'deny',
      reason: 'out_of_authority',
      error: 'invalid_authorization_details',
    });
    await operate('shorten', { expires_at: new Date(Date.now() + 60_000).toISOString() });
    expect(String((await issue(asked)).body.max_exp) < String(record.expires_at)).toBe(true);
  });

  test('a refresh after a narrowing carries what is left', async () => {
    const { record, operate } = await begin();
    const asked = { of: record, caller: 'operator' };
    const [entry] = record.entry_digests as string[];
    await operate('tighten', { entry: entry!, constraints: { allowed_tools: ['repo.push'] } });
    const narrower = { ...ENTRY, constraints: { allowed_tools: ['repo.push'] } };
    const refreshed = await issue(asked, { authorization_details: [ENTRY] }, 'refresh');
    expect(refreshed.body).toMatchObject({ effect: 'allow', authorization_details: [narrower], version: 2 });
    await operate('contain', { entries: [entry!] });
    expect((await issue(asked, { authorization_details: [ENTRY] }, 'refresh')).body).toMatchObject({
      effect: 'deny',
      reason: 'out_of_authority',
    });
  });

  test.each([
    ['suspend', 'mission_suspended'],
    ['revoke', 'mission_revoked'],
    ['complete', 'mission_completed'],
  ])('after a %s there is no token', async (operation, mission_error) => {
    const { record, operate } = await begin();
    await operate(operation);
    for (const point of ['issue', 'refresh']) {
      expect((await issue({ of: record, caller: 'operator' }, {}, point)).body).toMatchObject({
        effect: 'deny',
        error: 'invalid_grant',
        mission_error,
        stop: { stop_issuance: true },
      });
    }
  });
});

test.each([
  ['renew', {}, 'decision_id'],
  ['commit', { decision_id: 'd' }, 'outcome'],
  ['commit', { decision_id: 'd', outcome: 'maybe' }, 'outcome'],
  ['delegate', {}, 'child'],
  ['tool', { decision_id: 'd' }, 'decision_id'],
  ['tool', { child: { client_id: 'a', authorization_details: [ENTRY] } }, 'child'],
  ['tool', { resource: null }, 'resource'],
  ['tool', { idempotency_key: '' }, 'idempotency_key'],
])('what a point needs, and what has no meaning there: %s %j', async (point, more, field) => {
  const { status, body } = await question(sidecar, { point, more });
  expect([status, body.reason, body.field]).toEqual([400, 'malformed_request', field]);
});
