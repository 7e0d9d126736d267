/**
 * Whatever a client writes where a credential stands: read or refused, in bounded time, and never a throw. What the
 * readers take is then shown to a real door, which never answers 5xx.
 */
import fc from 'fast-check';
import { SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readActors } from '../../src/core/actors.ts';
import { readForwardedCertificate } from '../../src/core/client-certificate.ts';
import { readConfirmation } from '../../src/core/confirmation.ts';
import { readAuthorization } from '../../src/core/credential.ts';
import type { Json, JsonObject } from '../../src/core/json.ts';
import { parseMissionClaim, parseMissionReference } from '../../src/core/reference.ts';
import { readJws } from '../../src/credentials/jws.ts';
import { askEnvoyDoor } from '../support/ask.ts';
import { type Sidecar, startSidecar } from '../support/sidecar.ts';

const base64url = (text: string): string => Buffer.from(text).toString('base64url');

/** Text that looks like what is read, in part. */
const pieces = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '.',
        ',',
        ';',
        '=',
        '"',
        '\\',
        'Hash=',
        'Cert="',
        'Bearer ',
        'DPoP ',
        'id="',
        'issuer="',
        'a'.repeat(64),
      ),
      fc.string({ maxLength: 12 }),
      fc.json({ maxDepth: 3 }).map(base64url),
    ),
    { maxLength: 24 },
  )
  .map((parts) => parts.join(''));

const claims = fc.jsonValue({ maxDepth: 5 }) as fc.Arbitrary<Json>;

/** Nested as deep as a token of the longest length can be. */
const deep = (levels: number): Json => {
  let act: Json = { sub: 'a' };
  for (let level = 0; level < levels; level += 1) act = { sub: 'a', act };
  return act;
};

describe('readers', () => {
  test.each<[string, (text: string) => unknown]>([
    ['Authorization', (text) => readAuthorization([text])],
    ['a JWS, of tokens and of proofs', readJws],
    ['x-forwarded-client-cert', (text) => readForwardedCertificate([text])],
    ['Mission-Reference', (text) => parseMissionReference([text])],
  ])('%s: any text', (_, read) => {
    fc.assert(
      fc.property(pieces, (text) => void read(text)),
      { numRuns: 5000 },
    );
  });

  test.each<[string, (value: Json) => unknown]>([
    ['act', (value) => readActors(value, 'https://as.example', 4)],
    ['cnf', readConfirmation],
    ['mission', parseMissionClaim],
  ])('%s: any JSON', (_, read) => {
    fc.assert(
      fc.property(claims, (value) => void read(value)),
      { numRuns: 5000 },
    );
  });

  test('a chain is at most as long as it may be, whatever it holds', () => {
    fc.assert(
      fc.property(claims, fc.nat(6), (value, most) => {
        const read = readActors(value, 'https://as.example', most);
        if (read.ok) expect(read.chain.length).toBeLessThanOrEqual(most);
      }),
    );
    expect(readActors(deep(20_000), 'https://as.example', 4)).toMatchObject({ ok: false });
  });

  test.each([
    ['a header of quotes', `Hash="${'\\"'.repeat(30_000)}`],
    ['a header of pairs', 'By=a;'.repeat(12_000)],
    ['a header of elements', 'Hash=a,'.repeat(9000)],
    ['one value', `Subject="${'a'.repeat(65_000)}"`],
  ])('x-forwarded-client-cert: %s is read once over', (_, text) => {
    expect(readForwardedCertificate([text])).toBeUndefined();
  });

  test('the one hash of the one element, among whatever else a proxy tells', () => {
    const value = fc.string({ maxLength: 20 }).map((text) => text.replaceAll(/["\\]/g, ''));
    const others = fc.array(fc.tuple(fc.constantFrom('By', 'URI', 'DNS', 'Subject', 'Cert'), value), {
      maxLength: 5,
    });
    const hex = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(others, others, hex, (before, after, bytes) => {
        const hash = Buffer.from(bytes).toString('hex');
        const pairs = [...before, ...after].map(([key, text]) => `${key}="${text}"`);
        const line = [...pairs.slice(0, before.length), `Hash=${hash}`, ...pairs.slice(before.length)].join(
          ';',
        );
        expect(readForwardedCertificate([line])).toBe(Buffer.from(bytes).toString('base64url'));
      }),
    );
  });
});

describe('the door', () => {
  let sidecar: Sidecar;
  beforeAll(async () => {
    sidecar = await startSidecar({ credential: 'dpop: supported, mtls: xfcc' });
  });
  afterAll(() => sidecar.discard());

  /** What HTTP can carry in a header. */
  const header = pieces.map((text) => text.replaceAll(/[^\x20-\x7e]/g, '').trim());

  test('answers 401 or 403 to any credential, with a body that says which', async () => {
    await fc.assert(
      fc.asyncProperty(header, header, header, header, async (token, dpop, xfcc, reference) => {
        const headers = { dpop, 'x-forwarded-client-cert': xfcc, 'mission-reference': reference };
        const answer = await askEnvoyDoor(sidecar.check_port, undefined, {
          headers: { ...headers, authorization: token },
        });
        expect([401, 403]).toContain(answer.status);
        expect(answer.body['reason']).toEqual(expect.any(String));
      }),
      { numRuns: 300 },
    );
  });

  test('answers any claim of a token that is signed well', async () => {
    const names = [
      'sub',
      'client_id',
      'act',
      'cnf',
      'mission',
      'authorization_details',
      'aud',
      'exp',
      'iat',
      'nbf',
      'jti',
    ];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), claims, async (name, value) => {
        const token = await sidecar.issuer.mint({ [name]: value });
        const answer = await askEnvoyDoor(sidecar.check_port, token);
        expect([401, 403]).toContain(answer.status);
      }),
      { numRuns: 300 },
    );
  });

  test('a chain of actors as deep as a token can be: 403 actor_invalid', async () => {
    const token = await sidecar.issuer.mint({ act: deep(500) });
    const { status, body } = await askEnvoyDoor(sidecar.check_port, token);
    expect([status, body['reason']]).toEqual([403, 'actor_invalid']);
  });

  test('a proof around which anything is written', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    const jwk = await exportJWK(publicKey);
    const token = await sidecar.issuer.mint({ cnf: { jkt: await calculateJwkThumbprint(jwk) } });
    const whole: JsonObject = {
      jti: 'j',
      htm: 'GET',
      htu: 'https://git.example/repos/example/app/contents',
      iat: 0,
      ath: '',
    };
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(whole), 'nonce', 'exp'),
        claims,
        async (name, value) => {
          const payload = { ...whole, iat: Math.floor(Date.now() / 1000), [name]: value };
          const proof = await new SignJWT(payload)
            .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
            .sign(privateKey);
          const headers = { authorization: `DPoP ${token}`, dpop: proof };
          const { status } = await askEnvoyDoor(sidecar.check_port, undefined, { headers });
          expect(status).toBe(401);
        },
      ),
      { numRuns: 200 },
    );
  });
});
