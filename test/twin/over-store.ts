/** The twin beside a store, by a clock of its own. */
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import type { MandateStore } from '../../src/check/ports.ts';
import { matchLineage } from '../../src/core/mandate/authority.ts';
import type { Command } from '../../src/core/mandate/commands.ts';
import { type Lineage, effectiveEnd, effectiveState } from '../../src/core/mandate/life.ts';
import type { Reserved, StoredDecision } from '../../src/core/mandate/stored-decision.ts';
import { parseResource } from '../../src/core/uri.ts';
import { ALICE } from '../support/records.ts';
import * as model from './model.ts';
import type { Ask, World } from './model.ts';
import { APP, defined } from './steps.ts';
import { type Names, type Product, type Seen, walk, extent } from './walk.ts';
import { walks } from './walks.ts';
import { callsLeft, intentUntil, membersOf, metered } from './wire.ts';

const START = Date.UTC(2030, 0, 1);
const iso = (ms: number): string => new Date(ms).toISOString();

let store: MandateStore;

// --- asking ----------------------------------------------------------------------------------------------------

function decisionOf(decision_id: string, mandate: string, at_ms: number): StoredDecision {
  return {
    decision_id,
    mandate,
    check_point: 'tool',
    door: 'native',
    caller: { principal: 'Operator::"local"' },
    action: { name: 'repo.push', class: 'consequential_write' },
    resource: APP,
    binding: '',
    charge: { calls: 1 },
    decided_at: iso(at_ms),
    status: 'decided',
  };
}

const lineageOf = async (id: string): Promise<Lineage> => {
  const read = await store.lineage(id);
  if (!read.ok || read.lineage === undefined) throw new Error(`no lineage of ${id}`);
  return read.lineage;
};

/** Names that the caller draws are new ones each time; those of approvals belong to a walk. */
async function commandOf(
  ask: Exclude<Ask, { kind: 'use' }>,
  at_ms: number,
  { mandates, proposals, uses }: Names,
  of_walk: string,
): Promise<Command> {
  const drawn = crypto.randomUUID();
  const common = { by: ALICE, at_ms };
  switch (ask.kind) {
    case 'propose':
      return {
        kind: 'propose',
        submission_id: drawn,
        intent: intentUntil(iso(ask.ends), metered(ask.max_calls) || undefined) as never,
        authorization_details: ask.entries,
        subject: ALICE,
        client_id: 'agent-1',
        client_issuer: ALICE.iss,
        ...common,
      };
    case 'approve':
      return defined({
        kind: 'approve',
        submission_id: proposals[ask.proposal]!.id,
        proposal_hash: ask.is_hash_wrong ? 'sha-256:other' : proposals[ask.proposal]!.hash,
        mandate_id: drawn,
        approval_event_id: `${of_walk} ${ask.event}`,
        policy_version: 'v',
        authorization_details: ask.entries,
        expires_at: ask.ends === undefined ? undefined : iso(ask.ends),
        ...common,
      });
    case 'deny':
      return { kind: 'deny', submission_id: proposals[ask.proposal]!.id, ...common };
    case 'derive':
      return defined({
        kind: 'derive',
        parent: mandates[ask.on]!,
        mandate_id: drawn,
        client_id: ask.client,
        authorization_details: ask.entries,
        expires_at: ask.ends === undefined ? undefined : iso(ask.ends),
        budget: metered(ask.max_calls) || undefined,
        policy_version: 'v',
        ...common,
      });
    case 'operate': {
      const { own, expected_version, nonce, reason } = ask;
      const id = mandates[ask.on]!;
      const record = (await lineageOf(id)).at(-1)!;
      const made = own.operation === 'renew' ? { submission_id: drawn } : { approval_event_id: drawn };
      const details = { operation: own.operation, ...membersOf(own, record, iso), ...made };
      const fingerprint = JSON.stringify(ask);
      return {
        kind: 'operate',
        id,
        details: details as never,
        may_resume: true,
        fingerprint,
        ...defined({ expected_version, nonce, reason }),
        ...common,
      };
    }
    case 'settle':
      return { kind: 'settle', decision_id: uses[ask.use]!, outcome: ask.outcome, ...common };
  }
}

function matched(lineage: Lineage, { action, resource: uri, amount }: model.Probe, now: number) {
  const resource = parseResource(uri);
  if ('refused' in resource) throw new Error(resource.refused);
  return matchLineage(lineage, resource, {
    action,
    parameters: {
      amount: { type: 'decimal', value: String(amount) },
      currency: { type: 'string', value: 'EUR' },
    },
    wall_ms: now,
    is_approved: false,
  });
}

/** A decision, and its reservation; made again where the mandate was no longer what the decision was made from. */
async function use(id: string, now: number): Promise<Seen> {
  const lineage = await lineageOf(id);
  if (effectiveState(lineage, now) !== 'active') return { ok: false, reason: 'mission_inactive' };
  const found = matched(lineage, model.CALL, now);
  if ('reason' in found) return { ok: false, reason: found.reason };
  const decision = decisionOf(crypto.randomUUID(), id, now);
  const versions = lineage.map(({ version }) => version);
  const common = { by: ALICE, at_ms: now };
  const result = await store.write(
    { kind: 'reserve', decision, versions, lease_ms: 0, is_dry: false, ...common },
    'durable',
  );
  const reserved = result.ok ? result.reserved! : result;
  if ('refused' in reserved) return { ok: false, reason: reserved.refused };
  if (reserved.outcome === 'moved') return use(id, now);
  return seenReserved(reserved);
}

