/** One HTTP/1.1 exchange over a bare socket: what no client library would send, sent as it is written. */
import { type Socket, connect } from 'node:net';

export interface RawResponse {
  readonly status: number;
  readonly headers: [string, string][];
  readonly body: string;
}

export interface RawOptions {
  readonly timeout_ms?: number;
}

export async function rawRequest(
  port: number,
  text: string | Buffer,
  options: RawOptions = {},
): Promise<RawResponse> {
  const { timeout_ms = 5_000 } = options;
  const socket = connect({ port, host: '127.0.0.1' });
  socket.setTimeout(timeout_ms, () => socket.destroy(new Error(`no whole answer within ${timeout_ms} ms`)));
  socket.write(text);
  try {
    return await readResponse(socket, methodOf(text));
  } finally {
    socket.destroy();
  }
}

/** The value of a header that occurs at most once, by its name in lower case. */
export function headerOf(response: RawResponse, name: string): string | undefined {
  return response.headers.find(([header]) => header.toLowerCase() === name)?.[1];
}

function methodOf(text: string | Buffer): string {
  return text.toString('latin1').trimStart().split(' ', 1)[0] ?? '';
}

async function readResponse(socket: Socket, method: string): Promise<RawResponse> {
  let received = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk]);
    const response = parse(received, method, false);
    if (response) return response;
  }
  const response = parse(received, method, true);
  if (response) return response;
  throw new Error(`the connection ended in the middle of an answer: ${JSON.stringify(received.toString())}`);
}

function parse(received: Buffer, method: string, ended: boolean): RawResponse | undefined {
  const head_end = received.indexOf('\r\n\r\n');
  if (head_end === -1) return undefined;
  const [status_line = '', ...lines] = received.toString('latin1', 0, head_end).split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(status_line)?.[1]);
  if (Number.isNaN(status)) throw new Error(`not a status line: ${JSON.stringify(status_line)}`);
  const rest = received.subarray(head_end + 4);
  if (status >= 100 && status < 200 && status !== 101) return parse(rest, method, ended);
  const headers = lines.map(parseHeader);
  const body = hasBody(method, status) ? parseBody(headers, rest, ended) : '';
  return body === undefined ? undefined : { status, headers, body };
}

function parseHeader(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}

function hasBody(method: string, status: number): boolean {
  const tunnel = method === 'CONNECT' && status < 300;
  return !(tunnel || method === 'HEAD' || status === 101 || status === 204 || status === 304);
}

function parseBody(headers: [string, string][], rest: Buffer, ended: boolean): string | undefined {
  const value = (name: string) => headers.find(([header]) => header.toLowerCase() === name)?.[1];
  if (value('transfer-encoding')?.toLowerCase() === 'chunked') return parseChunks(rest);
  const length = value('content-length');
  if (length === undefined) return ended ? rest.toString() : undefined;
  return rest.length < Number(length) ? undefined : rest.toString('utf8', 0, Number(length));
}

function parseChunks(rest: Buffer): string | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ;) {
    const line_end = rest.indexOf('\r\n', at);
    if (line_end === -1) return undefined;
    const size = Number.parseInt(rest.toString('latin1', at, line_end), 16);
    if (Number.isNaN(size)) throw new Error('an unreadable chunk size');
    if (size === 0) return Buffer.concat(chunks).toString();
    at = line_end + 2 + size + 2;
    if (rest.length < at) return undefined;
    chunks.push(rest.subarray(line_end + 2, at - 2));
  }
}
