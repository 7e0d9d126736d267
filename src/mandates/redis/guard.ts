/** Watches that the server stays one whose acknowledgements can be relied on: it may be another one, or set anew. */
import type { Now } from '../../core/time.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import { type Safety, inspect, judgeSafety, parseInfo } from './safety.ts';

export interface GuardParts {
  readonly link: Link;
  readonly keys: Keys;
  readonly now: Now;
  readonly assume: readonly string[];
  /** The operator has asked for a store that is not safe: it is served, and every decision says so. */
  readonly is_unsafe_allowed: boolean;
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
  /** A replica that was promoted is given time to see that its primary is gone, monotonic ms. */
  readonly durable_from_ms: () => number;
}

/** Longest that a lone primary goes on beside a new one: its `min-replicas-max-lag`, and what it takes to notice. */
const AFTER_PROMOTION_MS = 4000;

export async function openGuard(parts: GuardParts): Promise<Guard | string> {
  const first = await look(parts);
  if (typeof first === 'string') return first;
  let safety = first;
  let durable_from_ms = 0;
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
    if (isSame) return;
    const next = await look(parts);
    if (typeof next === 'string') return;
    if (next.run !== safety.run && (next.replicas_needed > 0 || safety.replicas_needed > 0))
      durable_from_ms = parts.now().mono_ms + AFTER_PROMOTION_MS;
    const before = trouble();
    safety = next;
    const after = trouble();
    if (after !== undefined && after !== before) parts.complain(after);
  };
  return {
    safety: () => safety,
    unsafe: () => safety.unsafe,
    trouble,
    watch,
    durable_from_ms: () => durable_from_ms,
  };
}

async function look({ link, keys, assume }: GuardParts): Promise<Safety | string> {
  const facts = await inspect(link, [keys.head, keys.log, keys.ids]);
  return typeof facts === 'string' ? facts : judgeSafety(facts, assume);
}
