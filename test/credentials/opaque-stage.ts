/** A real authorization server with opaque tokens, and what a sidecar's configuration says of it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '../../src/core/json.ts';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../support/authorization-server.ts';
import { grantFor, tokenOf } from '../support/issuing-stage.ts';
import { AS, GIT, type TestIssuer } from '../support/sidecar.ts';
import { tlsFetch } from '../support/tls-fetch.ts';
import type { Reply } from './stand-in.ts';

/** Who a sidecar may be to the server: one for each way to show it. */
export const CLIENTS = {
  client_secret_basic: 'by-secret',
  private_key_jwt: 'by-key',
  tls_client_auth: 'by-certificate',
} as const;

export interface OpaqueStage {
  readonly server: AuthorizationServer;
  /** Its keys; its tokens are `token`'s. */
  readonly issuer: TestIssuer;
  /** What a configuration says of a client: who it is, and what it proves that with. */
  readonly client: (client_id: string) => JsonObject;
  /** A token of alice under the mandate, for its client. */
  readonly token: (record: JsonObject) => Promise<string>;
  readonly isActive: (token: string) => Promise<boolean>;
  readonly close: () => Promise<void>;
}

export async function startOpaqueStage(options: AuthorizationServerOptions = {}): Promise<OpaqueStage> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-opaque-'));
  const named = Object.entries(CLIENTS).map(
    ([way, client_id]) => ({ client_id, authentication: way }) as const,
  );
  const server = await startAuthorizationServer({
    issuer: AS,
    is_tls: true,
    clients: [{ client_id: 'agent-1' }, ...(named as AuthorizationServerOptions['clients'] & object)],
    resources: { [GIT]: { format: 'opaque' } },
    ...options,
  });
  const ca = server.certificate!.cert_file;
  return {
    server,
    issuer: { jwks: server.jwks() as unknown as JsonObject, mint: () => Promise.reject(new Error()) },
    client: (client_id) => ({ client_id, ca, ...proofOf(server, client_id, folder) }),
    token: async (record) => {
      const client_id = String(record.client_id);
      return tokenOf(await server.refresh(client_id, await grantFor(server, record, client_id)));
    },
    isActive: async (token) => (await server.introspect('by-secret', token)).active,
    close: async () => {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function proofOf(server: AuthorizationServer, client_id: string, folder: string): JsonObject {
  const { client_secret, private_jwk, certificate } = server.client(client_id);
  if (certificate !== undefined) return { tls: { cert: certificate.cert_file, key: certificate.key_file } };
  const file = join(folder, client_id);
  writeFileSync(file, client_secret ?? JSON.stringify(private_jwk));
  return client_secret === undefined ? { private_key_file: file } : { client_secret_file: file };
}

/** Members of a `credentials` entry, as `SidecarOptions.credential` takes them. */
export function membersOf(members: JsonObject): string {
  return JSON.stringify(members).slice(1, -1);
}

/** Hands everything on to the real server, whose endpoints have the same paths. */
export function handsOn({ server }: Pick<OpaqueStage, 'server'>): Reply {
  const base = new URL(server.metadata.introspection_endpoint!).origin;
  return async (response, { path, headers, form }) => {
    const kept = ['authorization', 'accept', 'content-type'] as const;
    const own = Object.fromEntries(
      kept.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])),
    );
    const sent = { method: 'POST', headers: own, body: form };
    const answer = await tlsFetch(`${base}${path}`, sent, server.certificate!.cert);
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
    response.end(await answer.text());
  };
}

export const pathOf = (endpoint: string | undefined): string => new URL(endpoint!).pathname;
