/** Token exchange (RFC 8693) at a test's authorization server: a grant type that `oidc-provider` leaves to its users. */
import { type JSONWebKeySet, type JWTPayload, createLocalJWKSet, jwtVerify } from 'jose';
import { type Context, type Model, type Provider, errors } from 'oidc-provider';
import {
  applyAuthorizationDetails,
  buildTokenResponse,
  checkDpopReplay,
  checkDpopRequired,
  checkMtlsCert,
  resolveRequestedResources,
  validateDpop,
} from 'oidc-provider/lib/helpers/grants.js';
import type { JsonObject } from '../../src/core/json.ts';
import { TOKEN_EXCHANGE } from './authorization-server-clients.ts';
import type { Basis, Details, Gate, MissionClaim } from './authorization-server-issuing.ts';

export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

const PARAMETERS = [
  'audience',
  'resource',
  'scope',
  'requested_token_type',
  'subject_token',
  'subject_token_type',
  'actor_token',
  'actor_token_type',
  'authorization_details',
];

export interface Exchanging {
  readonly issuer: string;
  readonly gate: Gate;
  /** The keys whose signatures count now. */
  readonly jwks: () => JSONWebKeySet;
}

export function registerTokenExchange(provider: Provider, exchanging: Exchanging): void {
  const handle = (ctx: Context) => exchange(provider, ctx, exchanging);
  provider.registerGrantType(TOKEN_EXCHANGE, handle, PARAMETERS, ['audience', 'resource']);
}

async function exchange(provider: Provider, ctx: Context, exchanging: Exchanging): Promise<void> {
  const { client } = ctx.oidc;
  const proof = await validateDpop(provider, ctx);
  const certificate = checkMtlsCert(provider, ctx);
  checkDpopRequired(provider, ctx, proof);
  const basis = await basisOf(provider, ctx, exchanging);
  const [resource] = await resolveRequestedResources(provider, ctx);
  await exchanging.gate.pass(ctx, basis);
  const token = new provider.AccessToken({ accountId: basis.subject, client, gty: 'token_exchange' });
  token.resourceServer = resource;
  await checkDpopReplay(provider, ctx, proof, client.clientId);
  if (proof !== undefined) token.setThumbprint('jkt', proof.thumbprint);
  if (certificate !== undefined) token.setThumbprint('x5t', certificate);
  await applyAuthorizationDetails(provider, ctx, token);
  ctx.oidc.entity('AccessToken', token);
  ctx.body = buildTokenResponse(provider, await responseParts(token));
}

async function responseParts(token: Model) {
  return {
    accessToken: await token.save(),
    authorizationDetails: token.rar,
    expiresIn: token.expiration,
    issuedTokenType: ACCESS_TOKEN,
    tokenType: token.tokenType,
  };
}

/**
 * The subject stays. Whoever asks is the current actor, unless it is the token's own client, and who acted before stands
 * inside.
 */
async function basisOf(provider: Provider, ctx: Context, exchanging: Exchanging): Promise<Basis> {
  const { params, client } = ctx.oidc;
  const token = params.subject_token;
  if (token === undefined || params.subject_token_type !== ACCESS_TOKEN)
    throw new errors.InvalidRequest('subject_token must be an access token');
  const { sub, client_id, ...claims } = await readSubject(provider, token, exchanging);
  const mission = claims.mission as MissionClaim | undefined;
  const granted = claims.authorization_details as Details | undefined;
  const act = chainOf(claims.act as JsonObject | undefined, client_id as string, client.clientId);
  return {
    subject: sub!,
    ...(mission === undefined ? {} : { mission }),
    ...(granted === undefined ? {} : { granted }),
    ...(act === undefined ? {} : { act }),
  };
}

/** RFC 8693 section 4.1: the outermost actor is the current one. */
function chainOf(before: JsonObject | undefined, from: string, to: string): JsonObject | undefined {
  if (from === to) return before;
  return { sub: to, ...(before === undefined ? {} : { act: before }) };
}

async function readSubject(
  provider: Provider,
  token: string,
  { issuer, jwks }: Exchanging,
): Promise<JWTPayload> {
  try {
    const checked = { issuer, typ: 'at+jwt' };
    return (await jwtVerify(token, createLocalJWKSet(jwks()), checked)).payload;
  } catch {
    const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
    if (found === undefined) throw new errors.InvalidRequest('subject_token is not acceptable');
    const { accountId, clientId, rar, extra } = found;
    return { ...extra, sub: accountId ?? clientId!, client_id: clientId, authorization_details: rar };
  }
}
