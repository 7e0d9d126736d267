/** The twin beside the distributed store: the same walks, each write computed here and held to what it had read. */
import { rmSync } from 'node:fs';
import { openStore } from '../support/redis-store.ts';
import { startRedis } from '../support/redis.ts';
import { twinOver } from '../twin/over-store.ts';

async function open() {
  const redis = await startRedis({ config: { appendfsync: 'no' } });
  const { store, outbox } = await openStore(redis, { unsafe_store: true, working_set: 8 });
  const discard = async (): Promise<void> => {
    await store.close();
    await redis.stop();
    rmSync(outbox, { recursive: true });
  };
  return { store, discard };
}

twinOver('distributed', open, 150);
