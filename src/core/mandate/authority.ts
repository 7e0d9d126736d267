/**
 * What a mandate covers now, and whether a request lies inside. One function for every reader of authority: it is cut
 * by what was contained, discharged or tightened, in the mandate and in every ancestor.
 */
import { type Above, type Chain, mayActUnder } from '../actors.ts';
import { type Json, type JsonObject, isObject, member } from '../json.ts';
import { type ResourceUri, isWithin, parseResource } from '../uri.ts';
import { type Exercise, type Unmet, unmetConstraint } from './constraints.ts';
import { isWithheld } from './condition-standing.ts';
import { type Lineage, ownOf } from './life.ts';
import type { AuthorityEntry, MandateRecord } from './record.ts';

/** An entry as it counts now. */
export interface EffectiveEntry {
  /** Its place among the entries of its mandate. */
  readonly index: number;
  readonly entry: AuthorityEntry;
  /** Commitment of the entry as it was approved. */
  readonly digest: string;
  /** Normalised; undefined where it cannot be read, which covers nothing. */
  readonly base: ResourceUri | undefined;
  /** Actions as they are looked up: the literals, and what the actions of its families begin with. */
  readonly literals: ReadonlySet<string>;
  readonly families: readonly string[];
  /** The approved constraints, and those that it was tightened by. */
  readonly constraints: readonly JsonObject[];
  /** Contained or discharged: it covers nothing any more. */
  readonly is_withdrawn: boolean;
}

interface Index {
  readonly entries: readonly EffectiveEntry[];
  /** By what a resource below them begins with. */
  readonly prefixes: ReadonlyMap<string, readonly EffectiveEntry[]>;
  readonly exact: ReadonlyMap<string, readonly EffectiveEntry[]>;
}

/** Records are immutable, so what is made from one is kept with it: checks ask again and again. */
const known = new WeakMap<MandateRecord, Index>();

function indexOf(record: MandateRecord): Index {
  const kept = known.get(record);
  if (kept !== undefined) return kept;
  const entries = record.authority_set.map((entry, index) => {
    return effectiveEntry(entry, index, record);
  });
  const [prefix, exact] = [true, false].map((isPrefix) => {
    return entries.filter(({ entry }) => (entry.resource_match === 'prefix') === isPrefix);
  }) as [EffectiveEntry[], EffectiveEntry[]];
  const made: Index = {
    entries,
    prefixes: Map.groupBy(prefix, ({ base }) => base?.below ?? base?.uri ?? ''),
    exact: Map.groupBy(exact, ({ base }) => base?.uri ?? ''),
  };
  known.set(record, made);
  return made;
}

/** Every entry of one mandate with what its overlay leaves of it, its ancestors aside. */
export function effectiveEntries(record: MandateRecord): readonly EffectiveEntry[] {
  return indexOf(record).entries;
}

/** What entries that could hold the resource are filed under: the resource itself, and each `/` on the way to it. */
function keysOf({ uri, below, path }: ResourceUri): readonly string[] {
  if (below === undefined) return [uri];
  const keys: string[] = [];
  for (let at = uri.length - path.length; at !== -1; at = uri.indexOf('/', at + 1))
    keys.push(uri.slice(0, at + 1));
  if (below !== uri) keys.push(below);
  return keys;
}

/** The entries of a mandate that could hold the resource, in the mandate's order. */
function candidates(
  record: MandateRecord,
  { uri }: ResourceUri,
  keys: readonly string[],
): readonly EffectiveEntry[] {
  const { prefixes, exact } = indexOf(record);
  const found = [...(exact.get(uri) ?? [])];
  for (const key of keys) {
    const filed = prefixes.get(key);
    if (filed !== undefined) found.push(...filed);
  }
  return found.length > 1 ? found.toSorted((a, b) => a.index - b.index) : found;
}

function effectiveEntry(entry: AuthorityEntry, index: number, record: MandateRecord): EffectiveEntry {
  const { contained, discharged, tightened } = record.overlay;
  const digest = record.entry_digests[index]!;
  const approved = approvedEntry(entry, index);
  const added = tightened.filter((each) => each.entry === digest).map((each) => each.constraints);
  const is_withdrawn = contained.includes(digest) || discharged.some((each) => each.entry === digest);
  return { ...approved, digest, constraints: [...approved.constraints, ...added], is_withdrawn };
}

/** An entry as it stands in a proposal or a token: nothing was taken from it. */
export function approvedEntry(entry: AuthorityEntry, index: number): EffectiveEntry {
  return {
    index,
    entry,
    digest: '',
    base: baseOf(entry),
    literals: new Set(entry.actions.filter((action) => !isFamily(action))),
    families: entry.actions.filter(isFamily).map((family) => family.slice(0, -1)),
    constraints: entry.constraints === undefined ? [] : [entry.constraints],
    is_withdrawn: false,
  };
}

