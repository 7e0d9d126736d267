/** `GET /v1/events` (design/7, design/8 Shapes): every change once, in commit order, across breaks and restarts. */
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createControlClient } from '../src/control-client.ts';
import { type Json, type JsonObject, isObject, member } from '../src/core/json.ts';
import { readFileSync } from 'node:fs';
import { ROOT, type Sidecar, proposalBody, startSidecar } from './support/sidecar.ts';

let sidecar: Sidecar;
beforeEach(async () => {
  sidecar = await startSidecar();
});
afterEach(() => sidecar.discard());

interface Seen {
  readonly id: string;
  readonly data: JsonObject;
}

/** Follows the events; `until` waits for so many. */
function follow(last?: string, of: Sidecar = sidecar) {
  const seen: Seen[] = [];
  const client = createControlClient(
    `http://127.0.0.1:${of.control_port}`,
    readFileSync(of.token_file, 'utf8').trim(),
  );
  const ended = client.follow(last, (id, data) => {
    if (isObject(data)) seen.push({ id, data });
  });
  ended.catch(() => undefined);
  return {
    seen,
    ended,
    until: (count: number) =>
      expect.poll(() => seen.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(count),
  };
}

const operate = (record: JsonObject, operation: string, body: Json = {}) =>
  sidecar.control('POST', `/v1/mandates/${String(record.id)}/${operation}`, body);

const lineOf = ({ data }: Seen): string =>
  [data.operation, data.prior_state ?? '-', data.state, data.version].join(' ');

const FAMILY = proposalBody({
  authorization_details: [
    {
      type: 'mission_resource_access',
      resource: 'https://git.example/repos/example/app',
      resource_match: 'prefix',
      actions: ['repo.*'],
      delegation: { max_depth: 2, allowed_delegates: [{ sub: 'agent-2' }] },
    },
  ],
});

test('one event for each change, from now on, a cascaded child included', async () => {
  const before = await sidecar.mandate();
  const { seen: all, until } = follow();
  // The stream is open once it shows a change that came after it.
  await expect
    .poll(async () => (await sidecar.mandate(), all.length), { timeout: 10_000 })
    .toBeGreaterThan(0);
  const root = await sidecar.mandate(FAMILY);
  const details = [
    {
      type: 'mission_resource_access',
      resource: 'https://git.example/repos/example/app',
      actions: ['repo.read'],
    },
  ];
  const child = await sidecar.control('POST', `/v1/mandates/${String(root.id)}/children`, {
    client_id: 'agent-2',
    authorization_details: details,
  });
  expect(child.status).toBe(201);
  await operate(root, 'suspend', { reason: 'lunch' });
  await operate(root, 'resume', { expected_version: 2 });
  await operate(root, 'contain', {
    entries: [member(root.entry_digests, '0') ?? (root.entry_digests as string[])[0]!],
  });
  await operate(root, 'revoke');
  const ofFamily = () =>
    all.filter(({ data }) => [root.id, member(child.body, 'id')].includes(data.id as string));
  await expect.poll(() => ofFamily().length, { timeout: 10_000 }).toBe(7);
  await until(8);
  expect(all.map(({ data }) => data.id)).not.toContain(before.id);
  const seen = ofFamily();
  expect(seen.map(lineOf)).toEqual([
    'approve - active 1',
    'derive - active 1',
    'suspend active suspended 2',
    'resume suspended active 3',
    'contain active active 4',
    'revoke active revoked 5',
    'cascade active cascaded 2',
  ]);
  expect(seen[2]!.data).toMatchObject({
    id: root.id,
    reason: 'lunch',
    by: { sub: 'operator' },
    authority_changed: false,
  });
  expect(seen[4]!.data.authority_changed).toBe(true);
  expect(seen[6]!.data).toMatchObject({ id: member(child.body, 'id'), cascaded_from: root.id });
  const places = seen.map(({ id }) => Number(id.split('-')[1]));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
});

test('a reader resumes by its last id, also across a restart, and misses nothing', async () => {
  const record = await sidecar.mandate();
  const all = follow('1-0');
  await all.until(1);
  await operate(record, 'suspend');
  await all.until(2);
  await sidecar.stop('SIGKILL');
  await all.ended;
  const again = await startSidecar({ folder: sidecar.folder, issuer: sidecar.issuer });
  sidecar = again;
  await operate(record, 'resume', { expected_version: 2 });
  await operate(record, 'revoke');
  const rest = follow(all.seen.at(-1)!.id);
  await rest.until(2);
  expect([...all.seen, ...rest.seen].map(lineOf)).toEqual([
    'approve - active 1',
    'suspend active suspended 2',
    'resume suspended active 3',
    'revoke active revoked 4',
  ]);
});

describe('a place that is not in the log', () => {
  test.each([
    ['beyond the head', '1-999', 410, 'not_found'],
    ['of another epoch', '7-1', 410, 'not_found'],
    ['that cannot be read', 'yesterday', 400, 'invalid_request'],
  ])('%s: %s', async (_, last, status, reason) => {
    const answer = await follow(last).ended;
    expect([answer?.status, member(answer?.body ?? null, 'reason')]).toEqual([status, reason]);
  });
});

test('more than a page is read without a gap', async () => {
  const record = await sidecar.mandate();
  for (let round = 0; round < 300; round += 1) {
    await operate(record, 'suspend');
    await operate(record, 'resume', { expected_version: 2 + round * 2 });
  }
  const { seen, until } = follow('1-0');
  await until(601);
  expect(seen.map(({ data }) => data.version)).toEqual(Array.from({ length: 601 }, (_, index) => index + 1));
}, 60_000);

test('a reader that takes nothing costs no memory for what it misses', async () => {
  const socket = connect(sidecar.control_port, '127.0.0.1');
  socket.pause();
  const token = readFileSync(sidecar.token_file, 'utf8').trim();
  socket.write(
    `GET /v1/events HTTP/1.1\r\nhost: x\r\nlast-event-id: 1-0\r\nauthorization: Bearer ${token}\r\n\r\n`,
  );
  const record = await sidecar.mandate();
  const { until } = follow('1-0');
  const reason = 'x'.repeat(4000);
  for (let round = 0; round < 150; round += 1) {
    await operate(record, 'suspend', { reason });
    await operate(record, 'resume', { reason, expected_version: 2 + round * 2 });
  }
  await until(301);
  expect((await operate(record, 'revoke')).status).toBe(200);
  socket.destroy();
}, 60_000);

test('readers that go in the middle of a page take nothing with them', async () => {
  const record = await sidecar.mandate();
  for (let round = 0; round < 60; round += 1) {
    await operate(record, 'suspend', { reason: 'x'.repeat(2000) });
    await operate(record, 'resume', { expected_version: 2 + round * 2 });
  }
  const token = readFileSync(sidecar.token_file, 'utf8').trim();
  const request = `GET /v1/events HTTP/1.1\r\nhost: x\r\nlast-event-id: 1-0\r\nauthorization: Bearer ${token}\r\n\r\n`;
  await Promise.all(
    Array.from({ length: 40 }, async () => {
      const socket = connect(sidecar.control_port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(request);
      await new Promise((resolve) => socket.once('data', resolve));
      socket.resetAndDestroy();
    }),
  );
  expect((await operate(record, 'revoke')).status).toBe(200);
  const { until } = follow('1-0');
  await until(122);
  expect(sidecar.process.exitCode).toBeNull();
}, 30_000);

test('without the operator token there is nothing to see', async () => {
  const client = createControlClient(`http://127.0.0.1:${sidecar.control_port}`, 'x'.repeat(43));
  expect(await client.follow(undefined, () => undefined)).toMatchObject({ status: 401 });
});

test('mandate watch prints each change of one mandate', async () => {
  const record = await sidecar.mandate();
  const args = [
    'mandate',
    'watch',
    String(record.id),
    '--since',
    '1-0',
    '--control',
    `http://127.0.0.1:${sidecar.control_port}`,
    '--token-file',
    sidecar.token_file,
  ];
  const child = spawn(process.execPath, [join(ROOT, 'src/mandated.mjs'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  await sidecar.mandate();
  await operate(record, 'revoke', { reason: 'over' });
  await expect
    .poll(() => out, { timeout: 10_000 })
    .toContain('revoke → revoked by operator (https://mandates.example): over');
  expect(out.trim().split('\n')).toHaveLength(2);
  child.kill();
});
