/** How this product says who it is to an authorization server. */
import { randomUUID } from 'node:crypto';
import { type CryptoKey, SignJWT } from 'jose';
import type { Instant } from '../core/time.ts';

export type ClientAuthentication = { readonly client_id: string } & (
  | { readonly method: 'client_secret_basic'; readonly client_secret: string }
  | {
      readonly method: 'private_key_jwt';
      readonly key: CryptoKey;
      readonly alg: string;
      readonly kid: string | undefined;
      /** Whom the assertion is for: the issuer's identifier. */
      readonly audience: string;
    }
  | { readonly method: 'tls_client_auth' }
);

export interface Authenticated {
  readonly headers: Readonly<Record<string, string>>;
  readonly form: Readonly<Record<string, string>>;
}

const ASSERTION_LIFETIME_S = 60;
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export async function authenticate(client: ClientAuthentication, at: Instant): Promise<Authenticated> {
  const { client_id } = client;
  switch (client.method) {
    case 'client_secret_basic': {
      // RFC 6749 section 2.3.1: both are encoded before they are joined.
      const joined = [client_id, client.client_secret].map(formEncoded).join(':');
      return { headers: { authorization: `Basic ${Buffer.from(joined).toString('base64')}` }, form: {} };
    }
    case 'private_key_jwt': {
      const client_assertion = await assertion(client, at);
      return { headers: {}, form: { client_id, client_assertion_type: ASSERTION_TYPE, client_assertion } };
    }
    case 'tls_client_auth':
      return { headers: {}, form: { client_id } };
  }
}

function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}

/** RFC 7523 section 3. */
function assertion(
  { client_id, key, alg, kid, audience }: Extract<ClientAuthentication, { method: 'private_key_jwt' }>,
  { wall_ms }: Instant,
): Promise<string> {
  const now_s = Math.floor(wall_ms / 1000);
  return new SignJWT({ jti: randomUUID() })
    .setProtectedHeader({ alg, ...(kid === undefined ? {} : { kid }) })
    .setIssuer(client_id)
    .setSubject(client_id)
    .setAudience(audience)
    .setIssuedAt(now_s)
    .setExpirationTime(now_s + ASSERTION_LIFETIME_S)
    .sign(key);
}
