/** What two entries cover together: the narrower of each of their members, where it can be told which that is. */
import type { JsonObject } from '../json.ts';
import { isWithin, parseResource } from '../uri.ts';
import { coversAction } from './authority.ts';
import { broaderConstraint } from './constraints.ts';
import { delegationFits, readDelegation } from './delegation.ts';
import type { AuthorityEntry } from './record.ts';

/** undefined where that is nothing, or cannot be told. */
export function intersection(a: AuthorityEntry, b: AuthorityEntry): AuthorityEntry | undefined {
  const place = isPlacedWithin(a, b) ? a : isPlacedWithin(b, a) ? b : undefined;
  const actions = [...new Set(a.actions.flatMap((action) => actionsWithin(action, b.actions)))];
  const constraints = constraintsOf(a.constraints ?? {}, b.constraints ?? {});
  if (place === undefined || actions.length === 0 || constraints === undefined) return undefined;
  const { type, resource, resource_match } = place;
  const delegation = delegationOf(a.delegation, b.delegation);
  return {
    type,
    resource,
    ...(resource_match === undefined ? {} : { resource_match }),
    actions,
    ...(Object.keys(constraints).length === 0 ? {} : { constraints }),
    ...(delegation === undefined ? {} : { delegation }),
  };
}

/** Whether all that `inner` speaks of lies in what `outer` speaks of. */
function isPlacedWithin(inner: AuthorityEntry, outer: AuthorityEntry): boolean {
  const [at, base] = [inner.resource, outer.resource].map((resource) => parseResource(resource));
  if (!('uri' in at!) || !('uri' in base!)) return false;
  if (outer.resource_match === 'prefix') return isWithin(at, base);
  return inner.resource_match !== 'prefix' && at.uri === base.uri;
}

function actionsWithin(action: string, others: readonly string[]): readonly string[] {
  if (others.some((other) => coversAction(other, action))) return [action];
  return others.filter((other) => coversAction(action, other));
}

/** Both hold: of what both name, the narrower. */
function constraintsOf(a: JsonObject, b: JsonObject): JsonObject | undefined {
  const both: Record<string, JsonObject[string]> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    if (!Object.hasOwn(a, key)) both[key] = value;
    else if (broaderConstraint({ [key]: a[key]! }, { [key]: value }) === undefined) continue;
    else if (broaderConstraint({ [key]: value }, { [key]: a[key]! }) === undefined) both[key] = value;
    else return undefined;
  }
  return both;
}

/** Nothing is handed on of which it cannot be told how much. */
function delegationOf(a: JsonObject | undefined, b: JsonObject | undefined): JsonObject | undefined {
  if (a === undefined || b === undefined) return undefined;
  if (delegationFits(a, readDelegation(b), 0)) return a;
  return delegationFits(b, readDelegation(a), 0) ? b : undefined;
}
