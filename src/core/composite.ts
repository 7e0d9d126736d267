/**
 * What an introspection says of a token and its mandate together (draft-mcguinness-oauth-mission, "Mission State via
 * Token Introspection"): active only if both are.
 */
import { type UsableCredential, joins } from './credential.ts';
import type { Settings } from './facts.ts';
import { issuanceOf } from './issuance.ts';
import type { Json, JsonObject } from './json.ts';
import { readDetails } from './mandate/authority.ts';
import { type Lineage, effectiveEnd, effectiveState, ownOf } from './mandate/life.ts';
import type { MandateState } from './mandate/record.ts';
import { actorsUnfit } from './mandate-verdict.ts';

/** The answer's members (RFC 7662 section 2.2), `mission` as the draft has it. */
export interface Composite {
  readonly active: boolean;
  readonly mission?: {
    readonly id: string;
    readonly issuer: string;
    readonly authority_hash: string;
    readonly state: MandateState;
    readonly version: number;
  };
  readonly [claim: string]: unknown;
}

/** A token that is none, or that is none of this mandate: nothing is said of any mandate. */
export const INACTIVE: Composite = { active: false };

export interface CompositeFacts {
  readonly credential: UsableCredential;
  readonly claims: JsonObject;
  readonly lineage: Lineage;
  readonly settings: Settings;
  readonly wall_ms: number;
}

/** Possession is not looked at: whoever is shown the token verifies its `cnf`. */
export function compositeOf({ credential, claims, lineage, settings, wall_ms }: CompositeFacts): Composite {
  const isTheirs = joins(credential, lineage) && actorsUnfit({ credential, settings }, lineage) === undefined;
  if (!isTheirs) return INACTIVE;
  const { id, issuer, authority_hash, version } = ownOf(lineage);
  const state = effectiveState(lineage, wall_ms);
  const mission = { id, issuer, authority_hash, state, version };
  const terms = credential.mission;
  const isOfTerms = typeof terms !== 'object' || terms.authority_hash === authority_hash;
  const granted = state === 'active' && isOfTerms ? grantedBy(credential, lineage, wall_ms) : undefined;
  if (granted === undefined) return { active: false, mission };
  const exp = Math.floor(Math.min(credential.expires_at_ms, effectiveEnd(lineage)) / 1000);
  return {
    active: true,
    ...kept(claims),
    iss: credential.issuer,
    sub: credential.subject,
    client_id: credential.client_id,
    exp,
    authorization_details: granted,
    mission,
  };
}

/** What the token and the mandate cover together; undefined where that is nothing, or cannot be told. */
function grantedBy({ authorization_details }: UsableCredential, lineage: Lineage, wall_ms: number) {
  const asked = authorization_details === undefined ? undefined : readDetails(authorization_details);
  if (asked === undefined && authorization_details !== undefined) return undefined;
  const issuance = issuanceOf(lineage, wall_ms, { requested: asked, is_refresh: true });
  return 'refused' in issuance ? undefined : issuance.authorization_details;
}

const KEPT = ['aud', 'iat', 'nbf', 'jti', 'scope', 'cnf', 'act', 'token_type', 'username'];

function kept(claims: JsonObject): Readonly<Record<string, Json>> {
  return Object.fromEntries(
    KEPT.flatMap((name) => (Object.hasOwn(claims, name) ? [[name, claims[name]!]] : [])),
  );
}
