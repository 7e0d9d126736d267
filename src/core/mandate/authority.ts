/**
 * What a mandate covers now, and whether a request lies inside. One function for every reader of authority: it is cut
 * by what was contained, discharged or tightened, in the mandate and in every ancestor.
 */
import { type Json, type JsonObject, isObject, member } from '../json.ts';
import { type ResourceUri, isWithin, parseResource } from '../uri.ts';
import { type Exercise, type Unmet, unmetConstraint } from './constraints.ts';
import { type Lineage, ownOf } from './life.ts';
import type { AuthorityEntry, MandateRecord } from './record.ts';

/** An entry as it counts now. */
export interface EffectiveEntry {
  readonly entry: AuthorityEntry;
  /** Commitment of the entry as it was approved. */
  readonly digest: string;
  /** Normalised; undefined where it cannot be read, which covers nothing. */
  readonly base: ResourceUri | undefined;
  /** The approved constraints, and those that it was tightened by. */
  readonly constraints: readonly JsonObject[];
  /** Contained or discharged: it covers nothing any more. */
  readonly is_withdrawn: boolean;
}

/** Records are immutable, so what is made from one is kept with it: checks ask again and again. */
const known = new WeakMap<MandateRecord, readonly EffectiveEntry[]>();

/** Every entry of one mandate with what its overlay leaves of it, its ancestors aside. */
export function effectiveEntries(record: MandateRecord): readonly EffectiveEntry[] {
  const kept = known.get(record);
  if (kept !== undefined) return kept;
  const made = record.authority_set.map((entry, index) =>
    effectiveEntry(entry, record.entry_digests[index]!, record),
  );
  known.set(record, made);
  return made;
}

function effectiveEntry(entry: AuthorityEntry, digest: string, { overlay }: MandateRecord): EffectiveEntry {
  const tightened = overlay.tightened.filter((each) => each.entry === digest);
  const constraints = [entry.constraints ?? {}, ...tightened.map((each) => each.constraints)];
  const is_withdrawn =
    overlay.contained.includes(digest) || overlay.discharged.some((each) => each.entry === digest);
  return { entry, digest, base: baseOf(entry), constraints, is_withdrawn };
}

/** An entry as it stands in a proposal or a token: nothing was taken from it. */
export function approvedEntry(entry: AuthorityEntry): EffectiveEntry {
  return {
    entry,
    digest: '',
    base: baseOf(entry),
    constraints: [entry.constraints ?? {}],
    is_withdrawn: false,
  };
}

function baseOf(entry: AuthorityEntry): ResourceUri | undefined {
  const base = parseResource(entry.resource);
  return 'refused' in base ? undefined : base;
}

/** True when an entry's action, a literal or a family `x.*`, covers the action. */
export function coversAction(granted: string, action: string): boolean {
  return granted.endsWith('.*') ? action.startsWith(granted.slice(0, -1)) : granted === action;
}

/** True when the entry's resource and actions cover the request; its constraints are another question. */
function covers({ entry, base }: EffectiveEntry, action: string, resource: ResourceUri): boolean {
  if (base === undefined || !entry.actions.some((granted) => coversAction(granted, action))) return false;
  return entry.resource_match === 'prefix' ? isWithin(resource, base) : base.uri === resource.uri;
}

export interface Uncovered {
  readonly reason: Unmet | 'authority_contained';
  readonly detail: string;
}

export type EntryMatch = { readonly matched: EffectiveEntry } | Uncovered;

/**
 * The first entry that covers the request with all of its constraints. Entries are alternative grants, so one that
 * fails does not spoil another; the first failure is told when none is left.
 */
export function matchEntry(
  entries: readonly EffectiveEntry[],
  resource: ResourceUri,
  exercise: Exercise,
): EntryMatch {
  let failure: Uncovered | undefined;
  for (const candidate of entries) {
    if (!covers(candidate, exercise.action, resource)) continue;
    const why = candidate.is_withdrawn ? WITHDRAWN : unmet(candidate, exercise);
    if (why === undefined) return { matched: candidate };
    // That a constraint failed says more than that another entry was withdrawn.
    if (failure === undefined || failure === WITHDRAWN) failure = why;
  }
  return failure ?? { reason: 'out_of_authority', detail: 'no entry covers this action on this resource' };
}

const WITHDRAWN: Uncovered = {
  reason: 'authority_contained',
  detail: 'the entry that covered this was withdrawn',
};

function unmet(candidate: EffectiveEntry, exercise: Exercise): Uncovered | undefined {
  for (const constraints of candidate.constraints) {
    const failed = unmetConstraint(constraints, exercise);
    if (failed !== undefined)
      return { reason: failed.reason, detail: `the constraint \`${failed.key}\` is not met` };
  }
  return undefined;
}

/** The entry of the mandate itself; every ancestor must cover the request as well, so its narrowing cuts at once. */
export function matchLineage(lineage: Lineage, resource: ResourceUri, exercise: Exercise): EntryMatch {
  const own = matchEntry(effectiveEntries(ownOf(lineage)), resource, exercise);
  if ('reason' in own) return own;
  for (const ancestor of lineage.slice(0, -1)) {
    const match = matchEntry(effectiveEntries(ancestor), resource, exercise);
    if ('reason' in match) return match;
  }
  return own;
}

export type TokenBound =
  | { readonly within: true }
  | {
      readonly within: false;
      readonly reason: Uncovered['reason'] | 'unsupported_authorization_type';
      readonly detail: string;
    };

/**
 * A token's `authorization_details` (RFC 9396) bound the request as well: one of its entries must cover it. Every
 * type in the token must be understood, since an unknown one may be a restriction.
 */
export function withinToken(
  details: Json | undefined,
  resource: ResourceUri,
  exercise: Exercise,
): TokenBound {
  if (details === undefined) return { within: true };
  const entries = Array.isArray(details) ? (details as readonly Json[]).map(readTokenEntry) : [undefined];
  if (entries.includes(undefined)) {
    const detail = 'the token carries authorization details that are not understood';
    return { within: false, reason: 'unsupported_authorization_type', detail };
  }
  const bounds = entries.map((entry) => approvedEntry(entry!));
  const match = matchEntry(bounds, resource, exercise);
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
