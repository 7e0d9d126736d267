/** `POST /oauth/introspect` (RFC 7662): whether a token and its mandate both hold, for whoever may ask. */
import type { FastifyInstance } from 'fastify';
import type { MandateStore, TokenInspector } from '../check/ports.ts';
import { type Composite, INACTIVE, compositeOf } from '../core/composite.ts';
import { NO_TARGET } from '../core/control.ts';
import type { UsableCredential } from '../core/credential.ts';
import type { Settings } from '../core/facts.ts';
import { judge } from '../core/freshness.ts';
import type { Lineage } from '../core/mandate/life.ts';
import { type ReferenceSource, resolveReference } from '../core/reference.ts';
import type { Instant, Now } from '../core/time.ts';
import type { Access } from './access.ts';
import { Refused } from './bodies.ts';
import { callerOf } from './callers.ts';
import { controlProblem } from './problem.ts';

export interface Introspecting {
  /** Tokens of `credentials`. */
  readonly credentials: TokenInspector;
  readonly settings: Settings;
  readonly store: MandateStore;
  readonly access: Access;
  readonly now: Now;
}

const FORM = 'application/x-www-form-urlencoded';
/** `mission_id` and `mission_issuer` select a mandate for a token that names none, as `Mission-Reference` does. */
const PARAMETERS = new Set(['token', 'token_type_hint', 'mission_id', 'mission_issuer']);

export function openIntrospection(outer: FastifyInstance, parts: Introspecting): void {
  void outer.register(async (scope) => {
    scope.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => done(null, body));
    scope.post('/oauth/introspect', async (request, reply) => {
      const at = parts.now();
      const form = readForm(request.body);
      const found = await inspect(form, parts, at);
      const { access } = parts;
      const who = callerOf(request);
      // Whoever may not ask of this mandate is answered as one who may ask of none.
      if (found === undefined || !access.may(who, 'token.introspect', found.lineage))
        access.require(who, 'token.introspect', NO_TARGET);
      const isSeen = found !== undefined && access.may(who, 'token.introspect', found.lineage);
      const answer: Composite = isSeen
        ? compositeOf({ ...found, settings: parts.settings, wall_ms: parts.now().wall_ms })
        : INACTIVE;
      return reply.header('cache-control', 'no-store').send(answer);
    });
  });
}

function readForm(body: unknown): ReadonlyMap<string, string> {
  if (typeof body !== 'string') throw invalid(`expected a form (${FORM})`, undefined);
  const pairs = [...new URLSearchParams(body)];
  const names = pairs.map(([name]) => name);
  const twice = names.find((name, index) => PARAMETERS.has(name) && names.indexOf(name) !== index);
  if (twice !== undefined) throw invalid('given twice', twice);
  const form = new Map(pairs);
  if ((form.get('token') ?? '') === '') throw invalid('expected a token', 'token');
  return form;
}

function invalid(detail: string, field: string | undefined): Refused {
  return new Refused(controlProblem('invalid_request', detail, field));
}

function unavailable(detail: string): Refused {
  return new Refused(controlProblem('unavailable', detail));
}

interface Found {
  readonly credential: UsableCredential;
  readonly claims: Parameters<typeof compositeOf>[0]['claims'];
  readonly lineage: Lineage;
}

/** The token and its mandate, proven current; undefined where either is not. Throws `unavailable` where nobody can tell. */
async function inspect(
  form: ReadonlyMap<string, string>,
  { credentials, store }: Introspecting,
  at: Instant,
): Promise<Found | undefined> {
  const proving = store.prove({ budget_ms: 0, arrived: at });
  const inspected = await credentials.inspect(form.get('token')!, at);
  if (inspected.verdict === 'unverifiable') throw unavailable(inspected.detail);
  if (inspected.verdict !== 'usable') return undefined;
  const { credential, claims } = inspected;
  const resolved = resolveReference(credential.mission, selectedBy(form), 'question');
  if ('reason' in resolved) return undefined;
  const found = await proving.find(resolved.reference);
  if (found.kind === 'unreadable') throw unavailable(found.detail);
  if (found.kind !== 'found') return undefined;
  const judgement = judge(found.proof, { budget_ms: 0, arrived: at }, at);
  if (!judgement.fresh) throw unavailable(judgement.why);
  return { credential, claims, lineage: found.lineage };
}

function selectedBy(form: ReadonlyMap<string, string>): ReferenceSource {
  const [id, issuer] = [form.get('mission_id'), form.get('mission_issuer')];
  if (id === undefined && issuer === undefined) return 'absent';
  return id === undefined || issuer === undefined ? 'malformed' : { id, issuer };
}
