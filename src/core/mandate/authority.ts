/** What a mandate covers now, and whether a request lies inside. One function for every reader of authority. */
import { type Json, isObject, member } from '../json.ts';
import { type ResourceUri, isWithin, parseResource } from '../uri.ts';
import { type Lineage, effectiveEnd, ownOf } from './life.ts';
import type { AuthorityEntry } from './record.ts';

export interface EffectiveEntry {
  readonly entry: AuthorityEntry;
  /** Commitment of the entry as it was approved. */
  readonly digest: string;
}

export interface EffectiveAuthority {
  readonly entries: readonly EffectiveEntry[];
  /** Earliest end of the mandate and its ancestors, epoch ms. */
  readonly expires_at_ms: number;
}

export function effectiveAuthority(lineage: Lineage): EffectiveAuthority {
  const own = ownOf(lineage);
  const entries = own.authority_set.map((entry, index) => ({ entry, digest: own.entry_digests[index]! }));
  return { entries, expires_at_ms: effectiveEnd(lineage) };
}

/** True when an entry's action, a literal or a family `x.*`, covers the action. */
export function coversAction(granted: string, action: string): boolean {
  return granted.endsWith('.*') ? action.startsWith(granted.slice(0, -1)) : granted === action;
}

/** True when the entry's resource and actions cover the request; its constraints are another question. */
function covers(entry: AuthorityEntry, action: string, resource: ResourceUri): boolean {
  if (!entry.actions.some((granted) => coversAction(granted, action))) return false;
  const base = parseResource(entry.resource);
  if ('refused' in base) return false;
  return entry.resource_match === 'prefix' ? isWithin(resource, base) : base.uri === resource.uri;
}

export type EntryMatch =
  | { readonly matched: EffectiveEntry }
  | { readonly reason: 'out_of_authority' | 'constraint_unsupported'; readonly detail: string };

/**
 * The first entry that covers the request with all of its constraints. Entries are alternative grants, so one that
 * fails does not spoil another. A constraint that is not enforced yet, or is not known, fails closed.
 */
export function matchEntry(authority: EffectiveAuthority, action: string, resource: ResourceUri): EntryMatch {
  let unmet: string | undefined;
  for (const candidate of authority.entries) {
    if (!covers(candidate.entry, action, resource)) continue;
    const key = Object.keys(candidate.entry.constraints ?? {})[0];
    if (key === undefined) return { matched: candidate };
    unmet ??= key;
  }
  return unmet === undefined
    ? { reason: 'out_of_authority', detail: 'no entry covers this action on this resource' }
    : { reason: 'constraint_unsupported', detail: `the constraint \`${unmet}\` cannot be enforced` };
}

export type TokenBound =
  | { readonly within: true }
  | {
      readonly within: false;
      readonly reason: 'out_of_authority' | 'unsupported_authorization_type' | 'constraint_unsupported';
      readonly detail: string;
    };

/**
 * A token's `authorization_details` (RFC 9396) bound the request as well: one of its entries must cover it. Every
 * type in the token must be understood, since an unknown one may be a restriction.
 */
export function withinToken(details: Json | undefined, action: string, resource: ResourceUri): TokenBound {
  if (details === undefined) return { within: true };
  const entries = Array.isArray(details) ? (details as readonly Json[]).map(readTokenEntry) : [undefined];
  if (entries.includes(undefined)) {
    const detail = 'the token carries authorization details that are not understood';
    return { within: false, reason: 'unsupported_authorization_type', detail };
  }
  const authority = {
    entries: entries.map((entry) => ({ entry: entry!, digest: '' })),
    expires_at_ms: Infinity,
  };
  const match = matchEntry(authority, action, resource);
  return 'matched' in match ? { within: true } : { within: false, ...match };
}

const TOKEN_ENTRY_MEMBERS = new Set([
  'type',
  'resource',
  'resource_match',
  'actions',
  'constraints',
  'delegation',
]);

function readTokenEntry(value: Json): AuthorityEntry | undefined {
  const actions = member(value, 'actions');
  const constraints = member(value, 'constraints');
  const match = member(value, 'resource_match');
  const understood =
    isObject(value) &&
    Object.keys(value).every((name) => TOKEN_ENTRY_MEMBERS.has(name)) &&
    value.type === 'mission_resource_access' &&
    typeof value.resource === 'string' &&
    (match === undefined || match === 'exact' || match === 'prefix') &&
    Array.isArray(actions) &&
    actions.every((action) => typeof action === 'string') &&
    (constraints === undefined || isObject(constraints));
  return understood ? (value as unknown as AuthorityEntry) : undefined;
}
