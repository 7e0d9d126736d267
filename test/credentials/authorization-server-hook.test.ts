/**
 * What an authorization server does by our answers (design/2, The check points `issue` and `refresh`): a real one asks
 * a real sidecar before each token, and the token is used at the sidecar's door.
 */
import { generateKeyPair } from 'dpop';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { type Asking, PUSH, askEnvoyDoor } from '../support/ask.ts';
import type { TokenAnswer } from '../support/authorization-server-requests.ts';
import { soon } from '../support/authority.ts';
import {
  type Held,
  type IssuingStage,
  PUSH_ENTRY,
  READ_ENTRY,
  WAYS,
  claimsOf,
  grantFor,
  startIssuingStage,
  tokenOf,
} from '../support/issuing-stage.ts';
import { GIT, proposalBody } from '../support/sidecar.ts';

let stage: IssuingStage;
beforeAll(async () => {
  stage = await startIssuingStage();
});
afterAll(() => stage.close());

const READ = { method: 'GET', path: '/repos/example/app/contents' } as const;
const TIGHTENED = { parameter_values: { ref: ['refs/heads/release'] } };
const TO_MAIN = { ...PUSH, body: '{"ref":"refs/heads/main"}' };

/** What the door says to it: `200`, or the reason. */
async function use(given: TokenAnswer, asking: Partial<Asking>): Promise<string> {
  const { status, body } = await askEnvoyDoor(stage.sidecar().check_port, tokenOf(given), asking);
  return status === 200 ? '200' : String(body.reason);
}

const seconds = (time: unknown): number => Math.floor(Date.parse(String(time)) / 1000);
const digests = ({ record }: Held): readonly [string, string] =>
  record.entry_digests as unknown as readonly [string, string];
const lastDecision = (): JsonObject => stage.sidecar().decisions().at(-1)!;

