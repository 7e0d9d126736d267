/** Who joins a mandate behind a chain of actors (RFC 8693 section 4.1), who is told of it, and who is no person. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, type JsonObject, member } from '../../src/core/json.ts';
import { type Answered, ask } from '../support/ask.ts';
import { type Actor, WIDE, act, chain, childOf, entry, expectMisfit, handsOn, showAt } from './acting.ts';
import { type Members, makeKey, mintProof, mintToken } from './minting.ts';
import {
  DOORS,
  PUSH_ASKED,
  PUSH_AT_ENVOY,
  RESOURCE,
  type Served,
  type Showing,
  challengesOf,
  entryOf,
  expectRefused,
  issuerOf,
  mandateOf,
  nativeDoor,
  outcomeOf,
  serve,
  tokenOf,
} from './serving.ts';

const CONTROL = 'https://mandates.example/control';
const POLICY = `
@id("all") permit (principal, action, resource);
@id("sees-agent-1") permit (principal, action, resource) when { principal.actors.contains("agent-1") };
@id("sees-agent-2") permit (principal, action, resource) when { principal.actors.contains("agent-2") };
@id("sees-agent-3") permit (principal, action, resource) when { principal.actors.contains("agent-3") };
@id("depth-0") permit (principal, action, resource) when { principal.depth == 0 };
@id("depth-1") permit (principal, action, resource) when { principal.depth == 1 };
@id("depth-2") permit (principal, action, resource) when { principal.depth == 2 };
@id("too-deep") forbid (principal, action, resource) when { principal.depth > 5 };
`;

let served: Served;
/** Of agent-1, which may hand on to agents 2 to 6, five deep. */
let root: JsonObject;
/** Below it, of agent-2, which may hand on to agent-3. */
let child: JsonObject;

let folder: string;

function policyFolder(): string {
  const cedar = join(folder, 'cedar');
  mkdirSync(cedar, { recursive: true });
  writeFileSync(join(cedar, 'actors.cedar'), POLICY);
  return cedar;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-actors-'));
  const control = { issuers: [entryOf('corp', {}, CONTROL)] };
  served = await serve({
    issuers: { corp: {}, keyed: { dpop: 'supported' } },
    control,
    policies: { cedar: policyFolder() },
  });
  root = await mandateOf(served, 'corp', { authorization_details: [handsOn(5, ...WIDE)] });
  child = await childOf(served, root, 'agent-2', handsOn(2, 'agent-3'));
});
afterAll(async () => {
  await served.discard();
  rmSync(folder, { recursive: true });
});

const show = (token: string, more: Partial<Showing> = {}, at = served) => showAt(at, token, more);

const named = (answered: { readonly body: JsonObject }): unknown =>
  (answered.body.credential as JsonObject | undefined)?.actors;
const determining = ({ body }: Answered): Json | undefined =>
  member(member(member(member(body, 'request'), 'engines'), 'cedar'), 'determining');

