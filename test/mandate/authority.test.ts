/** The index over entries against a scan of them all, its dumb twin. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { effectiveEntries, matchEntry, matchLineage } from '../../src/core/mandate/authority.ts';
import type { Exercise } from '../../src/core/mandate/constraints.ts';
import type { AuthorityEntry } from '../../src/core/mandate/record.ts';
import { parseResource } from '../../src/core/uri.ts';
import { T0, record } from '../support/records.ts';

const path = fc
  .array(fc.constantFrom('a', 'b', 'ab'), { maxLength: 4 })
  .map((parts) => parts.map((part) => `/${part}`).join(''));
const uri = fc.oneof(
  fc
    .tuple(fc.constantFrom('https://x.example', 'https://y.example:8443'), path, fc.constantFrom('', '', '/'))
    .map((parts) => parts.join('')),
  fc.constantFrom('urn:a:b', 'urn:a:b:c'),
);
const actions = fc.subarray(['o.read', 'o.write', 'o.*', 'p.*', 'o.item.read'], { minLength: 1 });
const entry: fc.Arbitrary<AuthorityEntry> = fc
  .record({
    resource: uri,
    isPrefix: fc.boolean(),
    actions,
    constraints: fc.constantFrom(undefined, { tenant: 'acme' }, { colour: 'red' }),
  })
  .map(({ resource, isPrefix, actions: granted, constraints }) => ({
    type: 'mission_resource_access',
    resource,
    ...(isPrefix ? { resource_match: 'prefix' as const } : {}),
    actions: granted,
    ...(constraints === undefined ? {} : { constraints }),
  }));

test('finds what a scan finds, with the same entry and the same reason', () => {
  const given = fc.record({
    entries: fc.array(entry, { maxLength: 12 }),
    withdrawn: fc.subarray([0, 1, 2, 3]),
    asked: uri,
    action: fc.constantFrom('o.read', 'o.item.read', 'p.x', 'q.x'),
  });
  fc.assert(
    fc.property(given, ({ entries, withdrawn, asked, action }) => {
      const resource = parseResource(asked);
      if ('refused' in resource) throw new Error(resource.refused);
      const contained = withdrawn.map((index) => `sha-256:entry-${index}`);
      const own = record({ authority_set: entries, overlay: { contained, discharged: [], tightened: [] } });
      const exercise: Exercise = { action, parameters: {}, wall_ms: T0, is_approved: false };
      expect(matchLineage([own], resource, exercise)).toEqual(
        matchEntry(effectiveEntries(own), resource, exercise),
      );
    }),
    { numRuns: 5000 },
  );
});
