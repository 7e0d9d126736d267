/** Tokens that are bound to a certificate (RFC 8705 section 3.1): Envoy's word for it at `/envoy`, the asker's in a question. */
import { X509Certificate, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import type { Answered } from '../support/ask.ts';
import { certify } from '../support/certificate.ts';
import { type Members, makeKey, mintProof } from './minting.ts';
import {
  CONTENTS,
  PUSH_ASKED,
  PUSH_AT_ENVOY,
  type Served,
  type Showing,
  challengesOf,
  envoyDoor,
  expectRefused,
  mandateOf,
  nativeDoor,
  outcomeOf,
  serve,
  tokenOf,
} from './serving.ts';

const XFCC = 'x-forwarded-client-cert';
const ISSUERS = {
  xfcc: { mtls: 'xfcc' },
  off: {},
  keyed: { dpop: 'supported' },
  both: { dpop: 'supported', mtls: 'xfcc' },
  proven: { dpop: 'required', mtls: 'xfcc' },
  guarded: { mtls: 'xfcc', require_proof: ['irreversible_action'] },
};

let served: Served;
let pem: string;
/** SHA-256 of the certificate's DER, as Envoy and as RFC 8705 write it. */
let hash: string;
let x5t: string;
const OTHER = randomBytes(32);
const records: Record<string, JsonObject> = {};

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-mtls-'));
  pem = certify(folder, 'client').cert;
  rmSync(folder, { recursive: true });
  hash = new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
  x5t = Buffer.from(hash, 'hex').toString('base64url');
  served = await serve({ issuers: ISSUERS });
  for (const name of Object.keys(ISSUERS)) records[name] = await mandateOf(served, name);
});
afterAll(() => served.discard());

const token = (name: string, claims: Members = {}): string => tokenOf(name, records[name]!, claims);
const bound = (name: string): string => token(name, { cnf: { 'x5t#S256': x5t } });

/** Shown as a bearer token, with this header. */
const show = (of: string, header?: string | string[], more: Partial<Showing> = {}): Promise<Answered> => {
  const headers = header === undefined ? {} : { [XFCC]: header };
  return envoyDoor(served, {
    token: of,
    scheme: 'Bearer',
    ...more,
    headers: { ...headers, ...more.headers },
  });
};
const ask = (
  of: string,
  certificate?: Showing['certificate'],
  more: Partial<Showing> = {},
): Promise<Answered> =>
  nativeDoor(served, { token: of, ...(certificate === undefined ? {} : { certificate }), ...more });

const BY = 'By=spiffe://mesh.example/envoy';
const other = OTHER.toString('hex');
const encoded = (): string => encodeURIComponent(pem);

type Row = readonly [name: string, make: () => string];

