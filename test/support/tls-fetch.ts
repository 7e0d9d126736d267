/** `fetch` that trusts a throwaway certificate and shows one, which the platform's own has no option for. */
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import type { Certificate } from './certificate.ts';

export interface Fetched {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: URLSearchParams | string | undefined;
}

/** A connection for each call, so that each shows the certificate that is meant. */
export function tlsFetch(
  url: string,
  { method = 'GET', headers = {}, body }: Fetched,
  ca: string,
  shown?: Pick<Certificate, 'cert' | 'key'>,
): Promise<Response> {
  const identity = shown === undefined ? {} : { cert: shown.cert, key: shown.key };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, ca, agent: false, ...identity }, (response) => {
      readResponse(response).then(resolve, reject);
    });
    sent.on('error', reject);
    sent.end(body?.toString());
  });
}

async function readResponse(response: IncomingMessage): Promise<Response> {
  const chunks = await response.toArray();
  const headers = Object.entries(response.headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  return new Response(Buffer.concat(chunks as Buffer[]), { status: response.statusCode!, headers });
}
