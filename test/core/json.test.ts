import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, isObject, member, parseJson } from '../../src/core/json.ts';

describe('parseJson', () => {
  test('reads what JSON.parse reads, for every value with unique names', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        // A name of its own kind, which is refused.
        fc.pre(!text.includes('__proto__'));
        expect(parseJson(text)).toEqual({ ok: true, value: JSON.parse(text) });
      }),
    );
  });

  test.each([
    ['a plain duplicate', '{"a":1,"a":2}'],
    ['a duplicate behind an escape', '{"a":1,"\\u0061":2}'],
    ['a duplicate further in', '[{"b":{"a":1,"c":[],"a":2}}]'],
    ['a duplicate after a string that holds a colon', '{"a":"x\\":","a":1}'],
  ])('refuses %s', (_, text) => {
    expect(parseJson(text)).toEqual({ ok: false, error: 'a member name occurs twice' });
  });

  test.each(['{"__proto__":1}', '[{"a":{"\\u005f_proto__":{}}}]'])(
    'refuses a member called __proto__: %s',
    (text) => {
      expect(parseJson(text)).toEqual({ ok: false, error: 'a member is called `__proto__`' });
      // As a value it is a text like any other.
      expect(parseJson('{"a":"__proto__"}').ok).toBe(true);
    },
  );

  test.each([
    ['nesting without end', '['.repeat(65) + ']'.repeat(65)],
    ['a lone surrogate', '"\\ud800"'],
    ['a number that no double holds', '[1e999]'],
    ['nothing', ''],
    ['a comment', '{} // x'],
  ])('refuses %s', (_, text) => {
    expect(parseJson(text).ok).toBe(false);
  });

  test('takes the same name in two objects', () => {
    expect(parseJson('[{"a":1},{"a":{"a":2}}]').ok).toBe(true);
  });

  test('never throws, whatever arrives, and never takes long', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => void parseJson(text)));
  });
});

describe('canonicalJson (RFC 8785)', () => {
  test('is the same for every order of members', () => {
    const flip = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(flip);
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .toReversed()
          .map(([name, each]) => [name, flip(each)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const parsed = parseJson(JSON.stringify(value));
        fc.pre(parsed.ok);
        expect(canonicalJson(flip(parsed.value) as never)).toBe(canonicalJson(parsed.value));
      }),
    );
  });

  test('orders members by UTF-16 code units, as section 3.2.3 shows', () => {
    const value = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\u{1f600}': 5, '\u0080': 6, '\u00f6': 7 };
    expect(Object.keys(JSON.parse(canonicalJson(value)) as object)).toHaveLength(7);
    expect(canonicalJson(value)).toBe(
      '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}',
    );
  });
});

test('members are own members', () => {
  const parsed = parseJson('{"a":1}');
  expect(parsed.ok && isObject(parsed.value) && member(parsed.value, 'constructor')).toBeUndefined();
  expect(parsed.ok && member(parsed.value, 'a')).toBe(1);
});
