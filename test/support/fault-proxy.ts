/**
 * A TCP proxy that stands for a network with faults. It takes what is sent at once, so a sender never sees from its own
 * TCP that a network is gone; it sees that nothing comes back.
 */
import { type Server, type Socket, createServer } from 'node:net';
import {
  type Connection,
  type Direction,
  type Network,
  concerns,
  cut,
  faultless,
  openConnection,
} from './fault-connection.ts';
import { findPort } from './port.ts';

export interface FaultProxyOptions {
  readonly target_port: number;
  readonly target_host?: string;
}

export interface FaultProxy {
  readonly port: number;
  /**
   * Nothing passes in this direction until `heal`, not even that a connection was opened or ended; new connections are
   * accepted all the same. With `hold` it all arrives on `heal`, as when TCP repeats itself after a short outage. Without,
   * it is lost, and a connection that has lost something is cut on `heal`: its stream has a hole. One on which nothing was
   * sent goes on.
   */
  readonly blackhole: (direction: Direction | 'both', options?: { readonly hold?: boolean }) => void;
  /** Of all that arrives from now on, each way; what was sent quicker does not overtake it. */
  readonly delay: (ms: number) => void;
  /** At most so many bytes at a time. */
  readonly slice: (bytes: number) => void;
  /** Resets all connections, both ends of each. */
  readonly cut: () => void;
  /** Nobody listens any more; connections that are open stay. */
  readonly refuse: () => void;
  /**
   * The next `count` requests that match reach the server, and their replies are lost with their connections: it was done,
   * and nobody was told. A request is what arrives from a client at once.
   */
  readonly dropReply: (count?: number, matches?: (request: Buffer) => boolean) => void;
  /**
   * Until `heal` all faults concern only connections that have said one of these among the first that they said, as
   * clients do that name themselves. Answers how many of these there are now.
   */
  readonly only: (...names: readonly [string, ...string[]]) => number;
  /** Ends all faults. */
  readonly heal: () => Promise<void>;
  /** For connections that are opened from now on. */
  readonly retarget: (port: number) => void;
  readonly connections: () => number;
  readonly close: () => Promise<void>;
}

export async function createFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const { target_port, target_host = '127.0.0.1' } = options;
  const network: Network = { ...faultless(), target: { host: target_host, port: target_port } };
  const connections = new Set<Connection>();
  const accept = (client: Socket) => openConnection(client, network, connections);
  const port = await findPort();
  let listener: Server | undefined = await listen(port, accept);
  const refuse = () => {
    listener?.close();
    listener = undefined;
  };
  const cutAll = () => {
    for (const each of connections) if (concerns(network, each)) cut(each);
  };
  return {
    port,
    ...faultsOf(network),
    only: (...only) => {
      change(network, { only });
      return [...connections].filter((each) => concerns(network, each)).length;
    },
    cut: cutAll,
    refuse,
    heal: async () => {
      change(network, faultless());
      for (const connection of connections) if (connection.lost.size > 0) cut(connection);
      listener ??= await listen(port, accept);
    },
    connections: () => connections.size,
    close: async () => {
      refuse();
      change(network, faultless());
      await Promise.all([...connections].map((connection) => (cut(connection), connection.gone)));
    },
  };
}

/** Those that concern what passes. */
function faultsOf(
  network: Network,
): Pick<FaultProxy, 'blackhole' | 'delay' | 'slice' | 'dropReply' | 'retarget'> {
  return {
    blackhole: (direction, { hold = false } = {}) => {
      const directions: Direction[] = direction === 'both' ? ['to_server', 'to_client'] : [direction];
      change(network, { blackhole: { directions, hold } });
    },
    delay: (delay_ms) => change(network, { delay_ms }),
    slice: (slice_bytes) => change(network, { slice_bytes }),
    dropReply: (count = 1, matches = () => true) => change(network, { drops: { count, matches } }),
    retarget: (port) => change(network, { target: { ...network.target, port } }),
  };
}

/** Whatever waits for the network looks again. */
function change(network: Network, faults: Partial<Network>): void {
  const { changed } = network;
  Object.assign(network, faults, { changed: Promise.withResolvers<void>() });
  changed.resolve();
}

async function listen(port: number, accept: (client: Socket) => void): Promise<Server> {
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, accept);
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject).listen(port, '127.0.0.1', resolve);
  });
  return listener;
}
