/** What a listener answers when a route did not: problem+json, and JSON read by our own strict parser. */
import type { FastifyInstance } from 'fastify';
import type { ControlReason, Reason } from '../core/reasons.ts';
import { Refused } from './bodies.ts';
import { PROBLEM_JSON, type Problem, problemBody } from './problem.ts';
import { answerNotFound } from './server.ts';

/** `bad` is the listener's reason for a body or target that cannot be read. */
export function answerProblems(
  server: FastifyInstance,
  bad: Extract<ControlReason | Reason, 'invalid_request' | 'malformed_request'>,
  complain: (what: string, error: unknown) => void,
): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) =>
    done(null, body),
  );
  const problemOf = (error: unknown): Problem => {
    if (error instanceof Refused) {
      const { problem } = error;
      return problem.reason === 'invalid_request' ? { ...problem, reason: bad } : problem;
    }
    const status = (error as { statusCode?: number }).statusCode ?? 500;
    if (status < 500) return { status, reason: bad, detail: (error as Error).message };
    complain('a request could not be answered', error);
    return { status: 500, reason: 'internal_error', detail: 'the request could not be answered' };
  };
  server.setErrorHandler((error, _request, reply) => {
    const problem = problemOf(error);
    return reply.code(problem.status).header('content-type', PROBLEM_JSON).send(problemBody(problem));
  });
  server.setNotFoundHandler((_request, reply) => answerNotFound(reply));
}
