/** Each common constraint against a use of the action (design/2, Record; design/7 and 8 for the parameters read). */
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { malformedConstraint, unmetConstraint } from '../../src/core/mandate/constraints.ts';
import { compareAmounts, isAmount } from '../../src/core/mandate/decimal.ts';
import type { ParameterValue } from '../../src/core/parameter-types.ts';
import { T0, iso } from '../support/records.ts';

const typed = (value: unknown): ParameterValue => {
  if (typeof value === 'boolean') return { type: 'boolean', value };
  if (typeof value === 'number') return { type: 'long', value };
  if (Array.isArray(value)) return { type: 'strings', value: value as string[] };
  return { type: 'string', value: String(value) };
};

function use(
  constraints: JsonObject,
  parameters: Record<string, unknown>,
  more: { action?: string; is_approved?: boolean } = {},
): string {
  const values = Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, typed(value)]));
  const exercise = { action: 'payments.send', parameters: values, wall_ms: T0, is_approved: false, ...more };
  return unmetConstraint(constraints, exercise)?.reason ?? 'met';
}

const EUR5 = { max_amount: { amount: '5.00', currency: 'EUR' } };
const domain = { recipient_domain: 'shop.example' };
const values = { parameter_values: { payee: ['a', 'b'], count: [1, 2], urgent: [true] } };

test.each<[string, JsonObject, Record<string, unknown>, string]>([
  ['an amount below', EUR5, { amount: '4.99', currency: 'EUR' }, 'met'],
  ['the same amount', EUR5, { amount: '5', currency: 'EUR' }, 'met'],
  ['a part of a cent more', EUR5, { amount: '5.000000000000000001', currency: 'EUR' }, 'parameter_violation'],
  [
    'an amount beyond any double',
    { max_amount: { amount: '9007199254740992', currency: 'EUR' } },
    { amount: '9007199254740993', currency: 'EUR' },
    'parameter_violation',
  ],
  ['another currency', EUR5, { amount: '1', currency: 'USD' }, 'parameter_violation'],
  ['a currency in lower case', EUR5, { amount: '1', currency: 'eur' }, 'parameter_violation'],
  ['no currency', EUR5, { amount: '1' }, 'parameter_violation'],
  ['no amount', EUR5, { currency: 'EUR' }, 'parameter_violation'],
  ['an amount as a number', EUR5, { amount: 1, currency: 'EUR' }, 'parameter_violation'],
  ['a negative amount', EUR5, { amount: '-1', currency: 'EUR' }, 'parameter_violation'],
  ['an exponent', EUR5, { amount: '1e0', currency: 'EUR' }, 'parameter_violation'],
  ['the tenant', { tenant: 'acme' }, { tenant: 'acme' }, 'met'],
  ['another tenant', { tenant: 'acme' }, { tenant: 'Acme' }, 'parameter_violation'],
  ['no tenant', { tenant: 'acme' }, {}, 'parameter_violation'],
  ['a recipient in the domain', domain, { recipient: 'x@Shop.Example' }, 'met'],
  ['a recipient in a subdomain', domain, { recipient: 'x@mail.shop.example' }, 'met'],
  [
    'a recipient in a domain that ends alike',
    domain,
    { recipient: 'x@badshop.example' },
    'parameter_violation',
  ],
  ['the domain before the last @', domain, { recipient: 'shop.example@evil.example' }, 'parameter_violation'],
  ['two @', domain, { recipient: 'x@evil.example@shop.example' }, 'parameter_violation'],
  [
    'two addresses in one text',
    domain,
    { recipient: 'x@evil.example,y@shop.example' },
    'parameter_violation',
  ],
  ['a display name', domain, { recipient: 'x@evil.example <y@shop.example>' }, 'parameter_violation'],
  ['a route', domain, { recipient: 'x%evil.example@shop.example' }, 'parameter_violation'],
  ['a quoted part', domain, { recipient: '"x@evil.example"@shop.example' }, 'parameter_violation'],
  ['a bare domain', domain, { recipient: 'mail.shop.example' }, 'met'],
  ['a trailing dot', domain, { recipient: 'x@shop.example.' }, 'parameter_violation'],
  ['all of several recipients', domain, { recipient: ['a@shop.example', 'b@shop.example'] }, 'met'],
  [
    'one of several outside',
    domain,
    { recipient: ['a@shop.example', 'b@evil.example'] },
    'parameter_violation',
  ],
  ['nobody', domain, { recipient: [] }, 'parameter_violation'],
  ['a label that is allowed', { data_classification: ['public'] }, { classification: 'public' }, 'met'],
  [
    'one label that is not',
    { data_classification: ['public'] },
    { classification: ['public', 'secret'] },
    'parameter_violation',
  ],
  ['no label', { data_classification: ['public'] }, {}, 'parameter_violation'],
  ['a tool that is allowed', { allowed_tools: ['payments.send'] }, {}, 'met'],
  ['a tool that is not', { allowed_tools: ['payments.list'] }, {}, 'parameter_violation'],
  ['the payee', values, { payee: 'a', count: 2, urgent: true }, 'met'],
  ['another payee', values, { payee: 'c', count: 2, urgent: true }, 'parameter_violation'],
  ['a number as text', values, { payee: 'a', count: '2', urgent: true }, 'parameter_violation'],
  ['a list, all of it allowed', { parameter_values: { payee: ['a', 'b'] } }, { payee: ['b', 'a'] }, 'met'],
  [
    'a list, one of it not',
    { parameter_values: { payee: ['a', 'b'] } },
    { payee: ['a', 'c'] },
    'parameter_violation',
  ],
  ['no payee', { parameter_values: { payee: ['a'] } }, {}, 'parameter_violation'],
  ['a name of Object.prototype', { parameter_values: { constructor: ['a'] } }, {}, 'parameter_violation'],
  ['inside the window', { time_window: { not_before: iso(0), not_after: iso(0) } }, {}, 'met'],
  ['before the window', { time_window: { not_before: iso(1) } }, {}, 'out_of_authority'],
  ['after the window', { time_window: { not_after: iso(-1) } }, {}, 'out_of_authority'],
  ['approval that nobody has given', { requires_action_approval: true }, {}, 'approval_required'],
  ['approval that is not required', { requires_action_approval: false }, {}, 'met'],
  ['an end that has not come', { terminal_when: [{ event_type: 'released' }] }, {}, 'met'],
  [
    'when the resource was issued is not known',
    { resource_issued_after: iso(0) },
    {},
    'constraint_unsupported',
  ],
  ['a key that is not known', { colour: 'red' }, {}, 'constraint_unsupported'],
  ['a name of Object.prototype as a key', { constructor: 'x' }, {}, 'constraint_unsupported'],
  [
    'a value of another shape',
    { max_amount: '5' },
    { amount: '1', currency: 'EUR' },
    'constraint_unsupported',
  ],
  ['the first that fails is told', { tenant: 'acme', colour: 'red' }, {}, 'parameter_violation'],
])('%s', (_, constraints, parameters, expected) => {
  expect(use(constraints, parameters)).toBe(expected);
});

