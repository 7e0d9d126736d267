/** Opaque tokens from a real authorization server: whoever must know what they are asks it (RFC 7662, RFC 9701). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { PUSH, ask, askEnvoyDoor } from '../support/ask.ts';
import { soon } from '../support/authority.ts';
import type { Permitted } from '../support/authorization-server-issuing.ts';
import { grantFor } from '../support/issuing-stage.ts';
import { outcome, question } from '../support/question.ts';
import { AS, GIT, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';
import { CLIENTS, type OpaqueStage, handsOn, membersOf, pathOf, startOpaqueStage } from './opaque-stage.ts';
import { type StandIn, startStandIn } from './stand-in.ts';

const SIGNING = 'https://signing.example';

/** How long what was said counts; what is short passes while a test waits. */
const CACHES = { none: 0, short: 300, long: 60_000 } as const;
type Cache = keyof typeof CACHES;

/** What the next token is bounded by. */
let bounds: Permitted = {};
let stage: OpaqueStage;
/** Another issuer, whose answers must be signed. */
let signing: OpaqueStage;
let folder: string;
/** Hands on to the server, and counts. */
let front: StandIn;
/** These ask the front. */
const cars = new Map<Cache, Sidecar>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-introspection-'));
  stage = await startOpaqueStage({ beforeIssue: () => Promise.resolve(bounds) });
  signing = await startOpaqueStage({ issuer: SIGNING });
  front = await startStandIn(handsOn(stage));
  const begun = Object.entries(CACHES).map(async ([name, cache_ms]) => {
    const client = { ...stage.client('by-secret'), ca: front.ca };
    const asked = { ...client, endpoint: front.url(pathOf(endpoint(stage))), cache_ms };
    cars.set(name as Cache, await start(asked));
  });
  await Promise.all(begun);
});
afterAll(async () => {
  for (const car of cars.values()) await car.discard();
  for (const each of [front, stage, signing]) await each.close();
  rmSync(folder, { recursive: true, force: true });
});

const endpoint = ({ server }: OpaqueStage): string => server.metadata.introspection_endpoint!;
/** Without a tolerance a token ends when it says so. */
const start = (introspection: JsonObject): Promise<Sidecar> =>
  startSidecar({
    issuer: stage.issuer,
    credential: membersOf({ introspection }),
    extra: 'clock_tolerance_s: 0',
  });
const reads = ({ check_port }: Sidecar, token: string) => askEnvoyDoor(check_port, token);
const pushes = ({ check_port }: Sidecar, token: string) => askEnvoyDoor(check_port, token, PUSH);
const READ = { action: { name: 'repo.read' }, parameters: {} };
const DENIED = { status: 401, body: { reason: 'credential_invalid', credential: { verdict: 'unusable' } } };

describe.each(Object.entries(CLIENTS))('by %s', (_way, client_id) => {
  let sidecar: Sidecar;
  beforeAll(async () => {
    const plain = { ...stage.client(client_id), endpoint: endpoint(stage) };
    const signed = { ...signing.client(client_id), endpoint: endpoint(signing), signed: true };
    const credential = `${membersOf({ introspection: plain })} }\n  - { ${membersOf(entryOf(signing, signed))}`;
    sidecar = await startSidecar({ issuer: stage.issuer, credential });
  });
  afterAll(() => sidecar.discard());

  test.each<[string, string, string, () => OpaqueStage]>([
    ['RFC 7662', AS, 'corp', () => stage],
    ['signed (RFC 9701)', SIGNING, 'signing', () => signing],
  ])('%s: an opaque token is good at both doors', async (_title, issuer, realm, server) => {
    const record = await sidecar.mandate(proposalBody({ subject: { iss: issuer, sub: 'alice' } }));
    const token = await server().token(record);
    expect(token).not.toContain('.');
    const said = [await reads(sidecar, token), await pushes(sidecar, token)];
    expect(said.map(({ status }) => status)).toEqual([200, 200]);
    expect(said[0]!.headers['x-mandate-subject']).toBe(`${realm}/alice`);
    expect(outcome(await question(sidecar, { token, more: READ }))).toBe('allow');
    expect(outcome(await question(sidecar, { token }))).toBe('allow');
    expect(sidecar.decisions().at(-1)).toMatchObject({
      credential: { verdict: 'usable', issuer, subject: 'alice', client_id: 'agent-1' },
      mandate: { named_by: 'claim' },
    });
  });
});

/** Of another issuer than `corp`, which the sidecar's harness knows. */
function entryOf({ server }: OpaqueStage, introspection: JsonObject): JsonObject {
  const file = join(folder, 'signing.json');
  writeFileSync(file, JSON.stringify(server.jwks()));
  const required = { audiences: [GIT], algorithms: ['ES256'], jwks: { file } };
  return { name: 'signing', issuer: server.issuer, ...required, introspection };
}

