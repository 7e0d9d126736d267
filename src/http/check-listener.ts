/** The check listener: for proxies and harnesses. */
import type { FastifyInstance } from 'fastify';
import { type EnvoyDoor, envoyRoute, openEnvoyDoor } from './envoy.ts';
import { answerProblems } from './errors.ts';
import { type NativeDoor, openNativeDoor } from './question.ts';
import { type Tls, createServer } from './server.ts';

/** Larger bodies are refused; Envoy's `max_request_bytes` should stay below. */
const MAX_BODY_BYTES = 1024 * 1024;

export interface CheckListener extends EnvoyDoor, NativeDoor {
  readonly tls: Tls | undefined;
}

export function createCheckListener(options: CheckListener): FastifyInstance {
  const server = createServer({ tls: options.tls, body_limit: MAX_BODY_BYTES, route: envoyRoute });
  answerProblems(server, 'malformed_request', options.complain);
  openEnvoyDoor(server, options);
  openNativeDoor(server, options);
  return server;
}
