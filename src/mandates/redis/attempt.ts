/** One batch of writes: computed from what is read, appended only where all of that is as it was. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Committed } from '../../check/ports.ts';
import type { Command, Refusal } from '../../core/mandate/commands.ts';
import type { LogEntry, Position } from '../../core/mandate/events.ts';
import type { Now } from '../../core/time.ts';
import {
  type AppendArguments,
  type BatchParts,
  type Prepared,
  aboutOf,
  argumentsOf,
  prepare,
  touchedBy,
} from './batch.ts';
import { type Cell, type CellName, CorruptCell, readCell } from './cells.ts';
import { linked } from './chain.ts';
import { foldAll } from './effects.ts';
import { awaiting } from './fleet.ts';
import type { Link, Reply } from './link.ts';
import { type Known, nameOf } from './reading.ts';

export type Outcome = Committed | ({ readonly ok: false } & Refusal);

export interface AttemptParts extends BatchParts {
  readonly link: Link;
  readonly now: Now;
  /** The epoch ends with what is appended, and this one follows. */
  readonly next_epoch?: number;
  /** The last position that this process knows of. */
  readonly position: () => Position | undefined;
  /** Brings cells from the primary; undefined where it does not answer. */
  readonly fetch: (names: readonly CellName[]) => Promise<readonly Cell[] | undefined>;
  /** Told of what was appended, before anybody is answered; resolves when the view has it. */
  readonly onAppended: (entries: readonly LogEntry[]) => Promise<void>;
  /** How many replicas must have a batch that is to be durable, and whether they did. */
  readonly confirm: () => Promise<boolean>;
  /** The log is not what was expected: it must be looked at. */
  readonly onDoubt: (what: string) => void;
  readonly complain: (what: string, error?: unknown) => void;
}

export interface Written {
  readonly outcome: Outcome;
  /** It was confirmed by as many replicas as must have it. */
  readonly is_confirmed: boolean;
}

export interface Job {
  readonly command: Command;
  readonly must_confirm: boolean;
  readonly since_ms: number;
  readonly settle: (written: Written) => void;
}

/** Others may change what a write has read each time; then there is more contention than can be served. */
const MAX_ATTEMPTS = 50;
/** After this an answer says that the outcome is unknown. */
const GIVE_UP_MS = 2500;
const RETRY_MS = 25;

export const refusal = (detail: string): Outcome => ({ ok: false, refused: 'unavailable', detail });

/** A reservation of an action that cannot be undone: only those settle by themselves. */
function needsFleet({ command }: Job): boolean {
  return command.kind === 'reserve' && command.settle_by !== undefined;
}

interface Ready {
  readonly job: Job;
  readonly prepared: Prepared;
}

/** One batch, until it is appended or refused. */
export class Attempt {
  readonly #parts: AttemptParts;
  readonly #known = new Map<string, Known>();
  #jobs: readonly Job[];
  #later: Job[] = [];

  constructor(jobs: readonly Job[], parts: AttemptParts) {
    this.#jobs = jobs;
    this.#parts = parts;
  }

