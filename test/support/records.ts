/** Records and events made from little, for tests of the pure rooms. */
import type { LogEntry, MandateEvent, Position } from '../../src/core/mandate/events.ts';
import type { AuthorityEntry, MandateRecord, Party } from '../../src/core/mandate/record.ts';
import type { Instant } from '../../src/core/time.ts';

export const T0 = Date.UTC(2026, 10, 24, 12);
export const at = (ms: number): Instant => ({ wall_ms: T0 + ms, mono_ms: 1000 + ms });
export const iso = (ms: number): string => new Date(T0 + ms).toISOString();

export const ALICE: Party = { iss: 'https://as.example', sub: 'alice' };
export const MANDATES = 'https://mandates.example';

export const ENTRY: AuthorityEntry = {
  type: 'mission_resource_access',
  resource: 'https://git.example/repos/example/app',
  resource_match: 'prefix',
  actions: ['repo.*'],
};

export function record(replaced: Partial<MandateRecord> = {}): MandateRecord {
  const id = replaced.id ?? 'msn_1';
  const authority_set = replaced.authority_set ?? [ENTRY];
  return {
    id,
    issuer: MANDATES,
    intent: { goal: 'g', resources: ['https://git.example'], expires_at: iso(3_600_000) },
    proposed_authority: authority_set,
    authority_set,
    entry_digests: authority_set.map((_, index) => `sha-256:entry-${index}`),
    authority_hash: 'sha-256:authority',
    intent_hash: 'sha-256:intent',
    proposal_hash: 'sha-256:proposal',
    subject: ALICE,
    approver: { iss: MANDATES, sub: 'operator' },
    client_id: 'agent-1',
    client_issuer: ALICE.iss,
    approval_basis: { type: 'direct' },
    approval_event_id: 'ape_1',
    policy_version: 'sha-256:policy',
    created_at: iso(0),
    expires_at: iso(3_600_000),
    lineage: [id],
    depth: 0,
    state: 'active',
    version: 1,
    overlay: { contained: [], discharged: [], tightened: [] },
    approved_versions: [],
    history: [{ seq: 1, at: iso(0), by: ALICE, operation: 'approve', state: 'active', version: 1 }],
    ...replaced,
  };
}

export const GENESIS: Position = { epoch: 1, seq: 0, eid: 'e0' };

/** A chain of entries on top of `from`; `eid`s are told apart by `branch`. */
export function chain(
  events: readonly MandateEvent[],
  from: Position = GENESIS,
  branch = 'e',
): readonly LogEntry[] {
  let prev = from;
  return events.map((event) => {
    const entry: LogEntry = {
      epoch: prev.epoch,
      seq: prev.seq + 1,
      eid: `${branch}${prev.seq + 1}`,
      prev: prev.eid,
      event,
    };
    prev = entry;
    return entry;
  });
}

export function approved(id: string): MandateEvent {
  const {
    state: _s,
    version: _v,
    history: _h,
    overlay: _o,
    approved_versions: _a,
    ...terms
  } = record({ id });
  return { kind: 'approved', submission_id: `sub_${id}`, terms, at: iso(0), by: ALICE };
}

export function revoked(id: string, version: number): MandateEvent {
  return {
    kind: 'changed',
    id,
    operation: 'revoke',
    prior_state: 'active',
    state: 'revoked',
    version,
    change: {},
    at: iso(0),
    by: ALICE,
  };
}
