/** A request to be checked, as a door has read it and before anything in it is believed. */
import type { CheckPoint, Door } from './check-points.ts';
import type { ActionClass } from './classes.ts';
import type { Presented } from './credential.ts';
import type { JsonObject } from './json.ts';
import type { DeriveCommand } from './mandate/commands.ts';
import type { Position } from './mandate/events.ts';
import type { AuthorityEntry } from './mandate/record.ts';
import type { Outcome, StoredDecision } from './mandate/stored-decision.ts';
import type { ReferenceSource } from './reference.ts';
import type { Instant } from './time.ts';

/** What a question says of repeats: how it is known again, and what it repeats. */
export interface Repeat {
  /** Idempotency key; how long it stands for this question, milliseconds, or for ever. */
  readonly key?: { readonly text: string; readonly lifetime_ms?: number };
  /** Id of an earlier decision on the same action. */
  readonly retry_of?: string;
}

/** The decision that a renewal or a commit names, as the store has it. */
export type Earlier =
  | { readonly kind: 'found'; readonly decision: StoredDecision }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'unreadable'; readonly detail: string };

export interface Asked {
  readonly door: Door;
  readonly check_point: CheckPoint;
  readonly arrived: Instant;
  readonly presented: Presented;
  /** The reference that the request itself selects; a token's claim comes before it. */
  readonly selected: ReferenceSource;
  /** The lowest version of the mandate that the caller accepts. */
  readonly min_version?: number;
  /** A position that the view must have reached. */
  readonly token?: Position;
  /** The caller itself is trusted to ask about a mandate without the agent's credential (design/8, Who asks). */
  readonly is_vouched: boolean;
  /** The caller's own principal, where it has shown a credential of its own: `Operator::"local"`. */
  readonly principal?: string;
  readonly repeat?: Repeat;
  /** The approval of this one action that is to count. */
  readonly approval?: string;
  readonly earlier?: Earlier;
  /** When the work was queued, epoch ms. */
  readonly queued_at_ms?: number;
  readonly child?: AskedChild;
  /** The client that a token is to be issued to. */
  readonly client_id?: string;
  /** What a token is to carry. */
  readonly authorization_details?: readonly AuthorityEntry[];
  /** Why the door could not read the request in one way only. */
  readonly malformed?: string;
}

export type Body = { readonly kind: 'none' } | { readonly kind: 'whole'; readonly bytes: Uint8Array };

export interface HttpRequest extends Asked {
  readonly door: 'envoy';
  readonly check_point: 'request';
  readonly method: string;
  /** Origin-form target with its query, the door's own prefix removed; nothing decoded. */
  readonly target: string;
  /** The one Host value; undefined where there is none. */
  readonly host: string | undefined;
  /** Names and values in turn, as they came (`rawHeaders`). */
  readonly headers: readonly string[];
  readonly body: Body;
}

export interface Question extends Asked {
  readonly door: 'native';
  /** Absent where the point is not about an action, or where it is that of an earlier decision. */
  readonly action?: { readonly name: string; readonly class?: ActionClass };
  readonly resource?: string;
  readonly parameters: JsonObject;
  /** The decision that is renewed or committed. */
  readonly decision_id?: string;
  readonly outcome?: Outcome;
}

/** The child that a delegation asks about. */
export type AskedChild = Pick<
  DeriveCommand,
  'client_id' | 'client_issuer' | 'authorization_details' | 'expires_at' | 'budget'
>;

export type CheckRequest = HttpRequest | Question;

/** Every value of a header, in order; `name` in lower case. */
export function headerValues(headers: readonly string[], name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at < headers.length; at += 2) {
    const key = headers[at]!;
    if (key.length === name.length && key.toLowerCase() === name) values.push(headers[at + 1]!);
  }
  return values;
}
