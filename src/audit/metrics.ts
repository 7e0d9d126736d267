/** Prometheus metrics. Labels come from closed sets only: no path, no id, no token can become one. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { DecisionSink, StoreHealth } from '../check/ports.ts';

export interface Metrics extends DecisionSink {
  readonly written: (operation: string, outcome: string) => void;
  readonly render: () => Promise<{ readonly type: string; readonly text: string }>;
}

export interface MetricsSources {
  readonly version: string;
  readonly policy_revision: () => string;
  readonly store: () => StoreHealth;
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
  observed(registers, sources);
  return {
    write: ({ decision, duration_ms }) => {
      const { effect, reason = 'none', action } = decision;
      checks.inc({ effect, reason, class: action.class });
      durations.observe({ effect }, duration_ms / 1000);
    },
    written: (operation, outcome) => writes.inc({ operation, outcome }),
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
    name: 'mandated_store_writable',
    help: '1 while the store takes writes.',
    registers,
    collect() {
      this.set(sources.store().ok ? 1 : 0);
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
