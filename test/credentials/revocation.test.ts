/** Revoked here, told there: tokens of ended mandates are revoked where they came from (RFC 7009; design/2, Life). */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type JsonObject, member } from '../../src/core/json.ts';
import { askEnvoyDoor } from '../support/ask.ts';
import { tokenOf } from '../support/issuing-stage.ts';
import { AS, GIT, MANDATES, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';
import { bytesBelow, leaksOf } from './leaks.ts';
import { CLIENTS, type OpaqueStage, membersOf, startOpaqueStage } from './opaque-stage.ts';
import { historyOf, notesOf, operate, told, waiting } from './told.ts';

const PATIENCE = { timeout: 15_000, interval: 20 };
const RESOURCE = `${GIT}/repos/example/app`;

let stage: OpaqueStage;
let sidecar: Sidecar;
/** These prove in other ways who they are; the first is killed at last. */
let by_key: Sidecar;
let by_certificate: Sidecar;

beforeAll(async () => {
  stage = await startOpaqueStage();
  const { private_key_jwt, tls_client_auth } = CLIENTS;
  const begun = [start('agent-1'), start(private_key_jwt), start(tls_client_auth)] as const;
  [sidecar, by_key, by_certificate] = await Promise.all(begun);
});
afterAll(async () => {
  for (const each of [sidecar, by_key, by_certificate]) await each.discard();
  await stage.close();
});

/** This authorization server lets a client revoke its own tokens (RFC 7009 section 2.1): the sidecar is that client. */
function start(client_id: string, folder?: string): Promise<Sidecar> {
  const { introspection_endpoint, revocation_endpoint } = stage.server.metadata;
  const credential = membersOf({
    introspection: { ...stage.client('by-secret'), endpoint: introspection_endpoint! },
    revocation: { ...stage.client(client_id), endpoint: revocation_endpoint! },
  });
  return startSidecar({ issuer: stage.issuer, credential, ...(folder === undefined ? {} : { folder }) });
}

const use = (token: string, headers: Record<string, string> = {}, car = sidecar) =>
  askEnvoyDoor(car.check_port, token, { headers });
const comesToBe = (token: string) => expect.poll(() => stage.isActive(token), PATIENCE);

/** A mandate, and a token that was used under it. */
async function begin(proposal: JsonObject = {}, car = sidecar) {
  const record = await car.mandate(proposalBody(proposal));
  const token = await stage.token(record);
  expect((await use(token, {}, car)).status).toBe(200);
  expect(await stage.isActive(token)).toBe(true);
  return { record, token };
}

/** Another mandate ends, and its token with it: whatever else there was to be told has been told. */
async function settle(car = sidecar): Promise<void> {
  const { record, token } = await begin({}, car);
  await operate(car, record, 'revoke');
  await comesToBe(token).toBe(false);
  await expect.poll(() => waiting(car), PATIENCE).toBe(0);
}

const referenceTo = ({ id, issuer }: JsonObject): Record<string, string> => ({
  'mission-reference': `id="${String(id)}", issuer="${String(issuer)}"`,
});

/** A token that names no mandate. */
async function plainToken(): Promise<string> {
  const granted = await stage.server.grant({ client_id: 'agent-1' });
  return tokenOf(await stage.server.refresh('agent-1', granted));
}

describe.each([
  ['revoke', 'revoked'],
  ['complete', 'completed'],
])('%s', (operation, state) => {
  test('a token whose claim names the mandate', async () => {
    const { record, token } = await begin();
    await operate(sidecar, record, operation);
    await comesToBe(token).toBe(false);
  });

  test('a token that was used under it by `Mission-Reference`', async () => {
    const record = await sidecar.mandate();
    const token = await plainToken();
    expect((await use(token, referenceTo(record))).status).toBe(200);
    await operate(sidecar, record, operation);
    await comesToBe(token).toBe(false);
  });

  test('all of its tokens, and the history and the metrics say how many', async () => {
    const [before, { record, token }] = [await told(sidecar, 'revoked'), await begin()];
    const other = await stage.token(record);
    expect((await use(other)).status).toBe(200);
    await operate(sidecar, record, operation);
    await expect.poll(async () => (await notesOf(sidecar, record)).length, PATIENCE).toBe(1);
    expect([await stage.isActive(token), await stage.isActive(other)]).toEqual([false, false]);
    const [ended, note] = (await historyOf(sidecar, record)).slice(-2);
    expect(ended).toMatchObject({ operation, state, version: 2 });
    expect(note).toEqual({
      seq: expect.any(Number),
      at: expect.any(String),
      by: { iss: MANDATES, sub: 'mandated' },
      operation: 'revoke_tokens',
      reason: `2 at ${AS}`,
      prior_state: state,
      state,
      version: 2,
    });
    expect(Number(note!.seq)).toBeGreaterThan(Number(ended!.seq));
    expect((await told(sidecar, 'revoked')) - before).toBe(2);
    expect(await waiting(sidecar)).toBe(0);
    const { body } = await sidecar.control('GET', `/v1/mandates/${String(record.id)}`);
    expect(member(body, 'version')).toBe(2);
  });

  test('a token that is seen only after it', async () => {
    const record = await sidecar.mandate();
    const token = await stage.token(record);
    await operate(sidecar, record, operation);
    expect((await use(token)).body.reason).toBe('mission_inactive');
    await comesToBe(token).toBe(false);
  });

  test('a token of a child that was cascaded', async () => {
    const entry = { type: 'mission_resource_access', resource: RESOURCE, actions: ['repo.read'] };
    const delegation = { max_depth: 2, allowed_delegates: [{ sub: 'agent-1' }] };
    const own = { ...entry, resource_match: 'prefix' };
    const { record, token } = await begin({ authorization_details: [{ ...own, delegation }] });
    const child = await derive(record, [own]);
    const childToken = await stage.token(child);
    expect((await use(childToken)).status).toBe(200);
    await operate(sidecar, record, operation);
    await comesToBe(childToken).toBe(false);
    await comesToBe(token).toBe(false);
    await expect.poll(async () => (await notesOf(sidecar, child)).length, PATIENCE).toBe(1);
    expect(await notesOf(sidecar, child)).toMatchObject([{ state: 'cascaded', reason: `1 at ${AS}` }]);
  });
});

async function derive({ id }: JsonObject, authorization_details: readonly JsonObject[]): Promise<JsonObject> {
  const body = { client_id: 'agent-1', authorization_details };
  const made = await sidecar.control('POST', `/v1/mandates/${String(id)}/children`, body);
  expect(made.status, JSON.stringify(made.body)).toBe(201);
  return made.body as JsonObject;
}

test('a mandate that was superseded: its tokens are never rebound', async () => {
  const { record, token } = await begin();
  const renewal = await operate(sidecar, record, 'renew', { expected_version: 1 });
  const path = `/v1/proposals/${String(member(renewal, 'submission_id'))}/approve`;
  const proposal_hash = member(renewal, 'proposal_hash')!;
  expect((await sidecar.control('POST', path, { proposal_hash })).status).toBe(201);
  await comesToBe(token).toBe(false);
});

describe('what does not end a mandate revokes nothing', () => {
  test.each<[string, (record: JsonObject) => JsonObject]>([
    ['suspend', () => ({})],
    ['shorten', () => ({ expires_at: new Date(Date.now() + 600_000).toISOString() })],
    ['contain', ({ entry_digests }) => ({ entries: entry_digests! })],
  ])('%s', async (operation, own) => {
    const { record, token } = await begin();
    const unseen = await stage.token(record);
    await operate(sidecar, record, operation, own(record));
    for (const each of [token, unseen]) await use(each);
    await settle();
    expect([await stage.isActive(token), await stage.isActive(unseen)]).toEqual([true, true]);
    expect(await notesOf(sidecar, record)).toEqual([]);
  });

  test('the end of another mandate of the same agent', async () => {
    const { token } = await begin();
    await settle();
    expect(await stage.isActive(token)).toBe(true);
  });
});

test('a record that spares the tokens of every class keeps them', async () => {
  const classes = ['consequential_read', 'consequential_write', 'irreversible_action'];
  const widest = ['external_commitment', 'privileged_administration', 'non_consequential'];
  const spared = [...classes, ...widest].map((name) => [name, { tokens: false }]);
  const { record, token } = await begin({ revocation: Object.fromEntries(spared) as JsonObject });
  await operate(sidecar, record, 'revoke');
  expect((await use(token)).body.reason).toBe('mission_inactive');
  await settle();
  expect(await stage.isActive(token)).toBe(true);
});

test('naming a mandate that is not its own gets nobody`s token revoked with it', async () => {
  const record = await sidecar.mandate(proposalBody({ client_id: 'by-key' }));
  const token = await plainToken();
  expect((await use(token, referenceTo(record))).body.reason).toBe('mission_mismatch');
  await operate(sidecar, record, 'revoke');
  expect((await use(token, referenceTo(record))).body.reason).toBe('mission_mismatch');
  await settle();
  expect(await stage.isActive(token)).toBe(true);
});

test('a suspension that ends in a revocation ends the tokens as well (`on_expiry: revoke`)', async () => {
  const { record, token } = await begin();
  const suspend_until = new Date(Date.now() + 2000).toISOString();
  await operate(sidecar, record, 'suspend', { suspend_until, on_expiry: 'revoke' });
  const state = async () => member((await use(token)).body.mandate, 'state');
  await expect.poll(state, PATIENCE).toBe('revoked');
  expect(member((await use(token)).body.stop, 'revoke_tokens')).toBe(true);
  await expect.poll(() => stage.isActive(token), { timeout: 3000 }).toBe(false);
});

test.each([
  [CLIENTS.private_key_jwt, () => by_key],
  [CLIENTS.tls_client_auth, () => by_certificate],
])('RFC 7009 section 2.1: the server revokes for a client that it knows %s', async (client_id, car) => {
  const { record, token } = await begin({ client_id }, car());
  await operate(car(), record, 'revoke');
  await comesToBe(token).toBe(false);
  await expect.poll(() => notesOf(car(), record), PATIENCE).toHaveLength(1);
});

describe('the server is away when the mandate ends', () => {
  test('it is told once it is back', async () => {
    const { record, token } = await begin();
    await stage.server.halt();
    await operate(sidecar, record, 'revoke');
    await expect.poll(() => told(sidecar, 'away'), PATIENCE).toBeGreaterThan(0);
    expect(await waiting(sidecar)).toBe(1);
    await stage.server.resume();
    await comesToBe(token).toBe(false);
    await expect.poll(() => notesOf(sidecar, record), PATIENCE).toHaveLength(1);
    expect(await waiting(sidecar)).toBe(0);
  });

  test('it is told by the sidecar that was killed meanwhile, which kept nothing that anybody could use', async () => {
    const { record, token } = await begin({ client_id: CLIENTS.private_key_jwt }, by_key);
    await stage.server.halt();
    await operate(by_key, record, 'revoke');
    await expect.poll(() => waiting(by_key), PATIENCE).toBe(1);
    await by_key.stop('SIGKILL');
    expectNowhere(token, join(by_key.folder, 'data'));
    const second = await start(CLIENTS.private_key_jwt, by_key.folder);
    onTestFinished(() => second.discard());
    expect(await waiting(second)).toBe(1);
    await stage.server.resume();
    await comesToBe(token).toBe(false);
    await expect.poll(() => notesOf(second, record), PATIENCE).toHaveLength(1);
    expect(await notesOf(second, record)).toMatchObject([{ reason: `1 at ${AS}`, version: 2 }]);
    await expect.poll(() => waiting(second), PATIENCE).toBe(0);
  });
});

/** In the outbox with its journal, and in all that stands beside it. */
function expectNowhere(token: string, folder: string): void {
  const files = bytesBelow(folder);
  expect([...files.keys()]).toContain('outbox/outbox.db-wal');
  expect(leaksOf(new Map([['the token', token]]), files)).toEqual([]);
}