  async run(): Promise<readonly Job[]> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS && this.#jobs.length > 0; attempt += 1) {
      const position = this.#parts.position();
      if (position === undefined) return this.#refuse('the store has not been read yet');
      const ready = await this.#prepareAll(position.seq + 1);
      if (ready === undefined) return this.#refuse('the store does not answer');
      if (ready.length === 0) return this.#later;
      const appending = argumentsOf(ready.map(({ prepared }) => prepared));
      const reply = await this.#append(appending, position);
      if (!reply.ok) return this.#refuse(reply.why);
      const answer = reply.value as readonly unknown[];
      if (answer[0] === 'OK') return this.#settle(ready, answer);
      if (answer[0] === 'AWAITED') {
        this.#hold(answer[1] as readonly string[]);
        continue;
      }
      if (answer[0] !== 'MOVED') return this.#doubt(String(answer[0]));
      this.#learn(appending, answer[1] as readonly (readonly [number, unknown])[], ready);
    }
    return this.#refuse('others change the same mandates too fast');
  }

  #refuse(detail: string): readonly Job[] {
    for (const { settle } of this.#jobs) settle({ outcome: refusal(detail), is_confirmed: false });
    return this.#later;
  }

  /** What cannot be undone waits for all who may remember more of it; the rest need not. */
  #hold(awaited: readonly string[]): void {
    for (const job of this.#jobs.filter(needsFleet))
      job.settle({ outcome: refusal(awaiting(awaited)), is_confirmed: false });
    this.#jobs = this.#jobs.filter((job) => !needsFleet(job));
  }

  #doubt(what: string): readonly Job[] {
    this.#parts.onDoubt(what);
    return this.#refuse(`the log is not what was expected: ${what}`);
  }

  /** All that can be told, none reading what another changes; undefined where the store does not answer. */
  async #prepareAll(seq: number): Promise<readonly Ready[] | undefined> {
    for (;;) {
      const missing = new Map<string, CellName>();
      const ready = this.#prepareOnce(seq, missing);
      if (missing.size === 0) return ready;
      const names = [...missing.values()];
      const cells = await this.#parts.fetch(names);
      if (cells === undefined) return undefined;
      for (const [index, name] of names.entries()) this.#known.set(nameOf(name), cells[index]!);
    }
  }

  #prepareOnce(seq: number, missing: Map<string, CellName>): readonly Ready[] {
    const ready: Ready[] = [];
    const dirty = new Set<string>();
    const kept: Job[] = [];
    const later: Job[] = [];
    for (const job of this.#jobs) {
      const prepared = this.#prepare(job, seq);
      if (prepared === undefined) continue;
      if ('missing' in prepared) {
        for (const name of prepared.missing) missing.set(nameOf(name), name);
        kept.push(job);
      } else if ([...prepared.reading.looked.values()].some(({ name }) => dirty.has(name.key))) {
        later.push(job);
      } else {
        for (const key of touchedBy(prepared)) dirty.add(key);
        kept.push(job);
        ready.push({ job, prepared });
      }
    }
    if (missing.size > 0) return [];
    this.#jobs = kept;
    this.#later.push(...later);
    return ready;
  }

  /** undefined where the job was refused. */
  #prepare(job: Job, seq: number): ReturnType<typeof prepare> | undefined {
    try {
      return prepare(job.command, this.#known, seq, this.#parts);
    } catch (error) {
      this.#parts.complain('a write could not be prepared', error);
      const detail = error instanceof CorruptCell ? error.message : 'the write failed';
      job.settle({ outcome: refusal(detail), is_confirmed: false });
      this.#jobs = this.#jobs.filter((each) => each !== job);
      return undefined;
    }
  }

  /** Asked again for as long as the outcome is unknown. */
  async #append({ cells, args }: AppendArguments, since: Position): Promise<Reply> {
    const { link, keys, now } = this.#parts;
    const until_ms = Math.min(...this.#jobs.map(({ since_ms }) => since_ms)) + GIVE_UP_MS;
    const names = [keys.head, keys.log, keys.roster, ...cells.map(({ key }) => key)];
    const flags = [this.#parts.next_epoch ?? '', this.#jobs.some(needsFleet) ? '1' : '0'];
    let again = '';
    for (;;) {
      const run = link.run();
      const reply: Reply =
        run === undefined
          ? { ok: false, why: 'there is no connection', may_have_run: false }
          : await link.script('append', names, [run, since.epoch, again, ...flags, ...args]);
      if (reply.ok || (!reply.may_have_run && again === '')) return reply;
      again = String(since.seq);
      if (now().mono_ms > until_ms) return { ok: false, why: 'the outcome is unknown', may_have_run: true };
      await sleep(RETRY_MS);
    }
  }

  /** Cells that are not what they were: known anew. */
  #learn(
    { cells }: AppendArguments,
    moved: readonly (readonly [number, unknown])[],
    ready: readonly Ready[],
  ): void {
    for (const [number, content] of moved) {
      const name = cells[number - 1]!;
      this.#known.set(nameOf(name), readCell(name.kind, content));
      const taken = ready.find(
        ({ prepared }) => prepared.effects.made.has(name.key) && !prepared.reading.looked.has(nameOf(name)),
      );
      if (taken === undefined) continue;
      taken.job.settle({
        outcome: { ok: false, refused: 'conflict', detail: 'there is one of this id already' },
        is_confirmed: false,
      });
      this.#jobs = this.#jobs.filter((each) => each !== taken.job);
    }
  }

  async #settle(ready: readonly Ready[], answer: readonly unknown[]): Promise<readonly Job[]> {
    const [, first, prev, epoch, head_seq, head_eid] = answer.map(String) as [string, ...string[]];
    const drafts = ready.flatMap(({ prepared }) => prepared.effects.drafts);
    const positions = linked(drafts, Number(epoch), Number(first), prev!);
    const head: Position = { epoch: Number(epoch), seq: Number(head_seq), eid: head_eid! };
    const events = ready.flatMap(({ prepared }) =>
      'events' in prepared.written ? prepared.written.events : [],
    );
    const entries = events.map((event, index): LogEntry => {
      return { ...positions[index]!, prev: positions[index - 1]?.eid ?? prev!, event };
    });
    const { link } = this.#parts;
    const run = link.run();
    await this.#parts.onAppended(entries);
    const mustConfirm = ready.some(({ job }) => job.must_confirm);
    // Another server could only confirm what it has itself.
    const is_confirmed = mustConfirm && (await this.#parts.confirm()) && link.run() === run;
    let done = 0;
    for (const { job, prepared } of ready) {
      const own = positions.slice(done, done + prepared.effects.drafts.length);
      done += own.length;
      job.settle({ outcome: outcomeOf(prepared, own, head), is_confirmed });
    }
    return this.#later;
  }
}

function outcomeOf(
  { written, reading, receipt }: Prepared,
  own: readonly Position[],
  head: Position,
): Outcome {
  const { stored } = reading;
  if ('refused' in written) return { ok: false, ...written };
  if ('replay' in written) {
    const { replay } = written;
    return { ok: true, position: replay.position, receipt: replay, ...aboutOf(written, stored, []) };
  }
  const position = own.at(-1) ?? head;
  if (written.reserved !== undefined) return { ok: true, position, reserved: written.reserved };
  const { folded } = foldAll(written.events, own[0]?.seq ?? 0, stored);
  const kept = receipt === undefined ? {} : { receipt: { ...receipt, position } };
  return { ok: true, position, ...kept, ...aboutOf(written, stored, folded, receipt?.id) };
}
