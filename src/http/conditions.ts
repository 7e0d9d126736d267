/** Reports about what conditions speak of, from the sources that may make them. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { identifier, observedValue, readBody, thing, time } from './bodies.ts';
import { type MandateApi, commit } from './mandates.ts';

const observation = z.strictObject({
  event_id: identifier,
  ...thing,
  value: observedValue,
  observed_at: time,
});

export function openConditions(scope: FastifyInstance, api: MandateApi): void {
  scope.post('/v1/conditions/events', async (request) => {
    const observed = readBody(observation, request.body);
    const { position, acknowledged } = await commit(api, 'observe', {
      kind: 'observe',
      observation: observed,
      clock_tolerance_ms: api.clock_tolerance_ms,
      by: api.operator,
      at_ms: api.now().wall_ms,
    });
    return { ...observed, acknowledged, freshness: position };
  });
}
