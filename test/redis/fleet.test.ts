/** Sidecars that share one Redis: what one does the others know, and what is metered is charged once. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type JsonObject, member } from '../../src/core/json.ts';
import { parseTime } from '../../src/core/time.ts';
import { mandated } from '../support/cli.ts';
import { outcome, question } from '../support/question.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';

let redis: RedisServer;
let cars: readonly [Sidecar, Sidecar, Sidecar];

beforeAll(async () => {
  redis = await startRedis();
  const store = `{ engine: redis, url: "redis://127.0.0.1:${redis.port}", tenant: acme }`;
  const first = await startSidecar({ store });
  const others = [first.issuer, first.issuer].map((issuer) => startSidecar({ store, issuer }));
  cars = [first, ...((await Promise.all(others)) as [Sidecar, Sidecar])];
});
afterAll(async () => {
  await Promise.all(cars.map((each) => each.discard()));
  await redis.stop();
});

const intent = (controls: JsonObject): JsonObject => ({
  ...(proposalBody().intent as JsonObject),
  controls,
});
const push = async (car: Sidecar, record: JsonObject, more: JsonObject = {}) =>
  question(car, { token: await cars[0].tokenFor(record), more });

test('what one approves all know, and what one ends is denied by all at once', async () => {
  const record = await cars[0].mandate();
  for (const car of cars) expect(outcome(await push(car, record))).toBe('allow');
  await cars[1].control('POST', `/v1/mandates/${String(record.id)}/revoke`, {});
  for (const car of cars) {
    const { body } = await push(car, record);
    expect(body.reason).toBe('mission_inactive');
    expect(member(body.freshness, 'source')).toBe('barrier');
  }
});

test('a read is decided from the replica, which says how old it is', async () => {
  const record = await cars[0].mandate(
    proposalBody({
      authorization_details: [{ ...entryOf(proposalBody()), actions: ['http.get'] }],
    }),
  );
  const read = { action: { name: 'http.get' }, parameters: {} };
  await push(cars[2], record, read);
  const { body } = await push(cars[2], record, read);
  expect(body.freshness).toMatchObject({ source: 'replica', budget_ms: 60_000 });
  expect(member(body.freshness, 'age_ms')).toBeLessThan(60_000);
});

function entryOf(proposal: JsonObject): JsonObject {
  return (proposal.authorization_details as readonly JsonObject[])[0]!;
}

describe('metered', () => {
  test('of many at once, asked of all, as many are allowed as the budget reaches', async () => {
    const record = await cars[0].mandate(proposalBody({ intent: intent({ max_calls: 7 }) }));
    const asked = Array.from({ length: 24 }, (_, index) => push(cars[index % 3]!, record));
    const outcomes = (await Promise.all(asked)).map(outcome);
    expect(outcomes.filter((each) => each === 'allow')).toHaveLength(7);
    expect(new Set(outcomes)).toEqual(new Set(['allow', 'quota_exceeded']));
  });

  test('the reservation itself is the proof: of its own position, sent after the question arrived', async () => {
    const record = await cars[0].mandate(proposalBody({ intent: intent({ max_calls: 7 }) }));
    await push(cars[1], record);
    const before = Date.now();
    const { body } = await push(cars[1], record);
    expect(outcome({ body })).toBe('allow');
    expect(body.freshness).toMatchObject({ source: 'barrier', budget_ms: 0 });
    expect(parseTime(String(member(body.freshness, 'as_of')))).toBeGreaterThanOrEqual(before);
    // The entry of the charge: approval, its proposal, and two reservations stand before the next.
    const { body: fleet } = await cars[1].control('GET', '/v1/fleet');
    expect(member(body.freshness, 'seq')).toBe(member(member(fleet, 'head'), 'seq'));
  });

  test('what another ended or narrowed meanwhile is never reserved from an old view', async () => {
    const record = await cars[0].mandate(proposalBody({ intent: intent({ max_calls: 50 }) }));
    for (const car of cars) expect(outcome(await push(car, record))).toBe('allow');
    await cars[0].control('POST', `/v1/mandates/${String(record.id)}/suspend`, { acknowledge: 'applied' });
    const { body } = await push(cars[1], record);
    expect(outcome({ body })).toBe('mission_inactive');
    expect(member(body.mandate, 'state')).toBe('suspended');
  });

  test('under one key of one caller it is one decision, whichever sidecar is asked', async () => {
    const record = await cars[0].mandate(proposalBody({ intent: intent({ max_calls: 2 }) }));
    const more = { idempotency_key: 'once' };
    const answers = await Promise.all(cars.map((car) => push(car, record, more)));
    expect(answers.map(outcome)).toEqual(['allow', 'allow', 'allow']);
    expect(new Set(answers.map(({ body }) => body.decision_id)).size).toBe(1);
    const { body } = await cars[2].control('GET', `/v1/mandates/${String(record.id)}`);
    expect(member(member(member(body, 'usage'), 'max_calls'), 'charged')).toBe(1);
  });
});

describe('enforced', () => {
  test('waits for every sidecar, says when, and then none of them allows it from what it holds', async () => {
    const record = await cars[0].mandate(
      proposalBody({ authorization_details: [{ ...entryOf(proposalBody()), actions: ['http.get'] }] }),
    );
    const read = { action: { name: 'http.get' }, parameters: {} };
    for (const car of cars) expect(outcome(await push(car, record, read))).toBe('allow');
    const { body } = await cars[2].control('POST', `/v1/mandates/${String(record.id)}/revoke`, {
      acknowledge: 'enforced',
    });
    expect(body).toMatchObject({ acknowledged: 'enforced', state: 'revoked' });
    expect(parseTime(String(member(body, 'enforced_at')))).toBeLessThanOrEqual(Date.now());
    for (const car of cars) {
      const answer = await push(car, record, read);
      expect(outcome(answer)).toBe('mission_inactive');
      expect(member(answer.body.freshness, 'source')).toBe('replica');
    }
  });

  test('a sidecar that is stopped holds it up no longer than it may decide, and the answer is true', async () => {
    const record = await cars[0].mandate();
    cars[1].process.kill('SIGSTOP');
    try {
      const { body } = await cars[0].control('POST', `/v1/mandates/${String(record.id)}/revoke`, {
        acknowledge: 'enforced',
        timeout_ms: 700,
      });
      expect(body).toMatchObject({ acknowledged: 'durable', state: 'revoked' });
      expect(member(body, 'enforced_at')).toBeUndefined();
    } finally {
      cars[1].process.kill('SIGCONT');
    }
  });
});

test('a freshness token is honoured: what was answered is seen, and what is not there yet is not waited for', async () => {
  const record = await cars[0].mandate();
  const { body } = await cars[0].control('POST', `/v1/mandates/${String(record.id)}/tighten`, {
    entry: (record.entry_digests as readonly string[])[0]!,
    constraints: { tenant: 'acme' },
  });
  const freshness = member(body, 'freshness') as JsonObject;
  expect(outcome(await push(cars[2], record, { freshness, parameters: { ref: 'r', tenant: 'acme' } }))).toBe(
    'allow',
  );
  const ahead = { ...freshness, seq: Number(freshness.seq) + 1000 };
  expect(outcome(await push(cars[2], record, { freshness: ahead }))).toBe('stale_state');
});

test('`mandated fleet` shows them, and an operator alone may see', async () => {
  const at = `http://127.0.0.1:${cars[1].control_port}`;
  const ran = await mandated('fleet', '--control', at, '--token-file', cars[1].token_file);
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  const lines = ran.stdout.trim().split('\n');
  expect(lines).toHaveLength(3);
  expect(lines.filter((line) => line.endsWith('self'))).toHaveLength(1);
  expect(lines.every((line) => /^sc_\S+ +active +at 1-\d+ /.test(line))).toBe(true);
  const json = await mandated('fleet', '--json', '--control', at, '--token-file', cars[1].token_file);
  expect(JSON.parse(json.stdout)).toMatchObject({ lease_ms: 61_000, head: { epoch: 1 } });
  const { status } = await fetch(`${at}/v1/fleet`);
  expect(status).toBe(401);
});

test('what the view, the barrier and the fleet are like is told to Prometheus', async () => {
  const answer = await fetch(`http://127.0.0.1:${cars[0].control_port}/metrics`);
  const lines = (await answer.text()).split('\n').filter((line) => line.startsWith('mandated_'));
  const value = (name: string): number =>
    Number(
      lines
        .find((line) => line.startsWith(`${name} `))
        ?.split(' ')
        .at(-1),
    );
  expect(value('mandated_view_age_seconds')).toBeLessThan(5);
  expect(value('mandated_store_epoch')).toBe(1);
  expect(value('mandated_fleet_sidecars')).toBe(3);
  expect(value('mandated_outbox_length')).toBe(0);
  expect(value('mandated_store_unsafe')).toBe(0);
  expect(value('mandated_tail_lag_entries')).toBeGreaterThanOrEqual(0);
  expect(value('mandated_barrier_checks_total')).toBeGreaterThan(0);
  expect(value('mandated_barrier_duration_seconds_count{outcome="ok"}')).toBeGreaterThan(0);
  for (const latch of ['GAP', 'FORK', 'EPOCH', 'UNINITIALISED', 'corrupt', 'failed'])
    expect(value(`mandated_replica_latched{latch="${latch}"}`)).toBe(0);
});

test('the fleet is known by all, with how far each has come', async () => {
  const { body } = await cars[0].control('GET', '/v1/fleet');
  const items = member(body, 'items') as readonly JsonObject[];
  expect(items).toHaveLength(3);
  expect(items.filter((each) => each.is_self)).toHaveLength(1);
  expect(new Set(items.map(({ id }) => id)).size).toBe(3);
});
