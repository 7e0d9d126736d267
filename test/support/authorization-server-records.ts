/** What a test's authorization server keeps: grants, tokens, and proofs that it has seen. It outlives its keys. */
import type { Adapter, Stored } from 'oidc-provider';

/** A factory of `oidc-provider` adapters over one memory. What has expired the library tells by itself. */
export function createRecords(): (model: string) => Adapter {
  const kept = new Map<string, Stored>();
  return (model) => {
    const at = (id: string): string => `${model}:${id}`;
    const nobody = () => Promise.resolve(undefined);
    return {
      upsert: async (id, payload) => void kept.set(at(id), payload),
      find: async (id) => kept.get(at(id)),
      findByUid: nobody,
      findByUserCode: nobody,
      consume: async (id) =>
        void kept.set(at(id), { ...kept.get(at(id)), consumed: Math.floor(Date.now() / 1000) }),
      destroy: async (id) => void kept.delete(at(id)),
      revokeByGrantId: async (grant_id) => {
        for (const [key, { grantId }] of kept)
          if (grantId === grant_id && key.startsWith(`${model}:`)) kept.delete(key);
      },
    };
  };
}
