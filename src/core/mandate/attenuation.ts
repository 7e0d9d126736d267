/**
 * Whether one set of authority lies inside another, with the entry that justifies it or the first reason it fails.
 * What cannot be decided is not a subset.
 */
import { type Refused, type ResourceUri, isWithin, parseResource } from '../uri.ts';
import { type EffectiveEntry, coversAction, effectiveEntries, statedEntry } from './authority.ts';
import { isWithheld } from './condition-standing.ts';
import { delegationFits, readDelegation } from './delegation.ts';
import { type Lineage, ownOf } from './life.ts';
import { broaderConstraint } from './constraints.ts';
import type { AuthorityEntry } from './record.ts';

/** Where in the two sets the comparison ended. */
export type Fit =
  /** `by[i]` is the index of the outer entry that holds the inner entry `i`. */
  | { readonly ok: true; readonly by: readonly number[] }
  /** `index` names the first inner entry that fits nowhere, and `why` what was wrong with the nearest. */
  | { readonly ok: false; readonly index: number; readonly why: string };

/** Every entry of `inner` must fit inside one entry of `outer`, and be as `further` asks. */
export function fitsInside(
  inner: readonly AuthorityEntry[],
  outer: readonly EffectiveEntry[],
  further: (entry: AuthorityEntry, candidate: EffectiveEntry) => Misfit | undefined = () => undefined,
): Fit {
  const by: number[] = [];
  for (const [index, entry] of inner.entries()) {
    const at = parseResource(entry.resource);
    let best: Misfit | undefined;
    const found = outer.findIndex((candidate) => {
      const why = misfit(entry, at, candidate) ?? further(entry, candidate);
      if (why !== undefined && (best === undefined || why.step > best.step)) best = why;
      return why === undefined;
    });
    if (found === -1) return { ok: false, index, why: best?.why ?? 'there is nothing to be inside of' };
    by.push(found);
  }
  return { ok: true, by };
}

/** The entries that count now: what is left of each, where every mandate above still holds it. */
export function coveredNow(lineage: Lineage, wall_ms: number): readonly EffectiveEntry[] {
  if (isWithheld(lineage, wall_ms)) return [];
  const living = effectiveEntries(ownOf(lineage)).filter((each) => !each.is_withdrawn);
  const above = lineage.slice(0, -1).map((record) => effectiveEntries(record));
  return living.filter((each) => above.every((outer) => fitsInside([statedEntry(each)], outer).ok));
}

interface Misfit {
  /** How far the comparison came: the further, the nearer. */
  readonly step: number;
  readonly why: string;
}

function misfit(inner: AuthorityEntry, at: ResourceUri | Refused, outer: EffectiveEntry): Misfit | undefined {
  if (outer.is_withdrawn) return { step: 0, why: 'the entry was withdrawn' };
  if (!resourceFits(inner, at, outer)) return { step: 1, why: 'the resource is not inside' };
  const action = inner.actions.find(
    (each) => !outer.entry.actions.some((granted) => coversAction(granted, each)),
  );
  if (action !== undefined) return { step: 2, why: `the action \`${action}\` is not inside` };
  const own = inner.constraints ?? {};
  const broader = outer.constraints
    .map((each) => broaderConstraint(own, each))
    .find((key) => key !== undefined);
  if (broader !== undefined) return { step: 3, why: `the constraint \`${broader}\` is missing or broader` };
  return undefined;
}

/** Normalised, at a path segment; a prefix never fits inside an exact resource. */
function resourceFits(
  inner: AuthorityEntry,
  at: ResourceUri | Refused,
  { entry, base }: EffectiveEntry,
): boolean {
  if ('refused' in at || base === undefined) return false;
  if (entry.resource_match === 'prefix') return isWithin(at, base);
  return inner.resource_match !== 'prefix' && at.uri === base.uri;
}

/** `fitsInside` for terms that take the place of others: what may be handed on is a part of them. */
export function replaces(inner: readonly AuthorityEntry[], outer: readonly EffectiveEntry[]): Fit {
  return fitsInside(inner, outer, (entry, { entry: { delegation } }) => {
    const isLess = delegationFits(entry.delegation, readDelegation(delegation), 0);
    return isLess ? undefined : { step: 4, why: 'it would hand on more than it may' };
  });
}
