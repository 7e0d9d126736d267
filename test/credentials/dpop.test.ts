/** DPoP proofs (RFC 9449 section 4.3): one property negated per row, at both doors, each beside a proof that is good. */
import { createHmac, randomUUID } from 'node:crypto';
import { calculateThumbprint, generateKeyPair, generateProof } from 'dpop';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { GIT } from '../support/sidecar.ts';
import {
  type Key,
  type Members,
  base64url,
  jws,
  makeKey,
  mintProof,
  now,
  proofClaims,
  sha256,
  signerOf,
  thumbprint,
} from './minting.ts';
import {
  CONTENTS,
  DOORS,
  type Door,
  type Served,
  type Showing,
  challengesOf,
  expectRefused,
  mandateOf,
  outcomeOf,
  serve,
  tokenOf,
} from './serving.ts';

const HOLDER = makeKey();
const STRANGER = makeKey();
const HTU = `${GIT}${CONTENTS}`;
const ISSUERS = {
  supported: { dpop: 'supported' },
  required: { dpop: 'required' },
  broad: { dpop: 'supported', algorithms: ['ES256', 'ES384', 'PS256', 'Ed25519'] },
};

let served: Served;
const records: Record<string, JsonObject> = {};

beforeAll(async () => {
  served = await serve({ issuers: ISSUERS });
  for (const name of Object.keys(ISSUERS)) records[name] = await mandateOf(served, name);
});
afterAll(() => served.discard());

const boundToken = (name: string, key: Key = HOLDER): string =>
  tokenOf(name, records[name]!, { cnf: { jkt: key.jkt } });

type Make = (token: string) => string;
type Row = readonly [name: string, make: Make];

const claims =
  (replaced: Members | (() => Members)): Make =>
  (token) =>
    mintProof(token, HOLDER, typeof replaced === 'function' ? replaced() : replaced);
const header =
  (replaced: Members): Make =>
  (token) =>
    mintProof(token, HOLDER, {}, replaced);
const good = claims({});

/** The bytes of a good proof, as they are taken apart and put together otherwise. */
const taken =
  (change: (parts: readonly [string, string, string]) => string): Make =>
  (token) =>
    change(good(token).split('.') as [string, string, string]);

const withPayload =
  (text: (claimed: string) => string): Make =>
  (token) => {
    const head = { typ: 'dpop+jwt', alg: 'ES256', jwk: HOLDER.jwk };
    return jws(head, text(JSON.stringify(proofClaims(token))), signerOf(HOLDER));
  };

function hmacProof(token: string, secret: string | Buffer, jwk: JsonObject): string {
  const sign = (data: Buffer): Buffer => createHmac('sha256', secret).update(data).digest();
  return jws({ typ: 'dpop+jwt', alg: 'HS256', jwk }, proofClaims(token), sign);
}

const unsigned = (alg: string): Make =>
  taken(([, payload]) => {
    const head = JSON.stringify({ typ: 'dpop+jwt', alg, jwk: HOLDER.jwk });
    return `${base64url(head)}.${payload}.`;
  });

/** RFC 7797: whoever passes over `crit` finds a good proof here. */
function unencoded(token: string): string {
  const head = base64url(
    JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: HOLDER.jwk, b64: false, crit: ['b64'] }),
  );
  const payload = base64url(JSON.stringify(proofClaims(token)));
  return `${head}.${payload}.${base64url(signerOf(HOLDER)(Buffer.from(`${head}.${payload}`)))}`;
}

const ES384 = makeKey('ES384');
const PS256 = makeKey('PS256');
const WEAK = makeKey('PS256', 1024);
const ED25519 = makeKey('Ed25519');
const { x, y } = HOLDER.jwk as { readonly x: string; readonly y: string };
const SYMMETRIC: JsonObject = { k: base64url('secret'), kty: 'oct' };
const ZERO = base64url(Buffer.alloc(32));
const FLIPPED = `${y[0] === 'A' ? 'B' : 'A'}${y.slice(1)}`;

