/** What people and agents do through a member, with everything filled in that a test does not care about. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Acknowledgement, WriteResult } from '../../src/check/ports.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { OperationDetails } from '../../src/core/mandate/commands.ts';
import type { MandateRecord, Proposal } from '../../src/core/mandate/record.ts';
import type { StoredDecision } from '../../src/core/mandate/stored-decision.ts';
import { ALICE, ENTRY, MANDATES } from '../support/records.ts';
import type { Member } from './member.ts';

const HOUR_MS = 3_600_000;
const OPERATOR = { iss: MANDATES, sub: 'operator' };
const name = (prefix: string): string => `${prefix}_${crypto.randomUUID()}`;
const soon = (ms: number): string => new Date(Date.now() + ms).toISOString();

export type Through = Pick<Member, 'write'>;
type Committed = Extract<WriteResult, { ok: true }>;

export async function committed(result: Promise<WriteResult>): Promise<Committed> {
  const settled = await result;
  if (!settled.ok) throw new Error(`${settled.refused}: ${settled.detail}`);
  return settled;
}

/** One entry of the log. */
export async function propose(member: Through, controls: JsonObject = {}): Promise<Proposal> {
  const [submission_id, at_ms] = [name('sub'), Date.now()];
  const entry = { ...ENTRY, delegation: { max_depth: 2, allowed_delegates: [{ sub: 'agent-1' }] } };
  const bounds = { resources: [ENTRY.resource], expires_at: soon(HOUR_MS), controls };
  // What the sample policies permit a push for.
  const intent = { goal: 'g', purpose: 'urn:example:purpose:release', ...bounds };
  const terms = { subject: ALICE, client_id: 'agent-1', client_issuer: ALICE.iss };
  const proposing = { kind: 'propose', submission_id, intent, authorization_details: [entry] } as const;
  const { proposal } = await committed(
    member.write({ ...proposing, ...terms, by: OPERATOR, at_ms }, 'applied'),
  );
  return proposal!;
}

/** A mandate that is active, and may have children; `controls` bound it. Answers its id. */
export async function approve(member: Through, controls?: JsonObject): Promise<string> {
  const { submission_id, proposal_hash } = await propose(member, controls);
  const approving = { kind: 'approve', submission_id, proposal_hash, mandate_id: name('msn') } as const;
  const more = { approval_event_id: name('ape'), policy_version: 'v1', by: OPERATOR, at_ms: Date.now() };
  const { mandate } = await committed(member.write({ ...approving, ...more }, 'applied'));
  return mandate!.id;
}

/** A child with everything that its parent has. */
export async function derive(member: Through, parent: string): Promise<string> {
  const more = { mandate_id: name('msn'), client_id: 'agent-1', policy_version: 'v1' };
  const child = { parent, authorization_details: [ENTRY], by: OPERATOR, at_ms: Date.now() };
  const { mandate } = await committed(member.write({ kind: 'derive', ...child, ...more }, 'applied'));
  return mandate!.id;
}

export function operate(
  member: Through,
  id: string,
  details: OperationDetails,
  acknowledge: Acknowledgement = 'durable',
): Promise<WriteResult> {
  const asked = { id, details, may_resume: true, fingerprint: JSON.stringify(details) };
  return member.write({ kind: 'operate', ...asked, by: OPERATOR, at_ms: Date.now() }, acknowledge);
}

/** One action that cannot be undone is charged to a mandate; answers what came of it. */
export async function spend(member: Through, mandate: string, versions = [1]): Promise<string> {
  const decision: StoredDecision = {
    decision_id: name('dec'),
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
  };
  const reserving = { kind: 'reserve', decision, versions, lease_ms: 1000, is_dry: false } as const;
  const { reserved } = await committed(
    member.write({ ...reserving, by: ALICE, at_ms: Date.now() }, 'applied'),
  );
  return reserved!.outcome === 'refused' ? reserved!.reason : reserved!.outcome;
}

/** As the primary has it. The connection that reads may be back a moment after the one that proves. */
export async function recordOf(member: Pick<Member, 'lineage'>, id: string): Promise<MandateRecord> {
  let read = await member.lineage(id);
  for (let again = 0; again < 20 && !read.ok && read.refused === 'unavailable'; again += 1) {
    await sleep(100);
    read = await member.lineage(id);
  }
  if (!read.ok) throw new Error(`${read.refused}: ${read.detail}`);
  const record = read.lineage?.at(-1);
  if (record === undefined) throw new Error(`there is no mandate ${id}`);
  return record;
}
