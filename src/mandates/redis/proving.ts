/** What checks ask: a mandate as the view has it, with what the view can prove of its age. */
import type { MandateStore, ViewNeed } from '../../check/ports.ts';
import type { MandateFact } from '../../core/facts.ts';
import { type ViewProof, hasReached } from '../../core/freshness.ts';
import type { Position } from '../../core/mandate/events.ts';
import { type Lineage, ownOf } from '../../core/mandate/life.ts';
import type { Reference } from '../../core/reference.ts';
import { type Instant, type Now, elapsed } from '../../core/time.ts';
import type { Barriered, Sync } from './sync.ts';
import type { View } from './view.ts';

export interface ProvingParts {
  readonly view: View;
  readonly sync: Sync;
  readonly now: Now;
  readonly issuer: string;
  /** Why nothing may be decided from this store now. */
  readonly trouble: () => string | undefined;
  /** Why nothing that cannot be undone may be, although the view is all there is. */
  readonly reserve: (roster: readonly string[]) => string | undefined;
}

const unreadable = (detail: string): MandateFact => ({ kind: 'unreadable', detail });

export function createProving(parts: ProvingParts): Pick<MandateStore, 'prove' | 'barrier'> {
  const { view, sync } = parts;
  return {
    prove: (need) => {
      // An action that cannot be undone is proven from its arrival on, beside the verification of its credential.
      const begun = need.budget_ms === 0 ? sync.barrier() : undefined;
      // Not every question comes to ask for its mandate; who does is told.
      begun?.catch(() => undefined);
      return {
        find: (reference) => {
          const trouble = parts.trouble();
          if (trouble !== undefined) return unreadable(trouble);
          if (begun === undefined) return cached(reference, need, parts);
          return reservable(reference, need, parts) ?? proven(reference, begun, need, parts);
        },
      };
    },
    barrier: async () => {
      const answer = await sync.barrier();
      const why = answer.ok ? (parts.trouble() ?? parts.reserve(answer.roster)) : answer.why;
      if (!answer.ok || why !== undefined) return { refused: why! };
      return { source: 'barrier', position: answer.position, proven: answer.sent, latch: view.state().latch };
    },
  };
}

async function proven(
  reference: Reference,
  begun: Promise<Barriered>,
  need: ViewNeed,
  parts: ProvingParts,
): Promise<MandateFact> {
  const answer = await begun;
  if (!answer.ok) return unreadable(answer.why);
  const why = parts.reserve(answer.roster);
  if (why !== undefined) return unreadable(why);
  return held(reference, answer, parts) ?? fetched(reference, need, parts);
}

/**
 * A metered mandate is proven by the reservation that an allow needs: it holds only where the versions are those that the
 * decision saw. What a condition makes of it has no version, so that those wait for the barrier.
 */
function reservable(
  reference: Reference,
  { may_reserve = false, min_version, token }: ViewNeed,
  { view }: ProvingParts,
): MandateFact | undefined {
  const { position, proven: proven_at, latch } = view.state();
  const lineage = may_reserve ? view.lineage(reference.id) : undefined;
  if (lineage === undefined || position === undefined || proven_at === undefined || latch !== undefined)
    return undefined;
  const isMetered = ownOf(lineage).usage !== undefined;
  const isPlain = lineage.every(({ conditions }) => conditions === undefined);
  if (!isMetered || !isPlain || min_version !== undefined || token !== undefined) return undefined;
  const proof: ViewProof = {
    source: 'replica',
    position,
    proven: proven_at,
    latch,
    awaits_reservation: true,
  };
  return found(lineage, reference, proof);
}

/** From the replica where that is recent enough; else as of now. */
function cached(
  reference: Reference,
  need: ViewNeed,
  parts: ProvingParts,
): MandateFact | Promise<MandateFact> {
  const { view, now } = parts;
  const { position, proven: proven_at, latch } = view.state();
  const lineage = view.lineage(reference.id);
  if (lineage === undefined || proven_at === undefined || position === undefined || latch !== undefined)
    return fetched(reference, need, parts);
  const asHeld = found(lineage, reference, { source: 'replica', position, proven: proven_at, latch });
  if (elapsed(proven_at, now()) <= need.budget_ms && isEnough(lineage, position, need)) return asHeld;
  return renewed(asHeld, reference, need, parts);
}

/** As of now, or as it was where that cannot be had: it says itself that it is too old. */
async function renewed(
  asHeld: MandateFact,
  reference: Reference,
  need: ViewNeed,
  parts: ProvingParts,
): Promise<MandateFact> {
  const answer = await parts.sync.barrier();
  return answer.ok ? (held(reference, answer, parts) ?? fetched(reference, need, parts)) : asHeld;
}

/** The view has what the caller has been told of already. */
function isEnough(lineage: Lineage, position: Position, { min_version = 0, token }: ViewNeed): boolean {
  return ownOf(lineage).version >= min_version && (token === undefined || hasReached(position, token));
}

type Proof = Extract<Barriered, { ok: true }>;

function held(reference: Reference, answer: Proof, { view }: ProvingParts): MandateFact | undefined {
  const lineage = view.lineage(reference.id);
  return lineage === undefined ? undefined : found(lineage, reference, proofOf(answer, view));
}

function proofOf({ sent }: { readonly sent: Instant }, view: View): ViewProof {
  const { position, latch } = view.state();
  return { source: 'barrier', position: position!, proven: sent, latch };
}

function found(lineage: Lineage, { issuer }: Reference, proof: ViewProof): MandateFact {
  return ownOf(lineage).issuer === issuer ? { kind: 'found', lineage, proof } : { kind: 'absent' };
}

/** Brought along by a barrier of its own; once more where the view had moved on too far meanwhile. */
async function fetched(reference: Reference, need: ViewNeed, parts: ProvingParts): Promise<MandateFact> {
  const { id, issuer } = reference;
  if (issuer !== parts.issuer) return { kind: 'absent' };
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const answer = await parts.sync.barrier(id);
    if (!answer.ok) return unreadable(answer.why);
    const why = need.budget_ms === 0 ? parts.reserve(answer.roster) : undefined;
    if (why !== undefined) return unreadable(why);
    const came = answer.read.get(id);
    if (came === 'absent') return { kind: 'absent' };
    if (came === 'corrupt') return unreadable('the record does not verify');
    const fact = held(reference, answer, parts);
    if (fact !== undefined) return fact;
  }
  return unreadable('the mandate could not be read');
}
