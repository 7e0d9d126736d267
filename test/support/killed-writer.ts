/** The writer loop in a process of its own, killed in the middle. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './sidecar.ts';

/** What was acknowledged of one mandate. */
export interface Acknowledged {
  readonly id: string;
  readonly state: string;
  readonly seq: number;
}

/** `after_ms`: counted from when it is ready to write. */
export async function writeAndKill(
  path: string,
  after_ms: number,
  build = ROOT,
): Promise<readonly Acknowledged[]> {
  const script = join(import.meta.dirname, 'writer-loop.ts');
  const child = spawn(process.execPath, [script, path, build], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    if (out === '') setTimeout(() => child.kill('SIGKILL'), after_ms);
    out += chunk.toString();
  });
  await new Promise((resolve) => child.on('close', resolve));
  // The last line may be cut; a cut line was not yet an answer.
  return out
    .split('\n')
    .slice(0, -1)
    .flatMap((line) => {
      const [id, state, seq] = line.split(' ');
      return seq === undefined ? [] : [{ id: id!, state: state!, seq: Number(seq) }];
    });
}