describe.each(WAYS)('%s', (way) => {
  const subject = way === 'client credentials' ? 'agent-1' : 'alice';
  const begin = (replaced: JsonObject = {}) => stage.begin(way, replaced);
  const pointed = way === 'client credentials' ? 'issue' : 'refresh';

  test('RFC 9068: a token has what the mandate covers, and ends with it', async () => {
    const intent = { ...(proposalBody().intent as JsonObject), expires_at: soon(600_000) };
    const { record, obtain } = await begin({ intent });
    const token = await stage.server.verify(tokenOf(await obtain()), GIT);
    expect(token).toMatchObject({
      sub: subject,
      client_id: 'agent-1',
      authorization_details: [PUSH_ENTRY, READ_ENTRY],
      mission: { id: record.id, issuer: record.issuer, authority_hash: record.authority_hash },
      exp: seconds(record.expires_at),
    });
    expect(lastDecision()).toMatchObject({ check_point: pointed, max_exp: record.expires_at, version: 1 });
  });

  test('where the mandate lasts, a token ends by itself', async () => {
    const claims = claimsOf(await (await begin()).obtain());
    expect(claims.exp).toBe(Number(claims.iat) + 3600);
  });

  test('is good at the door for what the mandate covers, and for nothing else', async () => {
    const given = await (await begin()).obtain();
    expect([await use(given, PUSH), await use(given, READ)]).toEqual(['200', '200']);
    const elsewhere = { ...PUSH, path: '/repos/example/other/git/refs' };
    expect(await use(given, elsewhere)).toBe('out_of_authority');
  });

  test('RFC 9396 section 6: a part on request, which bounds the token at the door', async () => {
    const { obtain } = await begin();
    const given = await obtain({ authorization_details: [READ_ENTRY] });
    expect(claimsOf(given).authorization_details).toEqual([READ_ENTRY]);
    expect(given.body.authorization_details).toEqual([READ_ENTRY]);
    expect([await use(given, READ), await use(given, PUSH)]).toEqual(['200', 'out_of_authority']);
  });

  test.each([
    ['another action', { ...PUSH_ENTRY, actions: ['repo.delete'] }],
    ['a whole family', { ...PUSH_ENTRY, actions: ['repo.*'] }],
    ['all of the host', { ...PUSH_ENTRY, resource: `${GIT}/repos` }],
  ])('RFC 9396 section 6: more than that is refused: %s', async (_title, entry) => {
    const { obtain } = await begin();
    expect(await obtain({ authorization_details: [PUSH_ENTRY, entry] })).toMatchObject({
      status: 400,
      body: { error: 'invalid_authorization_details' },
    });
    expect((await obtain()).status).toBe(200);
  });

  test('what was withdrawn cannot be had by asking for it', async () => {
    const held = await begin();
    await held.operate('contain', { entries: [digests(held)[0]] });
    expect(await held.obtain({ authorization_details: [PUSH_ENTRY] })).toEqual({
      status: 400,
      body: {
        error: 'invalid_authorization_details',
        mission_error: 'invalid_authorization_details',
      },
    });
    expect(lastDecision()).toMatchObject({ effect: 'deny', reason: 'out_of_authority' });
  });

  describe('after a narrowing', () => {
    test.each([
      ['contain', (held: Held) => ({ entries: [digests(held)[0]] }), 'authority_contained'],
      [
        'discharge',
        (held: Held) => ({ entry: digests(held)[0], event_type: 'released', event_id: 'e1' }),
        'authority_contained',
      ],
    ] as const)('by %s the next token has what is left', async (operation, own, reason) => {
      const held = await begin();
      const before = await held.obtain();
      await held.operate(operation, own(held));
      expect([await use(before, PUSH), await use(before, READ)]).toEqual([reason, '200']);
      const after = await held.obtain();
      expect(claimsOf(after).authorization_details).toEqual([READ_ENTRY]);
      expect(lastDecision()).toMatchObject({ check_point: pointed, version: 2 });
      expect([await use(after, PUSH), await use(after, READ)]).toEqual(['out_of_authority', '200']);
    });

    test('by tighten the next token has the constraint', async () => {
      const held = await begin();
      await held.operate('tighten', { entry: digests(held)[0], constraints: TIGHTENED });
      const after = await held.obtain();
      const tight = { ...PUSH_ENTRY, constraints: TIGHTENED };
      expect(claimsOf(after).authorization_details).toEqual(expect.arrayContaining([tight, READ_ENTRY]));
      expect(claimsOf(after).authorization_details).toHaveLength(2);
      expect([await use(after, PUSH), await use(after, TO_MAIN)]).toEqual(['200', 'parameter_violation']);
    });

    test('by shorten the next token ends sooner', async () => {
      const held = await begin();
      const before = claimsOf(await held.obtain());
      const expires_at = soon(300_000);
      await held.operate('shorten', { expires_at });
      const after = claimsOf(await held.obtain());
      expect(after.exp).toBe(seconds(expires_at));
      expect(Number(after.exp)).toBeLessThan(Number(before.exp));
    });

    test('of everything there is no token', async () => {
      const held = await begin();
      await held.operate('contain', { entries: digests(held) });
      expect(await held.obtain()).toMatchObject({
        status: 400,
        body: { error: 'invalid_authorization_details' },
      });
    });
  });

  test('after an amendment the token before is to be replaced, and the next one is good', async () => {
    const held = await begin();
    const before = await held.obtain();
    await held.operate('amend', { authorization_details: [PUSH_ENTRY], expected_version: 1 });
    expect(await use(before, PUSH)).toBe('view_inconsistent');
    const after = await held.obtain();
    expect(claimsOf(after).authorization_details).toEqual([PUSH_ENTRY]);
    expect(claimsOf(after).mission).not.toEqual(claimsOf(before).mission);
    expect([await use(after, PUSH), await use(after, READ)]).toEqual(['200', 'out_of_authority']);
  });

  test.each([
    ['revoke', 'mission_revoked'],
    ['complete', 'mission_completed'],
  ])(
    'RFC 6749 section 5.2: after a %s there is none, and the last is worth nothing',
    async (operation, error) => {
      const held = await begin();
      const before = await held.obtain();
      await held.operate(operation);
      for (let tries = 0; tries < 2; tries += 1)
        expect(await held.obtain()).toEqual({
          status: 400,
          body: { error: 'invalid_grant', mission_error: error },
        });
      expect(await use(before, READ)).toBe('mission_inactive');
    },
  );

  test('while the mandate is suspended there is none, and afterwards by the same credential', async () => {
    const held = await begin();
    const before = await held.obtain();
    await held.operate('suspend');
    expect(await held.obtain()).toEqual({
      status: 400,
      body: { error: 'invalid_grant', mission_error: 'mission_suspended' },
    });
    expect(await use(before, PUSH)).toBe('mission_inactive');
    await held.operate('resume', { expected_version: 2 });
    const after = await held.obtain();
    expect(claimsOf(after).authorization_details).toEqual([PUSH_ENTRY, READ_ENTRY]);
    expect([await use(before, PUSH), await use(after, PUSH)]).toEqual(['200', '200']);
  });

  test('after its natural end there is none', async () => {
    const held = await begin();
    await held.operate('shorten', { expires_at: soon(1200) });
    await expect
      .poll(() => held.obtain(), { timeout: 10_000 })
      .toEqual({
        status: 400,
        body: { error: 'invalid_grant', mission_error: 'mission_expired' },
      });
    await expect
      .poll(async () => (await held.obtain(), lastDecision()), { timeout: 10_000 })
      .toMatchObject({ reason: 'mission_inactive', mandate: { state: 'expired' } });
  });
});