const HEADER_ROWS: readonly Row[] = [
  ...([undefined, 'JWT', 'jwt', 'at+jwt', 'dpop', 'application/jwt', '', 5, ['dpop+jwt']] as const).map(
    (typ): Row => [`typ ${JSON.stringify(typ) ?? 'absent'}`, header({ typ })],
  ),
  ...['none', 'None', 'NONE', ''].map((alg): Row => [
    `alg ${JSON.stringify(alg)}, no signature`,
    unsigned(alg),
  ]),
  ['alg none over a good signature', header({ alg: 'none' })],
  ['alg absent', header({ alg: undefined })],
  ['alg in lower case', header({ alg: 'es256' })],
  ['alg is a list', header({ alg: ['ES256'] })],
  [
    'alg HS256 with the public key as secret',
    (token) => hmacProof(token, JSON.stringify(HOLDER.jwk), HOLDER.jwk),
  ],
  [
    'alg HS256 with a symmetric jwk',
    (token) => hmacProof(token, 'secret', { kty: 'oct', k: base64url('secret') }),
  ],
  ['alg HS256 with an empty secret', (token) => hmacProof(token, '', { kty: 'oct', k: '' })],
  ['alg RS256 named over the holder`s key', header({ alg: 'RS256' })],
  ['no jwk', header({ jwk: undefined })],
  ['jwk is null', header({ jwk: null })],
  ['jwk is a text', header({ jwk: JSON.stringify(HOLDER.jwk) })],
  ['jwk is a list', header({ jwk: [HOLDER.jwk] })],
  ['jwk is empty', header({ jwk: {} })],
  ['jwk is a key set', header({ jwk: { keys: [HOLDER.jwk] } })],
  ['jwk with its private member', header({ jwk: HOLDER.private_jwk })],
  ['jwk with a private member that is empty', header({ jwk: { ...HOLDER.jwk, d: '' } })],
  ['jwk with a private member that is null', header({ jwk: { ...HOLDER.jwk, d: null } })],
  ['jwk that is symmetric', header({ jwk: { kty: 'oct', k: base64url('secret') } })],
  ['jwk with a symmetric member beside', header({ jwk: { ...HOLDER.jwk, k: base64url('secret') } })],
  ['jwk without a coordinate', header({ jwk: { ...HOLDER.jwk, y: undefined } })],
  ['jwk that is no point of its curve', header({ jwk: { ...HOLDER.jwk, y: FLIPPED } })],
  ['jwk of another curve by name', header({ jwk: { ...HOLDER.jwk, crv: 'P-384' } })],
  ['jwk with swapped coordinates', header({ jwk: { ...HOLDER.jwk, x: y, y: x } })],
  ['a kid in the place of the jwk', header({ jwk: undefined, kid: HOLDER.jkt })],
  ['a jku in the place of the jwk', header({ jwk: undefined, jku: 'https://keys.example/jwks' })],
  ['crit names what is not known', header({ crit: ['x'], x: 1 })],
  ['crit names a registered parameter', header({ crit: ['typ'] })],
  ['crit is empty', header({ crit: [] })],
  ['crit is a text', header({ crit: 'b64' })],
  ['b64 is false', unencoded],
];

const SIGNATURE_ROWS: readonly Row[] = [
  ['signed with another key', (token) => mintProof(token, STRANGER, {}, { jwk: HOLDER.jwk })],
  ['no signature', taken(([head, payload]) => `${head}.${payload}.`)],
  ['a signature with a changed bit', taken(([head, payload, own]) => `${head}.${payload}.${changed(own)}`)],
  ['a signature of zeros', taken(([head, payload]) => `${head}.${payload}.${base64url(Buffer.alloc(64))}`)],
  ['a payload of another proof', taken(([head, , own]) => `${head}.${base64url('{"htm":"GET"}')}.${own}`)],
];

const changed = (text: string): string => `${text[0] === 'A' ? 'B' : 'A'}${text.slice(1)}`;

const FORM_ROWS: readonly Row[] = [
  ['two parts', taken(([head, payload]) => `${head}.${payload}`)],
  ['four parts', taken((parts) => [...parts, 'AAAA'].join('.'))],
  [
    'five parts, as a JWE',
    () => [base64url('{"alg":"dir","enc":"A256GCM"}'), '', 'AAAA', 'AAAA', 'AAAA'].join('.'),
  ],
  ['no JWS at all', () => 'proof'],
  ['a space inside', taken((parts) => parts.join('. '))],
  ['a tab inside', taken((parts) => parts.join('.\t'))],
  ['padded parts', taken(([head, payload, own]) => `${head}=.${payload}==.${own}==`)],
  ['a payload that is a list', withPayload((text) => `[${text}]`)],
  ['a payload that is null', withPayload(() => 'null')],
  ['a payload that is not JSON', withPayload(() => 'htm=GET')],
  ['a payload that says htm twice', withPayload((text) => `{"htm":"POST",${text.slice(1)}`)],
  ['the access token itself', (token) => token],
];