test('an approval of the action meets the constraint', () => {
  expect(use({ requires_action_approval: true }, {}, { is_approved: true })).toBe('met');
});

describe('shapes', () => {
  test.each<[string, unknown, boolean]>([
    ['max_amount', { amount: '1.00', currency: 'EUR' }, true],
    ['max_amount', { amount: '1e3', currency: 'EUR' }, false],
    ['max_amount', { amount: '-1', currency: 'EUR' }, false],
    ['max_amount', { amount: '1', currency: 'euro' }, false],
    ['max_amount', { amount: '1', currency: 'EUR', note: 'x' }, false],
    ['max_amount', { amount: '0.1234567890123456789', currency: 'EUR' }, false],
    ['tenant', '', false],
    ['recipient_domain', 'a..b', false],
    ['recipient_domain', 'EXAMPLE.com', true],
    ['time_window', {}, false],
    ['time_window', { not_before: 'yesterday' }, false],
    ['data_classification', ['a', 1], false],
    ['allowed_tools', 'a', false],
    ['parameter_values', { a: 'b' }, false],
    ['parameter_values', { a: [{}] }, false],
    ['requires_action_approval', 'true', false],
    ['terminal_when', [{ event: 'x' }], false],
    ['colour', 'anything', true],
  ])('%s %j: %s', (key, value, isWellFormed) => {
    expect(malformedConstraint({ [key]: value } as JsonObject)).toBe(isWellFormed ? undefined : key);
  });
});

test.each([
  ['1', '1.0', 0],
  ['0.1', '0.10000', 0],
  ['10', '9.99', 1],
  ['0.000000000000000001', '0', 1],
  ['00012', '12', 0],
])('%s and %s compare as %i', (a, b, order) => {
  expect([isAmount(a), isAmount(b), compareAmounts(a, b), compareAmounts(b, a)]).toEqual([
    true,
    true,
    order,
    order === 0 ? 0 : -order,
  ]);
});
