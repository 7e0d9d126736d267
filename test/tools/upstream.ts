/** The service behind the proxy: remembers what reached it and answers 200 with the headers it was given. */
import { type IncomingMessage, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

interface UpstreamRequest {
  readonly method: string;
  readonly url: string;
  /** As they came over the wire, duplicates and case included. */
  readonly headers: [string, string][];
  readonly body: string;
}

export interface Upstream {
  readonly port: number;
  readonly requests: UpstreamRequest[];
  readonly stop: () => Promise<void>;
}

export async function startUpstream(): Promise<Upstream> {
  const requests: UpstreamRequest[] = [];
  const server = createServer((request, response) => {
    void received(request).then((arrived) => {
      requests.push(arrived);
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(arrived.headers));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function received(request: IncomingMessage): Promise<UpstreamRequest> {
  const { method = '', url = '', rawHeaders } = request;
  return { method, url, headers: pairs(rawHeaders), body: await text(request) };
}

function pairs(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, at): [string, string][] => (at % 2 === 0 ? [[name, raw[at + 1] ?? '']] : []));
}
