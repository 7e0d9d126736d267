/** What a change of a mandate took away, and what it gave: two versions of one record side by side. */
import { canonicalJson } from '../json.ts';
import type { Json, JsonObject } from '../json.ts';
import { type EffectiveEntry, effectiveEntries } from './authority.ts';
import type { AuthorityEntry, MandateRecord, MandateState } from './record.ts';

export interface Difference {
  readonly from: number;
  readonly to: number;
  /** Entries that are covered no more, with what withdrew them. */
  readonly taken: readonly {
    readonly entry: AuthorityEntry;
    readonly by: 'contained' | 'discharged' | 'amended';
  }[];
  /** Entries that are covered with more constraints: those that were added. */
  readonly tightened: readonly { readonly entry: AuthorityEntry; readonly constraints: JsonObject }[];
  /** Entries of an amendment that were not there as such. */
  readonly given: readonly AuthorityEntry[];
  readonly state?: readonly [MandateState, MandateState];
  /** RFC 3339, before and after. */
  readonly expires_at?: readonly [string, string];
}

export function differenceOf(before: MandateRecord, after: MandateRecord): Difference {
  const [was, is] = [living(before), living(after)];
  const [ended, ends] = [endOf(before), endOf(after)];
  return {
    from: before.version,
    to: after.version,
    taken: was
      .filter(({ digest }) => !is.some((each) => each.digest === digest))
      .map(({ entry, digest }) => ({ entry, by: withdrawnBy(digest, after) })),
    tightened: is.flatMap((each) => {
      const earlier = was.find(({ digest }) => digest === each.digest);
      const constraints = earlier === undefined ? undefined : added(earlier, each);
      return constraints === undefined ? [] : [{ entry: each.entry, constraints }];
    }),
    given: is.filter(({ digest }) => !was.some((each) => each.digest === digest)).map(({ entry }) => entry),
    ...(before.state === after.state ? {} : { state: [before.state, after.state] as const }),
    ...(ended === ends ? {} : { expires_at: [ended, ends] as const }),
  };
}

function living(record: MandateRecord): readonly EffectiveEntry[] {
  return effectiveEntries(record).filter((each) => !each.is_withdrawn);
}

function endOf({ overlay, expires_at }: MandateRecord): string {
  return overlay.expires_at ?? expires_at;
}

function withdrawnBy(digest: string, { overlay }: MandateRecord): 'contained' | 'discharged' | 'amended' {
  if (overlay.contained.includes(digest)) return 'contained';
  return overlay.discharged.some(({ entry }) => entry === digest) ? 'discharged' : 'amended';
}

/** Constraints of the later one that the earlier one had not, or had otherwise; undefined where there are none. */
function added(earlier: EffectiveEntry, later: EffectiveEntry): JsonObject | undefined {
  const [was, is] = [earlier, later].map(
    ({ constraints }) => Object.assign({}, ...constraints) as JsonObject,
  );
  const names = Object.keys(is!).filter(
    (name) => canonicalJson(is![name]!) !== canonicalJson(was![name] ?? ABSENT),
  );
  return names.length === 0 ? undefined : Object.fromEntries(names.map((name) => [name, is![name]!]));
}

const ABSENT: Json = [];
