/** The `oidc-provider` behind a test's authorization server: what is switched on, and where the gate stands. */
import { type Adapter, type Context, type Model, Provider, errors } from 'oidc-provider';
import { isObject } from '../../src/core/json.ts';
import type { RegisteredClient } from './authorization-server-clients.ts';
import { registerTokenExchange } from './authorization-server-exchange.ts';
import { type Basis, type Details, type Gate, Refusal } from './authorization-server-issuing.ts';
import type { SigningKeys } from './authorization-server-keys.ts';
import { mutualTls } from './authorization-server-tls.ts';

/** A resource server that tokens can be meant for. */
export interface ResourceOptions {
  /** RFC 9068 tokens, which it verifies by itself, or opaque ones, which it asks about. */
  readonly format: 'jwt' | 'opaque';
  readonly ttl_s?: number;
}

export interface Providing {
  readonly issuer: string;
  readonly algorithm: string;
  readonly keys: SigningKeys;
  readonly records: (model: string) => Adapter;
  readonly clients: ReadonlyMap<string, RegisteredClient>;
  readonly resources: Readonly<Record<string, ResourceOptions>>;
  readonly is_rotating: boolean;
  readonly gate: Gate;
  /** What a client acts under by itself, and what a refresh token was given for. */
  readonly ownBasis: (client_id: string) => Basis;
  readonly grantBasis: (grant_id: string) => Basis;
}

const DEFAULT_TTL_S = 3600;
const REFRESH_TTL_S = 14 * 24 * 3600;

export function createProvider(providing: Providing): Provider {
  const provider = new Provider(providing.issuer, configurationOf(providing));
  registerTokenExchange(provider, { ...providing, jwks: providing.keys.published });
  provider.on('grant.error', (ctx, error) => {
    // The library writes the members of RFC 6749 alone.
    if (error instanceof Refusal && error.mission_error !== undefined)
      ctx.body = { ...(ctx.body as object), mission_error: error.mission_error };
  });
  return provider;
}

function configurationOf(providing: Providing): object {
  const { algorithm, clients, records, gate } = providing;
  return {
    adapter: records,
    jwks: providing.keys.all(),
    clients: [...clients.values()].map(({ metadata }) => metadata),
    clientDefaults: {
      id_token_signed_response_alg: algorithm,
      introspection_signed_response_alg: algorithm,
    },
    clientAuthMethods: [
      'client_secret_basic',
      'private_key_jwt',
      'tls_client_auth',
      'self_signed_tls_client_auth',
    ],
    features: featuresOf(providing),
    findAccount: (_ctx: Context, sub: string) => ({ accountId: sub, claims: () => ({ sub }) }),
    issueRefreshToken: () => true,
    // The last thing that happens before a refresh token is consumed, and it may take its time.
    rotateRefreshToken: async (ctx: Context) => {
      await gate.pass(ctx, refreshBasis(ctx, providing));
      return providing.is_rotating;
    },
    extraTokenClaims: (ctx: Context) => gate.settled(ctx)?.claims,
    ttl: {
      AccessToken: (ctx: Context, token: Model) => lifetime(ctx, token, gate),
      ClientCredentials: (ctx: Context, token: Model) => lifetime(ctx, token, gate),
      RefreshToken: REFRESH_TTL_S,
      Grant: REFRESH_TTL_S,
    },
  };
}

function refreshBasis({ oidc }: Context, { grantBasis }: Providing): Basis {
  const { grantId, rar } = oidc.entities.RefreshToken!;
  return { ...grantBasis(grantId!), ...(rar === undefined ? {} : { granted: rar as Details }) };
}

/** Sets both ends itself: the library would add the lifetime to a second that may have come meanwhile. */
function lifetime(ctx: Context, token: Model, gate: Gate): number {
  const now_s = Math.floor(Date.now() / 1000);
  const own_s = now_s + (token.resourceServer?.accessTokenTTL ?? DEFAULT_TTL_S);
  token.iat = now_s;
  token.exp = Math.min(own_s, gate.settled(ctx)?.max_exp_s ?? Infinity);
  return token.exp - now_s;
}

function featuresOf(providing: Providing): object {
  const { gate, resources } = providing;
  return {
    devInteractions: { enabled: false },
    userinfo: { enabled: false },
    rpInitiatedLogout: { enabled: false },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    mTLS: mutualTls,
    introspection: { enabled: true, allowedPolicy: () => true },
    jwtIntrospection: { enabled: true },
    revocation: {
      enabled: true,
      allowedPolicy: (_ctx: Context, client: { clientId: string }, token: Model) =>
        token.clientId === client.clientId,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_ctx: Context, _client: unknown, oneOf?: string) =>
        oneOf ?? Object.keys(resources)[0],
      getResourceServerInfo: (ctx: Context, resource: string) => resourceInfo(ctx, resource, providing),
    },
    richAuthorizationRequests: {
      enabled: true,
      types: { mission_resource_access: { validate: validateEntry } },
      authorizationDetailsForGrantSource: (_ctx: Context, source: Model) => source.rar,
      authorizationDetailsForAccessToken: (ctx: Context) => gate.settled(ctx)?.authorization_details,
      authorizationDetailsForIntrospection: (_ctx: Context, token: Model) => token.rar,
    },
  };
}

async function resourceInfo(ctx: Context, resource: string, providing: Providing): Promise<object> {
  const { client, params } = ctx.oidc;
  const found = Object.hasOwn(providing.resources, resource) ? providing.resources[resource] : undefined;
  if (found === undefined) throw new errors.InvalidTarget();
  // Here a grant of client credentials waits for us, and no token has been made yet.
  if (params.grant_type === 'client_credentials')
    await providing.gate.pass(ctx, providing.ownBasis(client.clientId));
  return {
    scope: '',
    audience: resource,
    accessTokenTTL: found.ttl_s ?? DEFAULT_TTL_S,
    accessTokenFormat: providing.clients.get(client.clientId)?.format ?? found.format,
    jwt: { sign: { alg: providing.algorithm } },
  };
}

function validateEntry(_ctx: Context, entry: unknown): void {
  const { resource, actions } = isObject(entry as never) ? (entry as Record<string, unknown>) : {};
  if (typeof resource !== 'string' || !Array.isArray(actions))
    throw new errors.InvalidAuthorizationDetails('an entry has a resource and actions');
}
