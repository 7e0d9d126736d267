/** `POST /oauth/introspect`: active only if the token and its mandate both are (draft-mcguinness-oauth-mission). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, type JsonObject, member } from '../../src/core/json.ts';
import { ask } from '../support/ask.ts';
import { GIT, MANDATES, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';
import { readFileSync } from 'node:fs';

const RESOURCE = `${GIT}/repos/example/app`;
const FORM = 'application/x-www-form-urlencoded';

let sidecar: Sidecar;
let operator: string;

beforeAll(async () => {
  sidecar = await startSidecar({ extra: 'actors: optional' });
  operator = readFileSync(sidecar.token_file, 'utf8').trim();
});
afterAll(() => sidecar.discard());

async function introspect(form: Record<string, string> | string, headers: Record<string, string> = {}) {
  const body = typeof form === 'string' ? form : new URLSearchParams(form).toString();
  return ask(sidecar.control_port, {
    method: 'POST',
    path: '/oauth/introspect',
    headers: { authorization: `Bearer ${operator}`, 'content-type': FORM, ...headers },
    body,
  });
}

const operate = (record: JsonObject, operation: string, body: Json = {}) =>
  sidecar.control('POST', `/v1/mandates/${String(record['id'])}/${operation}`, body);

describe('what is active', () => {
  test('a token of a living mandate: its claims, what both cover, and the mission', async () => {
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor(record, { scope: 'git' });
    const { status, headers, body } = await introspect({ token, token_type_hint: 'access_token' });
    expect([status, headers['cache-control']]).toEqual([200, 'no-store']);
    expect(body).toMatchObject({
      active: true,
      sub: 'alice',
      client_id: 'agent-1',
      aud: GIT,
      scope: 'git',
      authorization_details: record['authority_set'],
      mission: {
        id: record['id'],
        issuer: MANDATES,
        authority_hash: record['authority_hash'],
        state: 'active',
        version: 1,
      },
    });
  });

  test('the end is the earlier of the two', async () => {
    const record = await sidecar.mandate();
    const expires_at = new Date(Math.ceil(Date.now() / 1000) * 1000 + 600_000).toISOString();
    const token = await sidecar.tokenFor(record);
    expect((await operate(record, 'shorten', { expires_at })).status).toBe(200);
    const { body } = await introspect({ token });
    expect(body['exp']).toBe(Date.parse(expires_at) / 1000);
  });

  test('RFC 9396: the token`s details, as far as the mandate still covers them', async () => {
    const entries = ['repo.read', 'repo.push'].map((action) => ({
      type: 'mission_resource_access',
      resource: RESOURCE,
      actions: [action],
    }));
    const record = await sidecar.mandate(proposalBody({ authorization_details: entries }));
    const token = await sidecar.tokenFor(record, { authorization_details: entries });
    const digest = (record['entry_digests'] as readonly Json[])[1]!;
    await operate(record, 'contain', { entries: [digest] });
    const { body } = await introspect({ token });
    expect(body).toMatchObject({ active: true, authorization_details: [entries[0]!] });
  });

  test('a mandate that a parameter names, for a token that names none', async () => {
    const record = await sidecar.mandate();
    const token = await sidecar.issuer.mint();
    const named = { token, mission_id: String(record['id']), mission_issuer: MANDATES };
    expect((await introspect(named)).body['active']).toBe(true);
    expect((await introspect({ token })).body).toEqual({ active: false });
  });
});

describe('what is not', () => {
  test.each([
    ['revoke', 'revoked'],
    ['complete', 'completed'],
  ])('after %s: not active, and the state that says why', async (operation, state) => {
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor(record);
    await operate(record, operation);
    const { body } = await introspect({ token });
    expect(body['active']).toBe(false);
    expect(member(body['mission'], 'state')).toBe(state);
    expect(body).not.toHaveProperty('sub');
  });

  test('while suspended: not active, and active again after a resume', async () => {
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor(record);
    await operate(record, 'suspend');
    expect((await introspect({ token })).body).toMatchObject({
      active: false,
      mission: { state: 'suspended' },
    });
    await operate(record, 'resume', { expected_version: 2 });
    expect((await introspect({ token })).body['active']).toBe(true);
  });

  test('a token of other terms than the current ones', async () => {
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor({ ...record, authority_hash: 'sha-256:other' });
    expect((await introspect({ token })).body).toMatchObject({ active: false, mission: { state: 'active' } });
  });

  test.each<[string, (record: JsonObject) => Promise<string>]>([
    ['no token at all', async () => 'a.b.c'],
    ['an expired token', (record) => sidecar.tokenFor(record, { exp: 1 })],
    ['another agent`s token', (record) => sidecar.tokenFor(record, { client_id: 'agent-2' })],
    ['another subject`s token', (record) => sidecar.tokenFor(record, { sub: 'bob' })],
    [
      'a chain of actors that the mandate does not hand on to',
      (record) => sidecar.tokenFor(record, { act: { sub: 'x' } }),
    ],
    ['a mission that nobody knows', (record) => sidecar.tokenFor({ ...record, id: 'msn_unknown' })],
  ])('%s: not active, and nothing of any mandate', async (_, mint) => {
    const token = await mint(await sidecar.mandate());
    expect((await introspect({ token })).body).toEqual({ active: false });
  });

  test('details that are not understood: no request could be allowed with it', async () => {
    const token = await sidecar.tokenFor(await sidecar.mandate(), {
      authorization_details: [{ type: 'other' }],
    });
    expect((await introspect({ token })).body['active']).toBe(false);
  });
});

describe('who may ask, and how', () => {
  test('nobody without a credential', async () => {
    expect((await introspect({ token: 'x' }, { authorization: 'Bearer nobody' })).status).toBe(401);
  });

  test.each([
    ['no token', '', 'token'],
    ['a token twice', 'token=a&token=b', 'token'],
    ['an empty token', 'token=', 'token'],
  ])('%s: 400, with the field', async (_, form, field) => {
    const { status, body } = await introspect(form);
    expect([status, body['reason'], body['field']]).toEqual([400, 'invalid_request', field]);
  });

  test('JSON instead of a form: 400', async () => {
    const { status } = await introspect('{"token":"x"}', { 'content-type': 'application/json' });
    expect(status).toBe(400);
  });
});
