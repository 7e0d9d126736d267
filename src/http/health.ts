/** `/livez`, `/readyz` and `/metrics`; none of them needs a credential, so none of them shows one. */
import type { FastifyInstance } from 'fastify';
import type { StoreHealth } from '../check/ports.ts';

export interface Health {
  readonly store_health: () => StoreHealth;
  readonly isShuttingDown: () => boolean;
  /** Things that do not make us unready but that somebody should know. */
  readonly troubles: () => readonly string[];
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
}

export function openHealth(server: FastifyInstance, health: Health): void {
  server.get('/livez', async (_request, reply) => {
    const store = health.store_health();
    // A store that failed for good is mended by a restart alone; ending ourselves would open an open filter.
    const isAlive = store.ok || !store.fatal;
    return reply.code(isAlive ? 200 : 503).send({ status: isAlive ? 'alive' : 'failed', ...detailOf(store) });
  });
  server.get('/readyz', async (_request, reply) => {
    const store = health.store_health();
    const isReady = store.ok && !health.isShuttingDown();
    const status = health.isShuttingDown() ? 'shutting_down' : isReady ? 'ready' : 'unready';
    return reply.code(isReady ? 200 : 503).send({ status, ...detailOf(store), details: health.troubles() });
  });
  server.get('/metrics', async (_request, reply) => {
    const { type, text } = await health.metrics();
    return reply.header('content-type', type).send(text);
  });
}

function detailOf(store: StoreHealth): { store: string } {
  return { store: store.ok ? 'ok' : store.detail };
}
