/** What a server that is told to revoke a token may answer (RFC 7009 section 2.2): one in its place answers it. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { askEnvoyDoor } from '../support/ask.ts';
import { AS, GIT, type Sidecar, startSidecar } from '../support/sidecar.ts';
import { membersOf } from './opaque-stage.ts';
import { type Reply, type StandIn, says, sends, startStandIn } from './stand-in.ts';
import { notesOf, operate, told, waiting } from './told.ts';

const PATIENCE = { timeout: 15_000, interval: 20 };
const CLIENT_ID = 'the sidecar: with a colon';
const SECRET = randomBytes(32).toString('base64');

let folder: string;
let server: StandIn;
let sidecar: Sidecar;

/** What is done about each token; what is not here is revoked, as RFC 7009 has it of what nobody knows. */
const replies = new Map<string, Reply>();
const done = sends('');
const dispatch: Reply = (response, posted) => {
  if (posted.path === '/introspect') return introspected(response, posted);
  return (replies.get(posted.form.get('token') ?? '') ?? done)(response, posted);
};
/** What is said of opaque tokens. */
let introspected: Reply = says({ active: false });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-told-'));
  const client_secret_file = join(folder, 'secret');
  writeFileSync(client_secret_file, `${SECRET}\n`);
  server = await startStandIn(dispatch);
  const client = { client_id: CLIENT_ID, client_secret_file, ca: server.ca };
  const credential = membersOf({
    introspection: { ...client, endpoint: server.url('/introspect'), cache_ms: 0 },
    revocation: { ...client, endpoint: server.url('/revoke') },
  });
  sidecar = await startSidecar({ credential });
});
afterAll(async () => {
  await sidecar.discard();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A mandate with tokens that were used under it, oldest first. */
async function begin(tokens = 1, claims: Record<string, unknown> = {}) {
  const record = await sidecar.mandate();
  const used: string[] = [];
  for (let left = tokens; left > 0; left -= 1) used.push(await sidecar.tokenFor(record, claims));
  for (const token of used) await use(token);
  return { record, tokens: used, token: used[0]! };
}

async function use(token: string): Promise<void> {
  expect((await askEnvoyDoor(sidecar.check_port, token)).status).toBe(200);
}

const end = (record: JsonObject) => operate(sidecar, record, 'revoke');
const isSettled = () => expect.poll(() => waiting(sidecar), PATIENCE).toBe(0);
const tellings = (token: string) => server.posted().filter(({ form }) => form.get('token') === token);

test('RFC 7009 section 2.1, RFC 6749 section 2.3.1: what it is told, by whom, and once', async () => {
  const { record, token } = await begin();
  await end(record);
  await expect.poll(() => notesOf(sidecar, record), PATIENCE).toHaveLength(1);
  const [telling, ...more] = tellings(token);
  expect(more).toEqual([]);
  expect(telling!.path).toBe('/revoke');
  expect(Object.fromEntries(telling!.form)).toEqual({ token, token_type_hint: 'access_token' });
  const shown = `the+sidecar%3A+with+a+colon:${encodeURIComponent(SECRET)}`;
  expect(telling!.headers.authorization).toBe(`Basic ${btoa(shown)}`);
  expect(telling!.headers['content-type']).toBe('application/x-www-form-urlencoded');
});

test('a token that was used many times, and again after the end, is told of once', async () => {
  const { record, token } = await begin();
  await use(token);
  await end(record);
  await expect.poll(() => notesOf(sidecar, record), PATIENCE).toHaveLength(1);
  for (let again = 0; again < 3; again += 1) await askEnvoyDoor(sidecar.check_port, token);
  await isSettled();
  expect(tellings(token)).toHaveLength(1);
  expect(await notesOf(sidecar, record)).toHaveLength(1);
});

test('section 2.2.1: one that does not revoke such tokens is left alone, and one line says so', async () => {
  const [before, lines] = [await told(sidecar, 'refused'), refusals()];
  const { record, token } = await begin();
  replies.set(token, says({ error: 'unsupported_token_type' }, 400));
  await end(record);
  await expect.poll(() => told(sidecar, 'refused'), PATIENCE).toBe(before + 1);
  await isSettled();
  const next = await begin();
  await end(next.record);
  await expect.poll(() => tellings(next.token).length, PATIENCE).toBe(1);
  expect([tellings(token).length, refusals() - lines]).toEqual([1, 1]);
  expect(await notesOf(sidecar, record)).toEqual([]);
});

const refusals = (): number => sidecar.stderr().split('does not revoke a token').length - 1;

/** What may be better the next time. */
const FAILURES: Readonly<Record<string, Reply>> = {
  'status 401: it does not know us, yet': says({ error: 'invalid_client' }, 401),
  'status 500': says({ error: 'server_error' }, 500),
  'section 2.2.1: status 503': says({}, 503),
  'status 400 that names another error': says({ error: 'invalid_request' }, 400),
  'status 400 that names none': sends('unsupported_token_type', 'text/plain', 400),
  'status 500 that names `unsupported_token_type`': says({ error: 'unsupported_token_type' }, 500),
  'status 204': (response) => response.writeHead(204).end(),
  'a redirect': (response) => response.writeHead(307, { location: server.url('/introspect') }).end(),
  'a connection that is closed': (response) => response.destroy(),
};

test('it is told again by itself, until it has understood', async () => {
  const { record, token } = await begin();
  let failures = 1;
  replies.set(token, (response, posted) => ((failures -= 1) < 0 ? done : says({}, 503))(response, posted));
  await end(record);
  await expect.poll(() => notesOf(sidecar, record), PATIENCE).toHaveLength(1);
  await isSettled();
  expect(tellings(token)).toHaveLength(2);
});

describe('what is no answer leaves it to be told', () => {
  let record: JsonObject;
  let token: string;
  beforeAll(async () => {
    ({ record, token } = await begin());
    replies.set(token, says({}, 503));
    await end(record);
  });

  test.each(Object.entries(FAILURES))('%s', async (_title, reply) => {
    const before = tellings(token).length;
    replies.set(token, reply);
    // Whatever ends has all that waits told again at once.
    await end((await begin()).record);
    await expect.poll(() => tellings(token).length, PATIENCE).toBeGreaterThan(before);
    expect(await waiting(sidecar)).toBeGreaterThan(0);
    expect(await notesOf(sidecar, record)).toEqual([]);
  });

  test('and then it is', async () => {
    replies.delete(token);
    await end((await begin()).record);
    await expect.poll(() => notesOf(sidecar, record), PATIENCE).toHaveLength(1);
    await isSettled();
    expect(tellings(token).every(({ path }) => path === '/revoke')).toBe(true);
  });
});

test('a token whose own end comes first is dropped', async () => {
  const before = await told(sidecar, 'expired');
  const { record, token } = await begin(1, { exp: Math.floor(Date.now() / 1000) + 1 });
  replies.set(token, says({}, 500));
  await end(record);
  await expect.poll(() => told(sidecar, 'expired'), PATIENCE).toBe(before + 1);
  await isSettled();
  expect(await notesOf(sidecar, record)).toEqual([]);
});

describe('RFC 7662 section 2.2: `exp` is optional', () => {
  test('a token whose end nobody knows is revoked like any other', async () => {
    const [record, token] = [await sidecar.mandate(), randomBytes(32).toString('base64url')];
    const { id, issuer, authority_hash } = record;
    const mission = { id: id!, issuer: issuer!, authority_hash: authority_hash! };
    const claims = { iss: AS, aud: GIT, sub: 'alice', client_id: 'agent-1', mission };
    introspected = says({ active: true, ...claims });
    await use(token);
    await end(record);
    const revoked = () => tellings(token).filter(({ path }) => path === '/revoke').length;
    await expect.poll(revoked, { timeout: 3000 }).toBe(1);
  });
});

test('a token that the server will not take does not hold up the others', async () => {
  const { record, tokens } = await begin(3);
  const [first, ...others] = tokens as [string, ...string[]];
  replies.set(first, says({ error: 'invalid_request' }, 400));
  await end(record);
  await expect.poll(() => tellings(first).length, PATIENCE).toBeGreaterThan(0);
  const counts = () => others.map((token) => tellings(token).length);
  await expect.poll(counts, { timeout: 3000 }).toEqual([1, 1]);
});

test('many tokens of many mandates are all told of', async () => {
  replies.clear();
  const begun = await Promise.all(Array.from({ length: 20 }, () => begin(3)));
  await Promise.all(begun.map(({ record }) => end(record)));
  await expect
    .poll(() => begun.flatMap(({ tokens }) => tokens).filter((each) => tellings(each).length === 1), PATIENCE)
    .toHaveLength(60);
  await isSettled();
  for (const { record } of begun) {
    const notes = await notesOf(sidecar, record);
    const counts = notes.map(({ reason }) => Number(/^\d+/.exec(String(reason))![0]));
    expect(counts.reduce((sum, each) => sum + each, 0)).toBe(3);
  }
});
