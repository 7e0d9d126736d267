/** `GET /v1/fleet`: the sidecars that share the log, and how far each has come. */
import type { FastifyInstance } from 'fastify';
import { NO_TARGET } from '../core/control.ts';
import type { MandateApi } from './api.ts';
import { Refused } from './bodies.ts';
import { callerOf } from './callers.ts';
import { controlProblem } from './problem.ts';

export function openFleet(scope: FastifyInstance, { access, store }: MandateApi): void {
  scope.get('/v1/fleet', async (request) => {
    access.require(callerOf(request), 'fleet.read', NO_TARGET);
    const read = await store.fleet();
    if (!read.ok) throw new Refused(controlProblem(read.refused, read.detail));
    const { lease_ms, head, members } = read;
    return { items: members, head, lease_ms };
  });
}
