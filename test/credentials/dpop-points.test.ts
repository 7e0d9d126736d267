/** DPoP at the check points: nonces, classes that demand a proof, one showing for one question, and nothing in the logs. */
import { randomUUID } from 'node:crypto';
import { generateKeyPair, generateProof, calculateThumbprint } from 'dpop';
import { describe, expect, test } from 'vitest';
import { type Answered } from '../support/ask.ts';
import { GIT } from '../support/sidecar.ts';
import { type Members, now, sha256 } from './minting.ts';
import { HTU, OF_PUSH, proofStage } from './proof-stage.ts';
import {
  PUSH_ASKED,
  PUSH_AT_ENVOY,
  RESOURCE,
  challengesOf,
  expectRefused,
  outcomeOf,
  partOf,
} from './serving.ts';

const ISSUERS = {
  supported: { dpop: 'supported' },
  required: { dpop: 'required' },
  nonced: { dpop: 'supported', dpop_nonce: {} },
  nonced_too: { dpop: 'required', dpop_nonce: {} },
  guarded: { dpop: 'supported', require_proof: ['irreversible_action'] },
};

const { records, served, token, bound, proofOf, atEnvoy, atNative } = proofStage(ISSUERS);

/** A question that is not about an action. */
const NOTHING = { action: undefined, resource: undefined } as const;

describe('RFC 9449 section 9: nonces', () => {
  const nonceOf = ({ headers }: Answered): string => String(headers['dpop-nonce'] ?? '');

  test.each(['nonced', 'nonced_too'])(
    'at `%s` the first answer gives one, the next proof has it',
    async (name) => {
      const of = bound(name);
      const first = await atEnvoy({ token: of, proof: proofOf(of) });
      expectRefused(first, records[name]!);
      expect(first.status).toBe(401);
      expect(challengesOf(first).DPoP).toMatchObject({ error: 'use_dpop_nonce' });
      // RFC 9449 section 8.1: `NQCHAR`s alone.
      expect(nonceOf(first)).toMatch(/^[\x21\x23-\x5b\x5d-\x7e]+$/);
      expect(outcomeOf(await atEnvoy({ token: of, proof: proofOf(of, { nonce: nonceOf(first) }) }))).toBe(
        'allow',
      );
    },
  );

  test.each<readonly [string, (nonce: string) => unknown]>([
    ['made up', () => 'made-up'],
    ['empty', () => ''],
    ['changed', (nonce) => `${nonce.slice(0, -4)}AAAA`],
    ['longer', (nonce) => `${nonce}A`],
    ['cut short', (nonce) => nonce.slice(0, -1)],
    ['a number', () => 5],
    ['null', () => null],
    ['in a list', (nonce) => [nonce]],
  ])('one that is %s is refused', async (_, make) => {
    const of = bound('nonced');
    const nonce = nonceOf(await atEnvoy({ token: of, proof: proofOf(of) }));
    const refused = await atEnvoy({ token: of, proof: proofOf(of, { nonce: make(nonce) }) });
    expectRefused(refused, records.nonced!);
    expect(challengesOf(refused).DPoP?.error).toMatch(/^(use_dpop_nonce|invalid_dpop_proof)$/);
    expect(outcomeOf(await atEnvoy({ token: of, proof: proofOf(of, { nonce }) }))).toBe('allow');
  });

  test('a nonce repairs nothing else', async () => {
    const of = bound('nonced');
    const nonce = nonceOf(await atEnvoy({ token: of, proof: proofOf(of) }));
    for (const wrong of [{ htm: 'POST' }, { htu: `${HTU}x` }, { ath: sha256('x') }, { iat: now() - 3600 }])
      expectRefused(await atEnvoy({ token: of, proof: proofOf(of, { nonce, ...wrong }) }), records.nonced!);
    const once = proofOf(of, { nonce });
    expect(outcomeOf(await atEnvoy({ token: of, proof: once }))).toBe('allow');
    expectRefused(await atEnvoy({ token: of, proof: once }), records.nonced!);
  });

  test('a question is answered with one too', async () => {
    const of = bound('nonced');
    const first = await atNative({ token: of, proof: proofOf(of) });
    expectRefused(first, records.nonced!);
    const nonce = nonceOf(first) || String(partOf(first, 'credential').dpop_nonce);
    expect(outcomeOf(await atNative({ token: of, proof: proofOf(of, { nonce }) }))).toBe('allow');
  });

  test('the client of the package `dpop` finds its way', async () => {
    const pair = await generateKeyPair('ES256');
    const of = token('nonced', { cnf: { jkt: await calculateThumbprint(pair.publicKey) } });
    const proof = (nonce?: string) => generateProof(pair, HTU, 'GET', nonce, of);
    const first = await atEnvoy({ token: of, proof: await proof() });
    expect(outcomeOf(await atEnvoy({ token: of, proof: await proof(nonceOf(first)) }))).toBe('allow');
  });

  test('no other issuer asks for one', async () => {
    const of = bound('supported');
    const plain = await atEnvoy({ token: of, proof: proofOf(of) });
    expect([outcomeOf(plain), nonceOf(plain)]).toEqual(['allow', '']);
  });
});

