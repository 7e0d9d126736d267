/** The three ways to a token under a mandate, at a real authorization server that asks a sidecar before it issues. */
import { decodeJwt } from 'jose';
import type { Json, JsonObject } from '../../src/core/json.ts';
import { type AuthorizationServer, startAuthorizationServer } from './authorization-server.ts';
import type { Details, MissionClaim } from './authorization-server-issuing.ts';
import type { TokenAnswer, TokenRequest } from './authorization-server-requests.ts';
import { missionHook } from './mission-hook.ts';
import { RESOURCE } from './question.ts';
import {
  AS,
  type Sidecar,
  type SidecarOptions,
  type TestIssuer,
  proposalBody,
  startSidecar,
} from './sidecar.ts';

export const WAYS = ['client credentials', 'refresh', 'token exchange'] as const;
export type Way = (typeof WAYS)[number];

const COMMON = { type: 'mission_resource_access', resource: RESOURCE, resource_match: 'prefix' } as const;
export const PUSH_ENTRY = { ...COMMON, actions: ['repo.push'] } as const;
export const READ_ENTRY = { ...COMMON, actions: ['repo.read'] } as const;

/** A mandate, and one way to its tokens. */
export interface Held {
  readonly record: JsonObject;
  /** By the same credential as before; a refresh token that was replaced is forgotten. */
  readonly obtain: (asked?: TokenRequest) => Promise<TokenAnswer>;
  readonly operate: (operation: string, own?: JsonObject) => Promise<void>;
}

export interface IssuingStage {
  readonly server: AuthorizationServer;
  readonly sidecar: () => Sidecar;
  /** A mandate for pushing and reading, of agent-1. */
  readonly begin: (way: Way, replaced?: JsonObject) => Promise<Held>;
  /** Kills the sidecar at once. */
  readonly kill: () => Promise<void>;
  /** Another sidecar in its place, with what it had in its folder. */
  readonly restart: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function startIssuingStage(options: SidecarOptions = {}): Promise<IssuingStage> {
  let sidecar: Sidecar;
  const server = await startAuthorizationServer({ issuer: AS, beforeIssue: missionHook(() => sidecar) });
  const issuer: TestIssuer = { jwks: server.jwks() as unknown as JsonObject, mint: neverMints };
  sidecar = await startSidecar({ ...options, issuer });
  return {
    server,
    sidecar: () => sidecar,
    begin: async (way, replaced = {}) => {
      const sub = way === 'client credentials' ? 'agent-1' : 'alice';
      const own = { authorization_details: [PUSH_ENTRY, READ_ENTRY], subject: { iss: AS, sub } };
      const record = await sidecar.mandate(proposalBody({ ...own, ...replaced }));
      return {
        record,
        obtain: await OBTAINING[way](server, record),
        operate: (operation, more = {}) => operate(sidecar, record, operation, more),
      };
    },
    kill: async () => void (await sidecar.stop()),
    restart: async () => {
      sidecar = await startSidecar({ ...options, issuer, folder: sidecar.folder });
    },
    close: async () => {
      await sidecar.discard();
      await server.close();
    },
  };
}

const neverMints = () => Promise.reject(new Error('tokens come from the authorization server here'));

type Obtaining = (server: AuthorizationServer, record: JsonObject) => Promise<Held['obtain']>;

const OBTAINING: Readonly<Record<Way, Obtaining>> = {
  'client credentials': async (server, record) => (asked) => {
    server.assign('agent-1', missionOf(record));
    return server.clientCredentials('agent-1', asked);
  },
  refresh: async (server, record) => {
    let refresh_token = await grantFor(server, record, 'agent-1');
    return async (asked) => {
      const given = await server.refresh('agent-1', refresh_token, asked);
      if (given.status === 200) refresh_token = String(given.body.refresh_token);
      return given;
    };
  },
  'token exchange': async (server, record) => {
    const given = await server.refresh('agent-1', await grantFor(server, record, 'agent-1'));
    return (asked) => server.exchange('agent-1', tokenOf(given), asked);
  },
};

/** A refresh token for all that was approved. */
export function grantFor(
  server: AuthorizationServer,
  record: JsonObject,
  client_id: string,
): Promise<string> {
  const authorization_details = record.authority_set as Details;
  return server.grant({ client_id, mission: missionOf(record), authorization_details });
}

function missionOf({ id, issuer, authority_hash }: JsonObject): MissionClaim {
  return { id: String(id), issuer: String(issuer), authority_hash: String(authority_hash) };
}

async function operate(
  sidecar: Sidecar,
  { id }: JsonObject,
  operation: string,
  own: JsonObject,
): Promise<void> {
  const { status, body } = await sidecar.control('POST', `/v1/mandates/${String(id)}/${operation}`, own);
  if (status !== 200) throw new Error(`${operation}: ${JSON.stringify(body)}`);
}

/** The access token of an answer that must have one. */
export function tokenOf({ status, body }: TokenAnswer): string {
  if (status !== 200) throw new Error(`no token: ${JSON.stringify(body)}`);
  return String(body.access_token);
}

export function claimsOf(given: TokenAnswer): Readonly<Record<string, Json>> {
  return decodeJwt<Record<string, Json>>(tokenOf(given));
}