describe('who joins (design/2; `mission_mismatch` is the one answer for unknown and not-yours)', () => {
  const unknown = (): JsonObject => ({ ...root, id: `msn_${'A'.repeat(22)}` });

  /** All of an answer but what every decision has of its own. */
  function telling({ status, headers, body }: Answered): Json {
    const { decision_id: _, sequence: __, evaluated_at: ___, valid_until: ____, ...rest } = body;
    const { date: _____, 'content-length': ______, ...kept } = headers;
    return JSON.parse(JSON.stringify({ status, kept, rest })) as Json;
  }

  test.each<readonly [string, string, readonly string[]]>([
    ['a named delegate without a chain', 'agent-2', []],
    ['an agent that is not named', 'agent-9', []],
    ['the same with itself as chain', 'agent-9', ['agent-9']],
    ['the same behind the lineage', 'agent-9', ['agent-1', 'agent-9']],
    ['the same with the chain of another', 'agent-9', ['agent-2']],
    ['the same with the client`s chain', 'agent-9', ['agent-1']],
  ])('%s: as for a mandate that does not exist', async (_, client_id, actors) => {
    for (const door of Object.values(DOORS)) {
      const [found, absent] = [root, unknown()].map((record) => chain(record, client_id, ...actors));
      const [mine, nobodys] = [
        await door(served, { token: found!, scheme: 'Bearer' }),
        await door(served, { token: absent!, scheme: 'Bearer' }),
      ];
      expect(outcomeOf(mine)).toBe('mission_mismatch');
      // The token expires when it was minted to.
      expect(telling(mine)).toEqual(telling(nobodys));
    }
  });

  test('a named delegate with a chain that is not its own', async () => {
    for (const actors of [['agent-1'], ['agent-3'], ['agent-3', 'agent-1']]) {
      const answered = await show(chain(root, 'agent-2', ...actors));
      expect(outcomeOf(answered)).toMatch(/^(mission_mismatch|actor_invalid)$/);
    }
    expect(outcomeOf(await show(chain(root, 'agent-2', 'agent-2')))).toBe('allow');
  });

  test('a delegate of one mandate is nobody to another', async () => {
    const record = await mandateOf(served, 'corp', { authorization_details: [entry()] });
    expect(outcomeOf(await show(chain(record, 'agent-2', 'agent-2')))).toBe('mission_mismatch');
    expect(outcomeOf(await show(chain(root, 'agent-2', 'agent-2')))).toBe('allow');
  });

  test('another subject, whatever the chain', async () => {
    for (const actors of [[], ['agent-1'], ['agent-2']]) {
      const token = tokenOf('corp', root, { sub: 'bob', act: act(...actors) });
      expect(outcomeOf(await show(token))).toBe('mission_mismatch');
    }
  });

  test('a mandate that has ended: who fits is told, who does not is not', async () => {
    const record = await mandateOf(served, 'corp', { authorization_details: [handsOn(1, 'agent-2')] });
    await served.control('POST', `/v1/mandates/${String(record.id)}/revoke`, {});
    expect(outcomeOf(await show(chain(record, 'agent-1', 'agent-2')))).toBe('mission_inactive');
    expect(outcomeOf(await show(chain(record, 'agent-9', 'agent-9')))).toBe('mission_mismatch');
    expectMisfit(await show(chain(record, 'agent-1', 'agent-9')), record);
  });
});

test.each(['resume', 'retry', 'issue', 'refresh', 'delegate', 'drain'])(
  'design/2: at the check point %s a chain that does not fit is no better',
  async (check_point) => {
    const isAbout = ['resume', 'retry', 'drain'].includes(check_point);
    const delegated = { client_id: 'agent-2', authorization_details: [entry()] };
    const more = {
      check_point,
      ...(isAbout ? {} : { action: undefined, resource: undefined }),
      ...(check_point === 'delegate' ? { child: delegated } : {}),
    };
    const fitting = await nativeDoor(served, { token: chain(root, 'agent-1', 'agent-2'), more });
    expect(outcomeOf(fitting)).toBe('allow');
    const misfit = await nativeDoor(served, { token: chain(root, 'agent-1', 'agent-9'), more });
    expect(misfit.body).toMatchObject({ effect: 'deny', reason: 'actor_invalid' });
    expect(JSON.stringify(misfit.body)).not.toContain(String(root.id));
  },
);

describe('RFC 7800: the key of the current actor', () => {
  const [HOLDER, OTHER] = [makeKey(), makeKey()];
  const bound = (record: JsonObject, actor: Members): string =>
    tokenOf('keyed', record, { cnf: { jkt: HOLDER.jkt }, act: act({ sub: 'agent-2', ...actor }) });

  test('is the token`s, or the chain does not fit', async () => {
    const record = await mandateOf(served, 'keyed', {
      authorization_details: [handsOn(2, 'agent-2', 'agent-3')],
    });
    const prove = (token: string) => show(token, { scheme: 'DPoP', proof: mintProof(token, HOLDER) });
    expect(outcomeOf(await prove(bound(record, {})))).toBe('allow');
    expect(outcomeOf(await prove(bound(record, { cnf: { jkt: HOLDER.jkt } })))).toBe('allow');
    for (const cnf of [
      { jkt: OTHER.jkt },
      {},
      { jwk: HOLDER.jwk },
      'key',
      null,
      { jkt: 5 },
      { jkt: HOLDER.jkt, other: 1 },
    ])
      expect(outcomeOf(await prove(bound(record, { cnf })))).toBe('actor_invalid');
  });

  test('an unbound token whose actor has a key does not fit', async () => {
    const record = await mandateOf(served, 'keyed', { authorization_details: [handsOn(2, 'agent-2')] });
    const of = (actor: Members) => tokenOf('keyed', record, { act: { sub: 'agent-2', ...actor } });
    expect(outcomeOf(await show(of({})))).toBe('allow');
    expect(outcomeOf(await show(of({ cnf: { jkt: HOLDER.jkt } })))).toBe('actor_invalid');
  });
});

