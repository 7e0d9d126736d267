/** Judges a history: each rule in one pass over it, sorted as the rule needs it. */
import {
  type Check,
  type Fault,
  type Final,
  type Place,
  type Seen,
  endsOf,
  isBefore,
  isEnd,
  isJudged,
  placeName,
  placeOf,
} from './history.ts';

type Found = Iterable<Fault>;
type Numbered<T extends Seen = Seen> = readonly [seen: T, at: number];

/** Every operation that a fleet which keeps its promises could not have shown. */
export function judgeHistory(history: readonly Seen[], final?: Final): readonly Fault[] {
  const all: readonly Numbered[] = history.map((seen, at) => [seen, at]);
  const checks = all.filter((each): each is Numbered<Check> => each[0].kind === 'check');
  return [
    ...lateAllows(all, checks),
    ...checks.flatMap(([check, at]) => [...unproven(check, at), ...falseAge(check, at)]),
    ...incompleteViews(all, checks),
    ...goneBack(checks),
    ...twoHistories(all),
    ...endsOfNothing(all, final),
    ...(final === undefined ? [] : lost(all, final)),
  ];
}

function* lateAllows(all: readonly Numbered[], checks: readonly Numbered<Check>[]): Found {
  const known = new Map<string, number>();
  for (const [seen] of all) {
    const since = seen.ended?.mono_ms ?? Infinity;
    for (const id of endsOf(seen)) known.set(id, Math.min(since, known.get(id) ?? Infinity));
  }
  for (const [{ effect, mandate, began, budget_ms, sidecar }, at] of checks) {
    const late_ms = began.mono_ms - (known.get(mandate) ?? Infinity) - budget_ms;
    if (effect !== 'allow' || late_ms <= 0) continue;
    const why = `${sidecar} allowed ${mandate} ${budget_ms + late_ms} ms after its end was known, of ${budget_ms}`;
    yield { rule: 'late allow', at, why };
  }
}

function* unproven({ effect, budget_ms, freshness, sidecar, mandate }: Check, at: number): Found {
  if (effect !== 'allow') return;
  const sources = budget_ms === 0 ? ['barrier', 'embedded'] : ['barrier', 'embedded', 'replica'];
  if (freshness !== undefined && sources.includes(freshness.source)) return;
  const why = `${sidecar} allowed ${mandate} from ${freshness?.source ?? 'nothing'}`;
  yield { rule: 'unproven allow', at, why };
}

/** The wall clock counts whole milliseconds, so that it can be one behind. */
const TICK_MS = 1;

function* falseAge(check: Check, at: number): Found {
  const { freshness, began, ended, budget_ms, sidecar } = check;
  if (freshness === undefined) return;
  const { as_of_ms, evaluated_ms, age_ms } = freshness;
  const wrong = [
    ...(freshness.budget_ms === budget_ms ? [] : [`a budget of ${freshness.budget_ms} ms, not ${budget_ms}`]),
    ...(age_ms + TICK_MS < evaluated_ms - as_of_ms
      ? [`an age of ${age_ms} ms, ${evaluated_ms - as_of_ms} by its own times`]
      : []),
    ...(isJudged(check) && budget_ms > 0 && age_ms > budget_ms ? [`an age of ${age_ms} ms`] : []),
    ...(check.is_clock_own === true ? [] : againstClock()),
  ];
  for (const each of wrong) yield { rule: 'false age', at, why: `${sidecar} shows ${each}` };

  function againstClock(): readonly string[] {
    const early = isJudged(check) && budget_ms === 0 && as_of_ms < began.wall_ms;
    const late = ended !== undefined && as_of_ms > ended.wall_ms;
    return [
      ...(early ? [`a view of ${began.wall_ms - as_of_ms} ms before it was asked`] : []),
      ...(late ? [`a view of after its answer`] : []),
    ];
  }
}