/** Of questions alone: in a header a newline ends it, and a folded one is no HTTP (`dpop-use.test.ts`). */
const NEWLINE_ROWS: readonly Row[] = [
  ['a newline between its parts', taken((parts) => parts.join('.\n'))],
  ['a newline at its end', (token) => `${good(token)}\n`],
  ['a newline at its beginning', (token) => `\n${good(token)}`],
  ['a carriage return inside', taken((parts) => parts.join('\r\n.'))],
];

const NOT_TEXTS: readonly unknown[] = [undefined, null, 5, true, {}, ['GET']];
const notTexts = (name: string): readonly Row[] =>
  NOT_TEXTS.map((value) => [`${name} ${JSON.stringify(value) ?? 'absent'}`, claims({ [name]: value })]);

const CLAIM_ROWS: readonly Row[] = [
  ...['htm', 'htu', 'jti', 'ath'].flatMap(notTexts),
  ...['POST', 'get', 'Get', '', 'GET ', 'HEAD'].map((htm): Row => [
    `htm ${JSON.stringify(htm)}`,
    claims({ htm }),
  ]),
  ...[
    HTU.replace('https:', 'http:'),
    HTU.replace('git.example', 'other.example'),
    HTU.replace('git.example', 'git.example.other'),
    HTU.replace('git.example', 'git.example:8443'),
    HTU.replace('git.example', 'git.example:80'),
    HTU.replace('git.example', 'git.example.'),
    HTU.replace('git.example', 'alice@git.example'),
    `${HTU}/`,
    HTU.slice(0, -1),
    HTU.replace('contents', 'Contents'),
    HTU.replace('/app/', '%2Fapp/'),
    HTU.replace('/app/', '//app/'),
    HTU.replace('contents', 'content%2573'),
    `${HTU}%3Fref=1`,
    GIT,
    `${GIT}/`,
    CONTENTS,
    HTU.slice('https:'.length),
    '',
    '*',
    `${HTU} `,
    `${HTU}\n`,
  ].map((htu): Row => [`htu ${JSON.stringify(htu)}`, claims({ htu })]),
  ['iat 70 s ago', claims(() => ({ iat: now() - 70 }))],
  ['iat an hour ago', claims(() => ({ iat: now() - 3600 }))],
  ['iat in 70 s', claims(() => ({ iat: now() + 70 }))],
  ['iat in an hour', claims(() => ({ iat: now() + 3600 }))],
  ['iat 0', claims({ iat: 0 })],
  ['iat 1e300', claims({ iat: 1e300 })],
  ['iat in milliseconds', claims(() => ({ iat: Date.now() }))],
  ...[undefined, null, true, {}].map((iat): Row => [
    `iat ${JSON.stringify(iat) ?? 'absent'}`,
    claims({ iat }),
  ]),
  ['iat as a text', claims(() => ({ iat: `${now()}` }))],
  ['iat as a list', claims(() => ({ iat: [now()] }))],
  ['iat beyond what a number can hold', withPayload((text) => text.replace(/"iat":\d+/, '"iat":1e999'))],
  ['empty jti', claims({ jti: '' })],
  ['jti of 257 characters', claims(() => ({ jti: randomUUID().padEnd(257, 'x') }))],
  ['ath empty', claims({ ath: '' })],
  ['ath of another token', claims({ ath: sha256('another') })],
  ['ath padded', (token) => mintProof(token, HOLDER, { ath: `${sha256(token)}=` })],
  ['ath in hex', (token) => mintProof(token, HOLDER, { ath: hex(sha256(token)) })],
  ['ath in plain base64', (token) => mintProof(token, HOLDER, { ath: plain(sha256(token)) })],
  ['ath cut short', (token) => mintProof(token, HOLDER, { ath: sha256(token).slice(0, -1) })],
  ['ath over the scheme too', (token) => mintProof(token, HOLDER, { ath: sha256(`DPoP ${token}`) })],
];

const hex = (text: string): string => Buffer.from(text, 'base64url').toString('hex');
const plain = (text: string): string => Buffer.from(text, 'base64url').toString('base64');

const atEvery = (names: readonly string[]): readonly (readonly [string, string, Door])[] =>
  names.flatMap((name) => Object.entries(DOORS).map(([path, door]) => [name, path, door] as const));

