/** An operation's own members as design/7 writes them. The store's commands have the same ones. */
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Entry, Own } from './model.ts';
import { defined } from './steps.ts';

/** What must be known of a mandate to speak of it. */
export interface Known {
  readonly authority_set: readonly unknown[];
  readonly entry_digests: readonly string[];
  readonly intent: { readonly controls?: object };
}

/** The digest by which the record names an entry; for one that it has not, the digest of nothing. */
function digestOf({ authority_set, entry_digests }: Known, entry: Entry): string {
  const index = authority_set.findIndex((each) => isDeepStrictEqual(each, entry));
  return entry_digests[index] ?? `sha-256:${'A'.repeat(43)}`;
}

export function intentUntil(expires_at: string, controls: object | undefined) {
  return { goal: 'g', resources: ['https://git.example'], expires_at, ...(controls && { controls }) };
}

export function membersOf(own: Own, known: Known, timeAt: (ms: number) => string) {
  switch (own.operation) {
    case 'suspend':
      return defined({ suspend_until: own.until && timeAt(own.until), on_expiry: own.on_expiry });
    case 'contain':
      return { entries: own.entries.map((entry) => digestOf(known, entry)) };
    case 'discharge':
      return { entry: digestOf(known, own.entry), event_type: 'done', event_id: own.event_id };
    case 'tighten': {
      const constraints = { max_amount: { amount: own.amount, currency: 'EUR' } };
      return { entry: digestOf(known, own.entry), constraints };
    }
    case 'shorten':
    case 'extend':
      return { expires_at: timeAt(own.ends) };
    case 'amend':
      return { authorization_details: own.entries };
    case 'renew': {
      const intent = own.ends && intentUntil(timeAt(own.ends), known.intent.controls);
      return defined({ intent, authorization_details: own.entries });
    }
    default:
      return {};
  }
}

/** A new folder, in memory where there is one: what is tested here is not the disk. */
export const newFolder = (): string =>
  mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mandated-twin-'));

/** `controls` or a `budget` of so many calls. */
export const metered = (max_calls: number | undefined) => max_calls && { max_calls };

/** What is left by the meters of a record. */
export function callsLeft(usage: unknown): number {
  const { limit, charged, allotted } = (usage as { max_calls: Record<string, number> }).max_calls;
  return limit! - charged! - allotted!;
}
