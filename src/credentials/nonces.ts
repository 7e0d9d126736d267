/**
 * Nonces for DPoP proofs (RFC 9449 section 9): a proof that has one was made after it was given. They are computed, so
 * that nothing is kept, and sidecars that share the secret know each other's.
 */
import { createHmac } from 'node:crypto';
import type { Instant } from '../core/time.ts';

export interface Nonces {
  /** What the next proof must have. */
  readonly current: (at: Instant) => string;
  readonly isGood: (nonce: unknown, at: Instant) => boolean;
}

/** How long one is the current one; the one before, and after by the clock of another sidecar, is good as well. */
const LIFETIME_MS = 120_000;
const NONCE_BYTES = 18;

function periodOf({ wall_ms }: Instant): number {
  return Math.floor(wall_ms / LIFETIME_MS);
}

export function createNonces(secret: string | Uint8Array): Nonces {
  const nonceOf = (period: number): string =>
    createHmac('sha256', secret)
      .update(`dpop nonce ${period}`)
      .digest()
      .subarray(0, NONCE_BYTES)
      .toString('base64url');
  return {
    current: (at) => nonceOf(periodOf(at)),
    isGood: (nonce, at) => [-1, 0, 1].some((away) => nonceOf(periodOf(at) + away) === nonce),
  };
}