describe('RFC 8705 section 3.1: the hash of Envoy`s one element is the token`s', () => {
  test.each<Row>([
    ['the hash alone', () => `Hash=${hash}`],
    ['upper-case hex', () => `Hash=${hash.toUpperCase()}`],
    ['a quoted hash', () => `Hash="${hash}"`],
    ['the name in lower case', () => `hash=${hash}`],
    ['the name in upper case', () => `HASH=${hash}`],
    [
      'Envoy`s own order',
      () => `${BY};Hash=${hash};Subject="CN=client,O=Example";URI=spiffe://mesh.example/agent`,
    ],
    ['the hash last', () => `${BY};Subject="CN=client";Hash=${hash}`],
    ['an empty subject and URI', () => `${BY};Hash=${hash};Subject="";URI=`],
    ['several DNS names', () => `Hash=${hash};DNS=git.example;DNS=other.example`],
    ['the whole certificate', () => `${BY};Hash=${hash};Cert="${encoded()}"`],
    ['the whole certificate and its chain', () => `Hash=${hash};Cert="${encoded()}";Chain="${encoded()}"`],
    ['a subject with separators', () => `Hash=${hash};Subject="CN=a;b=c,O=\\"d\\",OU=e"`],
    ['a subject that reads like an element', () => `Hash=${hash};Subject="CN=x,Hash=${other}"`],
    ['a subject that reads like a second hash', () => `Hash=${hash};Subject="CN=x;Hash=${other}"`],
    ['a subject with an escaped quote before such text', () => `Hash=${hash};Subject="CN=\\";Hash=${other}"`],
  ])('%s', async (_, make) => {
    expect(outcomeOf(await show(bound('xfcc'), make()))).toBe('allow');
    expectRefused(await show(bound('xfcc'), make().replaceAll(new RegExp(hash, 'gi'), other)), records.xfcc!);
  });

  test.each<Row>([
    ['another hash', () => `Hash=${other}`],
    ['an empty header', () => ''],
    ['an empty hash', () => 'Hash='],
    ['an empty quoted hash', () => 'Hash=""'],
    ['no hash', () => `${BY};Subject="CN=client";URI=spiffe://mesh.example/agent`],
    ['the certificate without its hash', () => `${BY};Cert="${encoded()}"`],
    ['a hash cut short', () => `Hash=${hash.slice(0, -2)}`],
    ['a hash of half a byte less', () => `Hash=${hash.slice(0, -1)}`],
    ['a longer hash', () => `Hash=${hash}00`],
    ['a hash with a prefix', () => `Hash=0x${hash}`],
    ['a hash with colons', () => `Hash=${(hash.match(/../g) ?? []).join(':')}`],
    ['a hash as base64url', () => `Hash=${x5t}`],
    ['a hash as base64', () => `Hash="${Buffer.from(hash, 'hex').toString('base64')}"`],
    ['a hash with a space inside', () => `Hash=${hash.slice(0, 32)} ${hash.slice(32)}`],
    ['two hashes', () => `Hash=${hash};Hash=${hash}`],
    ['two hashes, the second another', () => `Hash=${hash};Hash=${other}`],
    ['two hashes, the first another', () => `Hash=${other};Hash=${hash}`],
    ['two hashes in different case', () => `Hash=${hash};hash=${other}`],
    ['a quoted and a bare hash', () => `Hash="${hash}";Hash=${other}`],
    ['the hash in a quoted subject only', () => `${BY};Subject="CN=x;Hash=${hash}"`],
    ['the hash in a quoted subject, another outside', () => `Hash=${other};Subject="CN=x;Hash=${hash}"`],
    ['the hash behind an escaped quote', () => `Hash=${other};Subject="CN=\\";Hash=${hash}"`],
    ['the hash in a quoted element', () => `Subject="CN=x,Hash=${hash}"`],
    ['the hash as value of a URI', () => `URI=Hash=${hash}`],
    ['a hash that a bare URI of the certificate smuggles', () => `Hash=${other};URI=spiffe://x;Hash=${hash}`],
    ['an element that a bare URI smuggles', () => `Hash=${other};URI=spiffe://x,Hash=${hash}`],
    ['a hash that a bare DNS name smuggles', () => `Hash=${other};DNS=x;Hash=${hash}`],
    ['an element that a bare DNS name smuggles', () => `Hash=${other};DNS=x,By=y;Hash=${hash}`],
    ['two elements, both his', () => `Hash=${hash},Hash=${hash}`],
    ['two elements, his first', () => `${BY};Hash=${hash},${BY};Hash=${other}`],
    ['two elements, his last', () => `${BY};Hash=${other}, ${BY};Hash=${hash}`],
    ['two elements, the first without a hash', () => `${BY},Hash=${hash}`],
    ['two elements, the last without a hash', () => `Hash=${hash},${BY}`],
    ['two elements, the last a subject alone', () => `Hash=${hash}, Subject="CN=x"`],
    ['an element and an empty one', () => `Hash=${hash},`],
    ['an empty element before', () => `,Hash=${hash}`],
    ['another name that ends like it', () => `XHash=${hash}`],
    ['another name that begins like it', () => `Hash2=${hash}`],
    ['a hash without its name', () => hash],
    ['a colon for the equals sign', () => `Hash:${hash}`],
    ['a quote that is not closed', () => `Hash="${hash}`],
    ['a quote that is not opened', () => `Hash=${hash}"`],
    ['text after a closing quote', () => `Hash="${hash}"00`],
    ['a subject whose quote is not closed', () => `Hash=${hash};Subject="CN=x`],
    ['a parameter of the hash', () => `Hash=${hash}=${hash}`],
    ['percent-encoding', () => `Hash%3D${hash}`],
    ['JSON', () => JSON.stringify({ Hash: hash })],
  ])('refused: %s', async (_, make) => {
    expect(outcomeOf(await show(bound('xfcc'), `Hash=${hash}`))).toBe('allow');
    const answered = await show(bound('xfcc'), make());
    expectRefused(answered, records.xfcc!);
    expect(answered.status).toBe(401);
    // RFC 8705 section 3: RFC 6750's `invalid_token`.
    expect(challengesOf(answered).Bearer?.error).toBe('invalid_token');
    expect(JSON.stringify(answered.body)).not.toContain(hash);
  });

  test('refused: no header', async () => {
    expectRefused(await show(bound('xfcc')), records.xfcc!);
    expect(outcomeOf(await show(bound('xfcc'), `Hash=${hash}`))).toBe('allow');
  });

  test.each<readonly [string, () => string[]]>([
    ['the same twice', () => [`Hash=${hash}`, `Hash=${hash}`]],
    ['his first', () => [`Hash=${hash}`, `Hash=${other}`]],
    ['his last', () => [`Hash=${other}`, `Hash=${hash}`]],
    ['an empty one before', () => ['', `Hash=${hash}`]],
  ])('design/8: two lines are malformed: %s', async (_, make) => {
    const { status, body } = await show(bound('xfcc'), make());
    expect([status, body.reason]).toEqual([403, 'malformed_request']);
    expect(body).toMatchObject({
      credential: { verdict: 'not_evaluated' },
      mandate: { verdict: 'not_evaluated' },
    });
  });

  test('15 kB of separators, quotes or backslashes are refused like anything else', async () => {
    for (const text of [';', ',', '"', '\\', '=', 'a=;', '"\\"', 'Hash=;', ' ']) {
      const filled = `Hash=${hash};Subject="${text.repeat(15_000 / text.length - 200)}`;
      const { status } = await show(bound('xfcc'), filled);
      expect([401, 403, 431]).toContain(status);
    }
  });
});

