/** Who sent a request of the control listener; its hook has found out before any route looks. */
import type { FastifyRequest } from 'fastify';
import type { Principal } from '../core/control.ts';

export const callers = new WeakMap<FastifyRequest, Principal>();

export function callerOf(request: FastifyRequest): Principal {
  const caller = callers.get(request);
  // A route outside of the hook would be open to everybody.
  if (caller === undefined) throw new Error('nobody has asked who calls');
  return caller;
}
