/** The clients of a test's authorization server, and what each of them proves itself with. */
import { X509Certificate, createPublicKey, randomBytes } from 'node:crypto';
import { type JWK, exportJWK, generateKeyPair } from 'jose';
import * as oauth from 'oauth4webapi';
import { type Certificate, certify } from './certificate.ts';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

export type ClientAuthentication =
  'client_secret_basic' | 'private_key_jwt' | 'tls_client_auth' | 'self_signed_tls_client_auth';

export interface ClientOptions {
  readonly client_id: string;
  /** Default: `client_secret_basic`. The two of RFC 8705 need a server with TLS. */
  readonly authentication?: ClientAuthentication;
  /** What each of its tokens must be bound to. Without it a token is bound where the client shows a DPoP proof. */
  readonly bound_to?: 'dpop' | 'certificate';
  /** Which tokens it gets, whatever the resource server is set to. */
  readonly format?: 'jwt' | 'opaque';
}

export interface RegisteredClient extends ClientOptions {
  readonly authentication: ClientAuthentication;
  readonly client_secret?: string;
  /** Of `private_key_jwt`. */
  readonly private_key?: oauth.CryptoKey;
  readonly private_jwk?: JWK;
  /** What it shows to a server with TLS; of those that need one. */
  readonly certificate?: Certificate;
  /** How it says to any endpoint who it is. */
  readonly proof: oauth.ClientAuth;
  /** RFC 7591 metadata, as the server knows it. */
  readonly metadata: oauth.Client;
}

/** One that acts, another that it may hand on to, and a resource server that asks about tokens. */
export const DEFAULT_CLIENTS: readonly ClientOptions[] = [
  { client_id: 'agent-1' },
  { client_id: 'agent-2', authentication: 'private_key_jwt' },
  { client_id: 'resource-server' },
];

/** `folder`: where certificates go. */
export async function registerClient(options: ClientOptions, folder: string): Promise<RegisteredClient> {
  const { client_id, authentication = 'client_secret_basic', bound_to } = options;
  const isTls = authentication.endsWith('tls_client_auth') || bound_to === 'certificate';
  const certificate = isTls ? certify(folder, client_id) : undefined;
  const credential = await credentialOf(authentication, client_id, certificate);
  return {
    ...options,
    authentication,
    ...(certificate === undefined ? {} : { certificate }),
    ...credential.own,
    proof: credential.proof,
    metadata: {
      ...commonMetadata(client_id),
      ...credential.metadata,
      token_endpoint_auth_method: authentication,
      dpop_bound_access_tokens: bound_to === 'dpop',
      tls_client_certificate_bound_access_tokens: bound_to === 'certificate',
    },
  };
}

function commonMetadata(client_id: string): oauth.Client {
  return {
    client_id,
    redirect_uris: [],
    response_types: [],
    grant_types: ['client_credentials', 'refresh_token', TOKEN_EXCHANGE],
    authorization_details_types: ['mission_resource_access'],
  };
}

interface Credential {
  readonly proof: oauth.ClientAuth;
  readonly own: Partial<RegisteredClient>;
  readonly metadata: object;
}

async function credentialOf(
  authentication: ClientAuthentication,
  client_id: string,
  certificate: Certificate | undefined,
): Promise<Credential> {
  switch (authentication) {
    case 'client_secret_basic': {
      const client_secret = randomBytes(32).toString('base64url');
      const proof = oauth.ClientSecretBasic(client_secret);
      return { proof, own: { client_secret }, metadata: { client_secret } };
    }
    case 'private_key_jwt':
      return keyCredential();
    case 'tls_client_auth':
      return {
        proof: oauth.TlsClientAuth(),
        own: {},
        metadata: { tls_client_auth_subject_dn: `CN=${client_id}` },
      };
    case 'self_signed_tls_client_auth':
      return {
        proof: oauth.TlsClientAuth(),
        own: {},
        metadata: { jwks: { keys: [certificateJwk(certificate!)] } },
      };
  }
}

async function keyCredential(): Promise<Credential> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const kid = crypto.randomUUID();
  const named = { kid, alg: 'ES256', use: 'sig' };
  return {
    proof: oauth.PrivateKeyJwt({ key: privateKey, kid }),
    own: { private_key: privateKey, private_jwk: { ...(await exportJWK(privateKey)), ...named } },
    metadata: { jwks: { keys: [{ ...(await exportJWK(publicKey)), ...named }] } },
  };
}

/** RFC 8705 section 2.2.2: the certificate stands in the client's keys, as `x5c`. */
function certificateJwk({ cert }: Certificate): object {
  const { raw } = new X509Certificate(cert);
  return { ...createPublicKey(cert).export({ format: 'jwk' }), x5c: [raw.toString('base64')] };
}

/** RFC 8705 section 3.1: `x5t#S256` of what a client shows. */
export function thumbprintOf({ fingerprint256 }: X509Certificate): string {
  return Buffer.from(fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
}
