/** What two entries cover together: nothing that only one of them covers, and nothing less where it can be told. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { approvedEntry, matchEntry } from '../../src/core/mandate/authority.ts';
import { intersection } from '../../src/core/mandate/intersection.ts';
import type { AuthorityEntry } from '../../src/core/mandate/record.ts';
import { parseResource } from '../../src/core/uri.ts';

const BASE = 'https://git.example/repos';

const constraints = fc.record(
  {
    max_amount: fc.constantFrom('5', '10', '20').map((amount) => ({ amount, currency: 'EUR' })),
    tenant: fc.constantFrom('a', 'b'),
    parameter_values: fc.constantFrom({ ref: ['x'] }, { ref: ['x', 'y'] }, { ref: ['y', 'z'] }),
  },
  { requiredKeys: [] },
);

const entry: fc.Arbitrary<AuthorityEntry> = fc
  .record({
    resource: fc.constantFrom(BASE, `${BASE}/a`, `${BASE}/a/b`, `${BASE}/ab`),
    resource_match: fc.constantFrom('prefix' as const, 'exact' as const),
    actions: fc.uniqueArray(fc.constantFrom('repo.push', 'repo.read', 'repo.*', 'repo.read.*', 'pay'), {
      minLength: 1,
    }),
    constraints,
  })
  .map((own) => ({ type: 'mission_resource_access', ...own }));

const use = fc.record({
  action: fc.constantFrom('repo.push', 'repo.read', 'repo.read.x', 'pay', 'other'),
  path: fc.constantFrom('', '/a', '/a/b', '/ab', '/a/b/c'),
  amount: fc.constantFrom('1', '7', '15', '30'),
  tenant: fc.constantFrom('a', 'b'),
  ref: fc.constantFrom('x', 'y', 'z'),
});

type Use = typeof use extends fc.Arbitrary<infer T> ? T : never;

function covers(one: AuthorityEntry, { action, path, amount, tenant, ref }: Use): boolean {
  const resource = parseResource(`${BASE}${path}`);
  if ('refused' in resource) throw new Error(resource.refused);
  const parameters = {
    amount: { type: 'decimal', value: amount },
    currency: { type: 'string', value: 'EUR' },
    tenant: { type: 'string', value: tenant },
    ref: { type: 'string', value: ref },
  } as const;
  const exercise = { action, parameters, wall_ms: 0, is_approved: false };
  return 'matched' in matchEntry([approvedEntry(one, 0)], resource, exercise);
}

test('it covers nothing that one of the two does not', () => {
  fc.assert(
    fc.property(entry, entry, use, (a, b, asked) => {
      const both = intersection(a, b);
      if (both !== undefined && covers(both, asked))
        expect([covers(a, asked), covers(b, asked)]).toEqual([true, true]);
    }),
    { numRuns: 20_000 },
  );
});

test('what both cover is in it, unless their values cross so that neither is the narrower', () => {
  fc.assert(
    fc.property(entry, entry, use, (a, b, asked) => {
      if (!covers(a, asked) || !covers(b, asked)) return;
      const both = intersection(a, b);
      if (both === undefined) expect(JSON.stringify([a.constraints, b.constraints])).toContain('["y","z"]');
      else expect(covers(both, asked)).toBe(true);
    }),
    { numRuns: 20_000 },
  );
});

describe('what is handed on', () => {
  const one = (delegation?: object): AuthorityEntry =>
    ({
      type: 'mission_resource_access',
      resource: BASE,
      actions: ['pay'],
      ...(delegation && { delegation }),
    }) as never;
  const narrow = { max_depth: 1, allowed_delegates: [{ sub: 'a' }] };
  const wide = { max_depth: 2, allowed_delegates: [{ sub: 'a' }, { sub: 'b' }] };

  test.each([
    ['the narrower of two', wide, narrow, narrow],
    ['in either order', narrow, wide, narrow],
    ['nothing where one hands on nothing', wide, undefined, undefined],
    ['nothing where they cross', { ...wide, max_depth: 1 }, { ...narrow, max_depth: 2 }, undefined],
  ])('%s', (_, a, b, both) => {
    expect(intersection(one(a), one(b))?.delegation).toEqual(both);
  });
});
