/** Names of a tenant's keys: all under one hash tag, so that one script may touch any of them. No TTL on any. */
import { sha256 } from '../../digest.ts';

export interface Keys {
  /** What every name begins with. */
  readonly prefix: string;
  readonly head: string;
  readonly log: string;
  /** Sidecars that live, by id. */
  readonly fleet: string;
  /** Sidecars that have yet to compare what they remember with this server, and those that have. */
  readonly roster: string;
  readonly compared: string;
  /** Servers that this log has been served by. */
  readonly pasts: string;
  /** Ids of all mandates, in the order of their creation. */
  readonly ids: string;
  readonly mandate: (id: string) => string;
  readonly children: (id: string) => string;
  readonly proposal: (submission_id: string) => string;
  readonly decision: (decision_id: string) => string;
  /** The latest decision under the digest of an idempotency key. */
  readonly keyed: (key: string) => string;
  readonly approval: (approval_event_id: string) => string;
  readonly observed: (event_id: string) => string;
  readonly thing: (event_type: string, key: string) => string;
  readonly receipt: (mandate: string, nonce: string) => string;
  /** DPoP proofs that were shown, by when they end, the requests under whose ids they may come again, and whose they are. */
  readonly proofs: string;
  readonly proof_requests: string;
  readonly proof_holders: string;
  readonly snapshot: (seq: number) => string;
}

export function keysOf(tenant: string): Keys {
  const key = (name: string): string => `{${tenant}}:${name}`;
  // What others have chosen the text of is bounded by its digest.
  const digested = (kind: string, ...parts: readonly string[]): string => key(`${kind}:${thingOf(parts)}`);
  return {
    prefix: key(''),
    head: key('head'),
    log: key('log'),
    fleet: key('fleet'),
    roster: key('roster'),
    compared: key('compared'),
    pasts: key('pasts'),
    ids: key('ids'),
    mandate: (id) => key(`m:${id}`),
    children: (id) => key(`c:${id}`),
    proposal: (submission_id) => digested('p', submission_id),
    decision: (decision_id) => digested('d', decision_id),
    keyed: (digest) => digested('k', digest),
    approval: (approval_event_id) => digested('a', approval_event_id),
    observed: (event_id) => digested('o', event_id),
    thing: (event_type, name) => digested('t', event_type, name),
    receipt: (mandate, nonce) => digested('idem', mandate, nonce),
    proofs: key('proofs'),
    proof_requests: key('proof_requests'),
    proof_holders: key('proof_holders'),
    snapshot: (seq) => key(`snap:${seq}`),
  };
}

/** One text for several, whatever characters they have. */
export function thingOf(parts: readonly string[]): string {
  return sha256(JSON.stringify(parts)).slice('sha-256:'.length);
}
