/** What both listeners share: limits, TLS, and answers that never depend on Fastify's defaults. */
import { readFileSync } from 'node:fs';
import { type IncomingMessage, METHODS } from 'node:http';
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import { PROBLEM_JSON, problemBody } from './problem.ts';

export interface Tls {
  readonly cert: string;
  readonly key: string;
  readonly client_ca?: string | undefined;
}

export interface ServerOptions {
  readonly tls: Tls | undefined;
  /** Most bytes of a body. */
  readonly body_limit: number;
  /** Chooses the route of a request target; the target itself stays in `originalUrl`. */
  readonly route?: (target: string) => string;
}

/** Envoy keeps idle upstream connections for an hour; closing first would reset one that it is about to use. */
const KEEP_ALIVE_MS = 3_900_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Envoy takes 60 KiB of request headers by default, and adds its own. */
const MAX_HEADER_BYTES = 96 * 1024;
const MAX_CONNECTIONS = 10_000;

export function createServer({ tls, body_limit, route }: ServerOptions): FastifyInstance {
  const limits = { headersTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: MAX_HEADER_BYTES };
  const options = {
    bodyLimit: body_limit,
    exposeHeadRoutes: false,
    // Longer than any id, so that one which is too long is simply not found.
    routerOptions: { maxParamLength: MAX_HEADER_BYTES },
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // A 503 on closing would be an error to Envoy, which an open filter lets through.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    // A target that the router cannot decode names nothing that we have.
    frameworkErrors: (_error: unknown, _request: unknown, reply: FastifyReply) => void answerNotFound(reply),
    ...(route === undefined ? {} : { rewriteUrl: (request: IncomingMessage) => route(request.url ?? '') }),
    ...(tls === undefined ? { http: limits } : { https: { ...limits, ...tlsOptions(tls) } }),
  } as FastifyServerOptions;
  const server = fastify(options);
  server.server.maxConnections = MAX_CONNECTIONS;
  return server;
}

function tlsOptions(tls: Tls) {
  const client = tls.client_ca === undefined ? {} : { ca: readFileSync(tls.client_ca), requestCert: true };
  return {
    cert: readFileSync(tls.cert),
    key: readFileSync(tls.key),
    minVersion: 'TLSv1.2' as const,
    ...client,
  };
}

/**
 * Every method that Node parses, each with its body: what a decision is bound to must not depend on whether a method
 * usually has one. `CONNECT` never reaches a route and is answered on its socket.
 */
export function allowEveryMethod(server: FastifyInstance): readonly string[] {
  const methods = METHODS.filter((method) => method !== 'CONNECT');
  for (const method of methods) server.addHttpMethod(method, { hasBody: true, overrideExisting: true });
  return methods;
}

export function answerNotFound(reply: FastifyReply): FastifyReply {
  const body = problemBody({ status: 404, reason: 'not_found', detail: 'there is no such resource' });
  return reply.code(404).header('content-type', PROBLEM_JSON).send(body);
}

/** The target as it came, whatever route it was given. */
export function rawTarget(request: FastifyRequest): string {
  return request.originalUrl;
}
