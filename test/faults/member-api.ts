/** A sidecar's store, as a test asks it: it decides as a check does, from a view that is young enough, of a mandate that is active. */
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

const ISSUER = 'https://mandates.example';
const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

/** `root`: the folder whose `src` it runs. */
export async function createMemberApi(root: string) {
  const load = async <Module>(file: string): Promise<Module> =>
    (await import(join(root, 'src', file))) as Module;
  const { openRedisStore } = await load<typeof StoreModule>('mandates/redis/store.ts');
  const { judge } = await load<typeof FreshnessModule>('core/freshness.ts');
  const { effectiveState } = await load<typeof LifeModule>('core/mandate/life.ts');

  const said: string[] = [];
  let opened: MandateStore | undefined;
  const store = (): MandateStore => {
    if (opened === undefined) throw new Error('the store is not open');
    return opened;
  };

  return {
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
      if (fact.kind !== 'found')
        return { ...deny, why: fact.kind === 'unreadable' ? fact.detail : fact.kind };
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
}

export type MemberApi = Awaited<ReturnType<typeof createMemberApi>>;
