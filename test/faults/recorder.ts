/** Asks one sidecar, and takes down what was asked when, and what came of it. */
import { type Json, type JsonObject, isObject, member } from '../../src/core/json.ts';
import type { Instant } from '../../src/core/time.ts';
import { type Answered, askNative } from '../support/ask.ts';
import type { Check, Freshness, Place, Seen, Write } from '../support/history.ts';
import { GIT, MANDATES, type Sidecar, proposalBody } from '../support/sidecar.ts';
import { type Action, BUDGETS_MS } from './classes.ts';

export interface RecorderOptions {
  readonly name: string;
  readonly sidecar: Sidecar;
  readonly token: string;
  readonly history: Seen[];
  readonly has_own_clock: boolean;
}

export interface Recorder {
  /** `more`: members of the question. */
  readonly check: (mandate: string, action: Action, more?: JsonObject) => Promise<Checked>;
  /** Ends it and all below it, whose ids are `with`. */
  readonly revoke: (mandate: string, more?: JsonObject, below?: readonly string[]) => Promise<Revoked>;
  /** A mandate that may do everything; `intent` replaces members. */
  readonly approve: (intent?: JsonObject) => Promise<string>;
  readonly derive: (parent: string) => Promise<string>;
}

export interface Checked extends Check {
  /** `allow`, the reason of a deny, or `nothing`. */
  readonly outcome: string;
  readonly action: Action;
  readonly lasted_ms: number;
  readonly body: JsonObject;
}

export interface Revoked extends Write {
  readonly lasted_ms: number;
  readonly status: number | undefined;
  readonly body: JsonObject;
}

const RESOURCE = `${GIT}/repos/example/app`;
const now = (): Instant => ({ wall_ms: Date.now(), mono_ms: performance.now() });

/** Undefined where no answer came. */
async function timed<T>(act: () => Promise<T>): Promise<{ began: Instant; ended: Instant; answer?: T }> {
  const began = now();
  const answer = await act().catch(() => undefined);
  return { began, ended: now(), ...(answer === undefined ? {} : { answer }) };
}

export function createRecorder({ name, sidecar, token, history, has_own_clock }: RecorderOptions): Recorder {
  const control = async (path: string, body: Json, expected: number): Promise<JsonObject> => {
    const answer = await sidecar.control('POST', path, body);
    if (answer.status === expected && isObject(answer.body)) return answer.body;
    throw new Error(`${name}: ${path}: ${JSON.stringify(answer)}`);
  };
  const question = (mandate: string, action: Action, more: JsonObject): JsonObject => ({
    check_point: 'tool',
    action: { name: action },
    resource: RESOURCE,
    mandate: { id: mandate, issuer: MANDATES },
    credential: { token },
    ...more,
  });
  return {
    check: async (mandate, action, more = {}) => {
      const asked = question(mandate, action, more);
      const { began, ended, answer } = await timed(() => askNative(sidecar.check_port, asked));
      const about = { kind: 'check', mandate, budget_ms: BUDGETS_MS[action], began } as const;
      const own = has_own_clock ? { is_clock_own: true } : {};
      const shown = answer === undefined ? { sidecar: name } : { ended, ...shownBy(answer, name) };
      const check: Check = { ...about, ...own, ...shown };
      history.push(check);
      return { ...check, ...summary(check, answer), action, lasted_ms: ended.mono_ms - began.mono_ms };
    },
    revoke: async (mandate, more = {}, below = []) => {
      const path = `/v1/mandates/${mandate}/revoke`;
      const { began, ended, answer } = await timed(() => sidecar.control('POST', path, more));
      const about = { kind: 'write', ends: [mandate, ...below], began } as const;
      const outcome = outcomeOf(answer?.status);
      const body = isObject(answer?.body) ? answer.body : {};
      const place = outcome === 'ok' ? { place: body.freshness as unknown as Place } : {};
      const write: Write = { ...about, outcome, ...place, ...(answer === undefined ? {} : { ended }) };
      history.push(write);
      return { ...write, lasted_ms: ended.mono_ms - began.mono_ms, status: answer?.status, body };
    },
    approve: async (intent = {}) => {
      const proposal = proposalBody();
      const [entry] = proposal.authorization_details as readonly JsonObject[];
      const delegation = { max_depth: 1, allowed_delegates: [{ sub: 'agent-1' }] };
      const { submission_id, proposal_hash } = await control(
        '/v1/proposals',
        {
          ...proposal,
          intent: { ...(proposal.intent as JsonObject), ...intent },
          authorization_details: [{ ...entry!, delegation }],
        },
        202,
      );
      const approval = { proposal_hash: proposal_hash! };
      return String((await control(`/v1/proposals/${String(submission_id)}/approve`, approval, 201)).id);
    },
    derive: async (parent) => {
      const { authorization_details } = proposalBody();
      const child = { client_id: 'agent-1', authorization_details: authorization_details! };
      return String((await control(`/v1/mandates/${parent}/children`, child, 201)).id);
    },
  };
}

/** What is refused for good changes nothing; of what is unavailable nobody knows. */
function outcomeOf(status: number | undefined): Write['outcome'] {
  if (status === 200) return 'ok';
  return status !== undefined && status < 500 ? 'refused' : 'unknown';
}

function shownBy({ body }: Answered, name: string): Omit<Check, 'kind' | 'mandate' | 'budget_ms' | 'began'> {
  const state = member(body.mandate, 'state');
  const freshness = freshnessOf(body);
  return {
    sidecar: `${name} ${String(body.emitter)}`,
    ...(body.effect === 'allow' || body.effect === 'deny' ? { effect: body.effect } : {}),
    ...(typeof state === 'string' ? { state } : {}),
    ...(freshness === undefined ? {} : { freshness }),
  };
}

function freshnessOf({ freshness, evaluated_at }: JsonObject): Freshness | undefined {
  if (!isObject(freshness) || freshness.source === 'none') return undefined;
  const { as_of, ...rest } = freshness as unknown as Omit<Freshness, 'as_of_ms'> & { as_of: string };
  return { ...rest, as_of_ms: Date.parse(as_of), evaluated_ms: Date.parse(String(evaluated_at)) };
}

function summary({ effect }: Check, answer: Answered | undefined): Pick<Checked, 'outcome' | 'body'> {
  const body = answer?.body ?? {};
  return { outcome: effect === 'deny' ? String(body.reason) : (effect ?? 'nothing'), body };
}
