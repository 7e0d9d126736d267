/** Prometheus metrics. Labels come from closed sets only: no path, no id, no token can become one. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { BarrierObserver, DecisionSink, MandateStore, StoreFigures } from '../check/ports.ts';
import type { Latch } from '../core/replica.ts';

export interface Metrics extends DecisionSink {
  readonly written: (operation: string, outcome: string) => void;
  readonly barrier: BarrierObserver;
  /** The store that the gauges speak of, once there is one. */
  readonly watch: (store: Pick<MandateStore, 'health' | 'figures' | 'unsafe'>) => void;
  /** What became of a token that was to be revoked at its authorization server. */
  readonly told: (outcome: string) => void;
  /** How many are still to be told of; undefined where nobody is told. */
  readonly watchErrands: (waiting: () => number | undefined) => void;
  readonly render: () => Promise<{ readonly type: string; readonly text: string }>;
}

export interface MetricsSources {
  readonly version: string;
  readonly policy_revision: () => string;
  /** Issuers, by name, whose keys are away. */
  readonly keys_away: () => readonly { readonly name: string; readonly away: boolean }[];
}

const SECONDS = [
  0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
];

export function createMetrics(sources: MetricsSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const checks = new Counter({
    name: 'mandated_checks_total',
    help: 'Checks by effect, reason (`none` for an allow) and action class.',
    labelNames: ['effect', 'reason', 'class'],
    registers,
  });
  const durations = new Histogram({
    name: 'mandated_check_duration_seconds',
    help: 'From the arrival of a check to its decision, by effect.',
    labelNames: ['effect'],
    buckets: SECONDS,
    registers,
  });
  const writes = new Counter({
    name: 'mandated_mandate_writes_total',
    help: 'Writes to mandates by operation and outcome (`ok`, or the reason of the refusal).',
    labelNames: ['operation', 'outcome'],
    registers,
  });
  const build = new Gauge({
    name: 'mandated_build_info',
    help: 'Always 1.',
    labelNames: ['version', 'node'],
    registers,
  });
  build.set({ version: sources.version, node: process.version }, 1);
  const barriers = new Histogram({
    name: 'mandated_barrier_duration_seconds',
    help: 'Round trips that prove the view current, by outcome.',
    labelNames: ['outcome'],
    buckets: SECONDS,
    registers,
  });
  const joined = new Counter({
    name: 'mandated_barrier_checks_total',
    help: 'Checks that a barrier was for; by the count of barriers, how many share one.',
    registers,
  });
  const told = new Counter({
    name: 'mandated_token_revocations_total',
    help: 'Tokens of ended mandates by what their authorization server made of it (`away` is tried again).',
    labelNames: ['outcome'],
    registers,
  });
  observed(registers, sources);
  return {
    write: ({ decision, duration_ms }) => {
      const { effect, reason = 'none', action } = decision;
      checks.inc({ effect, reason, class: action.class });
      durations.observe({ effect }, duration_ms / 1000);
    },
    written: (operation, outcome) => writes.inc({ operation, outcome }),
    barrier: (checks_joined, duration_ms, outcome) => {
      barriers.observe({ outcome }, duration_ms / 1000);
      joined.inc(checks_joined);
    },
    watch: (store) => watchStore(registers, store),
    told: (outcome) => told.inc({ outcome }),
    watchErrands: (waiting) => watchErrands(registers, waiting),
    render: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  };
}

/** Gauges that are read when they are asked for. */
function observed(registers: Registry[], sources: MetricsSources): void {
  new Gauge({
    name: 'mandated_policy_info',
    help: 'Always 1; the revision of the policies in use.',
    labelNames: ['revision'],
    registers,
    collect() {
      this.reset();
      this.set({ revision: sources.policy_revision() }, 1);
    },
  });
  new Gauge({
    name: 'mandated_credential_keys_away',
    help: '1 while the verification keys of an issuer are not at hand.',
    labelNames: ['issuer_name'],
    registers,
    collect() {
      for (const { name, away } of sources.keys_away()) this.set({ issuer_name: name }, away ? 1 : 0);
    },
  });
}

function watchErrands(registers: Registry[], waiting: () => number | undefined): void {
  new Gauge({
    name: 'mandated_token_revocations_waiting',
    help: 'Tokens of ended mandates whose authorization server is still to be told.',
    registers,
    collect() {
      const count = waiting();
      if (count === undefined) this.reset();
      else this.set(count);
    },
  });
}

/** One gauge each; what the engine does not have is not shown. */
const FIGURES: readonly (readonly [
  name: string,
  help: string,
  of: (figures: StoreFigures) => number | undefined,
])[] = [
  [
    'mandated_view_age_seconds',
    'How old the view of mandate state is at most.',
    ({ age_ms }) => age_ms && age_ms / 1000,
  ],
  ['mandated_store_epoch', 'Epoch of the log.', ({ position }) => position?.epoch],
  ['mandated_store_position', 'Last entry of the log that was applied.', ({ position }) => position?.seq],
  ['mandated_mandates_held', 'Mandates held in memory.', ({ held }) => held],
  ['mandated_outbox_length', 'Ends that were asked for and are not in the log yet.', ({ outbox }) => outbox],
  [
    'mandated_tail_lag_entries',
    'Entries that the last heartbeat brought before the tail did.',
    ({ tail_lag }) => tail_lag,
  ],
  ['mandated_fleet_sidecars', 'Sidecars that share the log and live.', ({ sidecars }) => sidecars],
];

/** Every latch there is: a series that is not there cannot be alarmed on. */
const LATCHES = [
  'GAP',
  'FORK',
  'EPOCH',
  'UNINITIALISED',
  'corrupt',
  'failed',
] as const satisfies readonly Latch[];

function watchStore(
  registers: Registry[],
  { health, figures, unsafe }: Pick<MandateStore, 'health' | 'figures' | 'unsafe'>,
): void {
  for (const [name, help, of] of FIGURES) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = of(figures());
        if (value === undefined) this.reset();
        else this.set(value);
      },
    });
  }
  new Gauge({
    name: 'mandated_store_writable',
    help: '1 while the store takes writes.',
    registers,
    collect() {
      this.set(health().ok ? 1 : 0);
    },
  });
  new Gauge({
    name: 'mandated_store_unsafe',
    help: '1 while the store is not set so that what is acknowledged stays.',
    registers,
    collect() {
      this.set(unsafe().length > 0 ? 1 : 0);
    },
  });
  new Gauge({
    name: 'mandated_replica_latched',
    help: '1 while the replica is latched, by why: nothing is decided from it.',
    labelNames: ['latch'],
    registers,
    collect() {
      const { latch } = figures();
      for (const each of LATCHES) this.set({ latch: each }, each === latch ? 1 : 0);
    },
  });
}
