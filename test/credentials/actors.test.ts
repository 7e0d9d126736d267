/** Chains of actors (RFC 8693 section 4.1; design/2, One decision): whether who acts fits the mandate. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type JsonObject } from '../../src/core/json.ts';
import { type Answered } from '../support/ask.ts';
import { MANDATES } from '../support/sidecar.ts';
import { type Actor, WIDE, act, chain, childOf, entry, expectMisfit, handsOn, showAt } from './acting.ts';
import { mintToken } from './minting.ts';
import {
  DOORS,
  PUSH_AT_ENVOY,
  type Served,
  type Showing,
  issuerOf,
  mandateOf,
  nativeDoor,
  outcomeOf,
  serve,
  tokenOf,
} from './serving.ts';

const ISSUERS = { corp: {}, partner: {}, strict: { max_actor_depth: 1 }, none: { max_actor_depth: 0 } };

let served: Served;
/** Of agent-1, which may hand on to agents 2 to 6, five deep. */
let root: JsonObject;
/** Below it, of agent-2, which may hand on to agent-3. */
let child: JsonObject;

beforeAll(async () => {
  served = await serve({ issuers: ISSUERS });
  root = await mandateOf(served, 'corp', { authorization_details: [handsOn(5, ...WIDE)] });
  child = await childOf(served, root, 'agent-2', handsOn(2, 'agent-3'));
});
afterAll(() => served.discard());

const show = (token: string, more: Partial<Showing> = {}) => showAt(served, token, more);

describe.each(Object.entries(DOORS))('a chain that fits, at %s', (_, door) => {
  test.each<readonly [string, 'root' | 'child', string, readonly string[]]>([
    ['none', 'root', 'agent-1', []],
    ['the mandate`s own client', 'root', 'agent-1', ['agent-1']],
    ['a named delegate, the lineage left out', 'root', 'agent-1', ['agent-2']],
    ['a named delegate behind the lineage', 'root', 'agent-1', ['agent-1', 'agent-2']],
    ['two of them', 'root', 'agent-1', ['agent-1', 'agent-2', 'agent-3']],
    ['a named delegate that is the client itself', 'root', 'agent-2', ['agent-2']],
    ['the same, behind the lineage', 'root', 'agent-2', ['agent-1', 'agent-2']],
    ['none of a child', 'child', 'agent-2', []],
    ['the whole lineage of a child', 'child', 'agent-2', ['agent-1', 'agent-2']],
    ['a delegate behind the lineage of a child', 'child', 'agent-2', ['agent-1', 'agent-2', 'agent-3']],
    ['a delegate of a child, its lineage left out', 'child', 'agent-2', ['agent-3']],
    ['a delegate of a child that is the client', 'child', 'agent-3', ['agent-1', 'agent-2', 'agent-3']],
  ])('RFC 8693 section 4.1: %s', async (__, of, client_id, actors) => {
    const token = chain(of === 'root' ? root : child, client_id, ...actors);
    expect(outcomeOf(await door(served, { token, scheme: 'Bearer' }))).toBe('allow');
  });
});

