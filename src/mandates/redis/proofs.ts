/** DPoP proofs as the whole fleet remembers them: one that was shown to a sidecar is not new to another. */
import type { ProofMemory, Shown } from '../../check/ports.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';

const MAX_PROOFS = 1_000_000;
/** Of one holder, so that it does not have the room of all others. */
const MAX_OF_ONE = 200_000;

/** A server that forgets in a failover what it had taken forgets proofs as well: they end within minutes by themselves. */
export function createSharedProofs(link: Link, keys: Keys): ProofMemory {
  return {
    show: async ({ holder, jti, lifetime_ms, again }): Promise<Shown> => {
      const names = [keys.proofs, keys.proof_requests, keys.proof_holders];
      const { request = '', lifetime_ms: again_ms = 0 } = again ?? {};
      const args = [holder, jti, lifetime_ms, MAX_PROOFS, MAX_OF_ONE, request, again_ms];
      const reply = await link.script('proof', names, args);
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
