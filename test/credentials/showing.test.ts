/** One showing of a proof for several checks: the proof counts for all of them, what the token says is asked anew. */
import * as DPoP from 'dpop';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import { beforeAll, expect, test } from 'vitest';
import type { ShownToken } from '../../src/core/credential.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { createCredentials } from '../../src/credentials/credentials.ts';
import { createIntrospection } from '../../src/credentials/introspection.ts';
import { createKnownTokens } from '../../src/credentials/known-tokens.ts';
import { createProofMemory } from '../../src/credentials/replay.ts';

const ISSUER = 'https://as.example';
const URL = 'https://git.example/x';
const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

/** An issuer of opaque tokens, at the end of whose connection stands `answer`. */
function reader(answer: () => JsonObject | Promise<JsonObject>, cache_ms = 60_000) {
  const introspection = createIntrospection({
    poster: {
      post: async () => ({
        status: 200,
        content_type: 'application/json',
        body: JSON.stringify(await answer()),
      }),
      close: () => undefined,
    },
    client: { client_id: 'mandated', method: 'tls_client_auth' },
    cache_ms,
    signed_by: undefined,
    now,
    complain: () => undefined,
  });
  const issuer = {
    name: 'corp',
    issuer: ISSUER,
    audiences: ['git'],
    algorithms: ['ES256'],
    token_types: ['at+jwt'],
    keys: undefined,
    introspection,
    dpop: 'supported' as const,
    nonces: undefined,
    is_mtls_checked: false,
    max_actor_depth: 4,
  };
  const issuers = new Map([[ISSUER, issuer]]);
  return createCredentials({ issuers, clock_tolerance_s: 5, proofs: createProofMemory() });
}

const claims = (more: JsonObject = {}): JsonObject => ({
  active: true,
  aud: 'git',
  sub: 'alice',
  client_id: 'agent-1',
  ...more,
});

let keys: DPoP.KeyPair;
let other: string;
let jkt: string;
beforeAll(async () => {
  keys = await DPoP.generateKeyPair('ES256');
  jkt = await calculateJwkThumbprint(await exportJWK(keys.publicKey));
  other = await calculateJwkThumbprint(await exportJWK((await DPoP.generateKeyPair('ES256')).publicKey));
});

async function shownOnce(): Promise<ShownToken> {
  const token = 'opaque';
  const proof = await DPoP.generateProof(keys, URL, 'GET', undefined, token);
  return { kind: 'token', scheme: 'dpop', token, beside: { proof, target: { method: 'GET', url: URL } } };
}

test('a second check of the showing is not a replay, and a second showing is', async () => {
  const credentials = reader(() => claims({ cnf: { jkt } }));
  const shown = await shownOnce();
  const verdicts = [];
  for (const each of [shown, shown, { ...shown }])
    verdicts.push((await credentials.verify(each, now(), true)).verdict);
  expect(verdicts).toEqual(['usable', 'usable', 'unusable']);
});

test('what the issuer says now counts for the second check, not what it said for the first', async () => {
  let said = claims({ cnf: { jkt }, authorization_details: [{ type: 'wide' }] });
  const credentials = reader(() => said);
  const shown = await shownOnce();
  await credentials.verify(shown, now(), true);
  said = claims({ cnf: { jkt }, authorization_details: [] });
  expect(await credentials.verify(shown, now(), true)).toMatchObject({
    verdict: 'usable',
    authorization_details: [],
  });
  said = claims({ cnf: { jkt: other } });
  expect((await credentials.verify(shown, now(), true)).verdict).toBe('unusable');
  said = { active: false };
  expect((await credentials.verify(shown, now(), true)).verdict).toBe('unusable');
});

test('an answer that is under way is joined only while it is young enough to be remembered', async () => {
  let asked = 0;
  const held = Promise.withResolvers<JsonObject>();
  const answer = () => {
    asked += 1;
    return asked === 1 ? held.promise : { active: false };
  };
  const credentials = reader(answer, 0);
  const bearer = { kind: 'token', scheme: 'bearer', token: 'opaque', beside: {} } as const;
  const first = credentials.verify(bearer, now(), false);
  await new Promise((resolve) => void setTimeout(resolve, 5));
  const second = credentials.verify({ ...bearer }, now(), false);
  held.resolve(claims());
  expect([(await first).verdict, (await second).verdict, asked]).toEqual(['usable', 'unusable', 2]);
});

test('tokens that are known are bounded by their number and by their length', () => {
  const known = createKnownTokens(3, 100);
  const seen = (token: string) =>
    known.add({ mandate: 'm', issuer: ISSUER, token, expires_at_ms: 0, is_to_be_revoked: false });
  const kept = () => known.of('m').map(({ token }) => token[0]);
  for (const token of ['a', 'b', 'c', 'd']) expect(seen(token)).toBe('new');
  expect(kept()).toEqual(['b', 'c', 'd']);
  seen('e'.repeat(99));
  expect(kept()).toEqual(['d', 'e']);
  known.forget('m', 'e'.repeat(99));
  seen('f'.repeat(90));
  expect(kept()).toEqual(['d', 'f']);
});
