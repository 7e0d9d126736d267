/**
 * Whether one set of authority lies inside another, with the entry that justifies it or the first reason it fails.
 * What cannot be decided is not a subset.
 */
import { type Json, type JsonObject, isObject, member } from '../json.ts';
import { type Refused, type ResourceUri, isWithin, parseResource } from '../uri.ts';
import { type EffectiveEntry, coversAction, effectiveEntries, statedEntry } from './authority.ts';
import { isWithheld } from './condition-standing.ts';
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

/** `delegation` of an entry; a limit that is not there is not a limit of 0. */
export interface Delegation {
  readonly max_depth: number;
  readonly allowed_delegates: readonly string[];
  readonly max_children: number;
  readonly max_child_depth: number;
}

const MEMBERS = new Set(['max_depth', 'allowed_delegates', 'children']);
const CHILD_MEMBERS = new Set(['max_children', 'max_child_depth']);

/** Reads `{max_depth, allowed_delegates: [{sub}], children?}`; undefined where it has not this shape, which permits nothing. */
export function readDelegation(value: JsonObject | undefined): Delegation | undefined {
  const children = member(value, 'children') ?? {};
  if (value === undefined || !isObject(children)) return undefined;
  const isClosed =
    Object.keys(value).every((name) => MEMBERS.has(name)) &&
    Object.keys(children).every((name) => CHILD_MEMBERS.has(name));
  const [max_depth, max_children, max_child_depth] = [
    value.max_depth,
    children.max_children,
    children.max_child_depth,
  ].map(count);
  const allowed_delegates = readDelegates(value.allowed_delegates);
  if (!isClosed || max_depth === undefined || allowed_delegates === undefined) return undefined;
  if (max_children === undefined || max_child_depth === undefined) return undefined;
  return { max_depth, allowed_delegates, max_children, max_child_depth };
}

/** A count, or without bound where there is none; undefined for anything else. */
function count(value: Json | undefined): number | undefined {
  if (value === undefined) return Infinity;
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

/** Only `sub` counts: a profile is what a client says of itself. */
function readDelegates(value: Json | undefined): readonly string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return (value as readonly Json[]).flatMap((each) => {
    const sub = member(each, 'sub');
    return typeof sub === 'string' ? [sub] : [];
  });
}

/** True when `inner` hands on no more than `outer`, so many generations further down. */
export function delegationFits(
  inner: JsonObject | undefined,
  outer: Delegation | undefined,
  generations: 0 | 1,
): boolean {
  if (inner === undefined) return true;
  const own = readDelegation(inner);
  return (
    own !== undefined &&
    outer !== undefined &&
    own.max_depth <= outer.max_depth &&
    own.allowed_delegates.every((sub) => outer.allowed_delegates.includes(sub)) &&
    own.max_children <= outer.max_children &&
    own.max_child_depth <= outer.max_child_depth - generations
  );
}

/** `fitsInside` for terms that take the place of others: what may be handed on is a part of them. */
export function replaces(inner: readonly AuthorityEntry[], outer: readonly EffectiveEntry[]): Fit {
  return fitsInside(inner, outer, (entry, { entry: { delegation } }) => {
    const isLess = delegationFits(entry.delegation, readDelegation(delegation), 0);
    return isLess ? undefined : { step: 4, why: 'it would hand on more than it may' };
  });
}
