/** DPoP as it is used: replay (RFC 9449 section 11.1), one header, the scheme, and all that a token is bound to. */
import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { type Json, type JsonObject, member } from '../../src/core/json.ts';
import { type Answered } from '../support/ask.ts';
import { rawRequest } from '../tools/raw.ts';
import { makeKey, mintProof, now } from './minting.ts';
import { HOLDER, HTU, proofStage } from './proof-stage.ts';
import { CONTENTS, DOORS, type Showing, challengesOf, expectRefused, outcomeOf } from './serving.ts';

const ISSUERS = {
  supported: { dpop: 'supported' },
  required: { dpop: 'required' },
  off: {},
  both: { dpop: 'supported', mtls: 'xfcc' },
  nonced: { dpop: 'supported', dpop_nonce: {} },
  guarded: { dpop: 'supported', require_proof: ['irreversible_action'] },
};

const { records, served, token, bound, proofOf, atEnvoy, atNative } = proofStage(ISSUERS);

describe('RFC 9449 section 11.1: a proof is used once', () => {
  const doors = Object.entries(DOORS);
  const pairs = doors.flatMap(([first, one]) =>
    doors.map(([second, two]) => [first, second, one, two] as const),
  );

  test.each(pairs)('the same proof at %s and then at %s is a replay', async (_, __, first, second) => {
    const of = bound('supported');
    const proof = proofOf(of);
    expect(outcomeOf(await first(served(), { token: of, proof }))).toBe('allow');
    expectRefused(await second(served(), { token: of, proof }), records.supported!);
    expect(outcomeOf(await second(served(), { token: of, proof: proofOf(of) }))).toBe('allow');
  });

  test.each(pairs)('the same jti in another proof, at %s and then at %s', async (_, __, first, second) => {
    const of = bound('supported');
    const jti = randomUUID();
    expect(outcomeOf(await first(served(), { token: of, proof: proofOf(of, { jti }) }))).toBe('allow');
    const later = proofOf(of, { jti, iat: now() - 1 });
    expectRefused(await second(served(), { token: of, proof: later }), records.supported!);
  });

  test('the same jti with another token of the same key', async () => {
    const [one, two] = [bound('supported'), bound('supported')];
    const jti = randomUUID();
    expect(outcomeOf(await atEnvoy({ token: one, proof: proofOf(one, { jti }) }))).toBe('allow');
    expectRefused(await atEnvoy({ token: two, proof: proofOf(two, { jti }) }), records.supported!);
  });

  test('the same jti with another key is another proof', async () => {
    const jti = randomUUID();
    for (const key of [makeKey(), makeKey()]) {
      const of = bound('supported', key);
      expect(outcomeOf(await atEnvoy({ token: of, proof: proofOf(of, { jti }, key) }))).toBe('allow');
    }
  });

  test('of ten at once one is let through', async () => {
    const of = bound('supported');
    const proof = proofOf(of);
    const asked = Array.from({ length: 10 }, (_, index) =>
      (index % 2 === 0 ? atEnvoy : atNative)({ token: of, proof }),
    );
    const outcomes = (await Promise.all(asked)).map(outcomeOf);
    expect(outcomes.filter((each) => each === 'allow')).toHaveLength(1);
    expect(outcomes.filter((each) => each === 'credential_invalid')).toHaveLength(9);
  });

  test('a proof that is not the holder`s uses up nothing', async () => {
    const of = bound('supported');
    const jti = randomUUID();
    const forged = mintProof(of, makeKey(), { jti }, { jwk: HOLDER.jwk });
    expectRefused(await atEnvoy({ token: of, proof: forged }), records.supported!);
    expectRefused(await atEnvoy({ token: of, proof: proofOf(of, { jti }, makeKey()) }), records.supported!);
    expect(outcomeOf(await atEnvoy({ token: of, proof: proofOf(of, { jti }) }))).toBe('allow');
  });

  test('a replayed proof is told as such', async () => {
    const of = bound('required');
    const proof = proofOf(of);
    await atEnvoy({ token: of, proof });
    const again = await atEnvoy({ token: of, proof });
    expect([again.status, challengesOf(again).DPoP?.error]).toEqual([401, 'invalid_dpop_proof']);
  });
});

