import fc from 'fast-check';
import { parseDictionary } from 'structured-headers';
import { describe, expect, test } from 'vitest';
import { parseMissionClaim, parseMissionReference, resolveReference } from '../../src/core/reference.ts';

const ISSUER = 'https://mas.example.com';

describe('Mission-Reference (mission-authority-server, HTTP Carriage)', () => {
  test.each([
    [`id="msn_1", issuer="${ISSUER}"`],
    [`issuer="${ISSUER}",id="msn_1"`],
    [`  id="msn_1" \t,\t issuer="${ISSUER}"  `],
  ])('reads %j', (line) => {
    expect(parseMissionReference([line])).toEqual({ id: 'msn_1', issuer: ISSUER });
  });

  test('undoes the two escapes of a String', () => {
    expect(parseMissionReference([String.raw`id="a\"b\\c", issuer="i"`])).toEqual({
      id: 'a"b\\c',
      issuer: 'i',
    });
  });

  test.each([
    ['a duplicate member', 'id="a", issuer="i", id="a"'],
    ['a duplicate instead of the other', 'id="a", id="i"'],
    ['a parameter', 'id="a";v=1, issuer="i"'],
    ['another member', 'id="a", issuer="i", x="y"'],
    ['a token', 'id=a, issuer="i"'],
    ['a boolean', 'id, issuer="i"'],
    ['an inner list', 'id=("a"), issuer="i"'],
    ['a byte sequence', 'id=:YQ==:, issuer="i"'],
    ['one member', 'id="a"'],
    ['a trailing comma', 'id="a", issuer="i",'],
    ['an upper-case key', 'ID="a", issuer="i"'],
    ['a bad escape', String.raw`id="\a", issuer="i"`],
    ['a byte that is not ASCII', 'id="é", issuer="i"'],
    ['an empty id', 'id="", issuer="i"'],
    ['an id of 257', `id="${'a'.repeat(257)}", issuer="i"`],
    ['an issuer of 513', `id="a", issuer="${'i'.repeat(513)}"`],
    ['nothing', ''],
  ])('%s is malformed', (_, line) => {
    expect(parseMissionReference([line])).toBe('malformed');
  });

  test('two lines are malformed, and none is absent', () => {
    const line = `id="a", issuer="i"`;
    expect(parseMissionReference([line, line])).toBe('malformed');
    expect(parseMissionReference([])).toBe('absent');
  });

  test('accepts nothing that a general RFC 9651 parser refuses, and reads the same', () => {
    const string = fc.string({ unit: 'grapheme-ascii', maxLength: 8 }).map((text) => JSON.stringify(text));
    const piece = fc.oneof(
      string,
      fc.constantFrom('id', 'issuer', '=', ',', ' ', '\t', ';a', '"', '\\', '?1', '('),
    );
    const line = fc.oneof(
      fc.array(piece, { maxLength: 10 }).map((parts) => parts.join('')),
      fc.tuple(string, string).map(([id, issuer]) => `id=${id}, issuer=${issuer}`),
    );
    fc.assert(
      fc.property(line, (text) => {
        const ours = parseMissionReference([text]);
        if (typeof ours === 'string') return;
        const theirs = parseDictionary(text);
        expect([theirs.get('id')?.[0], theirs.get('issuer')?.[0], theirs.size]).toEqual([
          ours.id,
          ours.issuer,
          2,
        ]);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('resolveReference: exactly one, in the order of trust', () => {
  const claim = { id: 'msn_1', issuer: ISSUER, authority_hash: 'sha-256:x' };
  const header = { id: 'msn_1', issuer: ISSUER };
  const other = { id: 'msn_2', issuer: ISSUER };
  test.each([
    ['absent', 'absent', 'mission_context_missing'],
    ['absent', 'malformed', 'mission_context_missing'],
    ['malformed', 'absent', 'mission_context_missing'],
    ['malformed', header, 'mission_reference_conflict'],
    ['malformed', 'malformed', 'mission_reference_conflict'],
    [claim, 'malformed', 'mission_reference_conflict'],
    [claim, other, 'mission_reference_conflict'],
    [claim, { ...header, issuer: 'https://mas.example.com/' }, 'mission_reference_conflict'],
  ] as const)('%j and %j: %s', (fromToken, selected, reason) => {
    expect(resolveReference(fromToken, selected, 'header')).toEqual({ reason });
  });

  test('a claim governs, and a header alone selects', () => {
    const { authority_hash } = claim;
    expect(resolveReference(claim, 'absent', 'header')).toEqual({
      reference: header,
      named_by: 'claim',
      authority_hash,
    });
    expect(resolveReference(claim, header, 'header')).toEqual({
      reference: header,
      named_by: 'claim',
      authority_hash,
    });
    expect(resolveReference('absent', header, 'header')).toEqual({ reference: header, named_by: 'header' });
    expect(resolveReference('absent', header, 'question')).toEqual({
      reference: header,
      named_by: 'question',
    });
  });

  test.each([
    [null],
    [[]],
    ['msn_1'],
    [{ id: 'a', issuer: 'i' }],
    [{ id: 1, issuer: 'i', authority_hash: 'h' }],
  ])('the claim %j is malformed', (value) => {
    expect(parseMissionClaim(value as never)).toBe('malformed');
  });
});
