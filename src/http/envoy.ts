/**
 * The ext_authz door. Exactly 200 allows and everything else denies; a deny is 401 or 403 and never 5xx, since an
 * open filter lets those through.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Check } from '../check/check.ts';
import { readForwardedCertificate } from '../core/client-certificate.ts';
import { type Beside, isJoinedAuthorization, readAuthorization } from '../core/credential.ts';
import type { RecordedDecision } from '../core/decision.ts';
import { REASON_TABLE } from '../core/reasons.ts';
import { parseMissionReference } from '../core/reference.ts';
import { type Body, type HttpRequest, type Repeat, headerValues } from '../core/request.ts';
import type { Now } from '../core/time.ts';
import { splitTarget } from '../core/uri.ts';
import { type IdentitySource, allowHeaders, countVariants } from './identity.ts';
import { type DenyDetail, PROBLEM_JSON, type Schemes, challenge, denyBody, problemBody } from './problem.ts';
import { allowEveryMethod, rawTarget } from './server.ts';

const PREFIX = '/envoy';

export interface EnvoyDoor extends IdentitySource {
  readonly check: Check;
  readonly now: Now;
  readonly deny_detail: DenyDetail;
  readonly schemes: Schemes;
  /** Tokens may be bound to the certificate that the proxy tells of. */
  readonly reads_certificates: boolean;
  /** `proxy`: the proxy sets `x-request-id` itself, so that it stands for one request. */
  readonly request_ids: 'untrusted' | 'proxy';
  readonly complain: (what: string, error: unknown) => void;
}

/** What is answered when even a deny could not be formed: still no 5xx. */
const LAST_RESORT = problemBody({
  status: 403,
  reason: 'internal_error',
  detail: REASON_TABLE.internal_error.doc,
});

/** All targets of the door lead to one route, so that no router interprets the path that is to be judged. */
export function envoyRoute(target: string): string {
  // Envoy joins prefix and target plainly, and the target of an OPTIONS may be `*`.
  return /^\/envoy(?:[/?*]|$)/.test(target) ? PREFIX : target;
}

export function openEnvoyDoor(server: FastifyInstance, door: EnvoyDoor): void {
  const methods = allowEveryMethod(server);
  void server.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    scope.addHook('onRequest', async (request) => presentBody(request.raw));
    scope.setErrorHandler((error, request, reply) => {
      const isTheirs = (error as { statusCode?: number }).statusCode ?? 500;
      if (isTheirs < 500)
        return answer(readRequest(request, door, 'the body could not be read'), reply, door);
      door.complain('an answer could not be formed', error);
      return reply.code(403).header('content-type', PROBLEM_JSON).send(LAST_RESORT);
    });
    scope.route({
      method: [...methods],
      url: PREFIX,
      handler: (request, reply) => answer(readRequest(request, door), reply, door),
    });
  });
  const answering = new WeakMap<Duplex, ServerResponse>();
  server.server.on('request', (message, response) => answering.set(message.socket, response));
  server.server.on('connect', (message: IncomingMessage, socket: Duplex) => {
    const earlier = answering.get(socket);
    refuseConnect(message, socket, door, earlier).catch(() => socket.destroy());
  });
}

/**
 * The door reads `rawHeaders`; what a client calls its body must not decide whether Fastify takes it. Without a type
 * Fastify does not look for a body where there is none, but for QUERY, which it refuses then.
 */
function presentBody({ method, headers }: IncomingMessage): void {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  const isEmpty = encoding === undefined && (length === undefined || length === '0');
  if (isEmpty && method !== 'QUERY') delete headers['content-type'];
  else headers['content-type'] = 'application/octet-stream';
}

function readRequest(request: FastifyRequest, door: EnvoyDoor, malformed?: string): HttpRequest {
  const { method, rawHeaders } = request.raw;
  return readMessage(
    method ?? '',
    rawTarget(request).slice(PREFIX.length),
    rawHeaders,
    bodyOf(request.body),
    door,
    malformed,
  );
}

function bodyOf(body: unknown): Body {
  return Buffer.isBuffer(body) && body.length > 0 ? { kind: 'whole', bytes: body } : { kind: 'none' };
}

function readMessage(
  method: string,
  target: string,
  headers: readonly string[],
  body: Body,
  door: EnvoyDoor,
  malformed?: string,
): HttpRequest {
  const authorization = headerValues(headers, 'authorization');
  const host = headerValues(headers, 'host');
  const proofs = headerValues(headers, 'dpop');
  const why = malformed ?? ambiguity(headers, authorization, host, proofs);
  const { repeat } = repeatOf(headers, door);
  const beside = besideOf(method, target, host[0], proofs, headers, door, repeat);
  return {
    door: 'envoy',
    check_point: 'request',
    arrived: door.now(),
    presented: readAuthorization(authorization, beside),
    selected: parseMissionReference(headerValues(headers, 'mission-reference')),
    is_vouched: false,
    ...(repeat === undefined ? {} : { repeat }),
    ...(why === undefined ? {} : { malformed: why }),
    method,
    target,
    host: host[0],
    headers,
    body,
  };
}

