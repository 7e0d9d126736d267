/**
 * Revoked here, told there: the tokens that were seen under a mandate are revoked where they came from once it ends. What
 * is to be told stands in the outbox until it was, and then in the mandate's history.
 */
import type { LogPlace, MandateStore, SeenToken, TokenRevoking } from '../check/ports.ts';
import { isTerminal, ownOf, stopFor } from '../core/mandate/life.ts';
import { type KnownTokens, createKnownTokens } from './known-tokens.ts';
import { type TellingParts, createTelling, errandOf } from './telling.ts';

export interface RevokingParts extends TellingParts {
  readonly store: Pick<MandateStore, 'entriesAfter' | 'onCommit' | 'lineage' | 'write' | 'figures'>;
}

export interface Revoking extends TokenRevoking {
  /** Tokens whose servers are still to be told. */
  readonly waiting: () => number;
  readonly close: () => void;
}

const PAGE = 256;
const RETRY_MS = 1000;

export function createRevoking(parts: RevokingParts): Revoking {
  const { errands, revocations, complain } = parts;
  const known = createKnownTokens();
  const telling = createTelling(parts);

  const entrust = async (token: SeenToken): Promise<void> => {
    known.forget(token.mandate, token.token);
    const { sealing } = revocations.get(token.issuer)!;
    const isKept = await errands.entrust(errandOf(token, sealing.seal(token.token), parts.now()));
    // Its mandate denies it all the same; what is lost is that others hear of it.
    if (!isKept) parts.told('lost');
    if (!isKept) complain('a token of a mandate that ended cannot be put into the outbox');
  };
  const end = async (mandate: string): Promise<void> => {
    if (known.of(mandate).length === 0 || !(await isToBeRevoked(mandate, parts))) return;
    await Promise.all(known.of(mandate).map(entrust));
    telling.wake();
  };
  const stopFollowing = follow(parts, known, end);
  telling.wake();
  return {
    waiting: () => errands.list().length,
    seen: (token) => {
      if (!revocations.has(token.issuer)) return;
      // An end that comes by itself stands in no log: the first use after it says so.
      if (known.add(token) === 'told' || !token.is_to_be_revoked) return;
      void entrust(token).then(telling.wake);
    },
    close: () => {
      stopFollowing();
      telling.close();
    },
  };
}

/** A record may spare tokens (`revocation`), and an end by itself needs nobody to be told. */
async function isToBeRevoked(mandate: string, { store }: RevokingParts): Promise<boolean> {
  const read = await store.lineage(mandate, true);
  // What cannot be read now may be alive: the next use of its tokens tells.
  if (!read.ok || read.lineage === undefined) return false;
  const { state, revocation } = ownOf(read.lineage);
  return stopFor(state, revocation).revoke_tokens;
}

/** Calls `end` for each mandate that the log says has ended. */
function follow(
  { store, complain }: RevokingParts,
  known: KnownTokens,
  end: (mandate: string) => Promise<void>,
): () => void {
  let place: LogPlace | undefined = store.figures().position;
  let isReading = false;
  let isAsked = false;
  let timer: NodeJS.Timeout | undefined;
  const read = async (): Promise<void> => {
    if (place === undefined) place = store.figures().position;
    for (; place !== undefined;) {
      const page = await store.entriesAfter(place, PAGE);
      if (!page.ok) {
        // Entries that are gone may have been ends: all that are known are looked at.
        if (page.refused !== 'not_found') return later();
        place = store.figures().position;
        for (const mandate of known.mandates()) await end(mandate);
        return;
      }
      const last = page.entries.at(-1);
      if (last === undefined) return;
      place = { epoch: last.epoch, seq: last.seq };
      for (const { event } of page.entries)
        if (event.kind === 'changed' && isTerminal(event.state)) await end(event.id);
    }
  };
  const wake = async (): Promise<void> => {
    isAsked = true;
    if (isReading) return;
    isReading = true;
    while (isAsked) {
      isAsked = false;
      await read().catch((error: unknown) => complain('the ends of mandates could not be followed', error));
    }
    isReading = false;
  };
  /** No other commit may come that would have it looked at. */
  const later = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => void wake(), RETRY_MS).unref();
  };
  const stop = store.onCommit(() => void wake());
  return () => {
    stop();
    clearTimeout(timer);
  };
}
