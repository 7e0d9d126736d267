/** An accounting service: invoices to read, and a general ledger that is appended to and never taken back. */
import { appendFileSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { Json } from '../../src/core/json.ts';

/** A line of the ledger. */
export interface Posting {
  readonly posted: Json;
  /** Whose it is, and under which approval, as the proxy says. */
  readonly by: unknown;
  readonly under: unknown;
}

async function post(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { 'x-mandate-actor': by, 'x-mandate-id': under } = request.headers;
  const posting: Posting = { posted: (await json(request)) as Json, by, under };
  appendFileSync(process.env.LEDGER_FILE!, `${JSON.stringify(posting)}\n`);
  response.writeHead(201).end();
}

const server = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/ledger/postings') void post(request, response);
  else response.writeHead(200).end(JSON.stringify({ invoice: request.url, amount: '120.00' }));
});
server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as AddressInfo).port }));
process.on('disconnect', () => process.exit());
