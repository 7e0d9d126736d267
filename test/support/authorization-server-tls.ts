/** How a test's authorization server listens: on loopback, in the clear or with mutual TLS (RFC 8705). */
import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type RequestListener, type Server, createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { TLSSocket } from 'node:tls';
import type { Context } from 'oidc-provider';
import type { Certificate } from './certificate.ts';

export interface MutualTls {
  readonly own: Certificate;
  /** Clients that are trusted by their chain, not by what they have registered. */
  readonly trusted: readonly Certificate[];
}

/** Answers with what ends it, along with every connection that is open. */
export async function listen(
  port: number,
  handle: RequestListener,
  tls: MutualTls | undefined,
): Promise<() => Promise<void>> {
  const server = tls === undefined ? createServer(handle) : createMutual(tls, handle);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
}

/** Any certificate may be shown: what it is good for depends on the client that shows it. */
function createMutual({ own, trusted }: MutualTls, handle: RequestListener): Server {
  const ca = trusted.map(({ cert }) => cert);
  const asked = { requestCert: true, rejectUnauthorized: false };
  return createTlsServer({ cert: own.cert, key: own.key, ca, ...asked }, handle);
}

/** `features.mTLS` of the library. */
export const mutualTls = {
  enabled: true,
  certificateBoundAccessTokens: true,
  selfSignedTlsClientAuth: true,
  tlsClientAuth: true,
  getCertificate: shownCertificate,
  certificateAuthorized: ({ req }: Context): boolean =>
    req.socket instanceof TLSSocket && req.socket.authorized,
  certificateSubjectMatches: (ctx: Context, property: string, expected: string): boolean =>
    property === 'tls_client_auth_subject_dn' && shownCertificate(ctx)?.subject === expected,
};

/** What the client has shown on this connection. */
export function shownCertificate({ req }: Context): X509Certificate | undefined {
  return req.socket instanceof TLSSocket ? req.socket.getPeerX509Certificate() : undefined;
}
