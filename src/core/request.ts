/** A request to be checked, as a door has read it and before anything in it is believed. */
import type { ActionClass } from './classes.ts';
import type { Presented } from './credential.ts';
import type { JsonObject } from './json.ts';
import type { ReferenceSource } from './reference.ts';
import type { Instant } from './time.ts';

/** The check points that are served so far; the design names the others. */
export const CHECK_POINTS = ['request', 'tool', 'resume', 'retry'] as const;
export type CheckPoint = (typeof CHECK_POINTS)[number];

/** Points at which a trusted caller may ask on its own: nothing is done yet, so nobody acts under a credential. */
export const VOUCHED_POINTS: ReadonlySet<CheckPoint> = new Set(['resume', 'retry']);

export type Door = 'envoy' | 'native';

interface Asked {
  readonly check_point: CheckPoint;
  readonly arrived: Instant;
  readonly presented: Presented;
  /** The reference that the request itself selects; a token's claim comes before it. */
  readonly selected: ReferenceSource;
  /** The lowest version of the mandate that the caller accepts. */
  readonly min_version?: number;
  /** The caller itself is trusted to ask about a mandate without the agent's credential (design/8, Who asks). */
  readonly is_vouched?: boolean;
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
  readonly action: { readonly name: string; readonly class?: ActionClass };
  readonly resource: string;
  readonly parameters: JsonObject;
}

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
