/** What the control listener reads, from the primary: nothing here is decided from, so nothing of it is kept. */
import type { LogPage, MandateStore, Page, Paging } from '../../check/ports.ts';
import { withObservations } from '../../core/mandate/condition-standing.ts';
import type { Refusal } from '../../core/mandate/commands.ts';
import { type Lineage, lineageOf } from '../../core/mandate/life.ts';
import type { MandateRecord, Proposal } from '../../core/mandate/record.ts';
import type { StoredDecision } from '../../core/mandate/stored-decision.ts';
import { type Pager, createPager } from '../list.ts';
import { type Cell, CorruptCell, readCell, recordOf, valueOf } from './cells.ts';
import { type StreamEntry, readEntry } from './chain.ts';
import { type Keys, thingOf } from './keys.ts';
import type { Link } from './link.ts';
import { readLineage } from './replies.ts';

export interface ReadsParts {
  readonly link: Link;
  readonly keys: Keys;
}

type Reads = Pick<
  MandateStore,
  'proposal' | 'decision' | 'version' | 'lineage' | 'tree' | 'list' | 'entriesAfter'
>;

/** The store did not answer, or not with what can be read. */
class Unreadable extends Error {}

const CHUNK = 100;
/** Records that one page may look at. */
const MOST_SCANNED = 5000;

export function createReads(parts: ReadsParts): Reads {
  const { keys } = parts;
  return {
    proposal: (id) =>
      told(async () => ({ proposal: valueOf(await hash(keys.proposal(id), parts)) as Proposal | undefined })),
    decision: (id) =>
      told(async () => ({
        decision: valueOf(await hash(keys.decision(id), parts)) as StoredDecision | undefined,
      })),
    version: (id, version) =>
      told(async () => {
        const record = intact(recordOf(await hash(keys.mandate(id), parts), version));
        return { record: record?.version === version ? record : undefined };
      }),
    lineage: (id) => told(async () => ({ lineage: (await lineages([id], parts))[0] })),
    tree: (id) => told(async () => ({ records: await tree(id, parts) })),
    list: (filter, paging, at) =>
      told(async () => ({ page: await list(createPager(filter, paging, at), paging, parts) })),
    entriesAfter: async (after, limit) => {
      const page = await told(() => entriesAfter(after.epoch, after.seq, limit, parts));
      if (!page.ok) return page;
      return page.entries === undefined
        ? { ok: false, refused: 'not_found' }
        : ({ ok: true, entries: page.entries } as LogPage);
    },
  };
}

/** A store that cannot be read is a refusal like any other. */
async function told<T extends object>(
  reading: () => Promise<T>,
): Promise<({ readonly ok: true } & T) | ({ readonly ok: false } & Refusal)> {
  try {
    return { ok: true, ...(await reading()) };
  } catch (error) {
    if (!(error instanceof Unreadable || error instanceof CorruptCell)) throw error;
    return { ok: false, refused: 'unavailable', detail: error.message };
  }
}

function intact(record: MandateRecord | undefined | 'corrupt'): MandateRecord | undefined {
  if (record === 'corrupt') throw new Unreadable('a record does not verify');
  return record;
}

interface Wanted {
  readonly kind: 'hash' | 'children' | 'lineage';
  readonly key: string;
  readonly argument: string;
}

/** Through the script that a replica refuses: what is shown is what there is. */
async function read(wanted: readonly Wanted[], { link, keys }: ReadsParts): Promise<readonly unknown[]> {
  const run = link.run();
  if (run === undefined) throw new Unreadable('there is no connection to the store');
  const names = [keys.head, keys.log, keys.fleet, keys.roster, ...wanted.map(({ key }) => key)];
  const asked = wanted.flatMap(({ kind, argument }) => [kind, argument]);
  const reply = await link.script('read', names, [run, '', '', '', 0, '', '', ...asked]);
  if (!reply.ok) throw new Unreadable(`the store does not answer: ${reply.why}`);
  const answer = reply.value as readonly unknown[];
  if (answer[0] !== 'OK') throw new Unreadable(`the store does not answer: ${String(answer[0])}`);
  return answer[6] as readonly unknown[];
}

async function hash(key: string, parts: ReadsParts): Promise<Cell> {
  const [cell] = await read([{ kind: 'hash', key, argument: '' }], parts);
  return readCell('hash', cell);
}

