/** Who calls, and what they may: the operator's token or a person's, and the policies over mandates. */
import type { FastifyRequest } from 'fastify';
import type { Credentials, MandateStore } from '../check/ports.ts';
import {
  type ControlAction,
  type ControlPolicies,
  type ControlTarget,
  NO_TARGET,
  type Principal,
  isPermitted,
  mandateTarget,
  nameOf,
  operatorOf,
  principalOf,
  proposalTarget,
  unpermittable,
} from '../core/control.ts';
import { type Beside, readAuthorization } from '../core/credential.ts';
import type { Lineage } from '../core/mandate/life.ts';
import type { Proposal } from '../core/mandate/record.ts';
import { headerValues } from '../core/request.ts';
import type { Now } from '../core/time.ts';
import { Refused } from './bodies.ts';
import { controlProblem } from './problem.ts';

export interface AccessParts {
  /** Where the control listener is for its callers: what their proofs are for. */
  readonly origin: string | undefined;
  /** Who keeps the mandates: the operator is one of its own. */
  readonly issuer: string;
  readonly store: MandateStore;
  readonly now: Now;
  /** True for the operator's token; compared in constant time. */
  readonly isOperator: (token: string) => boolean;
  /** Tokens of `control.issuers`. */
  readonly credentials: Credentials;
  /** By issuer, the clients that people use; all of them where it says nothing. */
  readonly people_through: ReadonlyMap<string, readonly string[]>;
  readonly policies: ControlPolicies;
}

export interface Access {
  /** Who calls. Throws `unauthorized` where there is no credential, or one that is no good. */
  readonly principal: (request: FastifyRequest) => Promise<Principal>;
  /** What is not to be seen is not there: one answer for both. */
  readonly mandate: (principal: Principal, id: string, action: ControlAction) => Promise<Lineage>;
  /**
   * The same where a mandate is to end: what is held here is good enough while the store is away, and whoever may end
   * any may end this one unseen. undefined where nothing is known of it.
   */
  readonly ending: (principal: Principal, id: string, action: ControlAction) => Promise<Lineage | undefined>;
  readonly proposal: (principal: Principal, id: string, action: ControlAction) => Promise<Proposal>;
  readonly require: (principal: Principal, action: ControlAction, target: ControlTarget) => void;
  readonly may: (principal: Principal, action: ControlAction, lineage: Lineage) => boolean;
  /** Who asks a native question, and whether about this mandate without the agent's credential. */
  readonly asking: (
    request: FastifyRequest,
    mandate: string | undefined,
  ) => Promise<{ readonly principal: string | undefined; readonly may_ask: boolean }>;
}

