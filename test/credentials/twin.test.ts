/**
 * RFC 9068 by two readers: ours, and `validateJwtAccessToken` of oauth4webapi. Where the other refuses a token so do
 * we; where it takes one and we do not, a rule of ours says why.
 */
import { once } from 'node:events';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCredentials } from '../../src/credentials/credentials.ts';
import { readKeySet } from '../../src/credentials/keys.ts';
import { createProofMemory } from '../../src/credentials/replay.ts';

const ISSUER = 'https://as.example';
const AUDIENCE = 'https://git.example';
const TOLERANCE_S = 5;

let server: Server;
let jwks_uri: string;
let sign: (header: Record<string, unknown>, claims: Record<string, unknown>) => Promise<string>;
let jwks: string;

beforeAll(async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }] });
  sign = (header, claims) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k1', ...header }).sign(privateKey);
  server = createServer((_, response) =>
    response.setHeader('content-type', 'application/json').end(jwks),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  jwks_uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
});
afterAll(() => server.close());

const now = (): { wall_ms: number; mono_ms: number } => ({ wall_ms: Date.now(), mono_ms: performance.now() });

function ours() {
  const read = readKeySet(jwks);
  if (!read.ok) throw new Error(read.error);
  const { keySet } = read;
  const keys = { find: keySet.find, generation: () => 1, trouble: () => undefined, close: () => undefined };
  const issuer = {
    name: 'corp',
    issuer: ISSUER,
    audiences: [AUDIENCE],
    algorithms: ['ES256'],
    token_types: ['at+jwt'],
    keys,
    introspection: undefined,
    dpop: 'off' as const,
    nonces: undefined,
    is_mtls_checked: false,
    max_actor_depth: 4,
  };
  return createCredentials({
    issuers: new Map([[ISSUER, issuer]]),
    clock_tolerance_s: TOLERANCE_S,
    proofs: createProofMemory(),
  });
}

async function theirs(token: string): Promise<boolean> {
  const request = new Request(`${AUDIENCE}/x`, { headers: { authorization: `Bearer ${token}` } });
  try {
    await oauth.validateJwtAccessToken({ issuer: ISSUER, jwks_uri }, request, AUDIENCE, {
      [oauth.clockTolerance]: TOLERANCE_S,
      [oauth.allowInsecureRequests]: true,
      signingAlgorithms: ['ES256'],
    });
    return true;
  } catch {
    return false;
  }
}

/** Seconds from now. */
const time = fc
  .constantFrom<unknown>(-3600, -60, -6, -1, 0, 1, 6, 60, 3600, 'text', null, -1e12, 1.5, 1e300, undefined)
  .map((away) =>
    typeof away === 'number' && Math.abs(away) < 1e6 ? Math.floor(Date.now() / 1000) + away : away,
  );
const name = fc.constantFrom<unknown>('alice', '', 7, null, ['alice'], undefined, 'x'.repeat(600));
const every = {
  iss: fc.constantFrom<unknown>(ISSUER, `${ISSUER}/`, 'https://AS.example', 7, undefined),
  aud: fc.constantFrom<unknown>(
    AUDIENCE,
    [AUDIENCE],
    ['other', AUDIENCE],
    'other',
    [],
    [7, AUDIENCE],
    undefined,
  ),
  exp: time,
  iat: time,
  nbf: time,
  sub: name,
  client_id: name,
  jti: name,
  cnf: fc.constantFrom<unknown>({ jkt: 'a'.repeat(43) }, {}, 7, undefined),
  act: fc.constantFrom<unknown>({ sub: 'agent-2' }, 7, undefined),
  authorization_details: fc.constantFrom<unknown>([], undefined),
};
const NAMES = Object.keys(every) as (keyof typeof every)[];
/** At most three at once: the more are wrong, the less is said by a refusal. */
const changes = fc.subarray(NAMES, { maxLength: 3 }).chain((names) => {
  const chosen = Object.fromEntries(names.map((each) => [each, every[each]])) as Record<
    string,
    fc.Arbitrary<unknown>
  >;
  return fc.record(chosen);
});
const header = fc.record(
  {
    typ: fc.constantFrom('at+jwt', 'AT+JWT', 'application/at+jwt', 'jwt', undefined),
    kid: fc.constantFrom('k1', 'k2', undefined),
  },
  { requiredKeys: [] },
);

/** What the other reader leaves to its caller. */
function isOurs(claims: Record<string, unknown>): boolean {
  const isLater = (at: unknown): boolean =>
    typeof at === 'number' && at > Date.now() / 1000 + TOLERANCE_S - 1;
  const isName = (value: unknown): boolean =>
    typeof value === 'string' && value !== '' && value.length <= 512;
  const isTime = (at: unknown): boolean => typeof at === 'number' && at >= 0 && at <= 253_402_300_799;
  return (
    isLater(claims['iat']) ||
    !['sub', 'client_id', 'jti'].every((each) => isName(claims[each])) ||
    !['exp', 'iat', 'nbf'].every((each) => claims[each] === undefined || isTime(claims[each])) ||
    claims['cnf'] !== undefined ||
    claims['act'] === 7
  );
}

test('RFC 9068 section 4: what one refuses the other does not take', async () => {
  const credentials = ours();
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(header, changes, async (head, changed) => {
      const at = Math.floor(Date.now() / 1000);
      const whole = {
        iss: ISSUER,
        aud: AUDIENCE,
        sub: 'alice',
        client_id: 'agent-1',
        jti: 'j',
        iat: at,
        exp: at + 600,
      };
      const claims: Record<string, unknown> = { ...whole, ...changed };
      const token = await sign({ typ: 'at+jwt', ...head }, claims);
      const presented = { kind: 'token', scheme: 'bearer', token, beside: {} } as const;
      const [own, other] = [await credentials.verify(presented, now(), true), await theirs(token)];
      const isUsable = own.verdict === 'usable';
      if (isUsable) taken += 1;
      if (isUsable !== other) expect([isUsable, isOurs(claims)]).toEqual([false, true]);
    }),
    { numRuns: 3000 },
  );
  // Both must have had something to agree on.
  expect(taken).toBeGreaterThan(20);
});
