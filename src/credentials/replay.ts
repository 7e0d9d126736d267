/** Proofs that were shown, until none of them could be shown again (RFC 9449 section 11.1). */
import { hash } from 'node:crypto';
import type { ProofMemory, Shown } from '../check/ports.ts';
import { type Instant, elapsed } from '../core/time.ts';

/** More at once are refused, and none is forgotten for another: who may show many must not make room for a replay. */
export const MAX_PROOFS = 500_000;
/** Those that end in one of these are forgotten together. */
const SLOT_MS = 5000;

interface Slot {
  readonly began: Instant;
  readonly shown: Map<string, string | undefined>;
}

/** Of this process alone; sidecars that share a store remember in it. */
export function createProofMemory(max_proofs = MAX_PROOFS): ProofMemory {
  const slots: Slot[] = [];
  let size = 0;
  /** By the clock that says less: a wall clock that is set forward must not make a proof new again. */
  const isOver = ({ began }: Slot, lifetime_ms: number, at: Instant): boolean =>
    Math.min(at.mono_ms - began.mono_ms, at.wall_ms - began.wall_ms) > lifetime_ms + SLOT_MS;
  const slotAt = (at: Instant): Slot => {
    const last = slots.at(-1);
    if (last !== undefined && elapsed(last.began, at) <= SLOT_MS) return last;
    const slot: Slot = { began: at, shown: new Map() };
    slots.push(slot);
    return slot;
  };
  return {
    show: ({ key, lifetime_ms, request_id }, at): Shown => {
      while (slots[0] !== undefined && isOver(slots[0], lifetime_ms, at)) size -= slots.shift()!.shown.size;
      const earlier = slots.find(({ shown }) => shown.has(key));
      if (earlier !== undefined) {
        const isSameRequest = request_id !== undefined && earlier.shown.get(key) === request_id;
        return isSameRequest ? { kind: 'first' } : { kind: 'replayed' };
      }
      if (size >= max_proofs)
        return { kind: 'unknown', detail: 'more proofs were shown than can be remembered' };
      slotAt(at).shown.set(key, request_id);
      size += 1;
      return { kind: 'first' };
    },
  };
}

/** A proof as it is remembered: by its key and its `jti`, neither of which can be read from it. */
export function proofKey(jkt: string, jti: string): string {
  return hash('sha256', JSON.stringify([jkt, jti]), 'base64url').slice(0, 27);
}