describe('only this header, at this door, and only where it is configured', () => {
  const element = (): string => `${BY};Hash=${hash}`;

  test.each(['off', 'keyed'])(
    'no `mtls` at `%s`: a bound token is refused, whatever is shown',
    async (name) => {
      const of = bound(name);
      for (const answered of [await show(of, element()), await show(of), await ask(of, x5t), await ask(of)])
        expectRefused(answered, records[name]!);
      expect(outcomeOf(await show(token(name), element()))).toBe('allow');
    },
  );

  test.each(['xfcc', 'off', 'both'])(
    'a token that is bound to nothing at `%s`: the header is ignored',
    async (name) => {
      for (const header of [
        element(),
        `Hash=${other}`,
        'Hash=',
        `${element()},${element()}`,
        'x'.repeat(200),
        '"',
      ])
        expect(outcomeOf(await show(token(name), header))).toBe('allow');
      expect(outcomeOf(await show(token(name)))).toBe('allow');
    },
  );

  test.each([
    'x_forwarded_client_cert',
    'x-forwarded-client_cert',
    'x-forwarded-client-certs',
    'forwarded-client-cert',
    'x-client-cert',
    'client-cert',
    'x-ssl-cert',
    'x-amzn-mtls-clientcert',
    'x-original-forwarded-client-cert',
    'forwarded',
    'x-envoy-peer-metadata',
  ])('it is not read from the header %s', async (name) => {
    const { headers } = { headers: { [name]: element() } };
    expectRefused(await show(bound('xfcc'), undefined, { headers }), records.xfcc!);
    expect(outcomeOf(await show(bound('xfcc'), element(), { headers }))).toBe('allow');
  });

  test('it is not read from the query, the body or a cookie', async () => {
    const path = `${CONTENTS}?${XFCC}=${encodeURIComponent(element())}&certificate_sha256=${x5t}`;
    expectRefused(await show(bound('xfcc'), undefined, { path }), records.xfcc!);
    const body = JSON.stringify({ ref: 'refs/heads/release', [XFCC]: element(), certificate_sha256: x5t });
    expectRefused(await show(bound('xfcc'), undefined, { ...PUSH_AT_ENVOY, body }), records.xfcc!);
    const headers = { cookie: `${XFCC}=${element()}` };
    expectRefused(await show(bound('xfcc'), undefined, { headers }), records.xfcc!);
  });

  test('the header is not believed at /v1/check', async () => {
    const headers = { [XFCC]: element() };
    expectRefused(await ask(bound('xfcc'), undefined, { headers }), records.xfcc!);
    expectRefused(await ask(bound('xfcc'), OTHER.toString('base64url'), { headers }), records.xfcc!);
    expect(outcomeOf(await ask(bound('xfcc'), x5t))).toBe('allow');
  });
});

