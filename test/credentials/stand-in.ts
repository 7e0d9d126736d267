/** An https server in the place of an authorization server: it does with each form that is posted what a test says. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { type Server, createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Json } from '../../src/core/json.ts';
import { type Certificate, certify } from '../support/certificate.ts';
import { findPort } from '../support/port.ts';

export interface Posted {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly form: URLSearchParams;
}

export type Reply = (response: ServerResponse, posted: Posted) => unknown;

export interface StandIn {
  readonly url: (path: string) => string;
  /** Whom its callers must trust: a PEM file. */
  readonly ca: string;
  /** What it does from now on. */
  readonly replies: (reply: Reply) => void;
  /** All that was posted, oldest first. */
  readonly posted: () => readonly Posted[];
  /** How often a token was posted. */
  readonly asked: (token: string) => number;
  /** How many were under way at once, at the most. */
  readonly most_at_once: () => number;
  /** Nobody listens any more. */
  readonly leave: () => Promise<void>;
  /** On the same port. */
  readonly comeBack: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function startStandIn(reply: Reply): Promise<StandIn> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-stand-in-'));
  const own = certify(folder, 'stand-in');
  const port = await findPort();
  const { handle, judge, ...told } = createSeen(reply);
  let server = await listen(own, port, handle);
  return {
    ...told,
    url: (path) => `https://127.0.0.1:${port}${path}`,
    ca: own.cert_file,
    leave: () => end(server),
    comeBack: async () => {
      server = await listen(own, port, handle);
    },
    close: async () => {
      await end(server);
      rmSync(folder, { recursive: true, force: true });
      judge();
    },
  };
}

function createSeen(first: Reply) {
  const posted: Posted[] = [];
  const failures: unknown[] = [];
  let reply = first;
  let underWay = 0;
  let most = 0;
  return {
    replies: (next: Reply) => void (reply = next),
    posted: () => posted,
    asked: (token: string) => posted.filter(({ form }) => form.get('token') === token).length,
    most_at_once: () => most,
    handle: async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      most = Math.max(most, (underWay += 1));
      response.once('close', () => (underWay -= 1));
      const each = await readPosted(request);
      posted.push(each);
      try {
        await reply(response, each);
      } catch (error) {
        failures.push(error);
      }
    },
    /** A reply that failed looks to a sidecar like none, and a test must not rest on that. */
    judge: () => {
      if (failures.length > 0) throw failures[0];
    },
  };
}

async function readPosted(request: IncomingMessage): Promise<Posted> {
  const chunks = (await request.toArray()) as Buffer[];
  const form = new URLSearchParams(Buffer.concat(chunks).toString());
  return { path: request.url!, headers: request.headers, form };
}

async function listen(
  { cert, key }: Certificate,
  port: number,
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<Server> {
  // Whoever asks may have given up meanwhile.
  const server = createServer(
    { cert, key },
    (request, response) => void handle(request, response).catch(() => undefined),
  );
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function end(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

export function sends(body: string, type = 'application/json', status = 200): Reply {
  return (response) => response.writeHead(status, { 'content-type': type }).end(body);
}

export const says = (value: Json, status = 200): Reply =>
  sends(JSON.stringify(value), 'application/json', status);
