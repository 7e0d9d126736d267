/** A small client of the control listener, for the command line and `dev`. */
import { type RequestOptions, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type Json, parseJson } from './core/json.ts';

export interface Answer {
  readonly status: number;
  readonly body: Json;
}

/** `at`: an `http(s)://` URL, or `unix:PATH`. Rejects only when there was no answer at all. */
export interface ControlClient {
  readonly call: (method: string, path: string, body?: Json) => Promise<Answer>;
}

const TIMEOUT_MS = 30_000;

export function createControlClient(at: string, token: string): ControlClient {
  const url = at.startsWith('unix:') ? new URL('http://localhost') : new URL(at);
  const base: RequestOptions = at.startsWith('unix:')
    ? { socketPath: at.slice('unix:'.length) }
    : { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port };
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return {
    call: (method, path, body) =>
      new Promise((resolve, reject) => {
        const text = body === undefined ? '' : JSON.stringify(body);
        const headers = {
          authorization: `Bearer ${token}`,
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        };
        const sent = request({ ...base, method, path, headers, timeout: TIMEOUT_MS }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const parsed = parseJson(Buffer.concat(chunks).toString('utf8'));
            resolve({ status: response.statusCode ?? 0, body: parsed.ok ? parsed.value : null });
          });
        });
        sent.on('timeout', () => sent.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
        sent.on('error', reject);
        sent.end(text);
      }),
  };
}
