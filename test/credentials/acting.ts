/** Chains of actors (RFC 8693 section 4.1) made by hand, the mandates that they act under, and how a misfit is answered. */
import { expect } from 'vitest';
import { type JsonObject, isObject } from '../../src/core/json.ts';
import type { Answered } from '../support/ask.ts';
import type { Members } from './minting.ts';
import { RESOURCE, type Served, type Showing, envoyDoor, partOf, tokenOf } from './serving.ts';

export const WIDE = ['agent-2', 'agent-3', 'agent-4', 'agent-5', 'agent-6'] as const;

/** An entry over the whole repository. */
export const entry = (more: JsonObject = {}): JsonObject => ({
  type: 'mission_resource_access',
  resource: RESOURCE,
  resource_match: 'prefix',
  actions: ['repo.*'],
  ...more,
});

/** The same, which may be handed on to these, down to this depth. */
export const handsOn = (max_depth: number, ...subs: string[]): JsonObject =>
  entry({ delegation: { max_depth, allowed_delegates: subs.map((sub) => ({ sub })) } });

export async function childOf(
  at: Served,
  parent: JsonObject,
  client_id: string,
  own: JsonObject,
): Promise<JsonObject> {
  const path = `/v1/mandates/${String(parent.id)}/children`;
  const { status, body } = await at.control('POST', path, { client_id, authorization_details: [own] });
  if (status !== 201 || !isObject(body)) throw new Error(JSON.stringify(body));
  return body;
}

export type Actor = string | Readonly<Record<string, unknown>>;

/** The `act` claim for these actors, oldest first: the last one acts now and stands outermost. */
export function act(...actors: readonly Actor[]): Members | undefined {
  let nested: Members | undefined;
  for (const actor of actors) {
    const own = typeof actor === 'string' ? { sub: actor } : actor;
    nested = nested === undefined ? own : { ...own, act: nested };
  }
  return nested;
}

/** A token of `corp` for this client, with these actors behind it. */
export const chain = (record: JsonObject, client_id: string, ...actors: readonly Actor[]): string =>
  tokenOf('corp', record, { client_id, act: act(...actors) });

/** As a bearer token at `/envoy`. */
export const showAt = (at: Served, token: string, more: Partial<Showing> = {}): Promise<Answered> =>
  envoyDoor(at, { token, scheme: 'Bearer', ...more });

/** design/8: found after the join; nothing of the mandate but the reason, and no request was judged. */
export function expectMisfit({ status, headers, body }: Answered, record: JsonObject): void {
  expect([403, 200]).toContain(status);
  expect(body).toMatchObject({ effect: 'deny', reason: 'actor_invalid', next_action: 'none' });
  expect(body.credential).toMatchObject({ verdict: 'unusable', reason: 'actor_invalid' });
  const mandate = partOf({ status, headers, body }, 'mandate');
  expect(mandate.verdict).toMatch(/^(illegitimate|not_evaluated)$/);
  expect(Object.keys(mandate).filter((each) => !['verdict', 'reason'].includes(each))).toEqual([]);
  expect(body.request).toEqual({ verdict: 'not_evaluated' });
  expect(body.freshness).toEqual({ source: 'none' });
  expect(JSON.stringify(body)).not.toContain(String(record.id));
  expect(body).not.toHaveProperty('entry_digest');
}
