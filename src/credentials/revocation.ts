/** Tells an authorization server that a token of its is not to be used any more (RFC 7009). */
import { member, parseJson } from '../core/json.ts';
import type { Instant } from '../core/time.ts';
import { type ClientAuthentication, authenticate } from './client-authentication.ts';
import type { Poster } from './outbound.ts';
import type { Sealing } from './sealing.ts';

export type Revoked =
  | { readonly kind: 'revoked' }
  /** It will not, however often it is asked. */
  | { readonly kind: 'refused'; readonly detail: string }
  /** To be tried again. `concerns`: whether the others that wait for it must wait as well. */
  | { readonly kind: 'away'; readonly detail: string; readonly concerns: 'server' | 'token' };

export interface Revocation {
  readonly revoke: (token: string, at: Instant) => Promise<Revoked>;
  /** For what waits until the server answers. */
  readonly sealing: Sealing;
  readonly close: () => void;
}

/** Who we are is not believed, or we ask too much: that is not the token's doing. Any other status may be. */
const SERVER_TROUBLE = new Set([401, 403, 429, 503]);

export function createRevocation(poster: Poster, client: ClientAuthentication, sealing: Sealing): Revocation {
  return {
    sealing,
    close: poster.close,
    revoke: async (token, at) => {
      try {
        const { headers, form } = await authenticate(client, at);
        const { status, body } = await poster.post(
          { ...form, token, token_type_hint: 'access_token' },
          { ...headers, accept: 'application/json' },
        );
        if (status === 200) return { kind: 'revoked' };
        const parsed = parseJson(body);
        const error = parsed.ok ? member(parsed.value, 'error') : undefined;
        // Section 2.2.1: a server need not be able to revoke every kind of token.
        if (status === 400 && error === 'unsupported_token_type')
          return { kind: 'refused', detail: 'it does not revoke tokens of this type' };
        const concerns = SERVER_TROUBLE.has(status) ? 'server' : 'token';
        return { kind: 'away', detail: `the answer has status ${status}`, concerns };
      } catch (error) {
        return { kind: 'away', detail: (error as Error).message, concerns: 'server' };
      }
    },
  };
}
