/** Everything a decision is made from. Failures of the outside stand here as facts, so that `decide` needs no `try`. */
import type { Action } from './action.ts';
import type { ActionClass, Budgets } from './classes.ts';
import type { CredentialFact } from './credential.ts';
import type { ViewProof } from './freshness.ts';
import type { Lineage } from './mandate/life.ts';
import type { PolicySet } from './policy.ts';
import type { Resolved } from './reference.ts';
import type { Asked } from './request.ts';
import type { Instant } from './time.ts';

/** What the store said about the mandate that was named. */
export type MandateFact =
  /** No reference, or two that differ; or the action needs no mandate, or the credential is not usable. */
  | { readonly kind: 'not_asked' }
  | { readonly kind: 'found'; readonly lineage: Lineage; readonly proof: ViewProof }
  | { readonly kind: 'absent' }
  /** The store did not answer, so that nothing is known, not even whether it exists. */
  | { readonly kind: 'unreadable'; readonly detail: string };

export interface Settings {
  readonly budgets: Budgets;
  /** Of the budget-0 classes. */
  readonly permit_validity_ms: number;
  /** How far a token's own end may be past: its issuer's clock is not ours. */
  readonly clock_tolerance_ms: number;
  /** After this a decision that cannot be undone counts as `unknown`, unless it was committed. */
  readonly settle_within_ms: number;
  /** A child mandate is used with a chain of actors alone. */
  readonly are_actors_required: boolean;
  /** By issuer, the classes for which a token must be proven to be its holder's. */
  readonly require_proof: ReadonlyMap<string, ReadonlySet<ActionClass>>;
  /** Names of the configured issuers: policies and headers show `realm/subject`. */
  readonly realms: ReadonlyMap<string, string>;
}

export interface Facts {
  readonly decision_id: string;
  /** The question as it was asked. */
  readonly asked: Asked;
  /** When everything had been gathered: the moment that the decision speaks of. */
  readonly decided: Instant;
  readonly action: Action;
  readonly credential: CredentialFact;
  /** Undefined where no reference was looked for. */
  readonly reference: Resolved | undefined;
  readonly mandate: MandateFact;
  /** What makes the store unsafe that was asked for all the same; empty of a safe one. */
  readonly unsafe_store: readonly string[];
  readonly policies: PolicySet;
  readonly settings: Settings;
}
