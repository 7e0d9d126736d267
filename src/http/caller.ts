/** The credential of whoever calls us, as it stands in the request, and who that is. */
import type { FastifyRequest } from 'fastify';
import { headerValues } from '../core/request.ts';
import { Refused } from './bodies.ts';
import { controlProblem } from './problem.ts';

/** The one bearer token; undefined where there is no such header, empty where it cannot be read as one token. */
export function bearerOf(request: FastifyRequest): string | undefined {
  const values = headerValues(request.raw.rawHeaders, 'authorization');
  if (values.length === 0) return undefined;
  return (values.length === 1 && /^bearer +(\S+)$/i.exec(values[0]!)?.[1]) || '';
}

export interface Callers {
  /** Who asks a native question, and whether about this mandate without the agent's credential. Throws `Refused`. */
  readonly asking: (
    request: FastifyRequest,
    mandate: string | undefined,
  ) => Promise<{ readonly principal: string | undefined; readonly may_ask: boolean }>;
}

/** `isOperator`: true for the operator's token; compared in constant time. */
export function createCallers(isOperator: (token: string) => boolean): Callers {
  return {
    asking: async (request) => {
      const token = bearerOf(request);
      if (token === undefined) return { principal: undefined, may_ask: false };
      if (isOperator(token)) return { principal: 'Operator::"local"', may_ask: true };
      throw new Refused(controlProblem('unauthorized', 'the caller`s own credential is not good'));
    },
  };
}
