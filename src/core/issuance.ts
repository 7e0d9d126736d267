/** What an authorization server may put into a token under a mandate (check points `issue` and `refresh`). */
import type { CheckPoint } from './check-points.ts';
import type { Decision } from './decision.ts';
import { type Json, canonicalJson } from './json.ts';
import { coveredNow, fitsInside, replaces } from './mandate/attenuation.ts';
import { type EffectiveEntry, approvedEntry, statedEntry } from './mandate/authority.ts';
import { type Lineage, effectiveEnd, ownOf } from './mandate/life.ts';
import type { AuthorityEntry, MandateState } from './mandate/record.ts';
import type { Reason } from './reasons.ts';
import { formatTime } from './time.ts';

export type Issuance =
  Required<Pick<Decision, 'authorization_details' | 'max_exp' | 'version'>> | { readonly refused: string };

/**
 * Asked for nothing: all that the mandate covers now. Asked for more than that: a new token is refused, and a refresh,
 * which asks for what was granted once, gets what is left of it.
 */
export function issuanceOf(
  lineage: Lineage,
  wall_ms: number,
  requested: readonly AuthorityEntry[] | undefined,
  is_refresh: boolean,
): Issuance {
  const now = coveredNow(lineage, wall_ms);
  const own = ownOf(lineage);
  const granted =
    requested === undefined ? now.map(statedEntry) : is_refresh ? remainderOf(requested, now) : requested;
  if (granted.length === 0) return { refused: 'nothing of what is asked for is covered any more' };
  const fit = replaces(granted, now);
  if (!fit.ok) return { refused: `authorization_details.${fit.index}: ${fit.why}` };
  const max_exp = formatTime(effectiveEnd(lineage));
  return { authorization_details: granted, max_exp, version: own.version };
}

/** Of each entry that was granted: itself where it still fits, else what is covered inside of it; each once. */
function remainderOf(
  requested: readonly AuthorityEntry[],
  now: readonly EffectiveEntry[],
): readonly AuthorityEntry[] {
  const kept = requested.filter((entry) => replaces([entry], now).ok);
  const rest = requested.filter((entry) => !kept.includes(entry)).map(approvedEntry);
  const inside = now.map(statedEntry).filter((each) => fitsInside([each], rest).ok);
  return [
    ...new Map(
      [...kept, ...inside].map((entry) => [canonicalJson(entry as unknown as Json), entry]),
    ).values(),
  ];
}

/** Points at which an authorization server asks. */
export const ISSUING: ReadonlySet<CheckPoint> = new Set(['issue', 'refresh']);

/** What an authorization server answers its client with, where the mission is why there is no token. */
export function issuanceError(
  reason: Reason,
  state: MandateState | undefined,
): Pick<Decision, 'error' | 'mission_error'> {
  switch (reason) {
    case 'state_unavailable':
    case 'stale_state':
    case 'internal_error':
      return { error: 'temporarily_unavailable', mission_error: 'temporarily_unavailable' };
    case 'out_of_authority':
      return { error: 'invalid_authorization_details', mission_error: 'invalid_authorization_details' };
    default: {
      const isEnded = reason === 'mission_inactive' && state !== undefined;
      return { error: 'invalid_grant', mission_error: isEnded ? `mission_${state}` : reason };
    }
  }
}
