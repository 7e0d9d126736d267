/** Child and parent, pair by pair: a table to check by eye (design/2, Attenuation). */
import { describe, expect, test } from 'vitest';
import { fitsInside, replaces } from '../../src/core/mandate/attenuation.ts';
import { delegationFits, readDelegation } from '../../src/core/mandate/delegation.ts';
import { type EffectiveEntry, approvedEntry } from '../../src/core/mandate/authority.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { AuthorityEntry } from '../../src/core/mandate/record.ts';

type Short = readonly [resource: string, actions: string, constraints?: JsonObject];

/** `https://a/x/**` is a prefix, everything else exact; actions are separated by spaces. */
function entry([resource, actions, constraints]: Short): AuthorityEntry {
  const isPrefix = resource.endsWith('/**');
  return {
    type: 'mission_resource_access',
    resource: isPrefix ? resource.slice(0, -3) : resource,
    ...(isPrefix ? { resource_match: 'prefix' as const } : {}),
    actions: actions.split(' '),
    ...(constraints === undefined ? {} : { constraints }),
  };
}

const fits = (child: Short, ...parents: Short[]): boolean =>
  fitsInside(
    [entry(child)],
    parents.map((parent) => approvedEntry(entry(parent), 0)),
  ).ok;

const A = 'https://a.example/orders';
const eur = (amount: string, currency = 'EUR'): JsonObject => ({ max_amount: { amount, currency } });

