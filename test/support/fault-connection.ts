/** One connection through the fault proxy: a lane each way, in which things stay in order whatever delays them. */
import { Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

export type Direction = 'to_server' | 'to_client';

/** What it is like now; it changes under the connections. */
export interface Network {
  target: { readonly host: string; readonly port: number };
  blackhole: { readonly directions: readonly Direction[]; readonly hold: boolean };
  delay_ms: number;
  slice_bytes: number;
  drops: { count: number; readonly matches: (request: Buffer) => boolean };
  /** Connections that the faults concern, by what they have said; empty: all. */
  only: readonly string[];
  changed: PromiseWithResolvers<void>;
}

export interface Connection {
  readonly client: Socket;
  readonly server: Socket;
  /** The first that it has said to the server, where clients name themselves. */
  said: string;
  /** The directions in which something was lost, and nothing can follow. */
  readonly lost: Set<Direction>;
  /** What the server says is lost, and then the connection. */
  is_muted: boolean;
  ending: NodeJS.Timeout | undefined;
  readonly gone: Promise<unknown>;
}

/** Also that a connection is opened or ended is something that must get through. */
type Item = Buffer | 'open' | 'end' | 'reset';

/** No client has said more before it has said who it is. */
const most_said = 1024;

/** A reply that is to be lost is over when nothing came for so long. */
const quiet_ms = 25;

export function faultless(): Omit<Network, 'target'> {
  return {
    blackhole: { directions: [], hold: false },
    delay_ms: 0,
    slice_bytes: Infinity,
    drops: { count: 0, matches: () => false },
    only: [],
    changed: Promise.withResolvers<void>(),
  };
}

export function openConnection(client: Socket, network: Network, connections: Set<Connection>): void {
  const server = new Socket({ allowHalfOpen: true }).setNoDelay();
  const gone = Promise.all([client, server].map(closed));
  const lost = new Set<Direction>();
  const connection: Connection = { client, server, said: '', lost, is_muted: false, ending: undefined, gone };
  client.on('data', (chunk: Buffer) => {
    if (connection.said.length < most_said) connection.said += chunk.toString('latin1');
  });
  connections.add(connection);
  void gone.then(() => connections.delete(connection));
  const to_server = createLane('to_server', connection, network);
  to_server('open');
  feed(client, to_server);
  feed(server, createLane('to_client', connection, network));
}

export function concerns({ only }: Network, { said }: Connection): boolean {
  return only.length === 0 || only.some((each) => said.includes(each));
}

export function cut(connection: Connection): void {
  clearTimeout(connection.ending);
  reset(connection.client);
  reset(connection.server);
}

function feed(from: Socket, lane: (item: Item) => void): void {
  from.on('data', lane);
  from.on('end', () => lane('end'));
  from.on('error', () => lane('reset'));
}

function createLane(direction: Direction, connection: Connection, network: Network): (item: Item) => void {
  let before = Promise.resolve();
  return (item) => {
    const due = performance.now() + (concerns(network, connection) ? network.delay_ms : 0);
    before = before.then(async () => {
      await sleepUntil(due);
      if (await getsThrough(direction, connection, network))
        await deliver(item, direction, connection, network);
    });
  };
}

async function getsThrough(direction: Direction, connection: Connection, network: Network): Promise<boolean> {
  while (network.blackhole.directions.includes(direction) && concerns(network, connection)) {
    if (!network.blackhole.hold) connection.lost.add(direction);
    if (connection.lost.has(direction)) return false;
    await network.changed.promise;
  }
  return !connection.lost.has(direction);
}

async function deliver(
  item: Item,
  direction: Direction,
  connection: Connection,
  network: Network,
): Promise<void> {
  const to = direction === 'to_server' ? connection.server : connection.client;
  if (to.destroyed) return;
  if (item === 'open') to.connect(network.target);
  else if (item === 'end') to.end();
  else if (item === 'reset') reset(to);
  else if (direction === 'to_client' && connection.is_muted) cutWhenQuiet(connection);
  else {
    const is_concerned = concerns(network, connection);
    if (direction === 'to_server' && is_concerned) connection.is_muted ||= takesReplyOf(item, network);
    await write(to, item, is_concerned ? network.slice_bytes : Infinity);
  }
}

function takesReplyOf(request: Buffer, { drops }: Network): boolean {
  if (drops.count === 0 || !drops.matches(request)) return false;
  drops.count -= 1;
  return true;
}

/** Not at once: a server that is reset may forget requests that it has not read yet. */
function cutWhenQuiet(connection: Connection): void {
  clearTimeout(connection.ending);
  connection.ending = setTimeout(cut, quiet_ms, connection);
}

async function write(to: Socket, bytes: Buffer, slice_bytes: number): Promise<void> {
  for (let at = 0; at < bytes.length && !to.destroyed;) {
    const piece = bytes.subarray(at, at + slice_bytes);
    await new Promise<void>((resolve) => to.write(piece, () => resolve()));
    at += piece.length;
    // So that the other side has read this piece before the next is there.
    if (at < bytes.length) await nextTurn();
  }
}

async function sleepUntil(due: number): Promise<void> {
  const early = due - performance.now();
  if (early > 0) await sleep(early);
}

/** One that was never connected has nothing to reset, and one whose end is on its way would never close. */
function reset(socket: Socket): void {
  const is_ending = socket.writableEnded && !socket.writableFinished;
  if (socket.pending || is_ending) socket.destroy();
  else socket.resetAndDestroy();
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}
