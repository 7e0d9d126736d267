/** What the read script answers, as the view can use it. */
import type { LogEntry, Position } from '../../core/mandate/events.ts';
import type { Observation } from '../../core/mandate/record.ts';
import type { Parting, Touched } from '../../core/replica.ts';
import { fieldsOf, readCell, recordOf } from './cells.ts';
import { type StreamEntry, parsed, readEntry } from './chain.ts';
import type { Loaded } from './view.ts';

export type Read =
  | {
      readonly kind: 'ok';
      readonly head: Position;
      readonly floor: number;
      readonly entries: readonly LogEntry[];
      /** As they came, one for each that was asked for. */
      readonly cells: readonly unknown[];
      /** Sidecars that have yet to say what they remember. */
      readonly roster: readonly string[];
      /** Rows of the sidecars that live, by id; only where the caller has said that it lives. */
      readonly fleet: ReadonlyMap<string, string>;
    }
  | { readonly kind: 'parted'; readonly latch: Parting | 'corrupt' }
  /** The server is not the one that was known. */
  | { readonly kind: 'run' };

const PARTINGS = new Set(['GAP', 'FORK', 'EPOCH', 'UNINITIALISED']);

export function readReply(value: unknown): Read {
  const answer = value as readonly unknown[];
  const code = String(answer[0]);
  if (code === 'RUN') return { kind: 'run' };
  if (code !== 'OK') return { kind: 'parted', latch: PARTINGS.has(code) ? (code as Parting) : 'corrupt' };
  const [, epoch, seq, eid, floor, stream, cells, roster, fleet] = answer;
  const entries = (stream as readonly StreamEntry[]).map(readEntry);
  if (entries.includes(undefined)) return { kind: 'parted', latch: 'corrupt' };
  return {
    kind: 'ok',
    head: { epoch: Number(epoch), seq: Number(seq), eid: String(eid) },
    floor: Number(floor),
    entries: entries as readonly LogEntry[],
    cells: cells as readonly unknown[],
    roster: roster as readonly string[],
    fleet: fieldsOf(fleet as readonly string[]),
  };
}

/** A mandate with those above it: `[own, [[id, ancestor] …], [[thing, last seen] …]]`. */
export type Lineages = Pick<Loaded, 'records' | 'seen'>;

/** `absent` where there is none of that id; `corrupt` where one of them does not verify. */
export function readLineage(reply: unknown): Lineages | 'absent' | 'corrupt' {
  const [own, above, things] = reply as readonly [unknown, readonly Pair[], readonly Pair[]];
  const cells = [own, ...above.map(([, each]) => each)].map((each) => readCell('hash', each));
  const records = cells.map((cell) => ({ record: recordOf(cell), eid: cell.at }));
  if (records[0]!.record === undefined) return 'absent';
  if (records.some(({ record }) => record === undefined || record === 'corrupt')) return 'corrupt';
  const seen = things.flatMap(([thing, text]) => {
    return typeof text === 'string' ? [[thing, parsed(text) as Observation | undefined] as const] : [];
  });
  if (seen.some(([, each]) => each === undefined)) return 'corrupt';
  return {
    records: records as readonly Touched[],
    seen: new Map(seen as readonly (readonly [string, Observation])[]),
  };
}

type Pair = readonly [string, unknown];
