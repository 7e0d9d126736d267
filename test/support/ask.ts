/** Asks a sidecar's doors as a proxy or a harness would. */
import { request } from 'node:http';
import { type Json, type JsonObject, isObject, parseJson } from '../../src/core/json.ts';

export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** The JSON of the body; an empty object where there is none. */
  readonly body: JsonObject;
}

export interface Asking {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string;
}

export function ask(port: number, { method = 'GET', path, headers = {}, body }: Asking): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const sent = request(
      { port, host: '127.0.0.1', method, path, headers: { ...headers, ...length } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const parsed = parseJson(Buffer.concat(chunks).toString('utf8'));
          const json = parsed.ok && isObject(parsed.value) ? parsed.value : {};
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: json });
        });
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

/** What Envoy would send to `/envoy` for a request with this token. */
export function askEnvoyDoor(
  port: number,
  token: string | undefined,
  asking: Partial<Asking> = {},
): Promise<Answered> {
  const { path = '/repos/example/app/contents', headers = {}, ...rest } = asking;
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return ask(port, {
    path: `/envoy${path}`,
    headers: { host: 'git.example', ...authorization, ...headers },
    ...rest,
  });
}

/** A push: the one irreversible action of the sample table. */
export const PUSH = {
  method: 'POST',
  path: '/repos/example/app/git/refs',
  headers: { 'content-type': 'application/json' },
  body: '{"ref":"refs/heads/release"}',
} as const;

export function askNative(port: number, question: Json): Promise<Answered> {
  return ask(port, {
    method: 'POST',
    path: '/v1/check',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(question),
  });
}
