/** DPoP proofs as the whole fleet remembers them: one that was shown to a sidecar is not new to another. */
import type { ProofMemory, Shown } from '../../check/ports.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';

const MAX_PROOFS = 1_000_000;

/** A server that forgets in a failover what it had taken forgets proofs as well: they end within minutes by themselves. */
export function createSharedProofs(link: Link, keys: Keys): ProofMemory {
  return {
    show: async ({ key, lifetime_ms, request_id = '' }): Promise<Shown> => {
      const names = [keys.proofs, keys.proof_requests];
      const reply = await link.script('proof', names, [key, lifetime_ms, MAX_PROOFS, request_id]);
      if (!reply.ok)
        return { kind: 'unknown', detail: 'the store cannot say whether the proof was shown before' };
      switch (reply.value) {
        case 'first':
        case 'replayed':
          return { kind: reply.value };
        default:
          return { kind: 'unknown', detail: 'more proofs were shown than can be remembered' };
      }
    },
  };
}
