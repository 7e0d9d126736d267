/** Commitments, held against the published vectors (draft-mcguinness-oauth-mission, "Integrity Anchor Test Vectors"). */
import { describe, expect, test } from 'vitest';
import { anchor } from '../../src/core/mandate/anchors.ts';
import type { AnchorType, AnchoredValue } from '../../src/core/mandate/record.ts';
import { sha256 } from '../../src/digest.ts';
import published from './anchors.json' with { type: 'json' };

interface Vector {
  readonly typ: AnchorType;
  readonly value: AnchoredValue;
  readonly anchor: string;
}

const vectors = published.vectors as unknown as readonly Vector[];

describe('anchors', () => {
  test('there are six vectors', () => expect(vectors).toHaveLength(6));

  test.each(vectors)('$typ $anchor', ({ typ, value, anchor: expected }) => {
    expect(anchor(sha256, published.iss, typ, value)).toBe(expected);
  });

  test.each(vectors)('$typ $anchor: in any order of members', ({ typ, value, anchor: expected }) => {
    expect(anchor(sha256, published.iss, typ, reversed(value))).toBe(expected);
  });

  test.each(vectors)('$anchor commits to the issuer and the type too', ({ typ, value, anchor: expected }) => {
    expect(anchor(sha256, `${published.iss}/`, typ, value)).not.toBe(expected);
    const other: AnchorType = typ === 'mission-intent' ? 'mission-authority-set' : 'mission-intent';
    expect(anchor(sha256, published.iss, other, value)).not.toBe(expected);
  });

  test('the order of a list counts', () => {
    const { typ, value, anchor: expected } = vectors[1]!;
    const turned = [...(value as readonly AnchoredValue[])].toReversed() as unknown as AnchoredValue;
    expect(anchor(sha256, published.iss, typ, turned)).not.toBe(expected);
  });
});

/** The same value with the members of every object the other way round. */
function reversed<T>(value: T): T {
  if (Array.isArray(value)) return value.map((each: unknown) => reversed(each)) as T;
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).toReversed();
  return Object.fromEntries(members.map(([name, each]) => [name, reversed<unknown>(each)])) as T;
}