describe.each(Object.entries(DOORS))('a chain that does not fit, at %s', (_, door) => {
  test.each<readonly [string, 'root' | 'child', string, readonly Actor[]]>([
    ['a hop that nobody named', 'root', 'agent-1', ['agent-9']],
    ['the same behind the lineage', 'root', 'agent-1', ['agent-1', 'agent-9']],
    ['the same between two that are named', 'root', 'agent-1', ['agent-2', 'agent-9', 'agent-3']],
    ['the same before one that is named', 'root', 'agent-1', ['agent-9', 'agent-2']],
    ['the same behind one that is named', 'root', 'agent-1', ['agent-2', 'agent-9']],
    ['the lineage in the wrong place', 'root', 'agent-1', ['agent-2', 'agent-1']],
    ['the mandate`s client twice', 'root', 'agent-1', ['agent-1', 'agent-1']],
    ['a part of the lineage of a child: its root', 'child', 'agent-2', ['agent-1']],
    ['a part of it: its own client', 'child', 'agent-2', ['agent-2']],
    ['a part of it and a delegate', 'child', 'agent-2', ['agent-2', 'agent-3']],
    ['the other part of it and a delegate', 'child', 'agent-2', ['agent-1', 'agent-3']],
    ['the lineage of a child in reverse', 'child', 'agent-2', ['agent-2', 'agent-1']],
    ['a delegate of the parent, not of the child', 'child', 'agent-2', ['agent-1', 'agent-2', 'agent-4']],
    ['a sub in another case', 'root', 'agent-1', ['Agent-2']],
    ['a sub with a space', 'root', 'agent-1', ['agent-2 ']],
    ['a sub that begins like one', 'root', 'agent-1', ['agent-22']],
    ['a realm before the sub', 'root', 'agent-1', ['corp/agent-2']],
    ['`sub_profile` alone', 'root', 'agent-1', [{ sub: 'instance-7', sub_profile: 'client_instance' }]],
    [
      '`client_instance` behind the client',
      'root',
      'agent-1',
      ['agent-1', { sub: 'i-7', sub_profile: 'client_instance' }],
    ],
    ['`ai_agent`', 'root', 'agent-1', [{ sub: 'agent-9', sub_profile: 'ai_agent' }]],
    ['`__proto__`', 'root', 'agent-1', ['__proto__']],
    ['`constructor`', 'root', 'agent-1', ['constructor']],
  ])('design/2: %s', async (__, of, client_id, actors) => {
    const record = of === 'root' ? root : child;
    const own = of === 'root' ? 'agent-1' : 'agent-2';
    expect(outcomeOf(await door(served, { token: chain(record, own), scheme: 'Bearer' }))).toBe('allow');
    const token = chain(record, client_id, ...actors);
    expectMisfit(await door(served, { token, scheme: 'Bearer' }), record);
  });
});

describe('design/7: `max_actor_depth`, and RFC 8693 section 4.1: the form of a chain', () => {
  const expectUnread = ({ status, body }: Answered) => {
    expect([status, body.reason, body.next_action]).toEqual([403, 'actor_invalid', 'none']);
    expect(body.credential).toEqual({ verdict: 'unusable', reason: 'actor_invalid' });
    expect(body).toMatchObject({
      mandate: { verdict: 'not_evaluated' },
      request: { verdict: 'not_evaluated' },
    });
    expect(JSON.stringify(body)).not.toMatch(/msn_|alice|agent-/);
  };

  test('four by default, and not five', async () => {
    expect(outcomeOf(await show(chain(root, 'agent-1', ...WIDE.slice(0, 4))))).toBe('allow');
    expectUnread(await show(chain(root, 'agent-1', ...WIDE)));
    expectUnread(await show(chain(root, 'agent-1', 'agent-1', ...WIDE.slice(0, 4))));
  });

  test('one where it says so, and none', async () => {
    const details = { authorization_details: [handsOn(5, ...WIDE)] };
    for (const [name, most] of [
      ['strict', 1],
      ['none', 0],
    ] as const) {
      const record = await mandateOf(served, name, details);
      const of = (count: number) => tokenOf(name, record, { act: act(...WIDE.slice(0, count)) });
      expect(outcomeOf(await show(of(most)))).toBe('allow');
      expectUnread(await show(of(most + 1)));
    }
  });

  test('a chain of hundreds is refused like one of five', async () => {
    const deep = (count: number) =>
      '{"sub":"agent-2","act":'.repeat(count) + '{"sub":"agent-2"}' + '}'.repeat(count);
    for (const count of [10, 200, 300]) {
      const token = tokenOf('corp', root, { act: JSON.parse(deep(count)) as unknown });
      expectUnread(await show(token));
    }
  });

  const MALFORMED: readonly (readonly [string, unknown])[] = [
    ['null', null],
    ['a text', 'agent-2'],
    ['a number', 5],
    ['true', true],
    ['an empty list', []],
    ['a list of actors', [{ sub: 'agent-2' }]],
    ['no sub', {}],
    ['no sub but an iss', { iss: issuerOf('corp') }],
    ['no sub but a client_id', { client_id: 'agent-2' }],
    ['an empty sub', { sub: '' }],
    ['sub a number', { sub: 5 }],
    ['sub null', { sub: null }],
    ['sub a list', { sub: ['agent-2'] }],
    ['sub an object', { sub: { sub: 'agent-2' } }],
    ['iss a number', { sub: 'agent-2', iss: 5 }],
    ['iss null', { sub: 'agent-2', iss: null }],
    ['iss empty', { sub: 'agent-2', iss: '' }],
    ['an inner act that is null', { sub: 'agent-2', act: null }],
    ['an inner act that is a text', { sub: 'agent-2', act: 'agent-1' }],
    ['an inner act that is a list', { sub: 'agent-2', act: [{ sub: 'agent-1' }] }],
    ['an inner act without sub', { sub: 'agent-2', act: {} }],
    ['an inner act with an empty sub', { sub: 'agent-2', act: { sub: '' } }],
  ];
  test.each(MALFORMED)('%s', async (_, value) => {
    expectUnread(await show(tokenOf('corp', root, { act: value })));
    expect(outcomeOf(await show(tokenOf('corp', root, { act: { sub: 'agent-2' } })))).toBe('allow');
  });

  test('other members of an actor mean nothing (RFC 8693 section 4.1: only its identity is used)', async () => {
    const more = {
      exp: 1,
      nbf: 9e9,
      aud: 'https://other.example',
      client_id: 'agent-9',
      sub_profile: 'service',
    };
    expect(outcomeOf(await show(chain(root, 'agent-1', { sub: 'agent-2', ...more })))).toBe('allow');
  });
});