describe('RFC 9449 section 4.3, item 1: not more than one DPoP header', () => {
  const expectMalformed = ({ status, body }: Answered) => {
    expect([status, body.reason]).toEqual([403, 'malformed_request']);
    expect(body).toMatchObject({
      credential: { verdict: 'not_evaluated' },
      mandate: { verdict: 'not_evaluated' },
    });
  };

  test.each<readonly [string, (proofs: readonly [string, string]) => Showing['headers']]>([
    ['two lines', (proofs) => ({ dpop: [...proofs] })],
    ['the same line twice', ([one]) => ({ dpop: [one, one] })],
    ['two values that a hop joined', (proofs) => ({ dpop: proofs.join(',') })],
    ['the same, with a space', (proofs) => ({ dpop: proofs.join(', ') })],
    ['a value and a comma', ([one]) => ({ dpop: `${one},` })],
    ['a comma and a value', ([one]) => ({ dpop: `,${one}` })],
    ['JSON, which has commas', ([one]) => ({ dpop: JSON.stringify(flattened(one)) })],
  ])('%s', async (_, make) => {
    const of = bound('supported');
    const proofs = [proofOf(of), proofOf(of)] as const;
    expectMalformed(await atEnvoy({ token: of, headers: make(proofs)! }));
    for (const proof of proofs) expect(outcomeOf(await atEnvoy({ token: of, proof }))).toBe('allow');
  });

  test('two lines in different case, as no client library sends them', async () => {
    const of = bound('supported');
    const [one, two] = [proofOf(of), proofOf(of)];
    const lines = [`Host: git.example`, `Authorization: DPoP ${of}`, `DPoP: ${one}`];
    const send = async (more: readonly string[]) => {
      const head = [`GET /envoy${CONTENTS} HTTP/1.1`, ...lines, ...more, '', ''].join('\r\n');
      const { status, body } = await rawRequest(served().check_port, head);
      return `${status} ${String(member(JSON.parse(body || '{}') as Json, 'reason') ?? '')}`.trim();
    };
    // A line that is folded (RFC 9112 section 5.2) is refused by the parser, or read with a space in it.
    expect(await send([' A'])).not.toBe('200');
    expect(await send([`dpop: ${two}`])).toBe('403 malformed_request');
    expect(await send([`DPOP: ${one}`])).toBe('403 malformed_request');
    expect(await send([])).toBe('200');
  });

  test('in a question the same texts are no proof', async () => {
    const of = bound('supported');
    const joined = `${proofOf(of)},${proofOf(of)}`;
    for (const proof of [
      joined,
      JSON.stringify(flattened(proofOf(of))),
      `${proofOf(of)}\n`,
      ` ${proofOf(of)}`,
    ])
      expectRefused(await atNative({ token: of, proof }), records.supported!);
  });

  test.each<readonly [string, (proof: string) => JsonObject | string[] | string | number]>([
    ['an object', flattened],
    ['a list', (proof) => [proof]],
    ['a number', () => 5],
    ['an empty text', () => ''],
    ['20 kB', (proof) => proof.padEnd(20_000, 'A')],
  ])('in a question that is %s: the question is malformed', async (_, make) => {
    const of = bound('supported');
    const proof = proofOf(of);
    expect((await atNative({ token: of, proof: make(proof) })).status).toBe(400);
    expect(outcomeOf(await atNative({ token: of, proof }))).toBe('allow');
  });

  test('20 kB and an empty one in a header: not let through', async () => {
    const of = bound('supported');
    const padded = mintProof(of, HOLDER, { padding: 'x'.repeat(15_000) });
    expect([401, 403, 431]).toContain((await atEnvoy({ token: of, proof: padded })).status);
    expectRefused(await atEnvoy({ token: of, proof: '' }), records.supported!);
  });
});

function flattened(proof: string): JsonObject {
  const [head, payload, signature] = proof.split('.') as [string, string, string];
  return { payload, protected: head, signature };
}

describe('RFC 9449 section 7: the scheme and what the token is bound to', () => {
  test.each(['supported', 'required', 'both', 'nonced', 'guarded'])(
    'section 7.2, dpop at `%s`: a bound token is not a bearer token, whatever is beside it',
    async (name) => {
      const of = bound(name);
      for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
        expectRefused(await atEnvoy({ token: of, scheme, proof: proofOf(of) }), records[name]!);
        expectRefused(await atEnvoy({ token: of, scheme }), records[name]!);
      }
    },
  );

  test.each(['DPoP', 'dpop', 'DPOP'])('section 7.1: the scheme `%s`, in any case', async (scheme) => {
    const of = bound('supported');
    expect(outcomeOf(await atEnvoy({ token: of, scheme, proof: proofOf(of) }))).toBe('allow');
  });

  test.each(['supported', 'required', 'off', 'both', 'guarded'])(
    'section 7.1, dpop at `%s`: a token that is bound to nothing is no DPoP token',
    async (name) => {
      const of = token(name);
      expectRefused(await atEnvoy({ token: of, proof: proofOf(of) }), records[name]!);
      expectRefused(await atEnvoy({ token: of }), records[name]!);
    },
  );

  test('dpop is `supported`: a token that is bound to nothing is a bearer token', async () => {
    expect(outcomeOf(await atEnvoy({ token: token('supported'), scheme: 'Bearer' }))).toBe('allow');
    expect(outcomeOf(await atNative({ token: token('supported') }))).toBe('allow');
  });

  test('dpop is `required`: it is not', async () => {
    const of = token('required');
    expectRefused(await atEnvoy({ token: of, scheme: 'Bearer' }), records.required!);
    expectRefused(await atEnvoy({ token: of, scheme: 'Bearer', proof: proofOf(of) }), records.required!);
    expectRefused(await atNative({ token: of }), records.required!);
    expectRefused(await atNative({ token: of, proof: proofOf(of) }), records.required!);
  });

  test.each(['DPoP', 'Bearer'])(
    'dpop is `off`: a bound token is refused as %s, proven or not',
    async (scheme) => {
      const of = bound('off');
      expectRefused(await atEnvoy({ token: of, scheme, proof: proofOf(of) }), records.off!);
      expectRefused(await atEnvoy({ token: of, scheme }), records.off!);
      expectRefused(await atNative({ token: of, proof: proofOf(of) }), records.off!);
      expect(outcomeOf(await atEnvoy({ token: token('off'), scheme: 'Bearer' }))).toBe('allow');
    },
  );

  test('a question without its method or url proves nothing', async () => {
    const of = bound('supported');
    for (const more of [{ method: undefined }, { url: undefined }, { method: undefined, url: undefined }])
      expectRefused(await atNative({ token: of, proof: proofOf(of), more }), records.supported!);
    for (const more of [{ method: 'get' }, { url: `${HTU}x` }, { url: CONTENTS }, { url: 'https:' }])
      expectRefused(await atNative({ token: of, proof: proofOf(of), more }), records.supported!);
    const url = `${HTU}?ref=main#top`;
    expect(outcomeOf(await atNative({ token: of, proof: proofOf(of), more: { url } }))).toBe('allow');
  });
});