function seenReserved(reserved: Reserved): Seen {
  if (reserved.outcome === 'held') return { ok: true, use: reserved.decision.decision_id };
  return { ok: false, reason: reserved.outcome === 'refused' ? reserved.reason : reserved.outcome };
}

async function send(ask: Ask, { now }: World, names: Names, of_walk: string): Promise<Seen> {
  if (ask.kind === 'use') return use(names.mandates[ask.on]!, now);
  const result = await store.write(await commandOf(ask, now, names, of_walk), 'durable');
  if (!result.ok) return { ok: false, reason: result.refused };
  const { mandate, proposal, receipt, reserved } = result;
  if (reserved !== undefined) return seenReserved(reserved);
  return {
    ok: true,
    mandate: mandate?.id,
    proposal: proposal && { id: proposal.submission_id, hash: proposal.proposal_hash },
    state: receipt?.state,
    version: receipt?.version,
    cascaded: receipt?.cascaded,
  };
}

// --- comparing -------------------------------------------------------------------------------------------------

const PROBES: readonly model.Probe[] = ['repo.push', 'repo.read'].flatMap((action) =>
  [`${APP}/src`, `${APP}/docs/a`].flatMap((resource) =>
    [4, 8, 15].map((amount) => ({ action, resource, amount })),
  ),
);

function modelled(world: World, index: number, { mandates }: Names) {
  const { version, depth, parent, predecessor, successor, history } = world.mandates[index]!;
  const { at, cascaded_from, ...last } = history.at(-1)!;
  return defined({
    state: model.standing(world, index),
    version,
    depth,
    ends: model.effectiveEnd(world, index),
    parent: mandates[parent!],
    predecessor: mandates[predecessor!],
    successor: mandates[successor!],
    changes: history.length,
    last: defined({ ...last, at: iso(at), cascaded_from: mandates[cascaded_from!] }),
  });
}

function stored(lineage: Lineage, now: number) {
  const { version, depth, parent, predecessor, successor, history } = lineage.at(-1)!;
  const { seq: _seq, by: _by, ...last } = history.at(-1)!;
  return defined({
    state: effectiveState(lineage, now),
    version,
    depth,
    ends: effectiveEnd(lineage),
    parent,
    predecessor,
    successor,
    changes: history.length,
    last,
  });
}

/** What the effective authority says of a probe, where the model has no such reason. */
function misjudged(world: World, index: number, lineage: Lineage): readonly string[] {
  return PROBES.flatMap((probe) => {
    const found = matched(lineage, probe, world.now);
    const reasons = model.uncovered(world, index, probe);
    const isRight = 'reason' in found ? reasons.includes(found.reason) : reasons.length === 0;
    return isRight ? [] : [`${JSON.stringify(probe)}: ${JSON.stringify(found)}, not ${reasons.join()}`];
  });
}

type Looked = ReadonlyMap<string, Lineage>;

async function look({ mandates }: Names): Promise<Looked> {
  return new Map(await Promise.all(mandates.map(async (id) => [id, await lineageOf(id)] as const)));
}

function compare(world: World, names: Names, looked: Looked): string | undefined {
  for (const [index, id] of names.mandates.entries()) {
    const lineage = looked.get(id)!;
    const { version, history } = lineage.at(-1)!;
    // "storing `expired` may be lazy": what is stored late counts from now on.
    const isLater = version === world.mandates[index]!.version + 1;
    if (isLater && history.at(-1)!.operation === 'expire') model.storeEnd(world, index);
    const [expected, actual] = [modelled(world, index, names), stored(lineage, world.now)];
    if (!isDeepStrictEqual(actual, expected))
      return `mandate ${index} is ${JSON.stringify(actual)}\nand not ${JSON.stringify(expected)}`;
    const left = model.callsShown(world, index);
    if (left !== undefined && callsLeft(lineage.at(-1)!.usage) !== left)
      return `mandate ${index} has ${JSON.stringify(lineage.at(-1)!.usage)}\nand not ${left} calls left`;
    const wrong = misjudged(world, index, lineage);
    if (wrong.length > 0) return `mandate ${index}: ${wrong.join('\n')}`;
  }
  return undefined;
}

export interface Opened {
  readonly store: MandateStore;
  readonly discard: () => Promise<void>;
}

/** One store for all walks: each has mandates of its own. */
export function twinOver(name: string, open: () => Promise<Opened>, runs: number): void {
  let opened: Opened;
  beforeAll(async () => {
    opened = await open();
    ({ store } = opened);
  });
  afterAll(() => opened.discard());

  test(`the ${name} store does what the twin does`, async () => {
    await fc.assert(
      fc.asyncProperty(walks({ most: 25, has_time: true }), async (steps) => {
        const of_walk = crypto.randomUUID();
        const product: Product<Looked> = {
          send: (ask, world, names) => send(ask, world, names, of_walk),
          look: (_, names) => look(names),
          compare,
        };
        await walk(steps, START, product);
      }),
      extent(runs),
    );
  }, 3_600_000);
}
