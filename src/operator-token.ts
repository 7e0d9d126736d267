/** The operator's token: written once, read by people who may read the file, compared in constant time. */
import { hash, timingSafeEqual } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { randomToken } from './ids.ts';
import { ConfigurationError } from './reading.ts';

const MIN_LENGTH = 32;

/** Makes the file when it is not there. Returns whether a token is the one in it. */
export function readOperatorToken(file: string): (token: string) => boolean {
  let kept: string;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    kept = readOrWrite(file);
  } catch (error) {
    throw new ConfigurationError([
      `control.token_file: \`${file}\` cannot be used: ${(error as Error).message}`,
    ]);
  }
  if (kept.length < MIN_LENGTH) {
    throw new ConfigurationError([
      `control.token_file: \`${file}\` holds fewer than ${MIN_LENGTH} characters`,
    ]);
  }
  const expected = hash('sha256', kept, 'buffer');
  return (token) => timingSafeEqual(hash('sha256', token, 'buffer'), expected);
}

function readOrWrite(file: string): string {
  try {
    // Exclusive: of two processes that start at once, one writes and the other reads.
    writeFileSync(file, `${randomToken()}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return readFileSync(file, 'utf8').trim();
}