describe.each(atEvery(['supported', 'required']))('dpop: %s, at %s', (name, path, door) => {
  const show = (proof: string | undefined, token: string, more: Partial<Showing> = {}) =>
    door(served, { token, ...(proof === undefined ? {} : { proof }), ...more });

  const newlines = path === '/envoy' ? [] : NEWLINE_ROWS;
  test.each<Row>([...HEADER_ROWS, ...SIGNATURE_ROWS, ...FORM_ROWS, ...newlines, ...CLAIM_ROWS])(
    'RFC 9449 section 4.3: a proof is refused with %s',
    async (row, make) => {
      const token = boundToken(name);
      expect(outcomeOf(await show(good(token), token))).toBe('allow');
      const proof = make(token);
      const answered = await show(proof, token);
      expectRefused(answered, records[name]!);
      if (path === '/envoy')
        expect(challengesOf(answered).DPoP, row).toMatchObject({
          error: 'invalid_dpop_proof',
          algs: expect.stringContaining('ES256') as unknown,
        });
    },
  );

  test('RFC 9449 section 4.3: no proof at all', async () => {
    const token = boundToken(name);
    expectRefused(await show(undefined, token), records[name]!);
    expect(outcomeOf(await show(good(token), token))).toBe('allow');
  });

  test('RFC 9449 section 4.3, item 12: a good proof of another key than the token is bound to', async () => {
    const token = boundToken(name);
    const answered = await show(mintProof(token, STRANGER), token);
    expectRefused(answered, records[name]!);
    // Section 7.1 shows `invalid_token` where the binding is what does not fit.
    if (path === '/envoy')
      expect(challengesOf(answered).DPoP?.error).toMatch(/^(invalid_token|invalid_dpop_proof)$/);
    const own = boundToken(name, STRANGER);
    expect(outcomeOf(await show(mintProof(own, STRANGER), own))).toBe('allow');
  });

  test.each<readonly [string, Members | (() => Members)]>([
    ['htu with a query', { htu: `${HTU}?ref=main` }],
    ['htu with a fragment', { htu: `${HTU}#top` }],
    ['htu with both', { htu: `${HTU}?ref=main#top` }],
    ['htu with the default port', { htu: HTU.replace('git.example', 'git.example:443') }],
    ['htu with the host in another case', { htu: HTU.replace('git.example', 'GIT.Example') }],
    ['htu with the scheme in another case', { htu: HTU.replace('https', 'HTTPS') }],
    ['htu with an unreserved character encoded', { htu: HTU.replace('/app/', '/%61pp/') }],
    ['iat 50 s ago', () => ({ iat: now() - 50 })],
    ['iat in 3 s', () => ({ iat: now() + 3 })],
    ['iat with a fraction', () => ({ iat: now() - 0.5 })],
    ['jti of 256 characters', () => ({ jti: randomUUID().padEnd(256, 'x') })],
    ['jti of one character', () => ({ jti: randomUUID()[0] })],
    ['a claim that is not known', { purpose: 'test' }],
  ])('RFC 9449 section 4.3: a proof is good with %s', async (_, replaced) => {
    const token = boundToken(name, makeKey());
    const own = makeKey();
    const bound = tokenOf(name, records[name]!, { cnf: { jkt: own.jkt } });
    const proof = mintProof(bound, own, typeof replaced === 'function' ? replaced() : replaced);
    expect(outcomeOf(await show(proof, bound))).toBe('allow');
    expect(outcomeOf(await show(proof, token))).toBe('credential_invalid');
  });

  test.each<readonly [string, Members]>([
    ['typ in another case', { typ: 'DPoP+JWT' }],
    [
      'a jwk with alg, use and kid beside the key',
      { jwk: { ...HOLDER.jwk, alg: 'ES256', use: 'sig', kid: 'k' } },
    ],
    ['a header parameter that is not known', { purpose: 'test' }],
  ])('RFC 9449 section 4.2: a proof is good with %s', async (_, replaced) => {
    const token = boundToken(name);
    expect(outcomeOf(await show(header(replaced)(token), token))).toBe('allow');
  });

  // RFC 3986 section 6.2.2, on both sides of the comparison.
  test.each([
    ['/repos/example/app/~a', '/repos/example/app/%7Ea'],
    ['/repos/example/app/%7Ea', '/repos/example/app/~a'],
    ['/repos/example/app/a%c3%a4', '/repos/example/app/a%C3%A4'],
    ['/repos/example/app/a%C3%A4?ref=1', '/repos/example/app/%61%c3%a4'],
    ['/repos/example/app/a%20b', '/repos/example/app/a%20b'],
    ['/repos/example/app/a%3Fb', '/repos/example/app/a%3fb'],
  ])('RFC 9449 section 4.3, item 9: a request for %s is proven with %s', async (asked, proven) => {
    const token = boundToken(name);
    const proof = mintProof(token, HOLDER, { htu: `${GIT}${proven}` });
    expect(outcomeOf(await show(proof, token, { path: asked }))).toBe('allow');
    const other = mintProof(token, HOLDER, { htu: `${GIT}${proven}x` });
    expect(outcomeOf(await show(other, token, { path: asked }))).toBe('credential_invalid');
  });

  test.each(['GIT.example', 'git.example:443'])(
    'a request to the host %s is the same resource',
    async (host) => {
      const token = boundToken(name);
      expect(outcomeOf(await show(good(token), token, { host }))).toBe('allow');
    },
  );

  test('the client of the package `dpop` is understood', async () => {
    const pair = await generateKeyPair('ES256');
    const jkt = await calculateThumbprint(pair.publicKey);
    const token = tokenOf(name, records[name]!, { cnf: { jkt } });
    const proof = (htm: string) => generateProof(pair, HTU, htm, undefined, token);
    expect(outcomeOf(await show(await proof('GET'), token))).toBe('allow');
    expect(outcomeOf(await show(await proof('PUT'), token))).toBe('credential_invalid');
  });
});

