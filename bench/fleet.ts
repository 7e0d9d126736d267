/**
 * `fleet` (design/6): mandates in trees of depth 0 to 3, 53 Cedar policies, mixed classes, JWTs. Checks per second of
 * `/envoy/*` with 1,000 mandates beside 100,000, interleaved on one core: it should be the same. Both are asked with as
 * many tokens, so that only the mandates differ.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ActionClass } from '../src/core/classes.ts';
import type { Decision } from '../src/core/decision.ts';
import { member } from '../src/core/json.ts';
import type { Reason } from '../src/core/reasons.ts';
import { type Asking, askEnvoyDoor } from '../test/support/ask.ts';
import { type Sidecar, type TestIssuer, createIssuer, startSidecar } from '../test/support/sidecar.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { type Fleet, type Planted, mandateId, plantFleet } from './fleet-mandates.ts';
import { type Rules, writeRules } from './fleet-rules.ts';
import { type Asked, median } from './load.ts';
import { interleave, pin } from './side-by-side.ts';

/** Tokens and mandates in turn. */
const TOKENS = 1000;
/** Shares no factor with the counts, nor with the trees' pattern: every shape is met alike, whatever the count. */
const STRIDE = 101;

const KINDS = {
  read: {
    asking: { method: 'GET', path: '/contents/README.md' },
    class: 'consequential_read',
    determining: ['read-while-it-lasts'],
  },
  write: {
    asking: {
      method: 'PUT',
      path: '/contents/src/main.ts',
      headers: { 'content-type': 'application/json' },
      body: '{"branch":"agent/tidy","message":"Tidy up","content":"aGVsbG8K"}',
    },
    class: 'consequential_write',
    determining: ['write-for-a-release'],
  },
  push: {
    asking: {
      method: 'POST',
      path: '/git/refs',
      headers: { 'content-type': 'application/json' },
      body: '{"ref":"refs/heads/release"}',
    },
    class: 'irreversible_action',
    determining: ['push-for-a-release', 'push-in-the-first-tree'],
  },
} as const satisfies Readonly<Record<string, KindOfRequest>>;

interface KindOfRequest {
  /** Of a repository: what follows its path. */
  readonly asking: Asking;
  readonly class: ActionClass;
  /** The policies that permit it in the first tree. */
  readonly determining: readonly string[];
}

/** 70 % reads, 20 % writes, 10 % that cannot be undone. */
const MIX = ['read', 'read', 'write', 'read', 'read', 'push', 'read', 'write', 'read', 'read'] as const;

interface Side {
  readonly sidecar: Sidecar;
  readonly fleet: Fleet;
  /** From the start of the process until it serves. */
  readonly start_ms: number;
}

export async function fleet({ isShort }: BenchOptions): Promise<readonly Figure[]> {
  const counts = isShort ? ([1000, 5000] as const) : ([1000, 100_000] as const);
  const rules = writeRules(mandateId(0, 0));
  const issuer = await createIssuer();
  const started: Sidecar[] = [];
  const start = async (count: number): Promise<Side> => {
    const side = await startSide(count, rules, issuer);
    started.push(side.sidecar);
    await assertAnswers(side);
    return side;
  };
  try {
    return await compare([await start(counts[0]), await start(counts[1])], isShort);
  } finally {
    for (const sidecar of started) await sidecar.discard();
    rmSync(rules.folder, { recursive: true });
  }
}

async function startSide(count: number, rules: Rules, issuer: TestIssuer): Promise<Side> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-fleet-'));
  const planted = await plantFleet(join(folder, 'data'), count);
  const begun = performance.now();
  const { actions, folder: cedar } = rules;
  const sidecar = await startSidecar({ folder, issuer, actions, policies: { cedar } });
  return { sidecar, fleet: planted, start_ms: performance.now() - begun };
}

async function compare([few, many]: readonly [Side, Side], isShort: boolean): Promise<readonly Figure[]> {
  const loads = { few: await loadOf(few), many: await loadOf(many) };
  for (const { sidecar } of [few, many]) pin(sidecar.process.pid!, 0);
  pin(process.pid, 1);
  const rounds = isShort ? { rounds: 2, duration_ms: 500 } : { rounds: 24, duration_ms: 2500 };
  const rates = await interleave(loads, rounds);
  const ratios = rates.many.map((rate, index) => (rate / rates.few[index]!) * 100);
  const added = rates.many.map((rate, index) => 1e6 / rate - 1e6 / rates.few[index]!);
  return [
    { what: `check, ${named(few)}, one core`, value: median(rates.few), unit: 'checks/s' },
    { what: `check, ${named(many)}, one core`, value: median(rates.many), unit: 'checks/s' },
    { what: 'ratio (median of the rounds)', value: median(ratios), unit: '%' },
    { what: 'what the further mandates add to a check (median)', value: median(added), unit: 'µs' },
    ...[few, many].flatMap((side) => [
      { what: `resident memory after the load, ${named(side)}`, value: residentMib(side), unit: 'MiB' },
      { what: `start of the process until it serves, ${named(side)}`, value: side.start_ms, unit: 'ms' },
    ]),
  ];
}

function named(side: Side): string {
  return `${side.fleet.mandates.length.toLocaleString('en')} mandates`;
}

