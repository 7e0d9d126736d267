/** What the routes of mandates share: how they write, and how they show. */
import type { Acknowledgement, MandateStore, WriteResult } from '../check/ports.ts';
import type { Principal } from '../core/control.ts';
import type { Command } from '../core/mandate/commands.ts';
import { coveredNow } from '../core/mandate/attenuation.ts';
import { statedEntry } from '../core/mandate/authority.ts';
import { type Lineage, effectiveEnd, effectiveState, ownOf } from '../core/mandate/life.ts';
import type { AuthorityEntry, Digest, MandateRecord, Party, Proposal } from '../core/mandate/record.ts';
import { type Now, formatTime } from '../core/time.ts';
import { type Access, notFound, storedLineage } from './access.ts';
import { Refused } from './bodies.ts';
import { controlProblem } from './problem.ts';

/** Parameters of a route about one thing. */
export interface ById {
  Params: { id: string };
}

export interface MandateApi {
  readonly store: MandateStore;
  readonly now: Now;
  readonly digest: Digest;
  readonly access: Access;
  readonly ids: {
    readonly submission: () => string;
    readonly mandate: () => string;
    readonly approval: () => string;
  };
  readonly policy_revision: () => string;
  readonly clock_tolerance_ms: number;
  /** How far a write must have come before it is answered, where the caller does not say. */
  readonly acknowledge: Acknowledgement;
  /** Told of every write: for metrics. */
  readonly written: (operation: string, outcome: string) => void;
}

/** What is answered to whoever has proposed. */
export function submitted({ submission_id, status, proposal_hash, expires_at }: Proposal) {
  return { submission_id, status, proposal_hash, expires_at };
}

/** Writes, or throws the refusal as the problem that the caller gets. */
export async function commit(
  api: MandateApi,
  operation: string,
  command: Command,
  acknowledge: Acknowledgement = api.acknowledge,
  timeout_ms?: number,
): Promise<Extract<WriteResult, { ok: true }>> {
  const result = await api.store.write(command, acknowledge, timeout_ms);
  api.written(operation, result.ok ? 'ok' : result.refused);
  if (result.ok) return result;
  const problem = controlProblem(result.refused, result.detail, result.field);
  throw new Refused({ ...problem, status: result.status ?? problem.status });
}

/** Who asks for a write, and when. */
export function attributed(
  { party }: Principal,
  api: MandateApi,
): { readonly by: Party; readonly at_ms: number } {
  return { by: party, at_ms: api.now().wall_ms };
}

export async function lineageOf(api: MandateApi, id: string): Promise<Lineage> {
  const lineage = await storedLineage(api.store, id);
  if (lineage === undefined) throw notFound();
  return lineage;
}

/** A record as it is shown: with what counts now, whether or not that is stored yet. */
export function present(lineage: Lineage, wall_ms: number): MandateRecord & Effective {
  return {
    ...ownOf(lineage),
    state: effectiveState(lineage, wall_ms),
    effective_authority: coveredNow(lineage, wall_ms).map(statedEntry),
    effective_expires_at: formatTime(effectiveEnd(lineage)),
  };
}

/** What is left of the record after all that was taken from it and from those above it. */
interface Effective {
  readonly effective_authority: readonly AuthorityEntry[];
  readonly effective_expires_at: string;
}
