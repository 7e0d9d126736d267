/**
 * Opens the socket of a connection. The library hears the first error of a socket alone, and a second one (a TLS alert
 * behind a reset) would end the process.
 */
import { connect as connectPlain } from 'node:net';
import { type ConnectionOptions, connect as connectSecure } from 'node:tls';
import { AbstractConnector } from 'ioredis';

interface SocketOptions {
  readonly host?: string;
  readonly port?: number;
  readonly tls?: ConnectionOptions;
  readonly disconnectTimeout: number;
}

export class SocketConnector extends AbstractConnector {
  readonly #options: SocketOptions;

  constructor(options: unknown) {
    const own = options as SocketOptions;
    super(own.disconnectTimeout);
    this.#options = own;
  }

  override connect(): ReturnType<AbstractConnector['connect']> {
    const { host = 'localhost', port = 6379, tls } = this.#options;
    this.connecting = true;
    const stream = tls === undefined ? connectPlain(port, host) : connectSecure({ host, port, ...tls });
    stream.on('error', (error: Error) => (this.firstError ??= error));
    this.stream = stream;
    return Promise.resolve(stream);
  }
}
