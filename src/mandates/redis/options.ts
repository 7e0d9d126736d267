/** How a sidecar's side of a shared log is opened. */
import type { RedisOptions } from 'ioredis';
import type { BarrierObserver } from '../../check/ports.ts';
import type { Now } from '../../core/time.ts';

export interface RedisStoreOptions {
  readonly redis: RedisOptions;
  readonly tenant: string;
  readonly issuer: string;
  readonly version: string;
  /** Folder of what this sidecar remembers by itself. */
  readonly outbox: string;
  /** Most mandates that are held in memory. */
  readonly working_set: number;
  /** Entries of the log that are kept at least. */
  readonly keep_entries: number;
  /** How long a sidecar that says nothing may decide from what it holds: the widest staleness budget. */
  readonly lease_ms: number;
  readonly unsafe_store: boolean;
  readonly assume: readonly string[];
  readonly now: Now;
  readonly onBarrier: BarrierObserver;
  /** Told of each change of health: for the log. */
  readonly complain: (what: string, error?: unknown) => void;
}

export interface Refused {
  readonly ok: false;
  readonly error: string;
}
