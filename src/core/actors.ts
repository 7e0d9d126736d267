/**
 * Who acts behind a token: the chain of its `act` claim (RFC 8693 section 4.1), and whether it fits the mandate that it
 * is used under (design/2, One decision). A chain names who acted; it grants nothing.
 */
import { type Json, type JsonObject, isName, isObject, member } from './json.ts';
import { readDelegation } from './mandate/delegation.ts';
import type { AuthorityEntry, MandateRecord, Party } from './mandate/record.ts';
import { type Lineage, ownOf } from './mandate/life.ts';

/** `sub_profile`: what kind of actor it says it is (`client_instance`); self-asserted, so that it never counts. */
export interface Actor extends Party {
  readonly sub_profile?: string;
}

/** Oldest first, as lineages are; the last one acts now. */
export type Chain = readonly Actor[];

export type ReadChain =
  | {
      readonly ok: true;
      readonly chain: Chain;
      /** `cnf` of the current actor: the key that it holds. */
      readonly cnf?: Json;
    }
  | { readonly ok: false; readonly detail: string };

/** Reads `act`, outermost current, at most `max_depth` long. `iss` is the token's where an actor has none. */
export function readActors(act: Json | undefined, iss: string, max_depth: number): ReadChain {
  const chain: Actor[] = [];
  let cnf: Json | undefined;
  for (let next = act; next !== undefined; next = member(next, 'act')) {
    if (chain.length >= max_depth)
      return { ok: false, detail: `the chain of actors is longer than ${max_depth}` };
    const actor = isObject(next) ? readActor(next, iss) : undefined;
    if (actor === undefined) return { ok: false, detail: 'the chain of actors is malformed' };
    if (chain.length === 0) cnf = member(next, 'cnf');
    chain.unshift(actor);
  }
  return { ok: true, chain, ...(cnf === undefined ? {} : { cnf }) };
}

function readActor(value: JsonObject, token_iss: string): Actor | undefined {
  const { sub, iss = token_iss, sub_profile } = value;
  if (!isName(sub) || !isName(iss)) return undefined;
  if (sub_profile === undefined) return { iss, sub };
  return isName(sub_profile) ? { iss, sub, sub_profile } : undefined;
}

/** Who acts now: the last of the chain, or the client where there is none. */
export function currentActor(credential: {
  readonly issuer: string;
  readonly client_id: string;
  readonly actors?: Chain;
}): Party {
  const { issuer, client_id, actors = [] } = credential;
  return actors.at(-1) ?? { iss: issuer, sub: client_id };
}

function isSame(a: Party, b: Party): boolean {
  return a.sub === b.sub && a.iss === b.iss;
}

/**
 * The actors below the mandate's client, oldest first. A chain begins with the clients of the whole lineage, root to
 * own, or leaves all of them out.
 */
export function hopsBelow(chain: Chain, lineage: Lineage): Chain {
  const clients = lineage.map(({ client_issuer, client_id }): Party => ({
    iss: client_issuer,
    sub: client_id,
  }));
  const isWhole = chain.length >= clients.length && clients.every((client, at) => isSame(client, chain[at]!));
  return isWhole ? chain.slice(clients.length) : chain;
}

/** Where the actors of a chain stand: below the client of this mandate. */
export type Above = Pick<MandateRecord, 'depth' | 'client_issuer'>;

/**
 * Whether an entry hands on to these actors. `allowed_delegates` name `sub`s alone: those of the issuer that the
 * mandate's own client is of.
 */
export function mayActUnder({ delegation }: AuthorityEntry, hops: Chain, above: Above): boolean {
  if (hops.length === 0) return true;
  const read = readDelegation(delegation);
  return (
    read !== undefined &&
    above.depth + hops.length <= read.max_depth &&
    hops.every(({ iss, sub }) => iss === above.client_issuer && read.allowed_delegates.includes(sub))
  );
}

/** A client other than the mandate's: a hop of the token's own chain that an entry of the mandate names. */
export function isNamedDelegate(client: Party, chain: Chain, lineage: Lineage): boolean {
  return (
    client.iss === ownOf(lineage).client_issuer &&
    hopsBelow(chain, lineage).some((hop) => isSame(hop, client)) &&
    ownOf(lineage).authority_set.some(({ delegation }) =>
      readDelegation(delegation)?.allowed_delegates.includes(client.sub),
    )
  );
}