function residentMib({ sidecar }: Side): number {
  const status = readFileSync(`/proc/${sidecar.process.pid!}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024;
}

/** Pass by pass through the tokens; after as many passes as the mix is long, each has asked in its shares. */
async function loadOf({ sidecar, fleet: { mandates } }: Side): Promise<{ port: number; requests: Asked[] }> {
  const chosen = Array.from({ length: TOKENS }, (_, turn) => mandates[(turn * STRIDE) % mandates.length]!);
  const tokens = await Promise.all(chosen.map((mandate) => tokenFor(sidecar, mandate)));
  for (const [turn, mandate] of chosen.entries()) await show(sidecar, mandate, tokens[turn]!);
  const requests = MIX.flatMap((_, pass) => {
    return chosen.map((mandate, turn) => {
      return asked(KINDS[MIX[(turn + pass) % MIX.length]!], mandate, tokens[turn]!);
    });
  });
  return { port: sidecar.check_port, requests };
}

/**
 * Asks with a token for the first time. Under the load a signature that is being verified while the machine stalls
 * would run into the check's deadline; the load is to meet tokens that were verified before.
 */
async function show(sidecar: Sidecar, { repository }: Planted, token: string): Promise<void> {
  const path = repository + KINDS.read.asking.path;
  const { status, body } = await askEnvoyDoor(sidecar.check_port, token, { path });
  if (status !== 200) throw new Error(`\`${path}\` was denied: ${JSON.stringify(body)}`);
}

function asked({ asking }: KindOfRequest, { id, repository }: Planted, token: string): Asked {
  const { method, path, headers, body = '' } = asking;
  const length = body === '' ? {} : { 'content-length': String(body.length) };
  const sent = { host: 'git.example', authorization: `Bearer ${token}`, ...headers, ...length };
  const lines = Object.entries(sent).map(([name, value]) => `${name}: ${value}\r\n`);
  return {
    text: `${method} /envoy${repository}${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`,
    expected: ['HTTP/1.1 200 OK', `x-mandate-id: ${id}\r\n`],
  };
}

function tokenFor(sidecar: Sidecar, mandate: Planted, bearer: Planted = mandate): Promise<string> {
  const { id, issuer, authority_hash } = mandate;
  const { subject: sub, client_id } = bearer;
  return sidecar.tokenFor({ id, issuer, authority_hash }, { sub, client_id });
}

/** That the workload is what it claims to be: which policies decide, and what is denied. */
async function assertAnswers({ sidecar, fleet: { mandates, spare } }: Side): Promise<void> {
  const leaf = mandates.find(({ depth }) => depth === 3)!;
  for (const mandate of [mandates[0]!, leaf])
    for (const kind of Object.values(KINDS)) await assertAllowed(sidecar, mandate, kind);
  await assertLimits(sidecar, leaf, mandates.at(-1)!);
  await assertRevoked(sidecar, spare);
}

async function assertAllowed(sidecar: Sidecar, mandate: Planted, kind: KindOfRequest): Promise<void> {
  const { asking, determining } = kind;
  const path = mandate.repository + asking.path;
  const token = await tokenFor(sidecar, mandate);
  const answer = await askEnvoyDoor(sidecar.check_port, token, { ...asking, path });
  if (answer.status !== 200) throw new Error(`\`${path}\` was denied: ${JSON.stringify(answer.body)}`);
  const { action, request } = sidecar.decisions().at(-1) as unknown as Decision;
  const by = request.engines?.['cedar']?.determining ?? [];
  if (action.class !== kind.class || by.toSorted().join() !== determining.toSorted().join())
    throw new Error(`\`${path}\` is ${action.class} and permitted by ${by.join()}`);
}

/** What a mandate that holds does not allow: another's bearer, another's repository, what no policy permits. */
async function assertLimits(sidecar: Sidecar, mandate: Planted, stranger: Planted): Promise<void> {
  const { path } = KINDS.read.asking;
  const token = await tokenFor(sidecar, mandate);
  const { repository } = mandate;
  const stolen = await tokenFor(sidecar, mandate, stranger);
  await assertDenied(sidecar, stolen, { path: repository + path }, 'mission_mismatch');
  await assertDenied(sidecar, token, { path: stranger.repository + path }, 'out_of_authority');
  await assertDenied(sidecar, token, { method: 'DELETE', path: repository }, 'resource_policy');
}

/** Ends the tree at its root, and asks for the root and for a leaf. */
async function assertRevoked(sidecar: Sidecar, tree: readonly Planted[]): Promise<void> {
  const { status, body } = await sidecar.control('POST', `/v1/mandates/${tree[0]!.id}/revoke`, {});
  if (status !== 200 || member(body, 'cascaded') !== tree.length - 1)
    throw new Error(`a tree did not end whole: ${JSON.stringify(body)}`);
  for (const mandate of [tree[0]!, tree.at(-1)!]) {
    const path = mandate.repository + KINDS.read.asking.path;
    await assertDenied(sidecar, await tokenFor(sidecar, mandate), { path }, 'mission_inactive');
  }
}

async function assertDenied(sidecar: Sidecar, token: string, asking: Asking, reason: Reason): Promise<void> {
  const { status, body } = await askEnvoyDoor(sidecar.check_port, token, asking);
  if (status !== 403 || body['reason'] !== reason)
    throw new Error(`\`${asking.path}\` was not denied for ${reason}: ${status} ${JSON.stringify(body)}`);
}
