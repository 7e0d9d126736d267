/** Proofs that were shown, until none of them could be shown again (RFC 9449 section 11.1). */
import type { ProofMemory, Shown, ShownProof } from '../check/ports.ts';
import { type Instant, elapsed } from '../core/time.ts';

/** More at once are refused, and none is forgotten for another: who may show many must not make room for a replay. */
export const MAX_PROOFS = 500_000;
/** One holder has a part of the room, so that it does not have that of all others. */
const SHARE_OF_ONE = 5;
/** Those that were shown in one of these are forgotten together. */
const SLOT_MS = 5000;

interface Slot {
  readonly began: Instant;
  readonly shown: Map<string, Again | undefined>;
}

interface Again {
  readonly request: string;
  readonly until: Instant;
}

/** Of this process alone; sidecars that share a store remember in it. */
export function createProofMemory(max_proofs = MAX_PROOFS): ProofMemory {
  const slots: Slot[] = [];
  /** How many are remembered of each. */
  const holders = new Map<string, number>();
  let size = 0;
  const count = (holder: string, by: number): void => {
    size += by;
    const now = (holders.get(holder) ?? 0) + by;
    if (now === 0) holders.delete(holder);
    else holders.set(holder, now);
  };
  const forget = ({ shown }: Slot): void => {
    for (const name of shown.keys()) count(name.slice(0, name.indexOf(' ')), -1);
  };
  const slotAt = (at: Instant): Slot => {
    const last = slots.at(-1);
    if (last !== undefined && elapsed(last.began, at) <= SLOT_MS) return last;
    const slot: Slot = { began: at, shown: new Map() };
    slots.push(slot);
    return slot;
  };
  return {
    show: ({ holder, jti, lifetime_ms, again }, at): Shown => {
      while (slots[0] !== undefined && isOver(slots[0], lifetime_ms, at)) forget(slots.shift()!);
      const name = `${holder} ${jti}`;
      const slot = slots.find(({ shown }) => shown.has(name));
      if (slot !== undefined) return isAgain(slot.shown.get(name), again, at) ? FIRST : { kind: 'replayed' };
      if (size >= max_proofs) return FULL;
      if ((holders.get(holder) ?? 0) >= Math.ceil(max_proofs / SHARE_OF_ONE)) return FULL_OF_ONE;
      slotAt(at).shown.set(name, again && { request: again.request, until: after(at, again.lifetime_ms) });
      count(holder, 1);
      return FIRST;
    },
  };
}

const FIRST: Shown = { kind: 'first' };
const FULL: Shown = { kind: 'unknown', detail: 'more proofs were shown than can be remembered' };
const FULL_OF_ONE: Shown = {
  kind: 'unknown',
  detail: 'more proofs by this key were shown than can be remembered of one',
};

/** By the clock that says less: a wall clock that is set forward must not make a proof new again. */
function isOver({ began }: Slot, lifetime_ms: number, at: Instant): boolean {
  return Math.min(at.mono_ms - began.mono_ms, at.wall_ms - began.wall_ms) > lifetime_ms + SLOT_MS;
}

function after({ mono_ms, wall_ms }: Instant, ms: number): Instant {
  return { mono_ms: mono_ms + ms, wall_ms: wall_ms + ms };
}

function isAgain(earlier: Again | undefined, again: ShownProof['again'], at: Instant): boolean {
  return (
    earlier !== undefined &&
    again?.request === earlier.request &&
    at.mono_ms < earlier.until.mono_ms &&
    at.wall_ms < earlier.until.wall_ms
  );
}
