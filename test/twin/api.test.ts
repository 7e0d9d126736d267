/** The twin beside a whole sidecar: every call over HTTP, and after each what a check says to the agent. */
import { writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, test } from 'vitest';
import { type Json, type JsonObject, isObject, member } from '../../src/core/json.ts';
import { outcome, question } from '../support/question.ts';
import { AS, type Sidecar, startSidecar } from '../support/sidecar.ts';
import * as model from './model.ts';
import type { Ask, World } from './model.ts';
import { APP, defined } from './steps.ts';
import { type Names, type Product, type Seen, walk, extent } from './walk.ts';
import { walks } from './walks.ts';
import { type Known, intentUntil, membersOf, metered, newFolder } from './wire.ts';

const START = Date.UTC(2030, 0, 1);
const folder = newFolder();
let sidecar: Sidecar;
beforeAll(async () => {
  // Nothing but the mandate says no here.
  const cedar = join(folder, 'cedar');
  mkdirSync(cedar);
  writeFileSync(join(cedar, 'all.cedar'), '@id("all")\npermit (principal, action, resource);\n');
  const actions = join(folder, 'actions.yaml');
  const push = 'match: { tool: repo.push }, class: consequential_write';
  writeFileSync(actions, `operations: [{ ${push}, parameters: { amount: { type: decimal } } }]\n`);
  // What is slow here is the machine, and no fault of the sidecar.
  const check = '{ listen: "127.0.0.1:0", shutdown_grace_ms: 200, deadline_ms: 10000 }';
  sidecar = await startSidecar({ folder, policies: { cedar }, actions, check });
});
afterAll(() => sidecar.discard());

// --- asking ----------------------------------------------------------------------------------------------------

/** A walk begins a second ago, so that what is now for the model is past for the sidecar. */
interface Walk {
  readonly name: string;
  readonly shift: number;
  /** Records as they were seen last, and first: by what they are called. */
  readonly last: Map<string, JsonObject>;
  readonly first: Map<string, JsonObject>;
  checks: number;
  /** The token that a decision was asked for with. */
  readonly callers: Map<string, string>;
}

const timeAt = (ms: number, { shift }: Walk): string => new Date(ms + shift).toISOString();

const STATUS: Readonly<Record<string, number>> = {
  invalid_request: 400,
  not_found: 404,
  conflict: 409,
  stale_version: 409,
  parent_not_active: 409,
  not_strict_subset: 422,
  delegation_not_permitted: 422,
  child_actor_not_allowed: 422,
  fanout_exceeded: 422,
};

interface Call {
  readonly path: string;
  readonly body: JsonObject;
  readonly status: number;
}

function callOf(ask: Exclude<Ask, { kind: 'use' | 'settle' }>, names: Names, of: Walk): Call {
  const ends = 'ends' in ask && ask.ends !== undefined ? timeAt(ask.ends, of) : undefined;
  switch (ask.kind) {
    case 'propose': {
      const intent = intentUntil(ends!, metered(ask.max_calls) || undefined) as JsonObject;
      const who = { subject: { iss: AS, sub: 'alice' }, client_id: 'agent-1' };
      const body = { intent, authorization_details: ask.entries, ...who };
      return { path: '/v1/proposals', body, status: 202 };
    }
    case 'approve': {
      const { id, hash } = names.proposals[ask.proposal]!;
      const body = {
        proposal_hash: ask.is_hash_wrong ? `sha-256:${'A'.repeat(43)}` : hash,
        approval_event_id: `${of.name}-${ask.event}`,
        ...defined({ authorization_details: ask.entries, expires_at: ends }),
      };
      return { path: `/v1/proposals/${id}/approve`, body, status: 201 };
    }
    case 'deny':
      return { path: `/v1/proposals/${names.proposals[ask.proposal]!.id}/deny`, body: {}, status: 200 };
    case 'derive': {
      const body = defined({
        client_id: ask.client,
        authorization_details: ask.entries,
        expires_at: ends,
        budget: metered(ask.max_calls) || undefined,
      });
      const path = `/v1/mandates/${names.mandates[ask.on]!}/children`;
      return { path, body, status: 201 };
    }
    case 'operate': {
      const { own, expected_version, nonce, reason } = ask;
      const id = names.mandates[ask.on]!;
      const members = membersOf(own, of.last.get(id) as unknown as Known, (ms) => timeAt(ms, of));
      const body = { ...members, ...defined({ expected_version, nonce, reason }) } as JsonObject;
      const status = own.operation === 'renew' ? 202 : 200;
      return { path: `/v1/mandates/${id}/${own.operation}`, body, status };
    }
  }
}