describe('who acts is told to whoever decides', () => {
  test('design/7: the decision names the actors, oldest first, and the log does', async () => {
    const token = chain(root, 'agent-1', 'agent-1', 'agent-2', 'agent-3');
    const { body } = await nativeDoor(served, { token });
    const all = ['agent-1', 'agent-2', 'agent-3'].map((sub) => ({ iss: issuerOf('corp'), sub }));
    expect(named({ body })).toMatchObject(all);
    expect(named({ body: served.decisions().at(-1)! })).toMatchObject(all);
    const denied = await show(token, { path: '/repos/other/app/contents' });
    expect([denied.body.reason, named(denied)]).toMatchObject(['out_of_authority', all]);
  });

  test.each<readonly [readonly string[], string]>([
    [[], 'corp/agent-1'],
    [['agent-1'], 'corp/agent-1'],
    [['agent-2'], 'corp/agent-2'],
    [['agent-1', 'agent-2', 'agent-3'], 'corp/agent-3'],
  ])('design/7: `x-mandate-actor` for %j is %s', async (actors, expected) => {
    const { headers } = await show(chain(root, 'agent-1', ...actors));
    expect([headers['x-mandate-actor'], headers['x-mandate-subject']]).toEqual([expected, 'corp/alice']);
  });

  test.each<readonly ['root' | 'child', string, readonly string[], readonly string[]]>([
    ['root', 'agent-1', [], ['depth-0', 'sees-agent-1']],
    ['root', 'agent-1', ['agent-1'], ['depth-0', 'sees-agent-1']],
    ['root', 'agent-1', ['agent-1', 'agent-2'], ['depth-1', 'sees-agent-1', 'sees-agent-2']],
    [
      'root',
      'agent-1',
      ['agent-1', 'agent-2', 'agent-3'],
      ['depth-2', 'sees-agent-1', 'sees-agent-2', 'sees-agent-3'],
    ],
    ['child', 'agent-2', ['agent-1', 'agent-2'], ['depth-1', 'sees-agent-1', 'sees-agent-2']],
    [
      'child',
      'agent-2',
      ['agent-1', 'agent-2', 'agent-3'],
      ['depth-2', 'sees-agent-1', 'sees-agent-2', 'sees-agent-3'],
    ],
  ])(
    'design/8: Cedar sees `principal.actors` and `principal.depth`: %s %s %j',
    async (of, client_id, actors, expected) => {
      const token = chain(of === 'root' ? root : child, client_id, ...actors);
      const answered = await nativeDoor(served, { token });
      expect(outcomeOf(answered)).toBe('allow');
      expect([...(determining(answered) as string[])].toSorted()).toEqual(['all', ...expected]);
    },
  );

  test('an `actor` of a question is only a claim', async () => {
    const more = { actor: { sub: 'agent-3', act: { sub: 'agent-2' } } };
    const claimed = await nativeDoor(served, { token: chain(root, 'agent-1'), more });
    expect([outcomeOf(claimed), named(claimed)]).toEqual(['allow', undefined]);
    expect(determining(claimed)).not.toContain('sees-agent-3');
    expect(outcomeOf(await nativeDoor(served, { token: chain(root, 'agent-9'), more }))).toBe(
      'mission_mismatch',
    );
  });

  test('design/2: an idempotency key is scoped to the actor', async () => {
    const idempotency_key = 'release';
    const push = (ref: string, ...actors: readonly Actor[]) => {
      const more = { ...PUSH_ASKED, parameters: { ref }, idempotency_key };
      return nativeDoor(served, { token: chain(root, 'agent-1', ...actors), more });
    };
    const answers = [
      await push('refs/heads/a'),
      await push('refs/heads/b', 'agent-2'),
      await push('refs/heads/c', 'agent-3'),
    ];
    expect(answers.map(outcomeOf)).toEqual(['allow', 'allow', 'allow']);
    const again = await push('refs/heads/b', 'agent-2');
    expect([outcomeOf(again), again.body.decision_id]).toEqual(['allow', answers[1]!.body.decision_id]);
    expect(outcomeOf(await push('refs/heads/x', 'agent-2'))).toBe('idempotency_conflict');
  });
});