describe('design/8: actors compare by (iss, sub)', () => {
  const [own, partner] = [issuerOf('corp'), issuerOf('partner')];

  test('the token`s own issuer is the default', async () => {
    for (const iss of [undefined, own])
      expect(
        outcomeOf(await show(chain(root, 'agent-1', { sub: 'agent-1', iss }, { sub: 'agent-2', iss }))),
      ).toBe('allow');
  });

  test.each(['https://nobody.example', `${own}/`, own.toUpperCase(), `${own}:443`, MANDATES])(
    'an actor of %s, which is not configured',
    async (iss) => {
      for (const actors of [[{ sub: 'agent-2', iss }], [{ sub: 'agent-1', iss }, 'agent-2']])
        expect(outcomeOf(await show(chain(root, 'agent-1', ...actors)))).toBe('actor_invalid');
    },
  );

  test('one that is not configured is no actor of any mandate, so that none need be named to say so', async () => {
    const token = mintToken(own, { act: { sub: 'agent-2', iss: 'https://nobody.example' } });
    expect(outcomeOf(await show(token))).toBe('actor_invalid');
  });

  test('where the client is of another issuer, so are the delegates: nobody of that name joins', async () => {
    const authorization_details = [handsOn(5, ...WIDE)];
    const other = await mandateOf(served, 'corp', { client_issuer: partner, authorization_details });
    expect(outcomeOf(await show(chain(other, 'agent-2', 'agent-2')))).toBe('mission_mismatch');
  });

  test('an agent of another issuer is not the lineage`s client of that name', async () => {
    for (const actors of [[{ sub: 'agent-1', iss: partner }], [{ sub: 'agent-1', iss: partner }, 'agent-2']])
      expectMisfit(await show(chain(root, 'agent-1', ...actors)), root);
  });

  test('an agent of another issuer is not the delegate of that name', async () => {
    expectMisfit(await show(chain(root, 'agent-1', { sub: 'agent-2', iss: partner })), root);
    expectMisfit(await show(chain(root, 'agent-1', 'agent-1', { sub: 'agent-2', iss: partner })), root);
  });

  test('a token of another issuer is nobody`s here, whatever its chain says', async () => {
    const { id, issuer, authority_hash } = root;
    for (const actors of [[], [{ sub: 'agent-1', iss: own }], [{ sub: 'agent-2', iss: own }]]) {
      const claims = { mission: { id, issuer, authority_hash }, act: act(...actors) };
      expect(outcomeOf(await show(mintToken(partner, claims)))).toBe('mission_mismatch');
    }
  });
});