/** "re-check each", "cancel only what fell outside", "re-evaluate": design/2, Life. */
const REEVALUATES: ReadonlySet<string> = new Set([
  'resume',
  'contain',
  'discharge',
  'tighten',
  'shorten',
  'amend',
]);

/** What is wrong with an answer of this shape. */
function flawOf(ask: Ask, body: JsonObject): string | undefined {
  if (ask.kind === 'derive' || ask.kind === 'approve')
    return member(body, 'authority_set') === undefined ? 'no record' : undefined;
  if (ask.kind === 'propose' || (ask.kind === 'operate' && ask.own.operation === 'renew')) {
    const isWhole = typeof body.submission_id === 'string' && typeof body.expires_at === 'string';
    return isWhole ? undefined : 'no submission';
  }
  if (ask.kind !== 'operate') return undefined;
  const { stop, acknowledged, freshness } = body;
  const expected = model.stopsIn(body.state as model.State);
  const wrong = Object.entries(expected).find(([name, is]) => member(stop, name) !== is);
  if (wrong !== undefined) return `stop.${wrong.join()}`;
  if (REEVALUATES.has(ask.own.operation) && member(stop, 'reevaluate') !== true) return 'stop.reevaluate';
  const seq = member(freshness, 'seq');
  return acknowledged === 'durable' && typeof seq === 'number' ? undefined : 'not acknowledged';
}

function seenOf(ask: Ask, call: Call, { status, body }: { status: number; body: Json }): Seen {
  if (!isObject(body)) return { ok: false, reason: '', flaw: 'no JSON' };
  if (status >= 400) {
    const reason = String(body.reason);
    const hasField = status !== 400 || typeof body.field === 'string';
    const isRight = status === STATUS[reason] && body.status === status && hasField;
    return { ok: false, reason, flaw: isRight ? undefined : JSON.stringify(body) };
  }
  const flaw = status === call.status ? flawOf(ask, body) : `status ${status}`;
  const { submission_id, proposal_hash, id, state, version, cascaded } = body as Record<string, never>;
  const proposal = submission_id && { id: submission_id, hash: proposal_hash };
  const mandate = ask.kind === 'approve' || ask.kind === 'derive' ? id : undefined;
  return { ok: true, flaw, mandate, proposal, state, version, cascaded };
}

async function send(ask: Ask, names: Names, of: Walk): Promise<Seen> {
  if (ask.kind === 'use') return use(of.last.get(names.mandates[ask.on]!)!, of);
  if (ask.kind === 'settle') return settle(ask, names, of);
  const call = callOf(ask, names, of);
  return seenOf(ask, call, await sidecar.control('POST', call.path, call.body));
}

// --- what the agent is told ------------------------------------------------------------------------------------

const tokenOf = (record: JsonObject): Promise<string> =>
  sidecar.tokenFor(record, { client_id: record.client_id });

function decide(token: string, { action, resource, amount }: model.Probe, more: JsonObject = {}) {
  const parameters = { amount: String(amount), currency: 'EUR' };
  return question(sidecar, { token, more: { action: { name: action }, resource, parameters, ...more } });
}

