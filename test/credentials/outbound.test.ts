/** Forms that are posted to an authorization server: bounded, and not lost to a connection that it has closed meanwhile. */
import { once } from 'node:events';
import { type Server, createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { type Poster, createPoster } from '../../src/credentials/outbound.ts';

let server: Server;
let poster: Poster;
let requests = 0;

async function serve(close: (socket: Socket, request: number) => boolean): Promise<void> {
  requests = 0;
  server = createServer((request, response) => {
    requests += 1;
    if (close(request.socket, requests)) request.socket.destroy();
    else response.setHeader('content-type', 'application/json').end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  poster = createPoster({ url, deadline_ms: 1000 });
}
afterEach(() => {
  poster.close();
  server.closeAllConnections();
  server.close();
});

const post = () => poster.post({ token: 'secret' }, {});

test('a connection that was idle and is closed is not the server`s answer: it is asked again, once', async () => {
  const used = new WeakSet<Socket>();
  // Every connection is good for one request.
  await serve((socket) => {
    const isUsed = used.has(socket);
    used.add(socket);
    return isUsed;
  });
  for (let each = 0; each < 4; each += 1) expect((await post()).status).toBe(200);
  expect(requests).toBeGreaterThan(4);
});

test('a server that closes every connection is away', async () => {
  await serve(() => true);
  await expect(post()).rejects.toThrow('socket hang up');
  expect(requests).toBe(1);
});

test('no answer in time, and nothing of what was sent in the message', async () => {
  await serve(() => false);
  server.removeAllListeners('request');
  server.on('request', () => undefined);
  await expect(post()).rejects.toThrow(/^no answer in 1000 ms$/);
});
