/** Forms posted to an authorization server: bounded in time and size, no redirects, and perhaps with a certificate. */
import {
  type Agent as PlainAgent,
  type IncomingMessage,
  Agent as HttpAgent,
  request as plainRequest,
} from 'node:http';
import { Agent as SecureAgent, request as secureRequest } from 'node:https';
import { boundedText } from './bounded-text.ts';

export interface Endpoint {
  readonly url: string;
  /** PEM: what the client shows (RFC 8705 section 2), and whom it trusts; undefined where nothing is special. */
  readonly tls?: { readonly cert?: string; readonly key?: string; readonly ca?: string };
  readonly deadline_ms: number;
}

export interface Answer {
  readonly status: number;
  readonly content_type: string;
  readonly body: string;
}

export interface Poster {
  /** Rejects where there is no answer of at most 1 MiB in time; the message says why, and holds nothing that was sent. */
  readonly post: (
    form: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
  ) => Promise<Answer>;
  readonly close: () => void;
}

const MAX_SOCKETS = 64;

export function createPoster({ url, tls, deadline_ms }: Endpoint): Poster {
  const isPlain = url.startsWith('http:');
  const settings = { keepAlive: true, maxSockets: MAX_SOCKETS };
  const agent: PlainAgent = isPlain ? new HttpAgent(settings) : new SecureAgent({ ...settings, ...tls });
  const send = isPlain ? plainRequest : secureRequest;
  const attempt = (body: string, headers: Readonly<Record<string, string>>, signal: AbortSignal) => {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const sent = send(url, { method: 'POST', agent, signal, headers });
    sent.on('error', (error) => reject(sent.reusedSocket && isReset(error) ? new StaleConnection() : error));
    sent.on('response', (response) => void read(response).then(resolve, reject));
    sent.end(body);
    return promise;
  };
  return {
    post: async (form, headers) => {
      const body = new URLSearchParams(form).toString();
      const own = {
        ...headers,
        'content-type': 'application/x-www-form-urlencoded',
        'content-length': String(Buffer.byteLength(body)),
      };
      const signal = AbortSignal.timeout(deadline_ms);
      try {
        return await attempt(body, own, signal).catch((error: unknown) => {
          // The server closed the connection while it was idle, and has not seen what was sent.
          if (error instanceof StaleConnection) return attempt(body, own, signal);
          throw error;
        });
      } catch (error) {
        throw new Error(signal.aborted ? `no answer in ${deadline_ms} ms` : (error as Error).message, {
          cause: error,
        });
      }
    },
    close: () => agent.destroy(),
  };
}

class StaleConnection extends Error {
  constructor() {
    super('the connection was closed');
  }
}

function isReset(error: Error): boolean {
  return ['ECONNRESET', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '');
}

async function read(response: IncomingMessage): Promise<Answer> {
  const content_type = (response.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
  return { status: response.statusCode ?? 0, content_type, body: await boundedText(response) };
}