/** Each with those above it and what was last seen of the things that its conditions speak of. */
async function lineages(
  ids: readonly string[],
  parts: ReadsParts,
): Promise<readonly (Lineage | undefined)[]> {
  const wanted = ids.map((id): Wanted => ({ kind: 'lineage', key: parts.keys.mandate(id), argument: id }));
  const replies = await read(wanted, parts);
  return replies.map((reply) => {
    const found = readLineage(reply);
    if (found === 'corrupt') throw new Unreadable('a record does not verify');
    if (found === 'absent') return undefined;
    const seen = (event_type: string, key: string) => found.seen.get(thingOf([event_type, key]));
    const records = new Map(
      found.records.map(({ record }) => [record.id, withObservations(record, seen)] as const),
    );
    return lineageOf([...records.values()][0]!, (id) => records.get(id));
  });
}

/** Each parent before its children, the children in the order of their creation. */
async function tree(root: string, parts: ReadsParts): Promise<readonly MandateRecord[]> {
  const records = new Map<string, MandateRecord>();
  const children = new Map<string, readonly string[]>();
  for (let level: readonly string[] = [root]; level.length > 0;) {
    const next: string[] = [];
    for (let from = 0; from < level.length; from += CHUNK) {
      const ids = level.slice(from, from + CHUNK);
      for (const [index, lineage] of (await lineages(ids, parts)).entries()) {
        if (lineage !== undefined) records.set(ids[index]!, lineage.at(-1)!);
      }
      for (const [index, below] of (await childrenOf(ids, parts)).entries()) {
        children.set(ids[index]!, below);
        for (const child of below) next.push(child);
      }
    }
    level = next;
  }
  const found: MandateRecord[] = [];
  const ahead = [root];
  for (let id = ahead.pop(); id !== undefined; id = ahead.pop()) {
    const record = records.get(id);
    if (record === undefined) continue;
    found.push(record);
    for (const child of (children.get(id) ?? []).toReversed()) ahead.push(child);
  }
  return found;
}

async function childrenOf(
  ids: readonly string[],
  parts: ReadsParts,
): Promise<readonly (readonly string[])[]> {
  const wanted = ids.map((id): Wanted => ({ kind: 'children', key: parts.keys.children(id), argument: '' }));
  return (await read(wanted, parts)).map((reply) => readCell('children', reply).children);
}

async function list(pager: Pager, { limit }: Paging, parts: ReadsParts): Promise<Page> {
  const { link, keys } = parts;
  let last = pager.after;
  for (let scanned = 0; scanned < MOST_SCANNED;) {
    const range = ['BYSCORE', 'LIMIT', 0, Math.min(CHUNK, limit + 1), 'WITHSCORES'];
    const reply = await link.call('ZRANGE', keys.ids, `(${last}`, '+inf', ...range);
    if (!reply.ok) throw new Unreadable(`the store does not answer: ${reply.why}`);
    const flat = reply.value as readonly string[];
    const ids = flat.filter((_, index) => index % 2 === 0);
    if (ids.length === 0) return pager.page();
    for (const lineage of await lineages(ids, parts)) {
      if (lineage !== undefined && pager.offer(lineage)) return pager.page();
    }
    last = Number(flat.at(-1));
    scanned += ids.length;
  }
  return { ...pager.page(), next_cursor: String(last) };
}

/** undefined where the place is not in this log, or its entries are no longer kept. */
async function entriesAfter(epoch: number, seq: number, limit: number, { link, keys }: ReadsParts) {
  const head = await link.call('HMGET', keys.head, 'epoch', 'seq', 'floor');
  if (!head.ok) throw new Unreadable(`the store does not answer: ${head.why}`);
  const [now, last, floor] = (head.value as readonly (string | null)[]).map(Number) as [
    number,
    number,
    number,
  ];
  if (epoch !== now || seq > last || seq < floor) return { entries: undefined };
  const reply = await link.call('XRANGE', keys.log, `(${seq}-0`, '+', 'COUNT', limit);
  if (!reply.ok) throw new Unreadable(`the store does not answer: ${reply.why}`);
  const entries = (reply.value as readonly StreamEntry[]).map(readEntry);
  if (entries.includes(undefined)) throw new Unreadable('the log does not verify');
  return { entries };
}
