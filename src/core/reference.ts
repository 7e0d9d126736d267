/**
 * Which mandate a request is about. A reference selects; it never grants.
 * Carriage: draft-mcguinness-mission-authority-server, "HTTP Carriage: Mission-Reference".
 */
import { type Json, isObject, member } from './json.ts';

export interface Reference {
  readonly id: string;
  readonly issuer: string;
}

/** A source of a reference: nothing there, something that cannot be read, or a reference. */
export type ReferenceSource<T extends Reference = Reference> = 'absent' | 'malformed' | T;

/** The `mission` claim of a verified token (draft-mcguinness-oauth-mission, "The Mission Claim"). */
export interface MissionClaim extends Reference {
  readonly authority_hash: string;
}

const MAX_ID_LENGTH = 256;
const MAX_ISSUER_LENGTH = 512;

/**
 * The field is an RFC 9651 Dictionary closed to two String members without parameters, so its whole grammar is this
 * one expression. A general parser would keep the last of two equal keys, which the draft forbids.
 */
const STRING = String.raw`"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"`;
const FIELD = new RegExp(String.raw`^ *(id|issuer)=${STRING}[ \t]*,[ \t]*(id|issuer)=${STRING}[ \t]*$`);

/** Reads the field lines of one request; exactly one line is well-formed. */
export function parseMissionReference(lines: readonly string[]): ReferenceSource {
  if (lines.length === 0) return 'absent';
  const match = lines.length === 1 ? FIELD.exec(lines[0]!) : null;
  if (match === null || match[1] === match[3]) return 'malformed';
  const members = new Map([
    [match[1], unescape(match[2]!)],
    [match[3], unescape(match[4]!)],
  ]);
  return bounded({ id: members.get('id')!, issuer: members.get('issuer')! });
}

function unescape(text: string): string {
  return text.replace(/\\(["\\])/g, '$1');
}

function bounded<T extends Reference>(reference: T): T | 'malformed' {
  const { id, issuer } = reference;
  const fits = id !== '' && id.length <= MAX_ID_LENGTH && issuer !== '' && issuer.length <= MAX_ISSUER_LENGTH;
  return fits ? reference : 'malformed';
}

/** Reads the claim as it stands in a token's payload; `undefined` when the token has none. */
export function parseMissionClaim(claim: Json | undefined): ReferenceSource<MissionClaim> {
  if (claim === undefined) return 'absent';
  const [id, issuer, authority_hash] = ['id', 'issuer', 'authority_hash'].map((name) => member(claim, name));
  const isRead =
    isObject(claim) &&
    typeof id === 'string' &&
    typeof issuer === 'string' &&
    typeof authority_hash === 'string';
  return isRead ? bounded({ id, issuer, authority_hash }) : 'malformed';
}

export type NamedBy = 'claim' | 'header' | 'question';

export type Resolved =
  | { readonly reference: Reference; readonly named_by: NamedBy; readonly authority_hash?: string }
  | { readonly reason: 'mission_context_missing' | 'mission_reference_conflict' };

/** Exactly one reference, in the order of trust: the verified claim, then what the request selects. */
export function resolveReference(
  claim: ReferenceSource<MissionClaim>,
  selected: ReferenceSource,
  selected_by: 'header' | 'question',
): Resolved {
  if (claim === 'absent') {
    if (selected === 'absent' || selected === 'malformed') return { reason: 'mission_context_missing' };
    return { reference: selected, named_by: selected_by };
  }
  // A claim that cannot be read must not let the request choose instead.
  if (claim === 'malformed') {
    return { reason: selected === 'absent' ? 'mission_context_missing' : 'mission_reference_conflict' };
  }
  if (selected !== 'absent' && (selected === 'malformed' || !same(claim, selected))) {
    return { reason: 'mission_reference_conflict' };
  }
  const { id, issuer, authority_hash } = claim;
  return { reference: { id, issuer }, named_by: 'claim', authority_hash };
}

function same(a: Reference, b: Reference): boolean {
  return a.id === b.id && a.issuer === b.issuer;
}
