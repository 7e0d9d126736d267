/**
 * The judge of histories once more, dumb: every operation beside every other, each rule as it is said. It answers `AT
 * RULE`, and shares nothing with the judge but what the operations are.
 */
import type { Check, Final, Place, Rule, Seen } from './history.ts';

const ENDED = new Set<string | undefined>(['revoked', 'expired', 'completed', 'superseded', 'cascaded']);

const ordinal = ({ epoch, seq }: Place): number => epoch * 1e9 + seq;

/** It was answered that the mandate has ended. */
function hasEnded(seen: Seen, mandate: string): boolean {
  return seen.kind === 'write'
    ? seen.outcome === 'ok' && seen.ends.includes(mandate)
    : seen.mandate === mandate && ENDED.has(seen.state);
}

function place(seen: Seen): Place | undefined {
  if (seen.kind === 'check') return seen.freshness;
  return seen.outcome === 'ok' ? seen.place : undefined;
}

/** Whether it breaks a rule by itself. */
const ALONE: Partial<Record<Rule, (check: Check) => boolean>> = {
  'unproven allow': ({ effect, budget_ms, freshness }) => {
    const source = freshness?.source ?? 'none';
    return effect === 'allow' && (source === 'none' || (source === 'replica' && budget_ms === 0));
  },
  'false age': ({ freshness, budget_ms, effect, state, began, ended, is_clock_own }) => {
    if (freshness === undefined) return false;
    const { as_of_ms, evaluated_ms, age_ms } = freshness;
    const isUsed = effect === 'allow' || state !== undefined;
    const isOurs = is_clock_own !== true;
    return (
      freshness.budget_ms !== budget_ms ||
      evaluated_ms - as_of_ms > age_ms + 1 ||
      (isUsed && budget_ms !== 0 && age_ms > budget_ms) ||
      (isOurs && isUsed && budget_ms === 0 && as_of_ms < began.wall_ms) ||
      (isOurs && ended !== undefined && as_of_ms > ended.wall_ms)
    );
  },
};

/** Whether it breaks a rule beside another operation. */
const BESIDE: Partial<Record<Rule, (check: Check, other: Seen) => boolean>> = {
  'late allow': ({ effect, mandate, began, budget_ms }, other) =>
    effect === 'allow' &&
    hasEnded(other, mandate) &&
    other.ended !== undefined &&
    began.mono_ms > other.ended.mono_ms + budget_ms,
  'incomplete view': ({ freshness, is_clock_own }, other) => {
    const shown = place(other);
    if (freshness === undefined || is_clock_own === true || shown === undefined) return false;
    const isKnown = other.ended !== undefined && other.ended.wall_ms < freshness.as_of_ms;
    return isKnown && ordinal(shown) > ordinal(freshness);
  },
  'gone back': ({ freshness, sidecar, began }, other) =>
    freshness !== undefined &&
    other.kind === 'check' &&
    other.freshness !== undefined &&
    other.sidecar === sidecar &&
    other.ended !== undefined &&
    other.ended.mono_ms < began.mono_ms &&
    ordinal(other.freshness) > ordinal(freshness),
};

export function judgeSlowly(history: readonly Seen[], final?: Final): readonly string[] {
  const found = new Set<string>();
  history.forEach((seen, at) => {
    const say = (rule: Rule): unknown => found.add(`${at} ${rule}`);
    if (seen.kind === 'check') {
      for (const [rule, isBroken] of Object.entries(ALONE)) if (isBroken(seen)) say(rule as Rule);
      for (const [rule, isBroken] of Object.entries(BESIDE))
        if (history.some((other) => isBroken(seen, other))) say(rule as Rule);
      if (ENDED.has(seen.state) && !couldHaveEnded(seen.mandate, seen.ended?.mono_ms, history))
        say('end of nothing');
    }
    if (isSecond(seen, history.slice(0, at))) say('two histories');
    if (final !== undefined && isLost(seen, final)) say('lost');
  });
  for (const id of final?.ended ?? [])
    if (!couldHaveEnded(id, undefined, history)) found.add('-1 end of nothing');
  return [...found];
}

function couldHaveEnded(mandate: string, until: number | undefined, history: readonly Seen[]): boolean {
  return history.some(
    (other) =>
      other.kind === 'write' &&
      other.outcome !== 'refused' &&
      other.ends.includes(mandate) &&
      (until === undefined || other.began.mono_ms <= until),
  );
}

/** The first that names a place is believed. */
function isSecond(seen: Seen, before: readonly Seen[]): boolean {
  const own = place(seen);
  if (own === undefined) return false;
  const first = before.map(place).find((each) => each !== undefined && ordinal(each) === ordinal(own));
  return first !== undefined && first.eid !== own.eid;
}

function isLost(seen: Seen, { ended, log }: Final): boolean {
  const own = place(seen);
  const isGone = own !== undefined && own.seq > 0 && log.get(`${own.epoch}-${own.seq}`) !== own.eid;
  return isGone || ['m1', 'm2', 'm3'].some((id) => hasEnded(seen, id) && !ended.has(id));
}