const PAIRS: readonly (readonly [string, boolean, Short, Short])[] = [
  ['the same', true, [A, 'o.read'], [A, 'o.read']],
  ['exact inside a prefix', true, [`${A}/1`, 'o.read'], [`${A}/**`, 'o.read']],
  ['the base of a prefix', true, [A, 'o.read'], [`${A}/**`, 'o.read']],
  ['a prefix inside a prefix', true, [`${A}/1/**`, 'o.read'], [`${A}/**`, 'o.read']],
  ['a prefix inside an exact', false, [`${A}/**`, 'o.read'], [A, 'o.read']],
  ['a sibling that begins alike', false, ['https://a.example/ordersX', 'o.read'], [`${A}/**`, 'o.read']],
  ['one character shorter', false, ['https://a.example/order', 'o.read'], [`${A}/**`, 'o.read']],
  ['the parent of the prefix', false, ['https://a.example/**', 'o.read'], [`${A}/**`, 'o.read']],
  ['another host', false, ['https://b.example/orders', 'o.read'], [`${A}/**`, 'o.read']],
  ['another scheme', false, ['http://a.example/orders', 'o.read'], [`${A}/**`, 'o.read']],
  ['another port', false, ['https://a.example:8443/orders', 'o.read'], [`${A}/**`, 'o.read']],
  ['the default port', true, ['https://a.example:443/orders', 'o.read'], [A, 'o.read']],
  ['another case of the host', true, ['https://A.Example/orders', 'o.read'], [A, 'o.read']],
  ['another case of the path', false, ['https://a.example/Orders', 'o.read'], [A, 'o.read']],
  ['unreserved escapes', true, ['https://a.example/%6frders', 'o.read'], [A, 'o.read']],
  ['an encoded slash', false, ['https://a.example/orders%2F1', 'o.read'], [`${A}/**`, 'o.read']],
  ['a dot segment', false, ['https://a.example/orders/../x', 'o.read'], [`${A}/**`, 'o.read']],
  ['a trailing slash inside a prefix', true, [`${A}/`, 'o.read'], [`${A}/**`, 'o.read']],
  ['a trailing slash is another resource', false, [`${A}/`, 'o.read'], [A, 'o.read']],
  ['the root holds all', true, [`${A}/1`, 'o.read'], ['https://a.example/**', 'o.read']],
  ['the same URN', true, ['urn:x:a', 'o.read'], ['urn:x:a', 'o.read']],
  ['another URN', false, ['urn:x:ab', 'o.read'], ['urn:x:a', 'o.read']],
  ['fewer actions', true, [A, 'o.read'], [A, 'o.read o.write']],
  ['another action', false, [A, 'o.write'], [A, 'o.read']],
  ['one action too many', false, [A, 'o.read o.write'], [A, 'o.read']],
  ['a literal in a family', true, [A, 'o.read'], [A, 'o.*']],
  ['a deeper literal in a family', true, [A, 'o.item.read'], [A, 'o.*']],
  ['a family in a family', true, [A, 'o.item.*'], [A, 'o.*']],
  ['the same family', true, [A, 'o.*'], [A, 'o.*']],
  ['a family in a literal', false, [A, 'o.*'], [A, 'o.read']],
  ['a wider family', false, [A, 'o.*'], [A, 'o.item.*']],
  ['a name that begins alike', false, [A, 'other.read'], [A, 'o.*']],
  ['an added constraint', true, [A, 'o.read', eur('5')], [A, 'o.read']],
  ['a dropped constraint', false, [A, 'o.read'], [A, 'o.read', eur('5')]],
  ['an unknown constraint alike', false, [A, 'o.read', { colour: 'red' }], [A, 'o.read', { colour: 'red' }]],
  ['an unknown constraint of its own', true, [A, 'o.read', { colour: 'red' }], [A, 'o.read']],
  ['a smaller amount', true, [A, 'o.read', eur('4.99')], [A, 'o.read', eur('5')]],
  ['an amount that is equal as a number', true, [A, 'o.read', eur('5.000')], [A, 'o.read', eur('5')]],
  ['one cent more', false, [A, 'o.read', eur('5.01')], [A, 'o.read', eur('5.00')]],
  ['one part in 10^18 more', false, [A, 'o.read', eur('5.000000000000000001')], [A, 'o.read', eur('5')]],
  [
    'an amount beyond 2^53',
    false,
    [A, 'o.read', eur('9007199254740993')],
    [A, 'o.read', eur('9007199254740992')],
  ],
  ['another currency', false, [A, 'o.read', eur('1', 'USD')], [A, 'o.read', eur('5')]],
  [
    'an amount as a number',
    false,
    [A, 'o.read', { max_amount: { amount: 1, currency: 'EUR' } }],
    [A, 'o.read', eur('5')],
  ],
  [
    'issued later',
    true,
    [A, 'o.read', { resource_issued_after: '2026-08-01T00:00:00Z' }],
    [A, 'o.read', { resource_issued_after: '2026-07-01T00:00:00Z' }],
  ],
  [
    'issued earlier',
    false,
    [A, 'o.read', { resource_issued_after: '2026-06-30T23:59:59Z' }],
    [A, 'o.read', { resource_issued_after: '2026-07-01T00:00:00Z' }],
  ],
  [
    'the same instant in another zone',
    true,
    [A, 'o.read', { resource_issued_before: '2026-07-01T02:00:00+02:00' }],
    [A, 'o.read', { resource_issued_before: '2026-07-01T00:00:00Z' }],
  ],
  ['the same tenant', true, [A, 'o.read', { tenant: 'acme' }], [A, 'o.read', { tenant: 'acme' }]],
  ['a tenant is added', true, [A, 'o.read', { tenant: 'acme' }], [A, 'o.read']],
  ['a tenant is dropped', false, [A, 'o.read'], [A, 'o.read', { tenant: 'acme' }]],
  ['another tenant', false, [A, 'o.read', { tenant: 'b' }], [A, 'o.read', { tenant: 'acme' }]],
  [
    'a subdomain',
    true,
    [A, 'o.read', { recipient_domain: 'Mail.example.com' }],
    [A, 'o.read', { recipient_domain: 'example.COM' }],
  ],
  [
    'a domain that ends alike',
    false,
    [A, 'o.read', { recipient_domain: 'badexample.com' }],
    [A, 'o.read', { recipient_domain: 'example.com' }],
  ],
  [
    'the domain above',
    false,
    [A, 'o.read', { recipient_domain: 'com' }],
    [A, 'o.read', { recipient_domain: 'example.com' }],
  ],
  [
    'a window inside',
    true,
    [A, 'o.read', { time_window: { not_before: '2026-01-02T00:00:00Z', not_after: '2026-01-03T00:00:00Z' } }],
    [A, 'o.read', { time_window: { not_before: '2026-01-01T00:00:00Z' } }],
  ],
  [
    'a window open at one side',
    false,
    [A, 'o.read', { time_window: { not_before: '2026-01-02T00:00:00Z' } }],
    [A, 'o.read', { time_window: { not_after: '2026-01-03T00:00:00Z' } }],
  ],
  [
    'fewer labels',
    true,
    [A, 'o.read', { data_classification: ['public'] }],
    [A, 'o.read', { data_classification: ['public', 'internal'] }],
  ],
  [
    'a label more',
    false,
    [A, 'o.read', { data_classification: ['public', 'secret'] }],
    [A, 'o.read', { data_classification: ['public'] }],
  ],
  [
    'fewer tools',
    true,
    [A, 'o.read', { allowed_tools: ['o.read'] }],
    [A, 'o.read', { allowed_tools: ['o.read', 'o.list'] }],
  ],
  [
    'a tool in another case',
    false,
    [A, 'o.read', { allowed_tools: ['O.read'] }],
    [A, 'o.read', { allowed_tools: ['o.read'] }],
  ],
  [
    'fewer values',
    true,
    [A, 'o.read', { parameter_values: { payee: ['a'] } }],
    [A, 'o.read', { parameter_values: { payee: ['a', 'b'] } }],
  ],
  [
    'a value more',
    false,
    [A, 'o.read', { parameter_values: { payee: ['a', 'c'] } }],
    [A, 'o.read', { parameter_values: { payee: ['a', 'b'] } }],
  ],
  [
    'another parameter bound as well',
    true,
    [A, 'o.read', { parameter_values: { payee: ['a'], memo: ['x'] } }],
    [A, 'o.read', { parameter_values: { payee: ['a'] } }],
  ],
  [
    'a parameter set free',
    false,
    [A, 'o.read', { parameter_values: { memo: ['x'] } }],
    [A, 'o.read', { parameter_values: { payee: ['a'] } }],
  ],
  [
    'approval added',
    true,
    [A, 'o.read', { requires_action_approval: true }],
    [A, 'o.read', { requires_action_approval: false }],
  ],
  [
    'approval that is not required, left out',
    true,
    [A, 'o.read'],
    [A, 'o.read', { requires_action_approval: false }],
  ],
  [
    'approval dropped',
    false,
    [A, 'o.read', { requires_action_approval: false }],
    [A, 'o.read', { requires_action_approval: true }],
  ],
  [
    'one more end',
    true,
    [A, 'o.read', { terminal_when: [{ event_type: 'a' }, { event_type: 'b' }] }],
    [A, 'o.read', { terminal_when: [{ event_type: 'a' }] }],
  ],
  [
    'one end less',
    false,
    [A, 'o.read', { terminal_when: [{ event_type: 'b' }] }],
    [A, 'o.read', { terminal_when: [{ event_type: 'a' }, { event_type: 'b' }] }],
  ],
];

