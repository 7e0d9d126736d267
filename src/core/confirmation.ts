/** What a token is bound to: its `cnf` claim (RFC 7800), a key (RFC 9449 section 6) or a certificate (RFC 8705 section 3.1). */
import { type Json, isObject } from './json.ts';

export interface Confirmation {
  /** The thumbprint of the key that must sign the proof (RFC 7638). */
  readonly jkt?: string;
  /** The thumbprint of the certificate that must be the client's. */
  readonly certificate_sha256?: string;
}

/** A SHA-256, base64url without padding. */
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;

/** Reads `cnf`. undefined where it binds to something that is not checked here: such a token must not pass for unbound. */
export function readConfirmation(cnf: Json | undefined): Confirmation | undefined {
  if (cnf === undefined) return {};
  if (!isObject(cnf)) return undefined;
  const { jkt, 'x5t#S256': x5t, ...others } = cnf;
  const isRead =
    Object.keys(others).length === 0 &&
    (jkt !== undefined || x5t !== undefined) &&
    [jkt, x5t].every((each) => each === undefined || (typeof each === 'string' && THUMBPRINT.test(each)));
  if (!isRead) return undefined;
  return {
    ...(jkt === undefined ? {} : { jkt: jkt as string }),
    ...(x5t === undefined ? {} : { certificate_sha256: x5t as string }),
  };
}

/** Whether an actor's own `cnf` names what the token is bound to: it is the actor that must hold it. */
export function isSameHolder(actor: Json | undefined, token: Confirmation): boolean {
  if (actor === undefined) return true;
  const own = readConfirmation(actor);
  return (
    own !== undefined &&
    (own.jkt === undefined || own.jkt === token.jkt) &&
    (own.certificate_sha256 === undefined || own.certificate_sha256 === token.certificate_sha256)
  );
}
