/** A proof that one sidecar was shown is not new to another that shares its Redis (RFC 9449 section 11.1). */
import * as DPoP from 'dpop';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { member } from '../../src/core/json.ts';
import { askEnvoyDoor } from '../support/ask.ts';
import { remembersProofs } from '../support/proof-memory.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type RedisStore, openStore } from '../support/redis-store.ts';
import { type Sidecar, startSidecar } from '../support/sidecar.ts';

let redis: RedisServer;
let opened: RedisStore;
let cars: readonly [Sidecar, Sidecar];
let keys: DPoP.KeyPair;
let token: string;

beforeAll(async () => {
  redis = await startRedis();
  opened = await openStore(redis, { tenant: 'proofs', lease_ms: 1000 });
  const options = {
    store: `{ engine: redis, url: "redis://127.0.0.1:${redis.port}", tenant: acme }`,
    credential: 'dpop: required',
    policies: { cedar: 'policies/cedar' },
  };
  const first = await startSidecar(options);
  cars = [first, await startSidecar({ ...options, issuer: first.issuer })];
  keys = await DPoP.generateKeyPair('ES256');
  const jkt = await calculateJwkThumbprint(await exportJWK(keys.publicKey));
  token = await first.tokenFor(await first.mandate(), { cnf: { jkt } });
});
afterAll(async () => {
  await opened.store.close();
  await Promise.all(cars.map((each) => each.discard()));
  await redis.stop();
});

remembersProofs('in Redis', () => opened.proofs);

describe('two sidecars', () => {
  const proven = async () => ({
    authorization: `DPoP ${token}`,
    dpop: await DPoP.generateProof(
      keys,
      'https://git.example/repos/example/app/contents',
      'GET',
      undefined,
      token,
    ),
  });
  const ask = async (car: Sidecar, headers: Record<string, string>) => {
    const { status, body } = await askEnvoyDoor(car.check_port, undefined, { headers });
    return status === 200 ? '200' : `${status} ${String(member(body.credential, 'verdict'))}`;
  };

  test('what one was shown is no good at the other', async () => {
    const headers = await proven();
    expect([await ask(cars[0], headers), await ask(cars[1], headers)]).toEqual(['200', '401 unusable']);
    expect(await ask(cars[1], await proven())).toBe('200');
  });

  test('while nobody can say what was shown, it cannot be verified; and then it can again', async () => {
    redis.freeze();
    try {
      expect(await ask(cars[0], await proven())).toBe('401 unverifiable');
    } finally {
      redis.thaw();
    }
    await expect.poll(async () => ask(cars[0], await proven()), { timeout: 10_000 }).toBe('200');
  });

  test('none of it is a key that ends by itself, which would be an unsafe store', async () => {
    const { body } = await askEnvoyDoor(cars[0].check_port, undefined, { headers: await proven() });
    expect(body).toEqual({});
    expect(await redis.call('TTL', '{acme}:proofs')).toBe(-1);
  });
});