describe('RFC 7800 section 3.1: everything that a token is bound to is checked, or it is refused', () => {
  const CERTIFICATE = Buffer.alloc(32, 7);
  const x5t = CERTIFICATE.toString('base64url');
  const show = async (name: string, cnf: unknown, more: Partial<Showing> = {}) => {
    const of = token(name, { cnf });
    return atEnvoy({ token: of, proof: proofOf(of), ...more });
  };

  test.each<readonly [string, (jkt: string) => unknown]>([
    ['an unknown member beside', (jkt) => ({ jkt, other: 1 })],
    ['an unknown member alone', () => ({ other: 1 })],
    ['a jwk beside', (jkt) => ({ jkt, jwk: HOLDER.jwk })],
    ['a jwk alone', () => ({ jwk: HOLDER.jwk })],
    ['a kid alone', (jkt) => ({ kid: jkt })],
    ['no member', () => ({})],
    ['null', () => null],
    ['a text', (jkt) => jkt],
    ['a list', (jkt) => [{ jkt }]],
    ['jkt null', () => ({ jkt: null })],
    ['jkt empty', () => ({ jkt: '' })],
    ['jkt in a list', (jkt) => ({ jkt: [jkt] })],
    ['jkt padded', (jkt) => ({ jkt: `${jkt}=` })],
    ['jkt cut short', (jkt) => ({ jkt: jkt.slice(0, -1) })],
    ['jkt in another case', (jkt) => ({ jkt: jkt.toUpperCase() })],
    ['jkt in another case of its name', (jkt) => ({ JKT: jkt })],
    ['a certificate beside, which nobody checks here', (jkt) => ({ jkt, 'x5t#S256': x5t })],
  ])('cnf with %s', async (_, make) => {
    const cnf = make(HOLDER.jkt);
    const of = token('supported', { cnf });
    expectRefused(await show('supported', cnf), records.supported!);
    expectRefused(await atNative({ token: of, proof: proofOf(of) }), records.supported!);
    expectRefused(await atNative({ token: of }), records.supported!);
    expectRefused(await atEnvoy({ token: of, scheme: 'Bearer' }), records.supported!);
    expect(outcomeOf(await show('supported', { jkt: HOLDER.jkt }))).toBe('allow');
  });

  test('a key and a certificate: both are shown, or it is refused', async () => {
    const cnf = { jkt: HOLDER.jkt, 'x5t#S256': x5t };
    const own = { 'x-forwarded-client-cert': `Hash=${CERTIFICATE.toString('hex')}` };
    const other = { 'x-forwarded-client-cert': `Hash=${Buffer.alloc(32, 8).toString('hex')}` };
    expect(outcomeOf(await show('both', cnf, { headers: own }))).toBe('allow');
    expectRefused(await show('both', cnf), records.both!);
    expectRefused(await show('both', cnf, { headers: other }), records.both!);
    const of = token('both', { cnf });
    expectRefused(await atEnvoy({ token: of, headers: own }), records.both!);
    expectRefused(await atEnvoy({ token: of, headers: own, scheme: 'Bearer' }), records.both!);
    expectRefused(await atEnvoy({ token: of, headers: own, proof: proofOf(of, { jti: '' }) }), records.both!);
    expect(outcomeOf(await atNative({ token: of, proof: proofOf(of), certificate: x5t }))).toBe('allow');
    expectRefused(await atNative({ token: of, proof: proofOf(of) }), records.both!);
    expectRefused(await atNative({ token: of, certificate: x5t }), records.both!);
  });
});
