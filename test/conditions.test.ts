/** Conditions over the wire: reported, obeyed at the next request, told to whoever follows, and kept over a restart. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, type JsonObject, member } from '../src/core/json.ts';
import { PUSH, askEnvoyDoor } from './support/ask.ts';
import { question } from './support/question.ts';
import { type Sidecar, proposalBody, startSidecar } from './support/sidecar.ts';

let sidecar: Sidecar;
beforeAll(async () => {
  sidecar = await startSidecar();
});
afterAll(() => sidecar.discard());

const conditionsOf = (key: string, more: JsonObject = {}): Json => [
  {
    id: 'frozen',
    event_type: 'branch.frozen',
    key,
    expect: false,
    on_false: 'suspend',
    max_stale_s: 60,
    ...more,
  },
];
const begin = async (key: string, more: JsonObject = {}) => {
  const record = await sidecar.mandate(proposalBody({ conditions: conditionsOf(key, more) }));
  return { record, token: await sidecar.tokenFor(record) };
};
const report = (key: string, value: Json, more: JsonObject = {}) =>
  sidecar.control('POST', '/v1/conditions/events', {
    event_id: crypto.randomUUID(),
    event_type: 'branch.frozen',
    key,
    value,
    observed_at: new Date().toISOString(),
    ...more,
  });
const push = async (token: string): Promise<string> => {
  const { status, body } = await askEnvoyDoor(sidecar.check_port, token, PUSH);
  return status === 200 ? 'allow' : `${String(body.reason)} ${String(body.next_action)}`;
};

test('a report is obeyed by the next request, and one that was never made allows nothing', async () => {
  const { record, token } = await begin('a');
  expect(await push(token)).toBe('mission_inactive pause');
  expect(await report('a', false)).toMatchObject({
    status: 200,
    body: { key: 'a', acknowledged: 'durable' },
  });
  expect(await push(token)).toBe('allow');
  await report('a', true);
  expect(await push(token)).toBe('mission_inactive pause');
  const path = `/v1/mandates/${String(record.id)}`;
  expect((await sidecar.control('GET', path)).body).toMatchObject({
    state: 'suspended',
    version: 2,
    conditions: [{ id: 'frozen', last: { value: true } }],
    history: [{}, { operation: 'suspend', by: { sub: 'condition:frozen' } }],
  });
  await report('a', false);
  expect((await sidecar.control('POST', `${path}/resume`, { expected_version: 2 })).status).toBe(200);
  expect(await push(token)).toBe('allow');
});

test('stale is as false, and it says so to whoever resumes', async () => {
  const { token } = await begin('b', { max_stale_s: 1 });
  await report('b', false);
  expect(await push(token)).toBe('allow');
  await new Promise((resolve) => setTimeout(resolve, 1050));
  expect(await push(token)).toBe('mission_inactive pause');
  expect((await question(sidecar, { point: 'resume', token })).body).toMatchObject({
    reason: 'mission_inactive',
    stop: { pause: true },
  });
});

test('it survives a restart, the last report included', async () => {
  const { token } = await begin('c', { on_false: 'contain' });
  const { token: other } = await begin('d');
  await report('c', false);
  await report('d', true);
  await sidecar.stop();
  sidecar = await startSidecar({ folder: sidecar.folder, issuer: sidecar.issuer });
  expect([await push(token), await push(other)]).toEqual(['allow', 'mission_inactive pause']);
  await report('c', true);
  expect(await push(token)).toBe('authority_contained none');
});

describe('bad input', () => {
  test.each([
    ['no key', { key: undefined }, 'key'],
    ['a list', { value: [] }, 'value'],
    ['no time', { observed_at: 'now' }, 'observed_at'],
    ['in the future', { observed_at: '2090-01-01T00:00:00Z' }, 'observed_at'],
    ['an unknown member', { surprise: 1 }, 'surprise'],
  ])('a report with %s', async (_, more, field) => {
    const { status, body } = await report('z', true, more as JsonObject);
    expect([status, member(body, 'reason'), member(body, 'field')]).toEqual([400, 'invalid_request', field]);
  });

  test.each([
    ['without an outcome', { on_false: undefined }, 'conditions.0.on_false'],
    ['another outcome', { on_false: 'resume' }, 'conditions.0.on_false'],
    ['for ever', { max_stale_s: 0 }, 'conditions.0.max_stale_s'],
    ['an unknown member', { surprise: 1 }, 'conditions.0.surprise'],
  ])('a condition %s', async (_, more, field) => {
    const body = proposalBody({ conditions: conditionsOf('z', more as JsonObject) });
    const refused = await sidecar.control('POST', '/v1/proposals', body);
    expect([refused.status, member(refused.body, 'field')]).toEqual([400, field]);
  });

  test('two of one id', async () => {
    const [one] = conditionsOf('z') as JsonObject[];
    const refused = await sidecar.control(
      'POST',
      '/v1/proposals',
      proposalBody({ conditions: [one!, one!] }),
    );
    expect([refused.status, member(refused.body, 'field')]).toEqual([400, 'conditions.1.id']);
  });
});
