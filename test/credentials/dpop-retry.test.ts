/** DPoP behind a proxy that tries again (`request_ids`), and the challenges of doors with one issuer (RFC 9449 section 7). */
import { randomUUID } from 'node:crypto';
import { setTimeout as later } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { askEnvoyDoor } from '../support/ask.ts';
import { GIT, proposalBody } from '../support/sidecar.ts';
import { mintToken } from './minting.ts';
import { HOLDER, OF_PUSH, proofStage } from './proof-stage.ts';
import {
  PUSH_AT_ENVOY,
  type Served,
  type Showing,
  challengesOf,
  expectRefused,
  issuerOf,
  mandateOf,
  outcomeOf,
  serve,
  tokenOf,
} from './serving.ts';

const ISSUERS = { required: { dpop: 'required' } };

const { records, bound, proofOf, atEnvoy, atNative } = proofStage(ISSUERS);

describe('`x-request-id`, where the proxy sets it and where it does not', () => {
  let proxied: Served;
  let record: JsonObject;
  beforeAll(async () => {
    proxied = await serve({ issuers: { required: { dpop: 'required' } }, check: { request_ids: 'proxy' } });
    record = await mandateOf(proxied, 'required');
  });
  afterAll(() => proxied.discard());

  const ofProxied = (): string => tokenOf('required', record, { cnf: { jkt: HOLDER.jkt } });
  const withId = (id: string): Showing['headers'] => ({ 'x-request-id': id });

  test('set by the proxy: a retry of Envoy is the same showing', async () => {
    const of = ofProxied();
    const shown = { token: of, proof: proofOf(of), headers: withId(randomUUID())! };
    for (const _ of [1, 2]) expect(outcomeOf(await atEnvoy(shown, proxied))).toBe('allow');
    expectRefused(await atEnvoy({ ...shown, headers: withId(randomUUID())! }, proxied), record);
    expectRefused(await atEnvoy({ token: of, proof: shown.proof }, proxied), record);
    expectRefused(await atNative(shown, proxied), record);
  });

  test('set by the proxy: a push is charged once, under one id', async () => {
    const intent = { ...(proposalBody().intent as JsonObject), controls: { max_calls: 1 } };
    const metered = await mandateOf(proxied, 'required', { intent });
    const of = tokenOf('required', metered, { cnf: { jkt: HOLDER.jkt } });
    const headers = { ...PUSH_AT_ENVOY.headers, ...withId(randomUUID()) };
    const push = { token: of, proof: proofOf(of, OF_PUSH), ...PUSH_AT_ENVOY, headers };
    const [first, again] = [await atEnvoy(push, proxied), await atEnvoy(push, proxied)];
    expect([outcomeOf(first), outcomeOf(again)]).toEqual(['allow', 'allow']);
    expect(again.headers['x-mandate-decision']).toBe(first.headers['x-mandate-decision']);
    const other = { ...push, proof: proofOf(of, OF_PUSH), headers: PUSH_AT_ENVOY.headers };
    expect(outcomeOf(await atEnvoy(other, proxied))).toBe('quota_exceeded');
  });

  test('none, and one that no proxy vouches for: a replay', async () => {
    const [of, own] = [ofProxied(), bound('required')];
    const [proof, other] = [proofOf(of), proofOf(own)];
    expect(outcomeOf(await atEnvoy({ token: of, proof }, proxied))).toBe('allow');
    expectRefused(await atEnvoy({ token: of, proof }, proxied), record);
    const shown = { token: own, proof: other, headers: withId(randomUUID())! };
    expect(outcomeOf(await atEnvoy(shown))).toBe('allow');
    expectRefused(await atEnvoy(shown), records.required!);
  });

  test('set by the proxy: another proof with the same jti is another showing', async () => {
    const of = ofProxied();
    const jti = randomUUID();
    const headers = withId(randomUUID())!;
    expect(outcomeOf(await atEnvoy({ token: of, proof: proofOf(of, { jti }), headers }, proxied))).toBe(
      'allow',
    );
    const elsewhere = proofOf(of, { jti, htu: `${GIT}/repos/example/app/other` });
    expectRefused(
      await atEnvoy({ token: of, proof: elsewhere, path: '/repos/example/app/other', headers }, proxied),
      record,
    );
  });

  test('design/2: set by the proxy, it counts for 10 s', async () => {
    const of = ofProxied();
    const shown = { token: of, proof: proofOf(of), headers: withId(randomUUID())! };
    expect(outcomeOf(await atEnvoy(shown, proxied))).toBe('allow');
    await later(11_000);
    expectRefused(await atEnvoy(shown, proxied), record);
    expect(outcomeOf(await atEnvoy({ token: of, proof: proofOf(of) }, proxied))).toBe('allow');
  });

  test('RFC 9449 section 7.1: an entry that demands proofs challenges for nothing else', async () => {
    const of = ofProxied();
    const answers = [
      await atEnvoy({ token: of }, proxied),
      await atEnvoy({ token: of, proof: proofOf(of, { ath: 'x' }) }, proxied),
      await atEnvoy({ token: mintToken(issuerOf('required'), { exp: 1 }), proof: proofOf(of) }, proxied),
      await askEnvoyDoor(proxied.check_port, undefined),
    ];
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401]);
    const challenges = answers.map(challengesOf);
    expect(challenges.map((each) => Object.keys(each))).toEqual(answers.map(() => ['DPoP']));
    expect(challenges.map(({ DPoP }) => DPoP?.algs)).toEqual(answers.map(() => 'ES256'));
    expect(challenges[1]!.DPoP?.error).toBe('invalid_dpop_proof');
    expect(challenges[2]!.DPoP?.error).toBe('invalid_token');
    // RFC 6750 section 3.1: nothing was shown, so nothing is said of it.
    expect(challenges[3]!.DPoP?.error).toBeUndefined();
    for (const { headers } of answers) expect(headers['cache-control']).toBe('no-store');
  });
});

test('RFC 9449 section 7.2: where bearer tokens are served() too, both are challenged for', async () => {
  const own = await serve({ issuers: { supported: { dpop: 'supported' } } });
  try {
    const record = await mandateOf(own, 'supported');
    const of = tokenOf('supported', record, { cnf: { jkt: HOLDER.jkt } });
    const nothing = challengesOf(await askEnvoyDoor(own.check_port, undefined));
    expect(nothing).toEqual({ Bearer: {}, DPoP: { algs: 'ES256' } });
    const bearer = challengesOf(await atEnvoy({ token: of, scheme: 'Bearer' }, own));
    expect(Object.keys(bearer)).toEqual(expect.arrayContaining(['DPoP']));
    expect([bearer.Bearer?.error, bearer.DPoP?.error]).toContain('invalid_token');
    expect(bearer.DPoP?.algs).toBe('ES256');
    const proof = challengesOf(await atEnvoy({ token: of, proof: proofOf(of, { htm: 'PUT' }) }, own));
    expect(proof.DPoP).toMatchObject({ error: 'invalid_dpop_proof', algs: 'ES256' });
  } finally {
    await own.discard();
  }
});