describe('design/2: the entry`s own `delegation` bounds the hops', () => {
  const begin = (...details: JsonObject[]) => mandateOf(served, 'corp', { authorization_details: details });

  test('`max_depth` is absolute: the mandate`s own depth counts', async () => {
    const record = await begin(handsOn(2, ...WIDE));
    const below = await childOf(served, record, 'agent-2', handsOn(2, 'agent-3', 'agent-4'));
    expect(outcomeOf(await show(chain(record, 'agent-1', 'agent-2', 'agent-3')))).toBe('allow');
    expectMisfit(await show(chain(record, 'agent-1', 'agent-2', 'agent-3', 'agent-4')), record);
    expect(outcomeOf(await show(chain(below, 'agent-2', 'agent-1', 'agent-2', 'agent-3')))).toBe('allow');
    expectMisfit(await show(chain(below, 'agent-2', 'agent-1', 'agent-2', 'agent-3', 'agent-4')), below);
    expectMisfit(await show(chain(below, 'agent-2', 'agent-3', 'agent-4')), below);
  });

  test('no `delegation`: nobody behind the client, but the client itself', async () => {
    const record = await begin(entry());
    expect(outcomeOf(await show(chain(record, 'agent-1')))).toBe('allow');
    expect(outcomeOf(await show(chain(record, 'agent-1', 'agent-1')))).toBe('allow');
    expectMisfit(await show(chain(record, 'agent-1', 'agent-1', 'agent-2')), record);
    expectMisfit(await show(chain(record, 'agent-1', 'agent-2')), record);
  });

  test('`max_depth` 0 and an empty list hand on to nobody', async () => {
    for (const own of [handsOn(0, 'agent-2'), handsOn(3)]) {
      const record = await begin(own);
      expect(outcomeOf(await show(chain(record, 'agent-1')))).toBe('allow');
      expectMisfit(await show(chain(record, 'agent-1', 'agent-2')), record);
    }
  });

  test('a delegate that only `sub_profile` describes is nobody', async () => {
    const profile = { max_depth: 3, allowed_delegates: [{ sub_profile: 'client_instance' }] };
    const record = await begin(entry({ delegation: profile }));
    const instance = { sub: 'i-7', sub_profile: 'client_instance' };
    expectMisfit(await show(chain(record, 'agent-1', instance)), record);
    expectMisfit(await show(chain(record, 'agent-1', 'agent-1', instance)), record);
  });

  test('an entry that hands on, beside one that does not', async () => {
    const [read, push] = [{ actions: ['repo.read'] }, { actions: ['repo.push'] }];
    const record = await begin({ ...handsOn(1, 'agent-2'), ...read }, entry(push));
    const [own, handed] = [chain(record, 'agent-1'), chain(record, 'agent-1', 'agent-2')];
    expect(outcomeOf(await show(own))).toBe('allow');
    expect(outcomeOf(await show(own, PUSH_AT_ENVOY))).toBe('allow');
    expect(outcomeOf(await show(handed))).toBe('allow');
    expectMisfit(await show(handed, PUSH_AT_ENVOY), record);
  });

  test('two entries that cover the same: one that hands on is enough, in any order', async () => {
    for (const details of [
      [entry(), handsOn(1, 'agent-2')],
      [handsOn(1, 'agent-2'), entry()],
    ]) {
      const record = await begin(...details);
      expect(outcomeOf(await show(chain(record, 'agent-1', 'agent-2')))).toBe('allow');
      expectMisfit(await show(chain(record, 'agent-1', 'agent-3')), record);
    }
  });

  test('an entry that was withdrawn hands on no more', async () => {
    const record = await begin(handsOn(1, 'agent-2'), entry({ actions: ['repo.read'] }));
    const handed = chain(record, 'agent-1', 'agent-2');
    const { body } = await show(chain(record, 'agent-1'), { ...PUSH_AT_ENVOY, path: '/repos/example/app/x' });
    expect(body.effect).toBe('deny');
    expect(outcomeOf(await show(handed))).toBe('allow');
    const asked = await nativeDoor(served, { token: chain(record, 'agent-1') });
    const path = `/v1/mandates/${String(record.id)}/contain`;
    await served.control('POST', path, { entries: [asked.body.entry_digest!] });
    expect(outcomeOf(await show(chain(record, 'agent-1')))).toBe('allow');
    expect(outcomeOf(await show(handed))).not.toBe('allow');
  });

  test('design/2: narrowing a parent narrows at once what its child hands on', async () => {
    const record = await begin(handsOn(5, 'agent-2', 'agent-3'));
    const below = await childOf(served, record, 'agent-2', handsOn(5, 'agent-3'));
    const token = chain(below, 'agent-2', 'agent-1', 'agent-2', 'agent-3');
    expect(outcomeOf(await show(token))).toBe('allow');
    const narrower = { authorization_details: [handsOn(5, 'agent-2')], expected_version: 1 };
    const path = `/v1/mandates/${String(record.id)}/amend`;
    const amended = await served.control('POST', path, {
      ...narrower,
      approval_event_id: crypto.randomUUID(),
    });
    expect(amended.status).toBe(200);
    expect(outcomeOf(await show(token))).not.toBe('allow');
  });
});