/** One call that is kept, so that what came of it can be told. A token for terms that were amended meanwhile is refreshed. */
async function use(record: JsonObject, of: Walk): Promise<Seen> {
  const token = await tokenOf(record);
  const answer = await decide(token, model.CALL, { idempotency_key: crypto.randomUUID() });
  const decision_id = String(answer.body.decision_id);
  of.callers.set(decision_id, token);
  const said = outcome(answer);
  if (said === 'view_inconsistent') return use(await get(`/v1/mandates/${String(record.id)}`), of);
  return said === 'allow' ? { ok: true, use: decision_id } : { ok: false, reason: said };
}

async function settle(ask: Extract<Ask, { kind: 'settle' }>, names: Names, of: Walk): Promise<Seen> {
  const decision_id = names.uses[ask.use]!;
  const more = { decision_id, outcome: ask.outcome };
  const said = outcome(
    await question(sidecar, { point: 'commit', token: of.callers.get(decision_id)!, more }),
  );
  return said === 'allow' ? { ok: true, use: decision_id } : { ok: false, reason: said };
}

/** A decision, asked for with a token for the terms of now, or for those of the beginning. */
interface Told {
  readonly id: string;
  readonly is_old: boolean;
  readonly probe: model.Probe;
  readonly body: JsonObject;
}

const PROBES: readonly model.Probe[] = [
  model.CALL,
  { action: 'repo.read', resource: `${APP}/src`, amount: 4 },
  { action: 'repo.push', resource: APP, amount: 15 },
];

/** A check of the mandates that were spoken of, or of the newest; with an older token too where its terms are others. */
async function told({ mandates }: Names, asks: readonly Ask[], of: Walk): Promise<readonly Told[]> {
  const probe = PROBES[of.checks % PROBES.length]!;
  of.checks += 1;
  const spoken = asks.map((ask) => mandates['on' in ask ? ask.on : mandates.length - 1]);
  const asked = [...new Set(spoken)].flatMap((id) => {
    if (id === undefined) return [];
    const [last, first] = [of.last.get(id)!, of.first.get(id)!];
    const isOther = last.authority_hash !== first.authority_hash;
    return [{ id, is_old: false, record: last }, ...(isOther ? [{ id, is_old: true, record: first }] : [])];
  });
  return Promise.all(
    asked.map(async ({ record, ...which }) => {
      const { body } = await decide(await tokenOf(record), probe);
      return { ...which, probe, body };
    }),
  );
}

const NEXT: Readonly<Record<string, string>> = { suspended: 'pause', superseded: 'rebind', active: 'none' };

/** What is wrong with a decision; one that was allowed under a budget is charged. */
function misjudged(world: World, names: Names, { id, is_old, probe, body }: Told): string | undefined {
  const index = names.mandates.indexOf(id);
  const { born_with, entries, version, max_calls } = world.mandates[index]!;
  const state = model.standing(world, index);
  const said = outcome({ body });
  if (is_old) {
    const isRight = !isDeepStrictEqual(born_with, entries) && said === 'view_inconsistent';
    return isRight && body.next_action === 'rebind' ? undefined : `an old token: ${JSON.stringify(body)}`;
  }
  const reasons = model.whyNot(world, index, probe);
  if (said === 'allow' && max_calls !== undefined) world.mandates[index]!.used += 1;
  const about = body.mandate as JsonObject;
  const stops = Object.entries(model.stopsIn(state));
  const isRight =
    (said === 'allow' ? reasons.length === 0 : reasons.includes(said)) &&
    body.next_action === (NEXT[state] ?? 'stop') &&
    isDeepStrictEqual([about.id, about.state, about.version], [id, state, version]) &&
    (said !== 'mission_inactive' || stops.every(([name, is]) => member(body.stop, name) === is));
  return isRight ? undefined : `mandate ${index} is ${state}, ${reasons.join()}: ${JSON.stringify(body)}`;
}

// --- comparing -------------------------------------------------------------------------------------------------

/** By what each is called. */
type Found = ReadonlyMap<unknown, JsonObject>;

interface Looked {
  readonly records: Found;
  readonly proposals: Found;
  /** Every node of every tree. */
  readonly nodes: Found;
  readonly told: readonly Told[];
}