/** What is shown beside the token: the proof, for the url that the client has asked for, and its certificate. */
function besideOf(
  method: string,
  target: string,
  host: string | undefined,
  [proof]: readonly string[],
  headers: readonly string[],
  { scheme, reads_certificates }: EnvoyDoor,
  repeat: Repeat | undefined,
): Beside {
  const certificate_sha256 = reads_certificates
    ? readForwardedCertificate(headerValues(headers, CLIENT_CERTIFICATE))
    : undefined;
  const { text: id, lifetime_ms } = repeat?.key ?? {};
  const by_certificate = certificate_sha256 === undefined ? {} : { certificate_sha256 };
  if (proof === undefined || host === undefined) return by_certificate;
  return {
    ...by_certificate,
    proof,
    target: { method, url: `${scheme}://${host}${splitTarget(target).path}` },
    ...(id === undefined || lifetime_ms === undefined ? {} : { request: { id, lifetime_ms } }),
  };
}

const CLIENT_CERTIFICATE = 'x-forwarded-client-cert';

/** A proxy that tries again sends the same id, soon; a client may send any. */
const REQUEST_ID_LIFETIME_MS = 10_000;
const MAX_REQUEST_ID_LENGTH = 256;

function repeatOf(headers: readonly string[], { request_ids }: EnvoyDoor): Pick<HttpRequest, 'repeat'> {
  if (request_ids === 'untrusted') return {};
  const [text, ...more] = headerValues(headers, 'x-request-id');
  if (text === undefined || text === '' || more.length > 0 || text.length > MAX_REQUEST_ID_LENGTH) return {};
  return { repeat: { key: { text, lifetime_ms: REQUEST_ID_LIFETIME_MS } } };
}

/** Only the first or the last of duplicates would be judged here, and perhaps the other one there. */
function ambiguity(
  headers: readonly string[],
  authorization: readonly string[],
  host: readonly string[],
  proofs: readonly string[],
): string | undefined {
  if (authorization.length > 1 || authorization.some(isJoinedAuthorization))
    return 'two authorization headers';
  // A compact JWS has no comma: one that has is two, joined by some hop.
  if (proofs.length > 1 || proofs.some((proof) => proof.includes(','))) return 'two dpop headers';
  if (headerValues(headers, CLIENT_CERTIFICATE).length > 1) return 'two client certificate headers';
  if (host.length > 1) return 'two host headers';
  if (headerValues(headers, 'connection').some(namesAHeader))
    return 'the connection header names another header';
  if (countVariants(headers) > MAX_IDENTITY_HEADERS)
    return 'more identity headers than anybody has a use for';
  return undefined;
}

/** All are listed for removal, and an answer with a list that is too long is an error to Envoy. */
const MAX_IDENTITY_HEADERS = 64;

const CONNECTION_OPTIONS = new Set(['', 'keep-alive', 'close', 'upgrade', 'te', 'http2-settings']);

/** A hop drops the headers that `Connection` names (RFC 9110 section 7.6.1): what a decision rests on could be one. */
function namesAHeader(connection: string): boolean {
  return connection.split(',').some((option) => !CONNECTION_OPTIONS.has(option.trim().toLowerCase()));
}

async function answer(request: HttpRequest, reply: FastifyReply, door: EnvoyDoor): Promise<void> {
  const decision = await door.check(request);
  if (decision.effect === 'allow') {
    return reply
      .code(200)
      .headers(allowHeaders(decision, request, door))
      .send();
  }
  const { status, headers, body } = denial(decision, request, door);
  return reply.code(status).headers(headers).send(body);
}

function denial(decision: RecordedDecision, { presented }: HttpRequest, { deny_detail, schemes }: EnvoyDoor) {
  const authenticate = challenge(decision, presented, schemes);
  const { dpop_nonce } = decision.credential;
  return {
    status: REASON_TABLE[decision.reason!].status,
    headers: {
      'content-type': PROBLEM_JSON,
      'cache-control': 'no-store',
      ...(authenticate === undefined ? {} : { 'www-authenticate': authenticate }),
      ...(dpop_nonce === undefined ? {} : { 'dpop-nonce': dpop_nonce }),
    },
    body: denyBody(decision, deny_detail),
  };
}

/**
 * Node hands a CONNECT over as a bare socket; one that closes without an answer is an error to Envoy. What was asked on
 * the same connection before is answered first.
 */
async function refuseConnect(
  message: IncomingMessage,
  socket: Duplex,
  door: EnvoyDoor,
  earlier: ServerResponse | undefined,
): Promise<void> {
  socket.on('error', () => socket.destroy());
  const request = readMessage(
    'CONNECT',
    message.url ?? '',
    message.rawHeaders,
    { kind: 'none' },
    door,
    'CONNECT is never judged',
  );
  const { status, headers, body } = denial(await door.check(request), request, door);
  if (earlier !== undefined && !earlier.writableFinished && !earlier.destroyed) await once(earlier, 'close');
  const lines = Object.entries({
    ...headers,
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  // A client that never closes its side must not keep the socket.
  socket.end(`HTTP/1.1 ${status} Forbidden\r\n${head}\r\n${body}`, () => socket.destroy());
}
