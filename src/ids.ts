/** Random identifiers: 128 bits or more from the platform's generator, and a prefix that says what it names. */
import { randomBytes, randomFillSync } from 'node:crypto';

/** Bytes drawn at once: a system call for every decision would cost more than the decision's other bookkeeping. */
const POOL_BYTES = 4096;
const ID_BYTES = 18;

export function createIds() {
  const pool = Buffer.alloc(POOL_BYTES);
  let at = POOL_BYTES;
  const draw = (prefix: string): string => {
    if (at + ID_BYTES > POOL_BYTES) {
      randomFillSync(pool);
      at = 0;
    }
    const id = prefix + pool.toString('base64url', at, at + ID_BYTES);
    at += ID_BYTES;
    return id;
  };
  return {
    decision: () => draw('dec_'),
    submission: () => draw('sub_'),
    mandate: () => draw('msn_'),
    approval: () => draw('ape_'),
    emitter: () => draw('emt_'),
  };
}

export function randomToken(): string {
  return randomBytes(32).toString('base64url');
}
