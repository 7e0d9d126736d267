/** What an authorization server may put into a token under a mandate (check points `issue` and `refresh`). */
import { mayActUnder } from './actors.ts';
import type { CheckPoint } from './check-points.ts';
import type { Decision } from './decision.ts';
import { type Json, canonicalJson } from './json.ts';
import { coveredNow, replaces } from './mandate/attenuation.ts';
import { type EffectiveEntry, statedEntry } from './mandate/authority.ts';
import { intersection } from './mandate/intersection.ts';
import { type Lineage, effectiveEnd, ownOf } from './mandate/life.ts';
import type { AuthorityEntry, MandateRecord, MandateState } from './mandate/record.ts';
import type { Reason } from './reasons.ts';
import { formatTime } from './time.ts';

export type Issuance =
  | Required<Pick<Decision, 'authorization_details' | 'max_exp' | 'version' | 'mission'>>
  | { readonly refused: string };

interface Asked {
  readonly requested: readonly AuthorityEntry[] | undefined;
  /** To whom the token is to be issued; undefined where nobody says, or it is in hand already. */
  readonly client_id?: string | undefined;
  readonly is_refresh: boolean;
}

/**
 * Asked for nothing: all that the mandate covers now. Asked for more than that: a new token is refused, and a refresh,
 * which asks for what was granted once, gets what is left of it.
 */
export function issuanceOf(
  lineage: Lineage,
  wall_ms: number,
  { requested, client_id, is_refresh }: Asked,
): Issuance {
  const own = ownOf(lineage);
  const now = coveredNow(lineage, wall_ms).filter(({ entry }) => isFor(client_id, entry, own));
  const granted =
    requested === undefined ? now.map(statedEntry) : is_refresh ? remainderOf(requested, now) : requested;
  if (granted.length === 0) return { refused: 'nothing of what is asked for is covered any more' };
  const fit = replaces(granted, now);
  if (!fit.ok) return { refused: `authorization_details.${fit.index}: ${fit.why}` };
  const { id, issuer, authority_hash, version } = own;
  const max_exp = formatTime(effectiveEnd(lineage));
  return {
    authorization_details: granted,
    max_exp,
    version,
    mission: { id, issuer, authority_hash },
  };
}

/** Entries that are not handed on to a delegate are not in its token. */
function isFor(client_id: string | undefined, entry: AuthorityEntry, own: MandateRecord): boolean {
  if (client_id === undefined || client_id === own.client_id) return true;
  return mayActUnder(entry, [{ iss: own.client_issuer, sub: client_id }], own);
}

/** Of each entry that was granted: itself where it still fits, else what it and the entries now cover together; each once. */
function remainderOf(
  requested: readonly AuthorityEntry[],
  now: readonly EffectiveEntry[],
): readonly AuthorityEntry[] {
  const left = requested.flatMap((entry) => {
    if (replaces([entry], now).ok) return [entry];
    return now.map(statedEntry).flatMap((each) => intersection(entry, each) ?? []);
  });
  return [...new Map(left.map((entry) => [canonicalJson(entry as unknown as Json), entry])).values()];
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
