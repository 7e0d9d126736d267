/**
 * A sidecar's store in a process of its own, which a test can kill and freeze. It decides as a check does: a view that is
 * young enough, of a mandate that is active. Told over IPC what to do; `argv[2]` is the folder whose `src` it runs.
 */
import { join } from 'node:path';
import type { RedisOptions } from 'ioredis';
import type { Acknowledgement, MandateStore } from '../../src/check/ports.ts';
import type * as FreshnessModule from '../../src/core/freshness.ts';
import type { Command } from '../../src/core/mandate/commands.ts';
import type { Position } from '../../src/core/mandate/events.ts';
import type * as LifeModule from '../../src/core/mandate/life.ts';
import type { RedisStoreOptions } from '../../src/mandates/redis/options.ts';
import type * as StoreModule from '../../src/mandates/redis/store.ts';

export interface MemberOptions extends Partial<Omit<RedisStoreOptions, 'now' | 'onBarrier' | 'complain'>> {
  readonly redis: RedisOptions;
  readonly outbox: string;
}

export interface Checked {
  readonly effect: 'allow' | 'deny';
  /** The state that counts, or why it cannot be told. */
  readonly why: string;
  readonly source: string;
  readonly position: Position | undefined;
}

const root = process.argv[2]!;
const load = async <Module>(file: string): Promise<Module> =>
  (await import(join(root, 'src', file))) as Module;
const { openRedisStore } = await load<typeof StoreModule>('mandates/redis/store.ts');
const { judge } = await load<typeof FreshnessModule>('core/freshness.ts');
const { effectiveState } = await load<typeof LifeModule>('core/mandate/life.ts');

const ISSUER = 'https://mandates.example';
const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });
const said: string[] = [];
let opened: MandateStore | undefined;
const store = (): MandateStore => {
  if (opened === undefined) throw new Error('the store is not open');
  return opened;
};

const api = {
  /** Empty where it started, else why not. */
  open: async (options: MemberOptions): Promise<string> => {
    const result = await openRedisStore({
      tenant: 'acme',
      issuer: ISSUER,
      version: 'test',
      working_set: 100,
      keep_entries: 100_000,
      lease_ms: 60_000,
      unsafe_store: false,
      assume: [],
      now,
      onBarrier: () => undefined,
      complain: (what, error) => said.push(error === undefined ? what : `${what}: ${String(error)}`),
      ...options,
    });
    if (!result.ok) return result.error;
    opened = result.store;
    return '';
  },
  write: (command: Command, acknowledge: Acknowledgement, timeout_ms?: number) =>
    store().write(command, acknowledge, timeout_ms),
  check: async (id: string, budget_ms: number): Promise<Checked> => {
    const need = { budget_ms, arrived: now() };
    const fact = await store().prove(need).find({ id, issuer: ISSUER });
    const deny = { effect: 'deny', source: 'none', position: undefined } as const;
    if (fact.kind !== 'found') return { ...deny, why: fact.kind === 'unreadable' ? fact.detail : fact.kind };
    const { source, position } = fact.proof;
    const judged = judge(fact.proof, need, now());
    if (!judged.fresh) return { ...deny, source, position, why: judged.why };
    const state = effectiveState(fact.lineage, Date.now());
    return { effect: state === 'active' ? 'allow' : 'deny', why: state, source, position };
  },
  standing: async () => ({
    health: store().health(),
    figures: store().figures(),
    unsafe: store().unsafe(),
    said,
  }),
  lineage: (id: string) => store().lineage(id),
  fleet: () => store().fleet(),
  close: async (): Promise<void> => store().close(),
};
export type MemberApi = typeof api;

export interface Asked {
  readonly call: number;
  readonly name: keyof MemberApi;
  readonly args: readonly unknown[];
}

export type Told =
  { readonly call: number; readonly value: unknown } | { readonly call: number; readonly error: string };

async function answer({ call, name, args }: Asked): Promise<void> {
  const act = api[name] as (...given: readonly unknown[]) => Promise<unknown>;
  const told: Told = await act(...args).then(
    (value) => ({ call, value }),
    (error: unknown) => ({ call, error: String(error) }),
  );
  process.send!(told);
}

process.on('message', (asked: Asked) => void answer(asked));
process.on('disconnect', () => process.exit());
process.send!({ call: 0, value: 'ready' } satisfies Told);
