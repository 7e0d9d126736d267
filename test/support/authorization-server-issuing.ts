/** What an authorization server does before it issues: it asks whom it must ask, and keeps to the answer. */
import { isDeepStrictEqual } from 'node:util';
import { calculateJwkThumbprint, decodeProtectedHeader } from 'jose';
import { type Context, errors } from 'oidc-provider';
import type { JsonObject } from '../../src/core/json.ts';
import { thumbprintOf } from './authorization-server-clients.ts';
import { shownCertificate } from './authorization-server-tls.ts';

/** As the token carries it (draft-mcguinness-oauth-mission, "The Mission Claim"). */
export interface MissionClaim {
  readonly id: string;
  readonly issuer: string;
  readonly authority_hash: string;
}

export type Details = readonly JsonObject[];

/** What an issuance rests on, from the server's own records: a client never says which mission it acts under. */
export interface Basis {
  readonly subject: string;
  readonly mission?: MissionClaim;
  /** RFC 8693 section 4.1: who acts for the subject. */
  readonly act?: JsonObject;
  /** What was granted once: with the refresh token, or in the token that is exchanged. */
  readonly granted?: Details;
}

/** One issuance that is about to happen. */
export interface Issuing extends Basis {
  readonly grant_type: string;
  readonly client_id: string;
  /** `authorization_details` of the request itself. */
  readonly requested?: Details;
  /** RFC 7800: what the token will be bound to. */
  readonly cnf?: { readonly jkt: string } | { readonly 'x5t#S256': string };
}

export interface Permitted {
  /** Default: what was requested, else what was granted. */
  readonly authorization_details?: Details;
  /** RFC 3339: the token ends then, or sooner. */
  readonly max_exp?: string;
  /** Default: that of the basis. */
  readonly mission?: MissionClaim;
  /** More claims, over those that the server would set by itself. */
  readonly claims?: JsonObject;
}

export interface Refused {
  readonly error: string;
  readonly mission_error?: string;
}

export type BeforeIssue = (issuing: Issuing) => Promise<Permitted | Refused>;

/** What one token will have. */
interface Settled {
  readonly authorization_details: Details | undefined;
  readonly max_exp_s: number;
  readonly claims: JsonObject;
}

/** An OAuth error that says what became of the mission; `temporarily_unavailable` is a 503. */
export class Refusal extends errors.OIDCProviderError {
  readonly mission_error: string | undefined;

  constructor({ error, mission_error }: Refused) {
    super(error === 'temporarily_unavailable' ? 503 : 400, error);
    this.expose = true;
    this.mission_error = mission_error;
  }
}

export interface Gate {
  /** Asks once for each request; throws a refusal before anything is consumed or kept. */
  readonly pass: (ctx: Context, basis: Basis) => Promise<void>;
  readonly settled: (ctx: Context) => Settled | undefined;
}

const asGranted: BeforeIssue = () => Promise.resolve({});

export function createGate(beforeIssue: BeforeIssue = asGranted): Gate {
  const passed = new WeakMap<Context, Settled>();
  const pass: Gate['pass'] = async (ctx, basis) => {
    if (passed.has(ctx)) return;
    const issuing = await issuingOf(ctx, basis);
    if (!isWithinGrant(issuing)) throw new Refusal({ error: 'invalid_authorization_details' });
    const answer = await beforeIssue(issuing);
    if ('error' in answer) throw new Refusal(answer);
    const settled = settle(issuing, answer);
    passed.set(ctx, settled);
    // The library asks for the details of a token only where the request has some, or the grant.
    if (settled.authorization_details !== undefined)
      ctx.oidc.params.authorization_details = JSON.stringify(settled.authorization_details);
  };
  return { pass, settled: (ctx) => passed.get(ctx) };
}

async function issuingOf(ctx: Context, basis: Basis): Promise<Issuing> {
  const { client, params } = ctx.oidc;
  const { authorization_details: requested } = params;
  const cnf = await confirmationOf(ctx);
  return {
    ...basis,
    grant_type: params.grant_type!,
    client_id: client.clientId,
    ...(requested === undefined ? {} : { requested: JSON.parse(requested) as Details }),
    ...(cnf === undefined ? {} : { cnf }),
  };
}

/** RFC 9396 section 6: a grant bounds what a token request can ask for. */
function isWithinGrant({ requested = [], granted }: Issuing): boolean {
  return granted === undefined || requested.every((each) => granted.some((outer) => isPart(each, outer)));
}

function isPart({ actions, ...inner }: JsonObject, { actions: wider, ...outer }: JsonObject): boolean {
  const covers = (pattern: string, action: string): boolean =>
    pattern === action || (pattern.endsWith('.*') && action.startsWith(pattern.slice(0, -1)));
  const fits = (action: string): boolean => (wider as string[]).some((pattern) => covers(pattern, action));
  return isDeepStrictEqual(inner, outer) && (actions as string[]).every(fits);
}

/** The library has verified the proof, and the connection the certificate. */
async function confirmationOf(ctx: Context): Promise<Issuing['cnf']> {
  const proof = ctx.get('DPoP');
  if (proof !== '') return { jkt: await calculateJwkThumbprint(decodeProtectedHeader(proof).jwk!) };
  const isBound = ctx.oidc.client.tlsClientCertificateBoundAccessTokens === true;
  const certificate = isBound ? shownCertificate(ctx) : undefined;
  return certificate === undefined ? undefined : { 'x5t#S256': thumbprintOf(certificate) };
}

function settle(issuing: Issuing, answer: Permitted): Settled {
  const { requested, granted, act } = issuing;
  const { authorization_details = requested ?? granted, mission = issuing.mission } = answer;
  const max_exp_s = answer.max_exp === undefined ? Infinity : Math.floor(Date.parse(answer.max_exp) / 1000);
  // A token is alive for a second at least.
  if (max_exp_s <= Math.floor(Date.now() / 1000))
    throw new Refusal({ error: 'invalid_grant', mission_error: 'mission_expired' });
  return {
    authorization_details,
    max_exp_s,
    claims: {
      ...(mission === undefined ? {} : { mission: { ...mission } }),
      ...(act === undefined ? {} : { act }),
      ...answer.claims,
    },
  };
}
