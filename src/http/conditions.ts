/** Reports about what conditions speak of, from the sources that may make them. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { formatTime } from '../core/time.ts';
import { NO_TARGET } from '../core/control.ts';
import { identifier, observedValue, readBody, thing, time } from './bodies.ts';
import { callerOf } from './callers.ts';
import { type MandateApi, attributed, commit } from './api.ts';

const observation = z.strictObject({
  event_id: identifier,
  ...thing,
  value: observedValue,
  observed_at: time,
});

export function openConditions(scope: FastifyInstance, api: MandateApi): void {
  scope.post('/v1/conditions/events', async (request) => {
    const caller = callerOf(request);
    api.access.require(caller, 'conditions.report', NO_TARGET);
    const observed = readBody(observation, request.body);
    const { by, at_ms } = attributed(caller, api);
    const { position, acknowledged } = await commit(api, 'observe', {
      kind: 'observe',
      observation: { ...observed, received_at: formatTime(at_ms) },
      clock_tolerance_ms: api.clock_tolerance_ms,
      by,
      at_ms,
    });
    return { ...observed, acknowledged, freshness: position };
  });
}
