/** The credential of whoever calls us, as it stands in the request. */
import type { FastifyRequest } from 'fastify';
import { headerValues } from '../core/request.ts';

/** The one bearer token; undefined where there is no such header, empty where it cannot be read as one token. */
export function bearerOf(request: FastifyRequest): string | undefined {
  const values = headerValues(request.raw.rawHeaders, 'authorization');
  if (values.length === 0) return undefined;
  return (values.length === 1 && /^bearer +(\S+)$/i.exec(values[0]!)?.[1]) || '';
}
