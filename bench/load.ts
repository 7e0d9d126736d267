/** A closed-loop load over keep-alive connections that asserts every answer it counts. */
import { connect } from 'node:net';

export interface Asked {
  /** The request as it goes over the wire. */
  readonly text: string;
  /** What the head of the answer must hold; a body it must not have. */
  readonly expected: readonly string[];
}

export interface Load {
  readonly port: number;
  /** Asked in turn, whichever connection is free. */
  readonly requests: readonly Asked[];
  readonly connections: number;
  readonly duration_ms: number;
}

const END_OF_HEAD = '\r\n\r\n';

/** Answers per second. Rejects on the first answer that is not as expected. */
export async function load({ port, requests, connections, duration_ms }: Load): Promise<number> {
  const begun = performance.now();
  const until = begun + duration_ms;
  let turn = 0;
  const take = (): Asked | undefined =>
    performance.now() < until ? requests[turn++ % requests.length] : undefined;
  const counts = await Promise.all(Array.from({ length: connections }, () => drive(port, take)));
  return (counts.reduce((sum, count) => sum + count, 0) * 1000) / (performance.now() - begun);
}

function drive(port: number, take: () => Asked | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1').setNoDelay(true);
    let count = 0;
    let head = '';
    let asked: Asked | undefined;
    const next = (): void => {
      head = '';
      asked = take();
      if (asked === undefined) socket.end(() => resolve(count));
      else socket.write(asked.text);
    };
    socket.on('connect', next);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the connection closed before an answer was whole')));
    socket.on('data', (chunk: Buffer) => {
      head += chunk.toString('latin1');
      const end = head.indexOf(END_OF_HEAD);
      if (end === -1) return;
      const missing = asked!.expected.find((text) => !head.includes(text));
      if (missing !== undefined)
        return reject(new Error(`an answer lacks \`${missing}\`: ${head.slice(0, 800)}`));
      if (end + END_OF_HEAD.length < head.length)
        return reject(new Error(`an answer has a body: ${head.slice(0, 800)}`));
      count += 1;
      next();
    });
  });
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
