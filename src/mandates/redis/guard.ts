/** Watches that the server stays one whose acknowledgements can be relied on: it may be another one, or set anew. */
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import { parseInfo } from './info.ts';
import { type Safety, inspect, judgeSafety } from './safety.ts';

export interface GuardParts {
  readonly link: Link;
  readonly keys: Keys;
  readonly assume: readonly string[];
  /** The operator has asked for a store that is not safe: it is served, and every decision says so. */
  readonly is_unsafe_allowed: boolean;
  /** The server is one that must not be served from: what is asked next may find another. */
  readonly onRefused: () => void;
  readonly complain: (what: string) => void;
}

export interface Guard {
  readonly safety: () => Safety;
  /** What every decision must say of the store; empty of a safe one. */
  readonly unsafe: () => readonly string[];
  /** Why nothing may be decided from this store now. */
  readonly trouble: () => string | undefined;
  /** Looks again where the server, its role or its replicas have changed. */
  readonly watch: () => Promise<void>;
  /** How long yet until nothing acknowledged can be unknown to a primary that was left behind, milliseconds. */
  readonly settling_ms: () => Promise<number>;
}

/**
 * Longest that a primary goes on by itself after its replica became another one: its `min-replicas-max-lag`, and what it
 * takes to notice.
 */
const SETTLING_MS = 4000;

export async function openGuard(parts: GuardParts): Promise<Guard | string> {
  const first = await look(parts);
  if (typeof first === 'string') return first;
  let safety = first;
  const trouble = (): string | undefined => {
    if (safety.refused.length > 0) return safety.refused.join('; ');
    if (safety.unsafe.length === 0 || parts.is_unsafe_allowed) return undefined;
    return `the store is not safe: ${safety.unsafe.join(', ')}`;
  };
  const watch = async (): Promise<void> => {
    const info = await parts.link.call('INFO', 'replication');
    if (!info.ok || parts.link.run() === undefined) return;
    const now = parseInfo(String(info.value));
    const isSame =
      parts.link.run() === safety.run &&
      now.get('role') === safety.role &&
      Number(now.get('connected_slaves')) === safety.replicas;
    // What was found wrong may have been mended meanwhile.
    if (isSame && trouble() === undefined) return;
    const next = await look(parts);
    if (typeof next === 'string') return;
    const before = trouble();
    safety = next;
    const after = trouble();
    if (after !== undefined && after !== before) parts.complain(after);
    if (safety.refused.length > 0) parts.onRefused();
  };
  return {
    safety: () => safety,
    unsafe: () => safety.unsafe,
    trouble,
    watch,
    settling_ms: async () => {
      if (parts.link.run() !== safety.run) await watch();
      return safety.replicas_needed === 0 ? 0 : settling(parts);
    },
  };
}

/** By the server's own clock: this sidecar may have come to know the server after the others. */
async function settling({ link, keys }: GuardParts): Promise<number> {
  const [since, time] = await Promise.all([link.call('HGET', keys.head, 'run_at_ms'), link.call('TIME')]);
  if (!since.ok || !time.ok) return SETTLING_MS;
  const [seconds, micros] = (time.value as readonly string[]).map(Number) as [number, number];
  const age_ms = seconds * 1000 + micros / 1000 - Number(since.value);
  return Math.max(0, Math.min(SETTLING_MS, SETTLING_MS - age_ms));
}

async function look({ link, keys, assume }: GuardParts): Promise<Safety | string> {
  const facts = await inspect(link, keys.prefix);
  return typeof facts === 'string' ? facts : judgeSafety(facts, assume);
}