test('a part that was granted stays a part, by refresh and by exchange', async () => {
  const { record } = await stage.begin('refresh');
  const part = { ...record, authority_set: [READ_ENTRY] };
  const refreshed = await stage.server.refresh('agent-1', await grantFor(stage.server, part, 'agent-1'));
  const exchanged = await stage.server.exchange('agent-1', tokenOf(refreshed));
  for (const given of [refreshed, exchanged]) {
    expect(claimsOf(given).authorization_details).toEqual([READ_ENTRY]);
    expect([await use(given, READ), await use(given, PUSH)]).toEqual(['200', 'out_of_authority']);
  }
});

test('what is left of a part is what the part and the tightened mandate cover together', async () => {
  const family = { ...PUSH_ENTRY, actions: ['repo.*'] };
  const held = await stage.begin('refresh', { authorization_details: [family] });
  const part = { ...held.record, authority_set: [PUSH_ENTRY] };
  const refresh_token = await grantFor(stage.server, part, 'agent-1');
  const constraints = { parameter_values: { ref: ['refs/heads/release'] } };
  await held.operate('tighten', { entry: digests(held)[0], constraints });
  const refreshed = await stage.server.refresh('agent-1', refresh_token);
  expect(claimsOf(refreshed).authorization_details).toEqual([{ ...PUSH_ENTRY, constraints }]);
});

test('a child`s refresh follows what becomes of its parent', async () => {
  const delegation = { max_depth: 1, allowed_delegates: [{ sub: 'agent-2' }] };
  const entries = [
    { ...PUSH_ENTRY, delegation },
    { ...READ_ENTRY, delegation },
  ];
  const parent = await stage.begin('refresh', { authorization_details: entries });
  const path = `/v1/mandates/${String(parent.record.id)}/children`;
  const body = { client_id: 'agent-2', authorization_details: [PUSH_ENTRY, READ_ENTRY] };
  const child = (await stage.sidecar().control('POST', path, body)).body as JsonObject;
  let refresh_token = await grantFor(stage.server, child, 'agent-2');
  const refresh = async () => {
    const given = await stage.server.refresh('agent-2', refresh_token);
    refresh_token = String(given.body.refresh_token ?? refresh_token);
    return given;
  };
  expect(await use(await refresh(), PUSH)).toBe('200');
  await parent.operate('contain', { entries: [digests(parent)[0]] });
  expect(claimsOf(await refresh()).authorization_details).toEqual([READ_ENTRY]);
  await parent.operate('suspend');
  expect((await refresh()).body).toEqual({ error: 'invalid_grant', mission_error: 'mission_suspended' });
  await parent.operate('revoke');
  expect((await refresh()).body).toEqual({ error: 'invalid_grant', mission_error: 'mission_cascaded' });
});

describe('RFC 8693 section 4.1: a token that was handed on', () => {
  const delegation = { max_depth: 1, allowed_delegates: [{ sub: 'agent-2' }] };
  const handOn = async (held: Held) => stage.server.exchange('agent-2', tokenOf(await held.obtain()));

  test('is the delegate`s, and good at the door as far as the mandate still reaches', async () => {
    const authorization_details = [{ ...PUSH_ENTRY, delegation }, READ_ENTRY];
    const held = await stage.begin('refresh', { authorization_details });
    const given = await handOn(held);
    expect(claimsOf(given)).toMatchObject({
      sub: 'alice',
      client_id: 'agent-2',
      act: { sub: 'agent-2' },
      authorization_details: [{ ...PUSH_ENTRY, delegation }],
    });
    expect([await use(given, PUSH), await use(given, READ)]).toEqual(['200', 'out_of_authority']);
    const subject = tokenOf(await held.obtain());
    await held.operate('revoke');
    expect((await stage.server.exchange('agent-2', subject)).body).toEqual({
      error: 'invalid_grant',
      mission_error: 'mission_revoked',
    });
    expect(await use(given, PUSH)).toBe('mission_inactive');
  });

  test('where the mandate names no delegate it is nobody`s', async () => {
    expect(await handOn(await stage.begin('refresh'))).toEqual({
      status: 400,
      body: { error: 'invalid_grant', mission_error: 'mission_mismatch' },
    });
  });
});

test('RFC 9449 section 5: the key that a token is bound to may stand in the question', async () => {
  const { obtain } = await stage.begin('client credentials');
  const dpop = await generateKeyPair('ES256');
  expect(claimsOf(await obtain({ dpop })).cnf).toEqual({ jkt: expect.any(String) });
});

test('a mandate that is not known gives no token', async () => {
  const id = `msn_${'x'.repeat(24)}`;
  const { record } = await stage.begin('refresh');
  const refresh_token = await grantFor(stage.server, { ...record, id }, 'agent-1');
  expect(await stage.server.refresh('agent-1', refresh_token)).toEqual({
    status: 400,
    body: { error: 'invalid_grant', mission_error: 'mission_mismatch' },
  });
});
