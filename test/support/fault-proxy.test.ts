import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Connection, cut, faultless, openConnection } from './fault-connection.ts';
import { type FaultProxy, createFaultProxy } from './fault-proxy.ts';
import { waitUntil } from './wait.ts';

interface Echo {
  readonly port: number;
  /** All that has arrived. */
  readonly heard: () => string;
  /** How many connections it has, and had. */
  readonly open: () => number;
  readonly opened: () => number;
}

async function startEcho(prefix = ''): Promise<Echo> {
  let heard = '';
  let opened = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    opened += 1;
    sockets.add(socket);
    socket.on('data', (bytes) => {
      heard += bytes.toString();
      socket.write(prefix + bytes.toString());
    });
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  });
  const { port } = server.address() as AddressInfo;
  return { port, heard: () => heard, open: () => sockets.size, opened: () => opened };
}

async function started(): Promise<{ echo: Echo; proxy: FaultProxy }> {
  const echo = await startEcho();
  const proxy = await createFaultProxy({ target_port: echo.port });
  onTestFinished(proxy.close);
  return { echo, proxy };
}

interface Client {
  readonly say: (text: string) => void;
  readonly heard: () => string;
  readonly pieces: () => number;
  /** How the connection ended: a code of an error, or `end`. */
  readonly ending: () => string | undefined;
  readonly end: () => void;
  readonly hears: (text: string) => Promise<void>;
}

async function connected({ port }: { readonly port: number }): Promise<Client> {
  const socket = connect({ port, host: '127.0.0.1' }).setNoDelay();
  onTestFinished(() => void socket.destroy());
  const pieces: string[] = [];
  let ending: string | undefined;
  socket.on('data', (bytes) => pieces.push(bytes.toString()));
  socket.on('end', () => (ending ??= 'end'));
  await once(socket, 'connect');
  socket.on('error', (error: NodeJS.ErrnoException) => (ending ??= error.code));
  const heard = () => pieces.join('');
  return {
    say: (text) => void socket.write(text),
    heard,
    pieces: () => pieces.length,
    ending: () => ending,
    end: () => void socket.end(),
    hears: (text) => waitUntil(`the client hears ${text}`, () => heard() === text),
  };
}

/** Long enough for what would get through. */
const settle = () => sleep(60);

describe('a network without faults', () => {
  test('passes bytes and ends, both ways', async () => {
    const { echo, proxy } = await started();
    const client = await connected(proxy);
    const text = 'a'.repeat(600_000);
    client.say(text);
    await client.hears(text);
    expect([proxy.connections(), echo.open()]).toEqual([1, 1]);
    client.end();
    await waitUntil('the end is everywhere', () => client.ending() === 'end');
    await waitUntil('nothing is left', () => proxy.connections() + echo.open() === 0);
  });

  test('resets a client whose server is not there', async () => {
    const { proxy } = await started();
    const nobody = createServer().listen(0, '127.0.0.1');
    await once(nobody, 'listening');
    proxy.retarget((nobody.address() as AddressInfo).port);
    nobody.close();
    const client = await connected(proxy);
    await waitUntil('the client is reset', () => client.ending() === 'ECONNRESET');
  });
});