test.each(PAIRS)('%s: %s', (_, isInside, child, parent) => {
  expect(fits(child, parent)).toBe(isInside);
});

describe('the justification', () => {
  const parents: readonly EffectiveEntry[] = [
    approvedEntry(entry([A, 'o.write']), 0),
    approvedEntry(entry([`${A}/**`, 'o.*']), 0),
    approvedEntry(entry([`${A}/**`, 'o.read']), 0),
  ];

  test('is the first entry that holds it', () => {
    expect(fitsInside([entry([A, 'o.read']), entry([A, 'o.write'])], parents)).toEqual({
      ok: true,
      by: [1, 0],
    });
  });

  test('two entries together hold nothing', () => {
    const halves = [entry([A, 'o.read']), entry([A, 'o.write'])].map(approvedEntry);
    expect(fitsInside([entry([A, 'o.read o.write'])], halves)).toMatchObject({ ok: false, index: 0 });
  });

  test('what was withdrawn holds nothing', () => {
    const withdrawn = parents.map((each) => ({ ...each, is_withdrawn: true }));
    expect(fitsInside([entry([A, 'o.read'])], withdrawn)).toEqual({
      ok: false,
      index: 0,
      why: 'the entry was withdrawn',
    });
  });

  test('what was tightened holds only what is as tight', () => {
    const tightened = parents.map((each) => ({ ...each, constraints: [...each.constraints, eur('5')] }));
    expect(fitsInside([entry([A, 'o.read'])], tightened).ok).toBe(false);
    expect(fitsInside([entry([A, 'o.read', eur('5')])], tightened).ok).toBe(true);
  });

  test('the nearest miss is told', () => {
    expect(fitsInside([entry([A, 'o.read']), entry([A, 'x.y'])], parents)).toEqual({
      ok: false,
      index: 1,
      why: 'the action `x.y` is not inside',
    });
  });
});

describe('delegation', () => {
  const d = (max_depth: number, delegates: string, children?: JsonObject): JsonObject => ({
    max_depth,
    allowed_delegates: delegates.split(' ').map((sub) => ({ sub })),
    ...(children === undefined ? {} : { children }),
  });
  test.each([
    ['none', undefined, d(2, 'a b'), true],
    [
      'the same, one generation further down',
      d(2, 'a b', { max_child_depth: 1 }),
      d(2, 'a b', { max_child_depth: 2 }),
      true,
    ],
    ['the same child depth', d(2, 'a', { max_child_depth: 2 }), d(2, 'a', { max_child_depth: 2 }), false],
    ['deeper', d(3, 'a'), d(2, 'a'), false],
    ['another delegate', d(2, 'c'), d(2, 'a b'), false],
    ['more children', d(2, 'a', { max_children: 3 }), d(2, 'a', { max_children: 2 }), false],
    ['children without a bound', d(2, 'a'), d(2, 'a', { max_children: 2 }), false],
    ['a shape that cannot be read', { max_depth: '2', allowed_delegates: [] }, d(2, 'a'), false],
    ['an unknown member', { ...d(2, 'a'), note: 'x' }, d(2, 'a'), false],
  ] as const)('%s', (_, inner, outer, isInside) => {
    expect(delegationFits(inner, readDelegation(outer), 1)).toBe(isInside);
  });

  test('terms that take the place of others hand on no more than they did', () => {
    const plain = entry([A, 'o.read']);
    const handed = { ...plain, delegation: d(2, 'a', { max_child_depth: 1 }) };
    const fit = (inner: AuthorityEntry, ...outer: AuthorityEntry[]): boolean =>
      replaces([inner], outer.map(approvedEntry)).ok;
    expect([fit(handed, handed), fit(plain, handed), fit(handed, plain), fit(handed, plain, handed)]).toEqual(
      [true, true, false, true],
    );
    expect(fit({ ...plain, delegation: d(3, 'a') }, handed)).toBe(false);
  });

  test('a profile that a client gives itself names nobody', () => {
    expect(
      readDelegation({ max_depth: 2, allowed_delegates: [{ sub_profile: 'ai_agent' }] })?.allowed_delegates,
    ).toEqual([]);
  });
});
