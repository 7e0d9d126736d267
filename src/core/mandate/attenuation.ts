/** Whether one set of authority lies inside another. What cannot be decided is not a subset. */
import { type Json, canonicalJson } from '../json.ts';
import { isWithin, parseResource } from '../uri.ts';
import { coversAction } from './authority.ts';
import type { AuthorityEntry } from './record.ts';

export type Subset =
  { readonly ok: true } | { readonly ok: false; readonly index: number; readonly detail: string };

/** Every entry of `inner` must fit inside one entry of `outer`; `index` names the first of `inner` that does not. */
export function isSubset(inner: readonly AuthorityEntry[], outer: readonly AuthorityEntry[]): Subset {
  for (const [index, entry] of inner.entries()) {
    if (!outer.some((candidate) => fitsInside(entry, candidate))) {
      return { ok: false, index, detail: 'the entry lies in no single entry of what was proposed' };
    }
  }
  return { ok: true };
}

function fitsInside(inner: AuthorityEntry, outer: AuthorityEntry): boolean {
  return (
    resourceFits(inner, outer) &&
    inner.actions.every((action) => outer.actions.some((granted) => coversAction(granted, action))) &&
    constraintsFit(inner, outer) &&
    delegationFits(inner, outer)
  );
}

function resourceFits(inner: AuthorityEntry, outer: AuthorityEntry): boolean {
  const [a, b] = [parseResource(inner.resource), parseResource(outer.resource)];
  if ('refused' in a || 'refused' in b) return false;
  if (outer.resource_match === 'prefix') return isWithin(a, b);
  return inner.resource_match !== 'prefix' && a.uri === b.uri;
}

/** Constraints are compared as they are written: a value that differs could be broader. */
function constraintsFit(inner: AuthorityEntry, outer: AuthorityEntry): boolean {
  return Object.entries(outer.constraints ?? {}).every(([key, value]) => {
    const kept = inner.constraints;
    return kept !== undefined && Object.hasOwn(kept, key) && sameJson(kept[key]!, value);
  });
}

function delegationFits(inner: AuthorityEntry, outer: AuthorityEntry): boolean {
  if (inner.delegation === undefined) return true;
  return outer.delegation !== undefined && sameJson(inner.delegation, outer.delegation);
}

function sameJson(a: Json, b: Json): boolean {
  return canonicalJson(a) === canonicalJson(b);
}