describe('a blackhole', () => {
  test('towards the server: nothing arrives, and the connection is cut on heal', async () => {
    const { echo, proxy } = await started();
    const [client, idle] = [await connected(proxy), await connected(proxy)];
    client.say('a');
    await client.hears('a');
    proxy.blackhole('to_server');
    client.say('b');
    await settle();
    expect([echo.heard(), client.heard(), client.ending(), echo.open()]).toEqual(['a', 'a', undefined, 2]);
    await proxy.heal();
    await waitUntil('the client is reset', () => client.ending() === 'ECONNRESET');
    idle.say('c');
    await idle.hears('c');
    expect([echo.heard(), client.heard()]).toEqual(['ac', 'a']);
  });

  test('towards the client: the request is done and the reply is lost', async () => {
    const { echo, proxy } = await started();
    const client = await connected(proxy);
    proxy.blackhole('to_client');
    client.say('a');
    await waitUntil('the server hears it', () => echo.heard() === 'a');
    await settle();
    expect([client.heard(), client.ending()]).toEqual(['', undefined]);
    await proxy.heal();
    await waitUntil('the client is reset', () => client.ending() === 'ECONNRESET');
  });

  test('with hold: everything arrives on heal, in order', async () => {
    const { echo, proxy } = await started();
    const client = await connected(proxy);
    proxy.blackhole('both', { hold: true });
    client.say('a');
    await settle();
    client.say('b');
    await settle();
    expect([echo.heard(), client.heard()]).toEqual(['', '']);
    await proxy.heal();
    await client.hears('ab');
    expect(client.ending()).toBeUndefined();
  });

  test.each([{ hold: true }, { hold: false }])(
    'new connections are accepted, $hold: held',
    async (options) => {
      const { echo, proxy } = await started();
      proxy.blackhole('both', options);
      const client = await connected(proxy);
      client.say('a');
      await settle();
      expect([echo.opened(), client.ending(), proxy.connections()]).toEqual([0, undefined, 1]);
      await proxy.heal();
      if (options.hold) await client.hears('a');
      else await waitUntil('the client is reset', () => client.ending() === 'ECONNRESET');
      expect(echo.opened()).toBe(options.hold ? 1 : 0);
    },
  );

  test('hides from the server that its client has gone', async () => {
    const { echo, proxy } = await started();
    const client = await connected(proxy);
    client.say('a');
    await client.hears('a');
    proxy.blackhole('both');
    client.end();
    await settle();
    expect(echo.open()).toBe(1);
    await proxy.heal();
    await waitUntil('the server knows', () => echo.open() === 0);
  });
});

describe('a slow network', () => {
  test('delays each way, and lets nothing overtake', async () => {
    const { proxy } = await started();
    const client = await connected(proxy);
    client.say('a');
    await client.hears('a');
    const begun = performance.now();
    proxy.delay(80);
    client.say('b');
    await sleep(20);
    await proxy.heal();
    client.say('c');
    await client.hears('abc');
    expect(performance.now() - begun).toBeGreaterThan(75);
    proxy.delay(80);
    const second = performance.now();
    client.say('d');
    await client.hears('abcd');
    expect(performance.now() - second).toBeGreaterThan(155);
  });

  test('passes tiny pieces', async () => {
    const { proxy } = await started();
    const client = await connected(proxy);
    proxy.slice(1);
    client.say('abcdefgh');
    await client.hears('abcdefgh');
    expect(client.pieces()).toBeGreaterThan(2);
  });
});

describe('connections that end', () => {
  test('cut: all at once, both ends, and new ones work', async () => {
    const { echo, proxy } = await started();
    const clients = [await connected(proxy), await connected(proxy)];
    await waitUntil('the server has both', () => echo.open() === 2);
    proxy.cut();
    await waitUntil('all are reset', () => clients.every((client) => client.ending() === 'ECONNRESET'));
    await waitUntil('the server knows', () => echo.open() === 0);
    const client = await connected(proxy);
    client.say('a');
    await client.hears('a');
  });

  test('refuse: no new one, those that are open stay, until heal', async () => {
    const { proxy } = await started();
    const client = await connected(proxy);
    proxy.refuse();
    await expect(connected(proxy)).rejects.toThrow('ECONNREFUSED');
    client.say('a');
    await client.hears('a');
    await proxy.heal();
    const another = await connected(proxy);
    another.say('b');
    await another.hears('b');
    expect(client.ending()).toBeUndefined();
  });

  test('close: nothing is left, also in a blackhole', async () => {
    const { echo, proxy } = await started();
    const client = await connected(proxy);
    client.say('a');
    await client.hears('a');
    proxy.blackhole('both', { hold: true });
    client.say('b');
    await proxy.close();
    await waitUntil('the server knows', () => echo.open() === 0);
    await expect(connected(proxy)).rejects.toThrow('ECONNREFUSED');
    expect([proxy.connections(), echo.heard()]).toEqual([0, 'a']);
  });
});

