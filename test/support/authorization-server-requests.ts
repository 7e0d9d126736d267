/** What clients and resource servers ask of a test's authorization server, in the words of `oauth4webapi`. */
import * as oauth from 'oauth4webapi';
import type { JsonObject } from '../../src/core/json.ts';
import { type RegisteredClient, TOKEN_EXCHANGE } from './authorization-server-clients.ts';
import { ACCESS_TOKEN } from './authorization-server-exchange.ts';
import type { Details } from './authorization-server-issuing.ts';
import type { Certificate } from './certificate.ts';
import { tlsFetch } from './tls-fetch.ts';

export interface TokenRequest {
  /** RFC 8707; default: the server's first. */
  readonly resource?: string;
  /** RFC 9396. */
  readonly authorization_details?: Details;
  /** RFC 9449: the key that the token is to be bound to. */
  readonly dpop?: oauth.CryptoKeyPair;
  /** RFC 8705: shown instead of the client's own certificate. */
  readonly certificate?: Pick<Certificate, 'cert' | 'key'>;
}

export interface TokenAnswer {
  readonly status: number;
  /** A token response (RFC 6749 section 5.1), or an error (section 5.2). */
  readonly body: JsonObject;
}

export interface Requests {
  readonly clientCredentials: (client_id: string, asked?: TokenRequest) => Promise<TokenAnswer>;
  readonly refresh: (client_id: string, refresh_token: string, asked?: TokenRequest) => Promise<TokenAnswer>;
  readonly exchange: (client_id: string, subject_token: string, asked?: TokenRequest) => Promise<TokenAnswer>;
  /** RFC 7662, or with `is_signed` RFC 9701, whose signature is verified. Opaque tokens alone: others say all by themselves. */
  readonly introspect: (
    client_id: string,
    token: string,
    is_signed?: boolean,
  ) => Promise<oauth.IntrospectionResponse>;
  /** RFC 7009. */
  readonly revoke: (client_id: string, token: string) => Promise<void>;
  /** RFC 9068 section 4, as a resource server verifies a bearer token; throws where it must be refused. */
  readonly verify: (token: string, audience: string) => Promise<oauth.JWTAccessTokenClaims>;
}

/** Whom the requests go to. */
export interface Asked {
  readonly server: oauth.AuthorizationServer;
  /** The certificate that is trusted, PEM; undefined in the clear. */
  readonly authority: string | undefined;
  readonly client: (client_id: string) => RegisteredClient;
}

export function createRequests(to: Asked): Requests {
  return {
    clientCredentials: (client_id, asked) => clientCredentials(to, to.client(client_id), asked),
    refresh: (client_id, refresh_token, asked) => refresh(to, to.client(client_id), refresh_token, asked),
    exchange: (client_id, subject_token, asked) => exchange(to, to.client(client_id), subject_token, asked),
    introspect: (client_id, token, is_signed) => introspect(to, to.client(client_id), token, is_signed),
    revoke: async (client_id, token) => {
      const client = to.client(client_id);
      const options = connection(to, client.certificate);
      await oauth.processRevocationResponse(
        await oauth.revocationRequest(to.server, client.metadata, client.proof, token, options),
      );
    },
    verify: (token, audience) => {
      const shown = new Request(audience, { headers: { authorization: `Bearer ${token}` } });
      return oauth.validateJwtAccessToken(to.server, shown, audience, connection(to));
    },
  };
}

async function clientCredentials(
  to: Asked,
  client: RegisteredClient,
  asked: TokenRequest = {},
): Promise<TokenAnswer> {
  const options = optionsOf(to, client, asked);
  const sent = await oauth.clientCredentialsGrantRequest(
    to.server,
    client.metadata,
    client.proof,
    parametersOf(asked),
    options,
  );
  return answered(sent, () => oauth.processClientCredentialsResponse(to.server, client.metadata, sent));
}

async function refresh(
  to: Asked,
  client: RegisteredClient,
  refresh_token: string,
  asked: TokenRequest = {},
): Promise<TokenAnswer> {
  const options = { ...optionsOf(to, client, asked), additionalParameters: parametersOf(asked) };
  const sent = await oauth.refreshTokenGrantRequest(
    to.server,
    client.metadata,
    client.proof,
    refresh_token,
    options,
  );
  return answered(sent, () => oauth.processRefreshTokenResponse(to.server, client.metadata, sent));
}

async function exchange(
  to: Asked,
  client: RegisteredClient,
  subject_token: string,
  asked: TokenRequest = {},
): Promise<TokenAnswer> {
  const types = { subject_token_type: ACCESS_TOKEN, requested_token_type: ACCESS_TOKEN };
  const sent = await oauth.genericTokenEndpointRequest(
    to.server,
    client.metadata,
    client.proof,
    TOKEN_EXCHANGE,
    { ...parametersOf(asked), ...types, subject_token },
    optionsOf(to, client, asked),
  );
  return answered(sent, () => oauth.processGenericTokenEndpointResponse(to.server, client.metadata, sent));
}

async function introspect(
  to: Asked,
  client: RegisteredClient,
  token: string,
  is_signed = false,
): Promise<oauth.IntrospectionResponse> {
  const options = { ...connection(to, client.certificate), requestJwtResponse: is_signed };
  const sent = await oauth.introspectionRequest(to.server, client.metadata, client.proof, token, options);
  const body = await oauth.processIntrospectionResponse(to.server, client.metadata, sent);
  if (is_signed) await oauth.validateApplicationLevelSignature(to.server, sent, connection(to));
  return body;
}

function optionsOf(to: Asked, client: RegisteredClient, { dpop, certificate }: TokenRequest) {
  const options = connection(to, certificate ?? client.certificate);
  return dpop === undefined ? options : { ...options, DPoP: oauth.DPoP({}, dpop) };
}

function connection({ authority }: Asked, shown?: Pick<Certificate, 'cert' | 'key'>) {
  if (authority === undefined) return { [oauth.allowInsecureRequests]: true };
  const fetch = (url: string, sent: oauth.CustomFetchOptions<string, URLSearchParams | undefined>) =>
    tlsFetch(url, sent, authority, shown);
  return { [oauth.customFetch]: fetch };
}

function parametersOf({ resource, authorization_details: details }: TokenRequest): Record<string, string> {
  return {
    ...(resource === undefined ? {} : { resource }),
    ...(details === undefined ? {} : { authorization_details: JSON.stringify(details) }),
  };
}

/** A token response must be what RFC 6749 says; an error is an answer like any other. */
async function answered(sent: Response, read: () => Promise<object>): Promise<TokenAnswer> {
  const { status } = sent;
  if (status === 200) return { status, body: (await read()) as JsonObject };
  const body = (await sent.json()) as JsonObject;
  if (body.error === 'server_error') throw new Error('the authorization server has failed');
  return { status, body };
}
