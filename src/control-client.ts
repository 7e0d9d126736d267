/** A small client of the control listener, for the command line and `dev`. */
import { type IncomingMessage, type RequestOptions, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type Json, parseJson } from './core/json.ts';

export interface Answer {
  readonly status: number;
  readonly body: Json;
}

/** `at`: an `http(s)://` URL, or `unix:PATH`. Rejects only when there was no answer at all. */
export interface ControlClient {
  readonly call: (method: string, path: string, body?: Json) => Promise<Answer>;
  /**
   * Follows `/v1/events` after the event `last` (from now on without one) until the connection ends; resolves with an
   * answer that is not a stream, or with undefined.
   */
  readonly follow: (
    last: string | undefined,
    onEvent: (id: string, data: Json) => void,
  ) => Promise<Answer | undefined>;
}

const TIMEOUT_MS = 30_000;

interface Sending {
  readonly method: string;
  readonly path: string;
  readonly timeout?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export function createControlClient(at: string, token: string): ControlClient {
  const url = at.startsWith('unix:') ? new URL('http://localhost') : new URL(at);
  const base: RequestOptions = at.startsWith('unix:')
    ? { socketPath: at.slice('unix:'.length) }
    : { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port };
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const send = (options: Sending, body: Json | undefined): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const headers = {
        authorization: `Bearer ${token}`,
        ...options.headers,
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      };
      const sent = request({ ...base, ...options, headers }, resolve);
      sent.on('timeout', () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
      sent.on('error', reject);
      sent.end(text);
    });
  return {
    call: async (method, path, body) => answerOf(await send({ method, path, timeout: TIMEOUT_MS }, body)),
    follow: async (last, onEvent) => {
      const headers = last === undefined ? {} : { 'last-event-id': last };
      const response = await send({ method: 'GET', path: '/v1/events', headers }, undefined);
      if (response.statusCode !== 200) return answerOf(response);
      await readEvents(response, onEvent);
      return undefined;
    },
  };
}

async function answerOf(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const parsed = parseJson(Buffer.concat(chunks).toString('utf8'));
  return { status: response.statusCode ?? 0, body: parsed.ok ? parsed.value : null };
}

/** Server-sent events as our listener writes them: an `id`, an `event` and one line of `data`. */
async function readEvents(
  response: IncomingMessage,
  onEvent: (id: string, data: Json) => void,
): Promise<void> {
  let rest = '';
  response.setEncoding('utf8');
  try {
    for await (const chunk of response) {
      const blocks = (rest + String(chunk)).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        const id = /^id: (.*)$/m.exec(block)?.[1];
        const data = parseJson(/^data: (.*)$/m.exec(block)?.[1] ?? '');
        if (id !== undefined && data.ok) onEvent(id, data.value);
      }
    }
  } catch {
    // A connection that breaks ends the stream; whoever follows goes on from the last id.
  }
}
