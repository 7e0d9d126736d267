import { describe, expect, test } from 'vitest';
import {
  type Lineage,
  TRANSITIONS,
  effectiveEnd,
  effectiveState,
  stopFor,
} from '../../src/core/mandate/life.ts';
import { MANDATE_STATES, type MandateState } from '../../src/core/mandate/record.ts';
import { T0, iso, record } from '../support/records.ts';

const HOUR = 3_600_000;

/** A lineage of states, root first; each ends after an hour unless an end is given. */
function lineage(...states: (MandateState | readonly [MandateState, number])[]): Lineage {
  return states.map((each, depth) => {
    const [state, end] = typeof each === 'string' ? [each, HOUR] : each;
    return record({
      id: `msn_${depth}`,
      depth,
      state: state,
      expires_at: iso(end),
    });
  }) as unknown as Lineage;
}

describe('effectiveState (design/8, Operations)', () => {
  test.each([
    ['active alone', lineage('active'), 'active'],
    ['suspended', lineage('suspended'), 'suspended'],
    ['revoked', lineage('revoked'), 'revoked'],
    ['expired before what is stored', lineage(['active', 0]), 'expired'],
    ['expired while suspended', lineage(['suspended', 0]), 'expired'],
    ['a stored terminal state wins over a later expiry', lineage(['revoked', 0]), 'revoked'],
    ['below a suspended parent', lineage('suspended', 'active'), 'suspended'],
    ['below a suspended grandparent', lineage('suspended', 'active', 'active'), 'suspended'],
    ['below a revoked root', lineage('revoked', 'active', 'active'), 'cascaded'],
    ['past an ancestor`s end', lineage(['active', 0], 'active'), 'cascaded'],
    ['own expiry wins over an ancestor`s', lineage(['active', 0], ['active', 0]), 'expired'],
    ['an ended ancestor wins over a suspended one', lineage('suspended', 'revoked', 'active'), 'cascaded'],
    ['a state of a newer build', lineage('dormant' as MandateState), 'dormant'],
    ['below a state of a newer build', lineage('dormant' as MandateState, 'active'), 'cascaded'],
  ] as const)('%s', (_, given, state) => {
    expect(effectiveState(given, T0)).toBe(state);
  });

  test('the end itself is past', () => {
    expect(effectiveState(lineage(['active', HOUR]), T0 + HOUR - 1)).toBe('active');
    expect(effectiveState(lineage(['active', HOUR]), T0 + HOUR)).toBe('expired');
  });

  test('an end that cannot be read has passed', () => {
    expect(effectiveState([record({ expires_at: 'never' })], T0)).toBe('expired');
  });
});

test('the earliest end of the lineage counts', () => {
  expect(effectiveEnd(lineage(['active', 2 * HOUR], ['active', HOUR], ['active', 3 * HOUR]))).toBe(T0 + HOUR);
});

describe('consequences (design/2, Life)', () => {
  const stops = (state: string): string =>
    Object.entries(stopFor(state as MandateState))
      .filter(([, on]) => on)
      .map(([name]) => name)
      .join(' ');

  test.each([
    ['active', ''],
    ['suspended', 'stop_issuance pause'],
    ['revoked', 'stop_issuance revoke_tokens cancel_queued interrupt_in_flight'],
    ['cascaded', 'stop_issuance revoke_tokens cancel_queued interrupt_in_flight'],
    ['expired', 'stop_issuance cancel_queued interrupt_in_flight'],
    ['completed', 'stop_issuance revoke_tokens cancel_queued'],
    ['superseded', 'stop_issuance revoke_tokens reevaluate'],
    ['unheard-of', 'stop_issuance revoke_tokens cancel_queued interrupt_in_flight'],
  ])('%s: %s', (state, expected) => {
    expect(stops(state)).toBe(expected);
  });

  test('no transition leads out of a terminal state', () => {
    const terminal = new Set(MANDATE_STATES.filter((state) => state !== 'active' && state !== 'suspended'));
    const from = Object.values(TRANSITIONS).flatMap((rule) => rule.from);
    expect(from.filter((state) => terminal.has(state as never))).toEqual([]);
  });
});