describe('`certificate_sha256` of a question is an `x5t#S256`', () => {
  test.each<readonly [string, () => string]>([
    ['another certificate`s', () => OTHER.toString('base64url')],
    ['in hex', () => hash],
    ['in upper-case hex', () => hash.toUpperCase()],
    ['padded', () => `${x5t}=`],
    ['cut short', () => x5t.slice(0, -1)],
    ['longer', () => `${x5t}A`],
    ['as Envoy writes it', () => `Hash=${hash}`],
    ['in another case', () => x5t.toUpperCase()],
    ['with a space', () => ` ${x5t}`],
    ['with a newline', () => `${x5t}\n`],
  ])('refused: %s', async (_, make) => {
    expectRefused(await ask(bound('xfcc'), make()), records.xfcc!);
    expect(outcomeOf(await ask(bound('xfcc'), x5t))).toBe('allow');
  });

  test.each<readonly [string, Showing['certificate']]>([
    ['empty', ''],
    ['a number', 5],
    ['null', null],
    ['a list', ['x']],
    ['an object', { 'x5t#S256': 'x' }],
    ['129 characters', 'A'.repeat(129)],
  ])('the question is malformed: %s', async (_, certificate) => {
    expect((await ask(bound('xfcc'), certificate)).status).toBe(400);
  });

  test('a token that is bound to nothing needs none', async () => {
    expect(outcomeOf(await ask(token('xfcc')))).toBe('allow');
    expect(outcomeOf(await ask(token('xfcc'), OTHER.toString('base64url')))).toBe('allow');
  });
});

describe('RFC 7800 section 3.1: what stands in `cnf` is a whole SHA-256, or the token is refused', () => {
  const shown = async (value: unknown, header: string, certificate: string) => {
    const of = token('xfcc', { cnf: value });
    return [await show(of, header), await ask(of, certificate), await show(of), await ask(of)];
  };

  test.each<readonly [string, () => unknown]>([
    ['empty', () => ({ 'x5t#S256': '' })],
    ['a number', () => ({ 'x5t#S256': 5 })],
    ['null', () => ({ 'x5t#S256': null })],
    ['in a list', () => ({ 'x5t#S256': [x5t] })],
    ['in hex', () => ({ 'x5t#S256': hash })],
    ['padded', () => ({ 'x5t#S256': `${x5t}=` })],
    ['cut short', () => ({ 'x5t#S256': x5t.slice(0, -1) })],
    ['a SHA-1', () => ({ x5t: x5t.slice(0, 27) })],
    ['in another case of its name', () => ({ 'X5T#S256': x5t })],
    ['without the `#`', () => ({ x5tS256: x5t })],
    ['beside an unknown member', () => ({ 'x5t#S256': x5t, other: 1 })],
    ['beside a key that nobody checks here', () => ({ 'x5t#S256': x5t, jkt: x5t })],
  ])('%s', async (_, make) => {
    const cnf = make();
    for (const answered of await shown(cnf, `Hash=${hash}`, x5t)) expectRefused(answered, records.xfcc!);
    for (const answered of await shown(cnf, 'Hash=', OTHER.toString('base64url')))
      expectRefused(answered, records.xfcc!);
    expect(outcomeOf(await show(bound('xfcc'), `Hash=${hash}`))).toBe('allow');
  });
});

describe('a certificate is not a DPoP proof', () => {
  const HOLDER = makeKey();

  test('a token that is bound to a certificate is no DPoP token', async () => {
    for (const name of ['xfcc', 'both', 'proven']) {
      const of = bound(name);
      const proof = mintProof(of, HOLDER);
      expectRefused(await show(of, `Hash=${hash}`, { scheme: 'DPoP', proof }), records[name]!);
      expectRefused(await show(of, `Hash=${hash}`, { scheme: 'DPoP' }), records[name]!);
    }
    expect(outcomeOf(await show(bound('both'), `Hash=${hash}`))).toBe('allow');
  });

  test('`dpop: required` is not met by a certificate', async () => {
    expectRefused(await show(bound('proven'), `Hash=${hash}`), records.proven!);
    expectRefused(await ask(bound('proven'), x5t), records.proven!);
  });

  test('`require_proof` is met by either', async () => {
    const push = (of: string, header?: string) => show(of, header, PUSH_AT_ENVOY);
    expectRefused(await push(token('guarded'), `Hash=${hash}`), records.guarded!);
    expectRefused(await push(token('guarded')), records.guarded!);
    expect(outcomeOf(await push(bound('guarded'), `Hash=${hash}`))).toBe('allow');
    expect(outcomeOf(await show(token('guarded')))).toBe('allow');
    expectRefused(await ask(token('guarded'), x5t, { more: PUSH_ASKED }), records.guarded!);
    expect(outcomeOf(await ask(bound('guarded'), x5t, { more: PUSH_ASKED }))).toBe('allow');
  });
});