describe('`actors: required`', () => {
  let strict: Served;
  beforeAll(async () => {
    strict = await serve({ issuers: { corp: {} }, more: { actors: 'required' } });
  });
  afterAll(() => strict.discard());

  test('demands a chain for child mandates, and for no other', async () => {
    const top = await mandateOf(strict, 'corp', { authorization_details: [handsOn(3, ...WIDE)] });
    const below = await childOf(strict, top, 'agent-2', handsOn(3, 'agent-3'));
    expect(outcomeOf(await show(chain(top, 'agent-1'), {}, strict))).toBe('allow');
    const bare = await show(chain(below, 'agent-2'), {}, strict);
    expectMisfit(bare, below);
    expect(bare.status).toBe(403);
    const more = { actor: { sub: 'agent-2', act: { sub: 'agent-1' } } };
    expectMisfit(await nativeDoor(strict, { token: chain(below, 'agent-2'), more }), below);
    expect(outcomeOf(await show(chain(below, 'agent-2', 'agent-1', 'agent-2'), {}, strict))).toBe('allow');
    expectMisfit(await show(chain(below, 'agent-2', 'agent-2'), {}, strict), below);
    expect(outcomeOf(await show(chain(below, 'agent-9'), {}, strict))).toBe('mission_mismatch');
  });
});

describe('the control listener: a token with a chain, or bound to something, is not a person`s', () => {
  const person = (claims: Members = {}): string =>
    mintToken(issuerOf('corp'), { sub: 'alice', client_id: 'console', aud: CONTROL, ...claims });
  const call = (token: string, method: string, path: string, body?: Json): Promise<Answered> =>
    ask(served.control_port, {
      method,
      path,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  test.each<readonly [string, Members]>([
    ['acted for by an agent', { act: { sub: 'agent-1' } }],
    ['acted for by the console', { act: { sub: 'console' } }],
    ['acted for by herself', { act: { sub: 'alice' } }],
    ['acted for by a malformed actor', { act: {} }],
    ['acted for by null', { act: null }],
    ['bound to a key', { cnf: { jkt: makeKey().jkt } }],
  ])('alice, %s, cannot approve', async (_, claims) => {
    const proposal = { ...(await proposed()), approval_event_id: crypto.randomUUID() };
    const approve = (token: string) =>
      call(token, 'POST', `/v1/proposals/${proposal.submission_id}/approve`, {
        proposal_hash: proposal.proposal_hash,
      });
    const refused = await approve(person(claims));
    expect([401, 403, 404]).toContain(refused.status);
    expect((await approve(person())).status).toBe(201);
  });

  async function proposed(): Promise<{ submission_id: string; proposal_hash: string }> {
    const body = {
      intent: {
        goal: 'Try',
        resources: [RESOURCE],
        expires_at: new Date(Date.now() + 3_600_000).toISOString(),
      },
      authorization_details: [entry()],
      subject: { iss: issuerOf('corp'), sub: 'alice' },
      client_id: 'agent-1',
    };
    return (await served.control('POST', '/v1/proposals', body)).body as never;
  }

  test('nor approve an action, nor change a mandate', async () => {
    const record = await mandateOf(served, 'corp', {
      authorization_details: [entry({ constraints: { requires_action_approval: true } })],
    });
    const path = `/v1/mandates/${String(record.id)}`;
    const acted = person({ act: { sub: 'agent-1' } });
    const pushed = await show(chain(record, 'agent-1'), PUSH_AT_ENVOY);
    expect(outcomeOf(pushed)).toBe('approval_required');
    const approval = {
      mandate: String(record.id),
      action: 'repo.push',
      resource: RESOURCE,
      parameter_digest: pushed.body.parameter_digest!,
      approved_until: new Date(Date.now() + 60_000).toISOString(),
    };
    expect([401, 403, 404]).toContain((await call(acted, 'POST', '/v1/approvals', approval)).status);
    expect([401, 403, 404]).toContain((await call(acted, 'POST', `${path}/suspend`, {})).status);
    expect((await call(person(), 'POST', '/v1/approvals', approval)).status).toBe(201);
    expect((await call(person(), 'POST', `${path}/suspend`, {})).status).toBe(200);
  });

  test('a proxy`s door believes no token of the control audience', async () => {
    const { id, issuer, authority_hash } = root;
    const token = person({ mission: { id, issuer, authority_hash }, client_id: 'agent-1' });
    expectRefused(await show(token), root);
    expect(challengesOf(await show(token)).Bearer?.error).toBe('invalid_token');
  });
});