function* incompleteViews(all: readonly Numbered[], checks: readonly Numbered<Check>[]): Found {
  const shown = all.flatMap(([seen]) => {
    const place = placeOf(seen);
    return place === undefined || seen.ended === undefined ? [] : [{ place, since: seen.ended.wall_ms }];
  });
  const evidence = shown.toSorted((a, b) => a.since - b.since);
  const proven = checks.filter(([each]) => each.freshness !== undefined && each.is_clock_own !== true);
  let [next, furthest]: [number, Place | undefined] = [0, undefined];
  for (const [{ freshness, sidecar }, at] of byTime(proven, ({ freshness: each }) => each!.as_of_ms)) {
    for (; next < evidence.length && evidence[next]!.since < freshness!.as_of_ms; next += 1) {
      furthest = further(furthest, evidence[next]!.place);
    }
    if (furthest === undefined || !isBefore(freshness!, furthest)) continue;
    const why = `${sidecar} shows all up to ${placeName(freshness!)} at a time when ${placeName(furthest)} was known`;
    yield { rule: 'incomplete view', at, why };
  }
}

function* goneBack(checks: readonly Numbered<Check>[]): Found {
  for (const own of Map.groupBy(checks, ([{ sidecar }]) => sidecar).values()) {
    const shown = own.filter(([{ freshness }]) => freshness !== undefined);
    const answered = byTime(
      shown.filter(([{ ended }]) => ended !== undefined),
      ({ ended }) => ended!.mono_ms,
    );
    let [next, furthest]: [number, Place | undefined] = [0, undefined];
    for (const [{ freshness, began, sidecar }, at] of byTime(shown, (each) => each.began.mono_ms)) {
      for (; next < answered.length && answered[next]![0].ended!.mono_ms < began.mono_ms; next += 1) {
        furthest = further(furthest, answered[next]![0].freshness!);
      }
      if (furthest === undefined || !isBefore(freshness!, furthest)) continue;
      const why = `${sidecar} stands at ${placeName(freshness!)} after ${placeName(furthest)}`;
      yield { rule: 'gone back', at, why };
    }
  }
}

function* twoHistories(all: readonly Numbered[]): Found {
  const eids = new Map<string, string>();
  for (const [seen, at] of all) {
    const place = placeOf(seen);
    if (place === undefined) continue;
    const first = eids.get(placeName(place)) ?? place.eid;
    eids.set(placeName(place), first);
    if (first !== place.eid) yield { rule: 'two histories', at, why: `another entry at ${placeName(place)}` };
  }
}

/** An end is seen, and no write that could have brought it about had been begun by then. */
function* endsOfNothing(all: readonly Numbered[], final: Final | undefined): Found {
  const possible = new Map<string, number>();
  for (const [seen] of all) {
    if (seen.kind === 'check' || seen.outcome === 'refused') continue;
    for (const id of seen.ends) possible.set(id, Math.min(seen.began.mono_ms, possible.get(id) ?? Infinity));
  }
  for (const [seen, at] of all) {
    if (seen.kind === 'write' || !isEnd(seen.state)) continue;
    const since = possible.get(seen.mandate);
    if (since !== undefined && since <= (seen.ended?.mono_ms ?? Infinity)) continue;
    yield { rule: 'end of nothing', at, why: `${seen.mandate} is ${seen.state}, and nobody has ended it` };
  }
  for (const id of final?.ended ?? []) {
    if (possible.has(id)) continue;
    yield { rule: 'end of nothing', at: -1, why: `${id} has ended in the end, and nobody has ended it` };
  }
}

/** Acknowledged, or shown to somebody, and not there when all is over. */
function* lost(all: readonly Numbered[], final: Final): Found {
  for (const [seen, at] of all) {
    for (const id of endsOf(seen)) {
      if (!final.ended.has(id)) yield { rule: 'lost', at, why: `${id} had ended, and has not in the end` };
    }
    const place = placeOf(seen);
    const kept = place === undefined ? undefined : final.log.get(placeName(place));
    if (place === undefined || place.seq === 0 || kept === place.eid) continue;
    yield { rule: 'lost', at, why: `there is ${kept ?? 'nothing'} at ${placeName(place)}, not ${place.eid}` };
  }
}

function byTime<T extends Seen>(
  all: readonly Numbered<T>[],
  when: (seen: T) => number,
): readonly Numbered<T>[] {
  return all.toSorted(([a], [b]) => when(a) - when(b));
}

const further = (a: Place | undefined, b: Place): Place => (a === undefined || isBefore(a, b) ? b : a);