export function createAccess(parts: AccessParts): Access {
  const { store, now, policies } = parts;
  const permits = (principal: Principal, action: ControlAction, target: ControlTarget): boolean => {
    return isPermitted({ principal, action, target, now_ms: now().wall_ms }, policies);
  };
  const principal = (request: FastifyRequest) => readPrincipal(request, parts, parts.origin);

  const requireThat: Access['require'] = (who, action, target) => {
    if (permits(who, action, target)) return;
    const why = unpermittable({ principal: who, action, target, now_ms: now().wall_ms });
    throw new Refused(controlProblem('policy_denied', why ?? 'no policy permits this, or one forbids it'));
  };

  const requireVisible = (who: Principal, action: ControlAction, target: ControlTarget): void => {
    if (permits(who, action, target)) return;
    // Whoever may not even see it is not told that it is there.
    if (action === 'mandate.read' || !permits(who, 'mandate.read', target)) throw notFound();
    requireThat(who, action, target);
  };

  const proposal: Access['proposal'] = async (who, id, action) => {
    const read = await store.proposal(id);
    if (!read.ok) throw new Refused(controlProblem(read.refused, read.detail));
    if (read.proposal === undefined) throw notFound();
    const { predecessor: before } = read.proposal;
    const predecessor = before === undefined ? undefined : await storedLineage(store, before);
    requireVisible(who, action, proposalTarget(read.proposal, predecessor, now().wall_ms));
    return read.proposal;
  };

  const ending: Access['ending'] = async (who, id, action) => {
    const read = await store.lineage(id, true);
    if (read.ok && read.lineage === undefined) throw notFound();
    const lineage = read.ok ? read.lineage : undefined;
    const at_ms = now().wall_ms;
    if (lineage !== undefined) requireVisible(who, action, mandateTarget(lineage, at_ms));
    else if (!permits(who, action, { ...NO_TARGET, id }))
      throw new Refused(controlProblem('unavailable', 'the store does not answer'));
    return lineage;
  };

  const mandate: Access['mandate'] = async (who, id, action) => {
    const lineage = await storedLineage(store, id);
    if (lineage === undefined) throw notFound();
    requireVisible(who, action, mandateTarget(lineage, now().wall_ms));
    return lineage;
  };

  return {
    principal,
    mandate,
    ending,
    proposal,
    require: requireThat,
    may: (who, action, lineage) => permits(who, action, mandateTarget(lineage, now().wall_ms)),
    asking: async (request, id) => {
      if (headerValues(request.raw.rawHeaders, 'authorization').length === 0)
        return { principal: undefined, may_ask: false };
      // The origin is the control listener's: here there is nothing that a proof could be for.
      const who = await readPrincipal(request, parts, undefined).catch(unverifiable);
      // A question is answered with a decision: who cannot be known now is nobody.
      if (who === undefined) return { principal: undefined, may_ask: false };
      const read = id === undefined ? undefined : await store.lineage(id);
      // What cannot be read now is judged as a mandate that nobody knows: the check itself says why.
      const lineage = read?.ok === true ? read.lineage : undefined;
      const target =
        lineage === undefined ? { ...NO_TARGET, id: id ?? '' } : mandateTarget(lineage, now().wall_ms);
      return { principal: nameOf(who), may_ask: permits(who, 'check.ask', target) };
    },
  };
}

/** The mandate with those above it; throws where the store cannot tell. */
export async function storedLineage(
  store: Pick<MandateStore, 'lineage'>,
  id: string,
): Promise<Lineage | undefined> {
  const read = await store.lineage(id);
  if (!read.ok) throw new Refused(controlProblem(read.refused, read.detail));
  return read.lineage;
}

function unverifiable(error: unknown): undefined {
  if (error instanceof Refused && error.problem.reason === 'unavailable') return undefined;
  throw error;
}

/** The one bearer token of the request: the operator's, or one of an issuer under `control.issuers`. */
async function readPrincipal(
  request: FastifyRequest,
  parts: AccessParts,
  origin: string | undefined,
): Promise<Principal> {
  const values = headerValues(request.raw.rawHeaders, 'authorization');
  const token = values.length === 1 ? /^bearer +(\S+)$/i.exec(values[0]!)?.[1] : undefined;
  if (token !== undefined && parts.isOperator(token)) return operatorOf(parts.issuer);
  const presented = readAuthorization(values, besideOf(request, origin));
  // Who may change a mandate is not asked of what was heard before.
  const credential = await parts.credentials.verify(presented, parts.now(), true);
  switch (credential.verdict) {
    case 'usable':
      return principalOf(credential, parts.people_through.get(credential.issuer));
    case 'unverifiable':
      throw new Refused(controlProblem('unavailable', credential.detail));
    case 'not_presented':
      throw new Refused(
        controlProblem('unauthorized', 'a credential is needed: the operator token, or a person`s'),
      );
    case 'unusable':
      throw new Refused(controlProblem('unauthorized', credential.detail));
  }
}

/**
 * The proof that a control token may need, for this listener as configuration names it: a caller chooses the Host that it
 * writes, and a proof that was made for somebody else must not fit.
 */
function besideOf({ raw }: FastifyRequest, origin: string | undefined): Beside {
  const [proof, ...more] = headerValues(raw.rawHeaders, 'dpop');
  if (proof === undefined || more.length > 0) return {};
  return origin === undefined
    ? { proof }
    : { proof, target: { method: raw.method ?? '', url: `${origin}${raw.url ?? ''}` } };
}

export function notFound(): Refused {
  return new Refused(controlProblem('not_found', 'there is no such resource'));
}
