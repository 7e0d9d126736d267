/**
 * `freshness` (design/6, "barrier cost" and below): what it costs to know how old the view is, beside a plain `GET` from
 * the same process; how soon others deny what was revoked; and how little of a large store a sidecar needs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { MandateStore } from '../src/check/ports.ts';
import type { MandateFact } from '../src/core/facts.ts';
import { openRedisStore } from '../src/mandates/redis/store.ts';
import { MANDATES } from '../test/support/records.ts';
import { type RedisServer, startRedis } from '../test/support/redis.ts';
import { connectRedis } from '../test/support/resp.ts';
import { proposalBody } from '../test/support/sidecar.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { cachedCost } from './freshness-cached.ts';
import { million } from './freshness-million.ts';
import { median } from './load.ts';
import { approve, complain, now } from './store.ts';

const SIDECARS = 3;
const CONCURRENT = 64;

export interface Member {
  readonly store: MandateStore;
  readonly outbox: string;
  /** Barriers so far, and the checks that they were for. */
  readonly barriers: { count: number; joined: number };
}

export async function freshness({ isShort }: BenchOptions): Promise<readonly Figure[]> {
  const redis = await startRedis();
  const members: Member[] = [];
  try {
    for (let index = 0; index < SIDECARS; index += 1) members.push(await openMember(redis, 'bench'));
    return [
      ...(await barrierCost(members[0]!, redis, isShort ? 200 : 4000)),
      ...(await coalescing(members[0]!, isShort ? 20 : 400)),
      ...(await revocations(members, isShort ? 20 : 400)),
      ...(await cachedCost(redis, isShort)),
      ...(await million(isShort)),
    ];
  } finally {
    for (const { store, outbox } of members) {
      await store.close();
      rmSync(outbox, { recursive: true });
    }
    await redis.stop();
  }
}

export async function openMember({ port }: { readonly port: number }, tenant: string): Promise<Member> {
  const outbox = mkdtempSync(join(tmpdir(), 'mandated-bench-outbox-'));
  const barriers = { count: 0, joined: 0 };
  const opened = await openRedisStore({
    redis: { port },
    tenant,
    issuer: MANDATES,
    version: 'bench',
    outbox,
    working_set: 10_000,
    keep_entries: 10_000_000,
    lease_ms: 60_000,
    unsafe_store: false,
    assume: [],
    now,
    onBarrier: (joined) => {
      barriers.count += 1;
      barriers.joined += joined;
    },
    complain,
  });
  if (!opened.ok) throw new Error(opened.error);
  return { store: opened.store, outbox, barriers };
}

/** One after the other, in turns: what is measured is a round trip, not a queue. */
async function barrierCost(
  { store }: Member,
  redis: RedisServer,
  rounds: number,
): Promise<readonly Figure[]> {
  const connection = await connectRedis(redis);
  const [gets, barriers]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    gets.push(await timed(() => connection.call('GET', 'nothing')));
    barriers.push(
      await timed(async () => {
        if ('refused' in (await store.barrier())) throw new Error('a barrier was refused');
      }),
    );
  }
  connection.close();
  return [
    { what: 'GET, p50', value: quantile(gets, 0.5), unit: 'ms' },
    { what: 'barrier, p50', value: quantile(barriers, 0.5), unit: 'ms' },
    { what: 'barrier, p99', value: quantile(barriers, 0.99), unit: 'ms' },
    { what: 'barrier, times a GET (p50)', value: quantile(barriers, 0.5) / quantile(gets, 0.5), unit: '×' },
  ];
}

/** As many askers as there are, each asking again when it was answered. */
async function coalescing({ store, barriers }: Member, rounds: number): Promise<readonly Figure[]> {
  const before = { ...barriers };
  const asker = async (): Promise<void> => {
    for (let round = 0; round < rounds; round += 1)
      if ('refused' in (await store.barrier())) throw new Error('a barrier was refused');
  };
  await Promise.all(Array.from({ length: CONCURRENT }, asker));
  const scripts = barriers.count - before.count;
  return [
    {
      what: `checks for one script, ${CONCURRENT} at once`,
      value: (barriers.joined - before.joined) / scripts,
      unit: 'checks',
    },
  ];
}

/** A cached view of another sidecar is looked at without pause from the moment at which the revocation returned. */
async function revocations(members: readonly Member[], rounds: number): Promise<readonly Figure[]> {
  const [asked, other, third] = members as readonly [Member, Member, Member];
  const [calls, spreads, enforced]: [number[], number[], number[]] = [[], [], []];
  let late = 0;
  for (let round = 0; round < rounds; round += 1) {
    const id = await begin(asked.store, `msn_bench_${round}`);
    for (const { store } of [other, third]) await seen(store, id, 60_000);
    const isEnforced = round % 4 === 0;
    const begun = performance.now();
    const result = await asked.store.write(revoke(id), isEnforced ? 'enforced' : 'durable');
    const returned = performance.now();
    if (!result.ok || result.acknowledged !== (isEnforced ? 'enforced' : 'durable'))
      throw new Error(`the revocation was ${result.ok ? result.acknowledged : result.detail}`);
    (isEnforced ? enforced : calls).push(returned - begun);
    if (stateOf(await seen(third.store, id, 0)) !== 'revoked') late += 1;
    while (stateOf(await seen(other.store, id, 60_000)) !== 'revoked') await turn();
    if (!isEnforced) spreads.push(performance.now() - returned);
  }
  if (late > 0) throw new Error(`${late} budget-0 views had not seen a revocation that had returned`);
  return [
    { what: 'revoke, durable, p50', value: quantile(calls, 0.5), unit: 'ms' },
    { what: 'revoke, durable, p99', value: quantile(calls, 0.99), unit: 'ms' },
    { what: `revoke, enforced, ${SIDECARS} sidecars, p50`, value: quantile(enforced, 0.5), unit: 'ms' },
    {
      what: 'from its return to the first deny elsewhere, cached, p50',
      value: quantile(spreads, 0.5),
      unit: 'ms',
    },
    {
      what: 'from its return to the first deny elsewhere, cached, p99',
      value: quantile(spreads, 0.99),
      unit: 'ms',
    },
    { what: `budget-0 views that came late, of ${rounds}`, value: late, unit: '' },
  ];
}

async function begin(store: MandateStore, id: string): Promise<string> {
  await approve(store, id, proposalBody() as never);
  return id;
}

const revoke = (id: string) =>
  ({
    kind: 'operate',
    id,
    details: { operation: 'revoke' },
    may_resume: true,
    fingerprint: '',
    by: { iss: MANDATES, sub: 'operator' },
    at_ms: Date.now(),
  }) as const;

async function seen(store: MandateStore, id: string, budget_ms: number): Promise<MandateFact> {
  return store.prove({ budget_ms, arrived: now() }).find({ id, issuer: MANDATES });
}

function stateOf(fact: MandateFact): string {
  if (fact.kind !== 'found') throw new Error(`a mandate is ${fact.kind}`);
  return fact.lineage.at(-1)!.state;
}

async function timed(call: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await call();
  return performance.now() - begun;
}

export function quantile(values: readonly number[], share: number): number {
  if (share === 0.5) return median(values);
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}
