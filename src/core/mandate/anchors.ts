/** Commitments (draft-mcguinness-oauth-mission, "Integrity Anchors"). */
import { type Json, canonicalJson } from '../json.ts';
import type { AnchorType, AnchoredValue, Digest } from './record.ts';

/** `sha-256:` + base64url(SHA-256(JCS({typ, iss, value}))); the array order of `value` counts. */
export function anchor(digest: Digest, iss: string, typ: AnchorType, value: AnchoredValue): string {
  return digest(canonicalJson({ typ, iss, value: value as Json }));
}