describe('`require_proof`: classes for which an unbound bearer token is not enough', () => {
  test('at /envoy', async () => {
    const [plain, of] = [token('guarded'), bound('guarded')];
    expect(outcomeOf(await atEnvoy({ token: plain, scheme: 'Bearer' }))).toBe('allow');
    const refused = await atEnvoy({ token: plain, scheme: 'Bearer', ...PUSH_AT_ENVOY });
    expectRefused(refused, records.guarded!);
    expect(refused.status).toBe(401);
    expect(Object.keys(challengesOf(refused))).toContain('DPoP');
    const push = { token: of, proof: proofOf(of, OF_PUSH), ...PUSH_AT_ENVOY };
    expect(outcomeOf(await atEnvoy(push))).toBe('allow');
    const other = token('supported');
    expect(outcomeOf(await atEnvoy({ token: other, scheme: 'Bearer', ...PUSH_AT_ENVOY }))).toBe('allow');
  });

  test('at /v1/check, also where a question raises the class', async () => {
    const [plain, of] = [token('guarded'), bound('guarded')];
    const RAISED = { action: { name: 'repo.read', class: 'irreversible_action' } };
    expect(outcomeOf(await atNative({ token: plain }))).toBe('allow');
    for (const more of [PUSH_ASKED, RAISED])
      expectRefused(await atNative({ token: plain, more }), records.guarded!);
    expect(outcomeOf(await atNative({ token: of, proof: proofOf(of), more: PUSH_ASKED }))).toBe('allow');
  });

  test.each<readonly [string, (decision_id: string) => Members]>([
    ['resume', () => PUSH_ASKED],
    ['retry', () => PUSH_ASKED],
    ['renew', (decision_id) => ({ ...NOTHING, decision_id })],
    ['commit', (decision_id) => ({ ...NOTHING, decision_id, outcome: 'completed' })],
    ['drain', () => ({ ...NOTHING, items: [{ id: 'a', resource: RESOURCE, ...PUSH_ASKED }] })],
  ])('at the check point %s', async (check_point, make) => {
    const [plain, of] = [token('guarded'), bound('guarded')];
    const asked = { ...PUSH_ASKED, idempotency_key: randomUUID() };
    const first = await atNative({ token: of, proof: proofOf(of), more: asked });
    const more = { check_point, ...make(String(first.body.decision_id)) };
    const refused = await atNative({ token: plain, more });
    expect(refused.body).toMatchObject({ effect: 'deny', reason: 'credential_invalid' });
    expect(outcomeOf(await atNative({ token: of, proof: proofOf(of), more }))).toBe('allow');
  });

  test('a credential that is shown must be good, also where none is needed', async () => {
    const of = bound('supported');
    const HEALTH = { path: '/healthz' };
    expectRefused(await atEnvoy({ token: of, scheme: 'Bearer', ...HEALTH }), records.supported!);
    expectRefused(await atEnvoy({ token: of, proof: proofOf(of), ...HEALTH }), records.supported!);
    const proof = proofOf(of, { htu: `${GIT}/healthz` });
    expect(outcomeOf(await atEnvoy({ token: of, proof, ...HEALTH }))).toBe('allow');
  });
});

describe('one showing for one question', () => {
  const asked = (point: string, of: string, more: Members = {}) => {
    const about = { check_point: point, ...NOTHING, ...more };
    return atNative({ token: of, proof: proofOf(of), more: about });
  };

  test('a drain of three items has one proof', async () => {
    const of = bound('required');
    const items = ['a', 'b', 'c'].map((id) => ({ id, resource: RESOURCE, ...PUSH_ASKED }));
    const proof = proofOf(of);
    const more = { check_point: 'drain', ...NOTHING, items };
    const drained = await atNative({ token: of, proof, more });
    expect(drained.body.items).toMatchObject([{ effect: 'allow' }, { effect: 'allow' }, { effect: 'allow' }]);
    const again = await atNative({ token: of, proof, more });
    expect(again.body.effect).toBe('deny');
    expect(again.body.items).not.toContainEqual(expect.objectContaining({ effect: 'allow' }));
  });

  test('renew and commit are asked with proofs of their own', async () => {
    const of = bound('required');
    const first = await atNative({
      token: of,
      proof: proofOf(of),
      more: { ...PUSH_ASKED, idempotency_key: 'k' },
    });
    expect(outcomeOf(first)).toBe('allow');
    const about = { decision_id: first.body.decision_id };
    expect(outcomeOf(await asked('renew', of, about))).toBe('allow');
    const bare = {
      check_point: 'commit',
      action: undefined,
      resource: undefined,
      outcome: 'completed',
      ...about,
    };
    expectRefused(await atNative({ token: of, more: bare }), records.required!);
    expect(outcomeOf(await asked('commit', of, { ...about, outcome: 'completed' }))).toBe('allow');
  });

  test('two checks have two proofs', async () => {
    const of = bound('required');
    for (const show of [atEnvoy, atNative, atEnvoy, atNative])
      expect(outcomeOf(await show({ token: of, proof: proofOf(of) }))).toBe('allow');
  });
});

test('no token, proof or nonce stands in the operational log or in the decision log', async () => {
  const of = bound('nonced');
  const proof = proofOf(of);
  const refused = await atEnvoy({ token: of, proof });
  const told = served().stderr() + JSON.stringify(served().decisions());
  for (const secret of [of, proof, of.split('.')[2]!, proof.split('.')[2]!])
    expect(told).not.toContain(secret);
  expect(refused.body.decision_id).toBe(served().decisions().at(-1)?.decision_id);
});