/** An entry as a proposal or a token would state it: with what it was tightened by. */
export function statedEntry({ entry, constraints }: EffectiveEntry): AuthorityEntry {
  // Each tightening is inside what it tightens, key by key, so the last value of a key is the narrowest.
  return constraints.length === 0 ? entry : { ...entry, constraints: Object.assign({}, ...constraints) };
}

function isFamily(action: string): boolean {
  return action.endsWith('.*');
}

function baseOf(entry: AuthorityEntry): ResourceUri | undefined {
  const base = parseResource(entry.resource);
  return 'refused' in base ? undefined : base;
}

/** True when an entry's action, a literal or a family `x.*`, covers the action. */
export function coversAction(granted: string, action: string): boolean {
  return isFamily(granted) ? action.startsWith(granted.slice(0, -1)) : granted === action;
}

/** True when the entry's resource and actions cover the request; its constraints are another question. */
function covers(
  { entry, base, literals, families }: EffectiveEntry,
  action: string,
  resource: ResourceUri,
): boolean {
  if (base === undefined) return false;
  const isThere = entry.resource_match === 'prefix' ? isWithin(resource, base) : base.uri === resource.uri;
  return isThere && (literals.has(action) || families.some((family) => action.startsWith(family)));
}

export interface Uncovered {
  readonly reason: Unmet | 'authority_contained' | 'actor_invalid';
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
  acting: Acting = NOBODY_ELSE,
): EntryMatch {
  let failure: Uncovered | undefined;
  for (const candidate of entries) {
    if (!covers(candidate, exercise.action, resource)) continue;
    const why = candidate.is_withdrawn ? WITHDRAWN : unmet(candidate, exercise, acting);
    if (why === undefined) return { matched: candidate };
    // That a constraint failed says more than that another entry was withdrawn.
    if (failure === undefined || failure === WITHDRAWN) failure = why;
  }
  return failure ?? { reason: 'out_of_authority', detail: 'no entry covers this action on this resource' };
}

/** Who acts below the client of the mandate. */
export interface Acting {
  readonly hops: Chain;
  readonly above: Above;
}

const NOBODY_ELSE: Acting = { hops: [], above: { depth: 0, client_issuer: '' } };

const NOT_HANDED_ON: Uncovered = {
  reason: 'actor_invalid',
  detail: 'the entry that covers this does not hand it on to these actors',
};

const WITHDRAWN: Uncovered = {
  reason: 'authority_contained',
  detail: 'the entry that covered this was withdrawn',
};

const WITHHELD: Uncovered = {
  reason: 'authority_contained',
  detail: 'a condition of the mandate does not hold',
};

function unmet(
  candidate: EffectiveEntry,
  exercise: Exercise,
  { hops, above }: Acting,
): Uncovered | undefined {
  if (!mayActUnder(candidate.entry, hops, above)) return NOT_HANDED_ON;
  for (const constraints of candidate.constraints) {
    const failed = unmetConstraint(constraints, exercise);
    if (failed !== undefined)
      return { reason: failed.reason, detail: `the constraint \`${failed.key}\` is not met` };
  }
  return undefined;
}

/** The entry of the mandate itself; every ancestor must cover the request as well, so its narrowing cuts at once. */
export function matchLineage(
  lineage: Lineage,
  resource: ResourceUri,
  exercise: Exercise,
  hops: Chain = [],
): EntryMatch {
  if (isWithheld(lineage, exercise.wall_ms)) return WITHHELD;
  const keys = keysOf(resource);
  const record = ownOf(lineage);
  const acting = { hops, above: record };
  const own = matchEntry(candidates(record, resource, keys), resource, exercise, acting);
  if ('reason' in own) return own;
  for (const ancestor of lineage.slice(0, -1)) {
    // What an ancestor does not hand on, or not any more, nobody below it does.
    const match = matchEntry(candidates(ancestor, resource, keys), resource, exercise, acting);
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
  const entries = readDetails(details);
  if (entries === undefined) {
    const detail = 'the token carries authorization details that are not understood';
    return { within: false, reason: 'unsupported_authorization_type', detail };
  }
  const bounds = entries.map(approvedEntry);
  const match = matchEntry(bounds, resource, exercise);
  return 'matched' in match ? { within: true } : { within: false, ...match };
}

/** undefined unless every one of them is understood. */
export function readDetails(details: Json): readonly AuthorityEntry[] | undefined {
  const entries = Array.isArray(details) ? (details as readonly Json[]).map(readTokenEntry) : [undefined];
  return entries.includes(undefined) ? undefined : (entries as readonly AuthorityEntry[]);
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
