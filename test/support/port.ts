/** Ports of servers that a test ends and starts again. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * One that is free now. The operating system's own choice would be among those that it gives to outgoing connections,
 * and while the server is away one of them could take it, or reach itself on it.
 */
export async function findPort(): Promise<number> {
  for (let tries = 0; tries < 50; tries += 1) {
    const port = randomInt(10_000, 32_000);
    if (await isFree(port)) return port;
  }
  throw new Error('no free port was found');
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
