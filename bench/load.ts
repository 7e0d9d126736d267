/** A closed-loop load over keep-alive connections that asserts every answer it counts. */
import { connect } from 'node:net';

export interface Load {
  readonly port: number;
  /** One request, as it goes over the wire. */
  readonly request: string;
  readonly connections: number;
  readonly duration_ms: number;
  /** What the head of every answer must hold. */
  readonly expected: readonly string[];
}

const END_OF_HEAD = '\r\n\r\n';

/** Answers per second. Rejects on the first answer that is not as expected. */
export async function load(options: Load): Promise<number> {
  const until = performance.now() + options.duration_ms;
  const begun = performance.now();
  const counts = await Promise.all(Array.from({ length: options.connections }, () => drive(options, until)));
  return (counts.reduce((sum, count) => sum + count, 0) * 1000) / (performance.now() - begun);
}

function drive({ port, request, expected }: Load, until: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1').setNoDelay(true);
    let count = 0;
    let head = '';
    const next = (): boolean => socket.write(request);
    socket.on('connect', next);
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      head += chunk.toString('latin1');
      if (!head.endsWith(END_OF_HEAD)) return;
      const missing = expected.find((text) => !head.includes(text));
      if (missing !== undefined)
        return reject(new Error(`an answer lacks \`${missing}\`: ${head.slice(0, 400)}`));
      count += 1;
      head = '';
      if (performance.now() < until) next();
      else socket.end(() => resolve(count));
    });
  });
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
