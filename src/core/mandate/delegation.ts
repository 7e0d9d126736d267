/** What an entry lets be handed on: how far, and to whom. */
import { type Json, type JsonObject, isObject, member } from '../json.ts';

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
