/** What people and agents do to a store, with everything filled in that a test does not care about. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Acknowledgement, MandateStore, WriteResult } from '../../src/check/ports.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { Command, OperationDetails, ReserveCommand } from '../../src/core/mandate/commands.ts';
import type { AuthorityEntry, MandateRecord, Proposal } from '../../src/core/mandate/record.ts';
import type { StoredDecision } from '../../src/core/mandate/stored-decision.ts';
import { ALICE, ENTRY, MANDATES } from './records.ts';

const HOUR_MS = 3_600_000;
const by = { iss: MANDATES, sub: 'operator' };
let drawn = 0;
export const fresh = (prefix: string): string =>
  `${prefix}_${(drawn += 1)}_${Math.random().toString(36).slice(2)}`;

/** So long from now, as a record says it. */
export const soon = (ms: number): string => new Date(Date.now() + ms).toISOString();

export type Through = Pick<MandateStore, 'write'>;
type Committed = Extract<WriteResult, { ok: true }>;
export type Transition = 'suspend' | 'resume' | 'revoke';

/** Commands with everything filled in that a test does not care about. */
export function commands(at_ms = Date.now()) {
  return {
    propose: (
      submission_id = fresh('sub'),
      entries: readonly AuthorityEntry[] = [ENTRY],
      more: object = {},
    ): Command => ({
      kind: 'propose',
      submission_id,
      intent: { goal: 'g', resources: [ENTRY.resource], expires_at: new Date(at_ms + HOUR_MS).toISOString() },
      authorization_details: entries,
      subject: ALICE,
      client_id: 'agent-1',
      client_issuer: ALICE.iss,
      by,
      at_ms,
      ...more,
    }),
    approve: (submission_id: string, proposal_hash: string, more: object = {}): Command => ({
      kind: 'approve',
      submission_id,
      proposal_hash,
      mandate_id: fresh('msn'),
      approval_event_id: fresh('ape'),
      policy_version: 'v1',
      by,
      at_ms,
      ...more,
    }),
    derive: (parent: string, more: object): Command => ({
      kind: 'derive',
      parent,
      mandate_id: fresh('msn'),
      client_id: 'agent-1',
      authorization_details: [{ ...ENTRY, ...more }],
      policy_version: 'v1',
      by,
      at_ms,
    }),
    operate: (operation: Transition, id: string, more: object = {}): Command => ({
      kind: 'operate',
      details: { operation },
      id,
      may_resume: true,
      fingerprint: operation,
      by,
      at_ms,
      ...more,
    }),
  };
}

export async function committed(result: Promise<WriteResult>): Promise<Committed> {
  const settled = await result;
  if (!settled.ok) throw new Error(`${settled.refused}: ${settled.detail}`);
  return settled;
}

/** One entry of the log. */
export async function propose(through: Through, controls: JsonObject = {}): Promise<Proposal> {
  const entry = { ...ENTRY, delegation: { max_depth: 2, allowed_delegates: [{ sub: 'agent-1' }] } };
  const bounds = { resources: [ENTRY.resource], expires_at: soon(HOUR_MS), controls };
  // What the sample policies permit a push for.
  const intent = { goal: 'g', purpose: 'urn:example:purpose:release', ...bounds };
  const command = commands().propose(fresh('sub'), [entry], { intent });
  const { proposal } = await committed(through.write(command, 'applied'));
  return proposal!;
}

/** A mandate that is active, and may have children; `controls` bound it. Answers its id. */
export async function approve(through: Through, controls?: JsonObject): Promise<string> {
  const { submission_id, proposal_hash } = await propose(through, controls);
  const command = commands().approve(submission_id, proposal_hash);
  return (await committed(through.write(command, 'applied'))).mandate!.id;
}

/** A child with everything that its parent has. */
export async function derive(through: Through, parent: string): Promise<string> {
  return (await committed(through.write(commands().derive(parent, {}), 'applied'))).mandate!.id;
}

export function operate(
  through: Through,
  id: string,
  details: OperationDetails,
  acknowledge: Acknowledgement = 'durable',
): Promise<WriteResult> {
  const asked = { id, details, may_resume: true, fingerprint: JSON.stringify(details) };
  return through.write({ kind: 'operate', ...asked, by, at_ms: Date.now() }, acknowledge);
}

/** A decision to allow one action that cannot be undone. */
export function decisionOf(mandate: string, more: Partial<StoredDecision> = {}): StoredDecision {
  return {
    decision_id: fresh('dec'),
    mandate,
    check_point: 'tool',
    door: 'native',
    caller: { principal: 'p' },
    action: { name: 'repo.push', class: 'irreversible_action' },
    resource: ENTRY.resource,
    binding: 'sha-256:b',
    charge: { calls: 1 },
    decided_at: soon(0),
    settle_by: soon(60_000),
    status: 'decided',
    ...more,
  };
}

export function reservation(decision: StoredDecision, more: Partial<ReserveCommand> = {}): ReserveCommand {
  const base = { versions: [1], lease_ms: 1000, is_dry: false, by: ALICE, at_ms: Date.now() };
  return { kind: 'reserve', decision, ...base, ...more };
}

/** One action that cannot be undone is charged to a mandate; answers what came of it. */
export async function spend(through: Through, mandate: string, versions = [1]): Promise<string> {
  const command = reservation(decisionOf(mandate), { versions });
  const { reserved } = await committed(through.write(command, 'applied'));
  return reserved!.outcome === 'refused' ? reserved!.reason : reserved!.outcome;
}

/** As the primary has it. The connection that reads may be back a moment after the one that proves. */
export async function recordOf(store: Pick<MandateStore, 'lineage'>, id: string): Promise<MandateRecord> {
  let read = await store.lineage(id);
  for (let again = 0; again < 20 && !read.ok && read.refused === 'unavailable'; again += 1) {
    await sleep(100);
    read = await store.lineage(id);
  }
  if (!read.ok) throw new Error(`${read.refused}: ${read.detail}`);
  const record = read.lineage?.at(-1);
  if (record === undefined) throw new Error(`there is no mandate ${id}`);
  return record;
}