test('a connection whose end is on its way is cut all the same', async () => {
  const echo = await startEcho();
  const connections = new Set<Connection>();
  const network = { target: { host: '127.0.0.1', port: echo.port }, ...faultless() };
  const listener = createServer({ allowHalfOpen: true }, (client) => {
    openConnection(client, network, connections);
  });
  onTestFinished(() => void listener.close());
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  const client = await connected(listener.address() as AddressInfo);
  client.say('a');
  await client.hears('a');
  const [connection] = connections;
  connection!.client.end();
  connection!.server.end();
  cut(connection!);
  await connection!.gone;
  await waitUntil('nothing is left', () => connections.size + echo.open() === 0);
});

describe('a reply that is lost', () => {
  test('after its request was done, so many times', async () => {
    const { echo, proxy } = await started();
    proxy.dropReply(2);
    for (const text of ['a', 'b']) {
      const client = await connected(proxy);
      client.say(text);
      await waitUntil('the client is reset', () => client.ending() === 'ECONNRESET');
      expect(client.heard()).toBe('');
    }
    const client = await connected(proxy);
    client.say('c');
    await client.hears('c');
    expect(echo.heard()).toBe('abc');
  });

  test('of a request that matches, and no other', async () => {
    const { echo, proxy } = await started();
    proxy.dropReply(1, (request) => request.includes('write'));
    const client = await connected(proxy);
    client.say('read');
    await client.hears('read');
    client.say('write');
    await waitUntil('the client is reset', () => client.ending() === 'ECONNRESET');
    expect([echo.heard(), client.heard()]).toEqual(['readwrite', 'read']);
  });
});

describe('faults of connections that have named themselves', () => {
  test('concern those alone, also one that comes later', async () => {
    const { echo, proxy } = await started();
    const [tail, other] = [await connected(proxy), await connected(proxy)];
    tail.say('I am the tail.');
    await tail.hears('I am the tail.');
    expect(proxy.only('the tail')).toBe(1);
    proxy.blackhole('both');
    tail.say('a');
    other.say('b');
    const later = await connected(proxy);
    later.say('the tail again');
    await other.hears('b');
    await settle();
    expect(echo.heard()).toBe('I am the tail.b');
    proxy.cut();
    for (const each of [tail, later]) await waitUntil('it is reset', () => each.ending() === 'ECONNRESET');
    await proxy.heal();
    other.say('c');
    await other.hears('bc');
  });

  test('one that only speaks of a name later is another', async () => {
    const { echo, proxy } = await started();
    const client = await connected(proxy);
    client.say('x'.repeat(2000));
    await client.hears('x'.repeat(2000));
    proxy.only('tail', 'barrier');
    proxy.dropReply();
    client.say('tail');
    await client.hears(`${'x'.repeat(2000)}tail`);
    const barrier = await connected(proxy);
    barrier.say('barrier');
    await waitUntil('the client is reset', () => barrier.ending() === 'ECONNRESET');
    expect(echo.heard()).toMatch(/tailbarrier$/);
  });

  test('all others again after heal', async () => {
    const { proxy } = await started();
    const client = await connected(proxy);
    expect(proxy.only('nobody')).toBe(0);
    await proxy.heal();
    proxy.blackhole('to_server', { hold: true });
    client.say('a');
    await settle();
    expect(client.heard()).toBe('');
    await proxy.heal();
    await client.hears('a');
  });
});

test('retarget: from the next connection on', async () => {
  const { proxy } = await started();
  const before = await connected(proxy);
  before.say('a');
  await before.hears('a');
  proxy.retarget((await startEcho('other ')).port);
  before.say('b');
  await before.hears('ab');
  const after = await connected(proxy);
  after.say('c');
  await after.hears('other c');
});
