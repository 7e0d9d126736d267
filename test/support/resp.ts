/** Redis's wire format (RESP2), as far as tests need it: no client library stands between a test and a server. */
import { type Socket, connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

export type Argument = string | number | Buffer;

/** Bulk strings are read as UTF-8. */
export type Reply = string | number | null | ReplyError | Reply[];

/** The server refused: `-CODE what is wrong`. */
export class ReplyError extends Error {}

export interface RedisAddress {
  readonly port: number;
  /** The PEM certificate that the server must show, over TLS. */
  readonly authority?: string | undefined;
  readonly password?: string | undefined;
}

export interface RedisConnection {
  /** Rejects with a `ReplyError` if the server says no, with another error if it says nothing. */
  readonly call: (...args: readonly Argument[]) => Promise<Reply>;
  readonly close: () => void;
}

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

export function encodeCommand(args: readonly Argument[]): Buffer {
  const parts = args.flatMap((arg) => {
    const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg));
    return [Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')];
  });
  return Buffer.concat([Buffer.from(`*${args.length}\r\n`), ...parts]);
}

/** Takes what arrives, in whatever pieces; answers the replies that are whole by then. */
export function createReplyDecoder(): (chunk: Buffer) => readonly Reply[] {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const replies: Reply[] = [];
    for (let parsed = parse(rest, 0); parsed; parsed = parse(rest, 0)) {
      replies.push(parsed.reply);
      rest = rest.subarray(parsed.end);
    }
    return replies;
  };
}

interface Parsed {
  readonly reply: Reply;
  readonly end: number;
}

function parse(bytes: Buffer, at: number): Parsed | undefined {
  const line_end = bytes.indexOf('\r\n', at);
  if (line_end === -1) return undefined;
  const kind = bytes.toString('latin1', at, at + 1);
  return parseAs(kind, bytes.toString('utf8', at + 1, line_end), bytes, line_end + 2);
}

function parseAs(kind: string, line: string, bytes: Buffer, end: number): Parsed | undefined {
  if (kind === '+') return { reply: line, end };
  if (kind === '-') return { reply: new ReplyError(line), end };
  if (kind === ':') return { reply: Number(line), end };
  if (kind !== '$' && kind !== '*') throw new Error(`not RESP2: ${JSON.stringify(kind + line)}`);
  if (line === '-1') return { reply: null, end };
  return kind === '$' ? parseBulk(bytes, end, Number(line)) : parseArray(bytes, end, Number(line));
}

function parseBulk(bytes: Buffer, at: number, length: number): Parsed | undefined {
  const end = at + length + 2;
  return bytes.length < end ? undefined : { reply: bytes.toString('utf8', at, at + length), end };
}

function parseArray(bytes: Buffer, at: number, length: number): Parsed | undefined {
  const reply: Reply[] = [];
  let end = at;
  while (reply.length < length) {
    const item = parse(bytes, end);
    if (item === undefined) return undefined;
    reply.push(item.reply);
    end = item.end;
  }
  return { reply, end };
}

/** Calls may follow each other without waiting; one that is not answered in time ends the connection. */
export async function connectRedis(address: RedisAddress, timeout_ms = 5_000): Promise<RedisConnection> {
  const socket = open(address);
  const waiting: Waiting[] = [];
  serve(socket, waiting);
  const call: RedisConnection['call'] = async (...args) => {
    const late = () => socket.destroy(new Error(`${String(args[0])}: no reply within ${timeout_ms} ms`));
    const patience = setTimeout(late, timeout_ms);
    try {
      return await send(socket, waiting, args);
    } finally {
      clearTimeout(patience);
    }
  };
  if (address.password !== undefined) await call('AUTH', address.password);
  return { call, close: () => void socket.destroy() };
}

/** One command over a connection of its own. */
export async function callRedis(address: RedisAddress, args: readonly Argument[]): Promise<Reply> {
  const connection = await connectRedis(address);
  try {
    return await connection.call(...args);
  } finally {
    connection.close();
  }
}

function open({ port, authority }: RedisAddress): Socket {
  const at = { port, host: '127.0.0.1' };
  const socket = authority === undefined ? connect(at) : connectTls({ ...at, ca: authority });
  return socket.setNoDelay();
}

function serve(socket: Socket, waiting: Waiting[]): void {
  const decode = createReplyDecoder();
  const fail = (error: Error) => waiting.splice(0).forEach(({ reject }) => reject(error));
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('the connection ended before the reply')));
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const reply of decode(chunk)) settle(waiting.shift(), reply);
    } catch (error) {
      socket.destroy(error as Error);
    }
  });
}

function settle(asked: Waiting | undefined, reply: Reply): void {
  if (reply instanceof ReplyError) asked?.reject(reply);
  else asked?.resolve(reply);
}

function send(socket: Socket, waiting: Waiting[], args: readonly Argument[]): Promise<Reply> {
  if (socket.destroyed) return Promise.reject(new Error('the connection has ended'));
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  waiting.push({ resolve, reject });
  socket.write(encodeCommand(args));
  return promise;
}
