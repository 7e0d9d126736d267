/** Tells authorization servers of tokens that are to be revoked: from the outbox, until each was told. */
import type { Errands, MandateStore, SeenToken } from '../check/ports.ts';
import { type Json, isObject, parseJson } from '../core/json.ts';
import type { Party } from '../core/mandate/record.ts';
import type { Instant, Now } from '../core/time.ts';
import type { Revocation } from './revocation.ts';

export interface TellingParts {
  /** By issuer, those that can be told. */
  readonly revocations: ReadonlyMap<string, Revocation>;
  readonly store: Pick<MandateStore, 'write'>;
  readonly errands: Errands;
  /** As whom it stands in histories. */
  readonly by: Party;
  readonly now: Now;
  /** Told of each token that was told of, or could not be: for metrics. */
  readonly told: (outcome: 'revoked' | 'refused' | 'away' | 'expired' | 'lost') => void;
  readonly complain: (what: string, error?: unknown) => void;
}

const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;
/** A token without an end that its server never takes does not stand in the outbox for ever. */
const GIVE_UP_MS = 7 * 24 * 3_600_000;

/** Tells the servers what stands in the outbox, again and again where it must. */
export function createTelling(parts: TellingParts): {
  readonly wake: () => void;
  readonly close: () => void;
} {
  let timer: NodeJS.Timeout | undefined;
  let retry_ms = FIRST_RETRY_MS;
  let isTelling = false;
  let isAsked = false;
  let isClosed = false;
  let isComplained = false;
  const later = (): void => {
    clearTimeout(timer);
    if (isClosed) return;
    timer = setTimeout(wake, retry_ms).unref();
    retry_ms = Math.min(retry_ms * 2, MAX_RETRY_MS);
  };
  const tell = async (): Promise<void> => {
    isTelling = true;
    while (isAsked) {
      isAsked = false;
      const why = await tellAll(parts);
      if (why !== undefined && !isComplained)
        parts.complain(`tokens of mandates that ended are still to be revoked: ${why}`);
      isComplained = why !== undefined;
      if (why === undefined) retry_ms = FIRST_RETRY_MS;
      else later();
    }
    isTelling = false;
  };
  const wake = (): void => {
    isAsked = !isClosed;
    if (isAsked && !isTelling)
      void tell().catch((error: unknown) => {
        isTelling = false;
        parts.complain('authorization servers could not be told', error);
        later();
      });
  };
  return {
    wake,
    close: () => {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}

/** One time through what stands in the outbox. */
interface Round {
  /** Issuers whose servers are away: the rest of theirs waits. */
  readonly away: Set<string>;
  /** Why something is still to be told. */
  why: string | undefined;
}

/** Why something is still to be told; undefined where nothing is. */
async function tellAll(parts: TellingParts): Promise<string | undefined> {
  const { errands } = parts;
  const round: Round = { away: new Set(), why: undefined };
  const noted = new Map<string, { readonly task: Task; readonly numbers: number[] }>();
  for (const { number, text } of errands.list()) {
    const task = readErrand(text);
    if (task !== undefined && round.away.has(task.issuer)) continue;
    const outcome = task === undefined ? 'lost' : await tellOne(task, round, parts);
    parts.told(outcome);
    if (outcome === 'away') continue;
    if (outcome !== 'revoked' || task === undefined) {
      await errands.done(number);
      continue;
    }
    const name = JSON.stringify([task.mandate, task.issuer]);
    const sum = noted.get(name) ?? { task, numbers: [] };
    sum.numbers.push(number);
    noted.set(name, sum);
  }
  for (const { task, numbers } of noted.values()) {
    const why = await note(task, numbers.length, parts);
    if (why !== undefined) round.why = why;
    else for (const number of numbers) await errands.done(number);
  }
  return round.why;
}

type Told = Parameters<TellingParts['told']>[0];

async function tellOne(
  { issuer, sealed, expires_at_ms }: Task,
  round: Round,
  { revocations, now, complain }: TellingParts,
): Promise<Told> {
  const at = now();
  if (at.wall_ms >= expires_at_ms) return 'expired';
  const revocation = revocations.get(issuer);
  const token = revocation?.sealing.open(sealed);
  if (revocation === undefined || token === undefined) {
    complain(
      `a token of ${issuer} cannot be revoked any more: its server's configuration is another one now`,
    );
    return 'lost';
  }
  const revoked = await revocation.revoke(token, at);
  if (revoked.kind === 'refused') complain(`${issuer} does not revoke a token: ${revoked.detail}`);
  if (revoked.kind === 'away') {
    round.why = revoked.detail;
    if (revoked.concerns === 'server') round.away.add(issuer);
  }
  return revoked.kind;
}

/** Into the history; why it could not be, where it must be tried again. */
async function note(
  { mandate, issuer }: Task,
  tokens: number,
  { store, by, now, complain }: TellingParts,
): Promise<string | undefined> {
  const command = { kind: 'note_revoked', id: mandate, issuer, tokens, by, at_ms: now().wall_ms } as const;
  const written = await store.write(command, 'applied');
  if (written.ok) return undefined;
  if (written.refused === 'unavailable') return written.detail;
  complain(`that tokens were revoked cannot be noted: ${written.detail}`);
  return undefined;
}

interface Task {
  readonly mandate: string;
  readonly issuer: string;
  readonly sealed: string;
  readonly expires_at_ms: number;
}

export function errandOf(
  { mandate, issuer, expires_at_ms: own_end_ms }: SeenToken,
  sealed: string,
  { wall_ms }: Instant,
): string {
  const expires_at_ms = Math.min(own_end_ms, wall_ms + GIVE_UP_MS);
  return JSON.stringify({ kind: 'revoke_token', mandate, issuer, expires_at_ms, sealed });
}

function readErrand(text: string): Task | undefined {
  const parsed = parseJson(text);
  const task: Json | undefined = parsed.ok ? parsed.value : undefined;
  return isObject(task) && task.kind === 'revoke_token' ? (task as unknown as Task) : undefined;
}
