/** The hash chain of the log: each entry's `eid` is a digest over the one before it, its place, a nonce and its event. */
import { hash, randomBytes } from 'node:crypto';
import { type LogEntry, type MandateEvent, type Position, isKnownKind } from '../../core/mandate/events.ts';

/** An entry as it is written: what it says, and a nonce that makes its `eid` its own. */
export interface Draft {
  readonly nonce: string;
  /** The event as JSON. */
  readonly text: string;
}

export function draftOf(event: MandateEvent): Draft {
  return { nonce: randomBytes(12).toString('base64url'), text: JSON.stringify(event) };
}

/** SHA-1, which is what a script can compute: a link of the chain, never a proof against who can write the log. */
function eidOf(prev: string, epoch: number, seq: number, { nonce, text }: Draft): string {
  return hash('sha1', `${prev}\n${epoch}\n${seq}\n${nonce}\n${text}`, 'hex');
}

/** Positions of entries that follow each other from `seq` on, the first behind `prev`. */
export function linked(
  drafts: readonly Draft[],
  epoch: number,
  seq: number,
  prev: string,
): readonly Position[] {
  let before = prev;
  return drafts.map((draft, index) => {
    before = eidOf(before, epoch, seq + index, draft);
    return { epoch, seq: seq + index, eid: before };
  });
}

/** `EPOCH PREV EID NONCE EVENT`: an entry as a mandate keeps it, and as it can be verified by itself. */
export function unpack(seq: number, packed: string): LogEntry | undefined {
  const match = /^(\d+) (\S+) (\S+) (\S+) (.*)$/s.exec(packed);
  if (match === null) return undefined;
  const [, epoch, prev, eid, nonce, text] = match as unknown as readonly string[];
  return verified({ epoch: Number(epoch), seq, eid: eid!, prev: prev!, nonce: nonce!, text: text! });
}

/** An entry of the stream, `[id, [name, value …]]`; undefined where it is not one of ours, or not as it was written. */
export function readEntry([id, fields]: StreamEntry): LogEntry | undefined {
  const match = /^(\d{1,15})-0$/.exec(id);
  if (match === null || fields?.length !== 10) return undefined;
  const [ep, epoch, p, prev, e, eid, n, nonce, v, text] = fields as unknown as Fields;
  const isOurs = ep === 'ep' && p === 'prev' && e === 'eid' && n === 'n' && v === 'event';
  if (!isOurs || !/^\d{1,15}$/.test(epoch)) return undefined;
  return verified({ epoch: Number(epoch), seq: Number(match[1]), eid, prev, nonce, text });
}

export type StreamEntry = readonly [id: string, fields: readonly string[] | null];
type Fields = readonly [string, string, string, string, string, string, string, string, string, string];

function verified({ epoch, seq, eid, prev, nonce, text }: Position & Draft & { prev: string }) {
  if (eidOf(prev, epoch, seq, { nonce, text }) !== eid) return undefined;
  const event = parsed(text);
  const kind = (event as { readonly kind?: unknown } | null)?.kind;
  if (typeof kind !== 'string' || !isKnownKind(kind)) return undefined;
  return { epoch, seq, eid, prev, event: event as MandateEvent };
}

/** JSON that somebody else may have written over. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