describe.each(Object.entries(DOORS))(
  'RFC 9449 section 4.3, items 5 to 7, at %s: the token`s own key',
  (_, door) => {
    const show = (name: string, jkt: string, make: Make) => {
      const token = tokenOf(name, records[name]!, { cnf: { jkt } });
      return door(served, { token, proof: make(token) });
    };
    const signed =
      (key: Key, head: Members = {}): Make =>
      (token) =>
        mintProof(token, key, {}, head);

    test.each([ES384, ED25519, PS256])(
      '$alg is good where it is among `algorithms`, and not elsewhere',
      async (key) => {
        expect(outcomeOf(await show('broad', key.jkt, signed(key)))).toBe('allow');
        for (const name of ['supported', 'required'])
          expectRefused(await show(name, key.jkt, signed(key)), records[name]!);
      },
    );

    test.each<readonly [string, Key, Make]>([
      ['ES256 named over a P-384 key', ES384, signed(ES384, { alg: 'ES256' })],
      ['ES384 named over a P-256 key', HOLDER, signed(HOLDER, { alg: 'ES384' })],
      ['PS256 named over a P-256 key', HOLDER, signed(HOLDER, { alg: 'PS256' })],
      ['ES256 named over an RSA key', PS256, signed(PS256, { alg: 'ES256' })],
      ['Ed25519 named over a P-256 key', HOLDER, signed(HOLDER, { alg: 'Ed25519' })],
      ['RS256, by a key that may sign with PS256', PS256, signed({ ...PS256, alg: 'RS256' })],
      ['PS256 named over a signature by RS256', PS256, signed({ ...PS256, alg: 'RS256' }, { alg: 'PS256' })],
      ['EdDSA, which the entry does not name', ED25519, signed(ED25519, { alg: 'EdDSA' })],
    ])('%s', async (__, key, make) => {
      expect(outcomeOf(await show('broad', key.jkt, signed(key)))).toBe('allow');
      expectRefused(await show('broad', key.jkt, make), records.broad!);
    });

    test.each<readonly [string, JsonObject, (token: string, jwk: JsonObject) => string]>([
      ['a symmetric key, HS256', SYMMETRIC, (token, jwk) => hmacProof(token, 'secret', jwk)],
      ['a symmetric key, ES256', SYMMETRIC, (token, jwk) => header({ jwk })(token)],
      ['no point of its curve', { ...HOLDER.jwk, y: FLIPPED }, (token, jwk) => header({ jwk })(token)],
      ['a point at zero', { ...HOLDER.jwk, x: ZERO, y: ZERO }, (token, jwk) => header({ jwk })(token)],
      ['a curve of another name', { ...HOLDER.jwk, crv: 'P-384' }, (token, jwk) => header({ jwk })(token)],
      ['an RSA key of 1,024 bits', WEAK.jwk, (token) => mintProof(token, WEAK)],
      ['an unknown kind of key', { ...HOLDER.jwk, kty: 'XX' }, (token, jwk) => header({ jwk })(token)],
    ])('a token that is bound to %s is proven by nobody', async (__, jwk, make) => {
      expectRefused(await show('broad', thumbprint(jwk), (token) => make(token, jwk)), records.broad!);
      expect(outcomeOf(await show('broad', HOLDER.jkt, good))).toBe('allow');
    });
  },
);
