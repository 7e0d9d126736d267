/** The control listener: for people and their tools. */
import type { FastifyInstance } from 'fastify';
import { answerProblems } from './errors.ts';
import { callers } from './callers.ts';
import { openConditions } from './conditions.ts';
import { openDecisions } from './decisions.ts';
import { openEvents } from './events.ts';
import { openFleet } from './fleet.ts';
import { type Health, openHealth } from './health.ts';
import type { MandateApi } from './api.ts';
import { type Introspecting, openIntrospection } from './introspection.ts';
import { openMandates } from './mandates.ts';
import { openOperations } from './operations.ts';
import { type Schemes, offered } from './problem.ts';
import { openProposals } from './proposals.ts';
import { type Tls, createServer } from './server.ts';

/** Room for a proposal of the most entries with the longest prose. */
const MAX_BODY_BYTES = 1024 * 1024;

export interface ControlListener extends MandateApi, Health, Introspecting {
  readonly tls: Tls | undefined;
  readonly schemes: Schemes;
  readonly complain: (what: string, error: unknown) => void;
}

export function createControlListener(options: ControlListener): FastifyInstance {
  const server = createServer({ tls: options.tls, body_limit: MAX_BODY_BYTES });
  const authenticate = offered(options.schemes);
  answerProblems(server, 'invalid_request', options.complain);
  openHealth(server, options);
  void server.register(async (scope) => {
    scope.addHook('onRequest', async (request, reply) => {
      void reply.header('www-authenticate', authenticate);
      callers.set(request, await options.access.principal(request));
      void reply.removeHeader('www-authenticate');
    });
    openProposals(scope, options);
    openMandates(scope, options);
    openOperations(scope, options);
    openDecisions(scope, options);
    openConditions(scope, options);
    openEvents(scope, options);
    openFleet(scope, options);
    openIntrospection(scope, options);
  });
  return server;
}