async function get(path: string): Promise<JsonObject> {
  const { status, body } = await sidecar.control('GET', path);
  if (status !== 200 || !isObject(body)) throw new Error(`${path}: ${status} ${JSON.stringify(body)}`);
  return body;
}

async function look(names: Names, asks: readonly Ask[], of: Walk): Promise<Looked> {
  const records = await Promise.all(names.mandates.map((id) => get(`/v1/mandates/${id}`)));
  for (const record of records) {
    const id = String(record.id);
    if (!of.first.has(id)) of.first.set(id, record);
    of.last.set(id, record);
  }
  const roots = records.filter(({ parent }) => parent === undefined);
  const trees = await Promise.all(roots.map(({ id }) => get(`/v1/mandates/${String(id)}/tree`)));
  const nodes = trees.flatMap(({ items }) => items as JsonObject[]);
  const proposals = await Promise.all(names.proposals.map(({ id }) => get(`/v1/proposals/${id}`)));
  return {
    records: new Map(records.map((each) => [each.id, each])),
    nodes: new Map(nodes.map((each) => [each.id, each])),
    proposals: new Map(proposals.map((each) => [each.submission_id, each])),
    told: await told(names, asks, of),
  };
}

/** A record as the model has it, and the line of the tree. */
function modelled(world: World, index: number, { mandates }: Names, of: Walk) {
  const mandate = world.mandates[index]!;
  const { version, depth, parent, predecessor, successor, history } = mandate;
  const { at: _at, cascaded_from, ...last } = history.at(-1)!;
  const common = {
    id: mandates[index]!,
    state: model.standing(world, index),
    version,
    depth,
    parent: mandates[parent!],
    client_id: mandate.client,
  };
  return {
    node: defined({ ...common, expires_at: timeAt(model.effectiveEnd(world, index), of) }),
    record: defined({
      ...common,
      predecessor: mandates[predecessor!],
      successor: mandates[successor!],
      changes: history.length,
      last: defined({ ...last, cascaded_from: mandates[cascaded_from!] }),
    }),
  };
}

function shown(record: JsonObject) {
  const { id, state, version, depth, parent, client_id, predecessor, successor } = record;
  const history = record.history as readonly JsonObject[];
  const { at: _at, seq: _seq, by: _by, ...last } = history.at(-1)!;
  const common = { id, state, version, depth, parent, client_id, predecessor, successor };
  return defined({ ...common, changes: history.length, last });
}

function compare(world: World, names: Names, looked: Looked, of: Walk): string | undefined {
  for (const [index, id] of names.mandates.entries()) {
    const expected = modelled(world, index, names, of);
    const actual = { node: looked.nodes.get(id), record: shown(looked.records.get(id)!) };
    if (!isDeepStrictEqual(actual, expected))
      return `mandate ${index} is ${JSON.stringify(actual)}\nand not ${JSON.stringify(expected)}`;
  }
  for (const [index, { id }] of names.proposals.entries()) {
    const { status, mandate } = world.proposals[index]!;
    const found = looked.proposals.get(id)!;
    if (found.status !== status || found.mission_id !== names.mandates[mandate!])
      return `proposal ${index} is ${JSON.stringify(found)}, and not ${status}`;
  }
  return looked.told.map((each) => misjudged(world, names, each)).find((each) => each !== undefined);
}

test('the API does what the twin does', async () => {
  await fc.assert(
    fc.asyncProperty(walks({ most: 16, has_time: false }), async (steps) => {
      const maps = { last: new Map(), first: new Map(), callers: new Map() };
      const shift = Date.now() - START - 1000;
      const of: Walk = { name: crypto.randomUUID(), shift, checks: 0, ...maps };
      const product: Product<Looked> = {
        send: (ask, _, names) => send(ask, names, of),
        look: (_, names, asks) => look(names, asks, of),
        compare: (world, names, looked) => compare(world, names, looked, of),
      };
      await walk(steps, START, product);
    }),
    extent(60),
  );
}, 3_600_000);
