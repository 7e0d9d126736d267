/**
 * A real authorization server on loopback, in the test's own process: `oidc-provider`, with the grants by which an agent
 * gets a token without a browser, and a place to ask before each of them.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JSONWebKeySet } from 'jose';
import * as oauth from 'oauth4webapi';
import {
  type ClientOptions,
  DEFAULT_CLIENTS,
  type RegisteredClient,
  registerClient,
} from './authorization-server-clients.ts';
import { type Granted, createGrants } from './authorization-server-grants.ts';
import { type BeforeIssue, type MissionClaim, createGate } from './authorization-server-issuing.ts';
import { type SigningKeys, createKeys } from './authorization-server-keys.ts';
import { type Providing, type ResourceOptions, createProvider } from './authorization-server-provider.ts';
import { createRecords } from './authorization-server-records.ts';
import { type Requests, createRequests } from './authorization-server-requests.ts';
import { listen } from './authorization-server-tls.ts';
import { type Certificate, certify } from './certificate.ts';
import { findPort } from './port.ts';
import { GIT } from './sidecar.ts';
import { tlsFetch } from './tls-fetch.ts';

export interface AuthorizationServerOptions {
  /** What stands as `iss`; default: where it listens. */
  readonly issuer?: string;
  /** With a throwaway certificate; clients may show theirs. Default: in the clear. */
  readonly is_tls?: boolean;
  /** Of its signatures; default: ES256. */
  readonly algorithm?: string;
  /** Default: `DEFAULT_CLIENTS`. */
  readonly clients?: readonly ClientOptions[];
  /** By resource indicator (RFC 8707); the first is the default. Default: `GIT`, with JWTs. */
  readonly resources?: Readonly<Record<string, ResourceOptions>>;
  /** Whether a refresh consumes its token and gives another; default: it does. */
  readonly is_rotating?: boolean;
  /** Asked before every issuance; default: what was asked for is given. */
  readonly beforeIssue?: BeforeIssue;
}

export interface AuthorizationServer extends Requests {
  readonly issuer: string;
  /** RFC 8414, as the server publishes it: every endpoint. */
  readonly metadata: oauth.AuthorizationServer;
  /** The certificate that its callers must trust; undefined in the clear. */
  readonly certificate: Certificate | undefined;
  readonly client: (client_id: string) => RegisteredClient;
  /** Its public keys, as it publishes them now. */
  readonly jwks: () => JSONWebKeySet;
  /** A new key signs from now on; the others stay published unless they are dropped. Nothing else changes. */
  readonly rotateKeys: (is_dropping?: boolean) => Promise<void>;
  /** What the client acts under by itself (client credentials). */
  readonly assign: (client_id: string, mission: MissionClaim | undefined) => void;
  /** A refresh token, as if a browser had been there. */
  readonly grant: (granted: Granted) => Promise<string>;
  /** Away, as when it is restarted: nobody listens. */
  readonly halt: () => Promise<void>;
  /** Back on the same port, with all that it has kept. */
  readonly resume: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function startAuthorizationServer(
  options: AuthorizationServerOptions = {},
): Promise<AuthorizationServer> {
  const place = await choosePlace(options.is_tls === true);
  const registered = (options.clients ?? DEFAULT_CLIENTS).map((each) => registerClient(each, place.folder));
  const clients = new Map((await Promise.all(registered)).map((each) => [each.client_id, each]));
  const keys = await createKeys(options.algorithm ?? 'ES256');
  const grants = createGrants();
  const providing = { ...providingOf(options, place, keys), ...grants, clients };
  const service = await serve(providing, place);
  const server = await readMetadata(providing.issuer, place);
  const client = (client_id: string): RegisteredClient => clients.get(client_id)!;
  const [resource = GIT] = Object.keys(providing.resources);
  return {
    ...createRequests({ server, authority: place.own?.cert, client }),
    ...service,
    issuer: providing.issuer,
    metadata: server,
    certificate: place.own,
    client,
    jwks: keys.published,
    rotateKeys: async (is_dropping = false) => {
      await keys.rotate(is_dropping);
      service.renew();
    },
    assign: grants.assign,
    grant: (granted) => grants.grant(service.provider(), { resource, ...granted }),
    close: async () => {
      await service.halt();
      rmSync(place.folder, { recursive: true, force: true });
    },
  };
}

interface Place {
  readonly folder: string;
  readonly port: number;
  readonly address: string;
  /** With TLS. */
  readonly own: Certificate | undefined;
}

async function choosePlace(is_tls: boolean): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-as-'));
  const port = await findPort();
  const own = is_tls ? certify(folder, 'authorization-server') : undefined;
  return { folder, port, address: `${is_tls ? 'https' : 'http'}://127.0.0.1:${port}`, own };
}

function providingOf(options: AuthorizationServerOptions, { address }: Place, keys: SigningKeys) {
  return {
    issuer: options.issuer ?? address,
    algorithm: options.algorithm ?? 'ES256',
    resources: options.resources ?? { [GIT]: { format: 'jwt' } as const },
    is_rotating: options.is_rotating ?? true,
    records: createRecords(),
    keys,
    gate: createGate(options.beforeIssue),
  };
}

/** The library reads its keys once, so that other keys take another instance; who listens stays. */
async function serve(providing: Providing, { port, own }: Place) {
  let provider = createProvider(providing);
  let handle = provider.callback();
  const trusted = [...providing.clients.values()].flatMap(({ authentication, certificate }) =>
    authentication === 'tls_client_auth' && certificate !== undefined ? [certificate] : [],
  );
  const tls = own === undefined ? undefined : { own, trusted };
  const open = () => listen(port, (request, response) => void handle(request, response), tls);
  let halt = await open();
  return {
    provider: () => provider,
    renew: () => {
      provider = createProvider(providing);
      handle = provider.callback();
    },
    halt: () => halt(),
    resume: async () => {
      halt = await open();
    },
  };
}

async function readMetadata(issuer: string, { address, own }: Place): Promise<oauth.AuthorizationServer> {
  const url = `${address}/.well-known/oauth-authorization-server`;
  const answer = await (own === undefined ? fetch(url) : tlsFetch(url, {}, own.cert));
  return oauth.processDiscoveryResponse(new URL(issuer), answer);
}