describe('what is no access token', () => {
  const sidecar = () => cars.get('long')!;

  test.each<[string, () => Promise<string>]>([
    ['what nobody has issued', async () => 'x'.repeat(43)],
    [
      'RFC 6749 section 10.4: a refresh token, though its issuer calls it active',
      async () => grantFor(stage.server, await sidecar().mandate(), 'agent-1'),
    ],
    [
      'a token that was revoked',
      async () => {
        const token = await stage.token(await sidecar().mandate());
        await stage.server.revoke('agent-1', token);
        return token;
      },
    ],
  ])('%s: unusable', async (_title, obtain) => {
    const token = await obtain();
    expect(await reads(sidecar(), token)).toMatchObject(DENIED);
    expect(await pushes(sidecar(), token)).toMatchObject(DENIED);
  });
});

test('a server that does not know the sidecar, and one that the sidecar does not trust: unverifiable', async () => {
  const { client_secret_file } = stage.client('by-secret');
  const unknown = {
    ...stage.client('agent-1'),
    client_secret_file: client_secret_file!,
    endpoint: endpoint(stage),
  };
  const { ca: _ca, ...untrusting } = stage.client('by-secret');
  const asked = { ...untrusting, endpoint: front.url(pathOf(endpoint(stage))) };
  const second = {
    name: 'second',
    issuer: 'https://second.example',
    audiences: [GIT],
    algorithms: ['ES256'],
  };
  const more = membersOf({ ...second, introspection: asked });
  const credential = `${membersOf({ introspection: unknown })} }\n  - { ${more}`;
  const sidecar = await startSidecar({ issuer: stage.issuer, credential });
  onTestFinished(() => sidecar.discard());
  const token = await stage.token(await sidecar.mandate());
  const denied = await reads(sidecar, token);
  expect(denied).toMatchObject({ status: 401, body: { credential: { verdict: 'unverifiable' } } });
  const { body } = await ask(sidecar.control_port, { path: '/readyz' });
  expect(body.details).toEqual([
    'credentials corp: the answer has status 401',
    expect.stringMatching(/^credentials second: .*certificate/),
  ]);
  expect(front.asked(token)).toBe(0);
});

describe('what was said of a token is remembered', () => {
  const begin = async (name: Cache) => {
    const car = cars.get(name)!;
    const token = await stage.token(await car.mandate());
    return {
      token,
      read: async () => (await reads(car, token)).status,
      push: async () => (await pushes(car, token)).status,
      asked: () => front.asked(token),
      revoke: () => stage.server.revoke('agent-1', token),
    };
  };

  test('for `cache_ms`: two reads ask once', async () => {
    const { read, asked } = await begin('long');
    expect([await read(), await read(), asked()]).toEqual([200, 200, 1]);
  });

  test('with `cache_ms: 0` not at all', async () => {
    const { read, asked } = await begin('none');
    expect([await read(), await read(), asked()]).toEqual([200, 200, 2]);
  });

  test('design/2: never for what cannot be undone, which asks each time', async () => {
    const { read, push, asked } = await begin('long');
    expect([await read(), await push(), await push(), asked()]).toEqual([200, 200, 200, 3]);
  });

  test('and what a push has asked serves the reads after it', async () => {
    const { read, push, asked } = await begin('long');
    expect([await push(), await read(), asked()]).toEqual([200, 200, 1]);
  });

  test('after RFC 7009: a read may pass for so long, a push does not, and with it no read any more', async () => {
    const { read, push, revoke } = await begin('long');
    expect(await read()).toBe(200);
    await revoke();
    expect([await read(), await push(), await read(), await read()]).toEqual([200, 401, 401, 401]);
  });

  test('after RFC 7009: no read passes once `cache_ms` are over', async () => {
    const { read, revoke } = await begin('short');
    expect(await read()).toBe(200);
    await revoke();
    await expect.poll(read, { timeout: 10_000 }).toBe(401);
  });

  test('not beyond the token`s own end', async () => {
    bounds = { max_exp: soon(3000) };
    onTestFinished(() => void (bounds = {}));
    const { read } = await begin('long');
    expect(await read()).toBe(200);
    await expect.poll(read, { timeout: 10_000 }).toBe(401);
  });

  test('for the token that it was said of, and for no other', async () => {
    const [first, second] = [await begin('long'), await begin('long')];
    await second.revoke();
    expect([await first.read(), await second.read(), await first.read()]).toEqual([200, 401, 200]);
  });
});

test('`POST /oauth/introspect`: a server that asks here has its question passed on, each time', async () => {
  const sidecar = cars.get('long')!;
  const token = await stage.token(await sidecar.mandate());
  const headers = {
    authorization: `Bearer ${readFileSync(sidecar.token_file, 'utf8').trim()}`,
    'content-type': 'application/x-www-form-urlencoded',
  };
  const form = { method: 'POST', path: '/oauth/introspect', headers, body: `token=${token}` };
  const inspect = () => ask(sidecar.control_port, form);
  expect((await inspect()).body).toMatchObject({ active: true, sub: 'alice' });
  await stage.server.revoke('agent-1', token);
  expect((await inspect()).body).toEqual({ active: false });
  await front.leave();
  onTestFinished(() => front.comeBack());
  expect((await inspect()).status).toBe(503);
});
