/** Asks members over and over whether an action that cannot be undone may be done, and remembers every yes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Checked } from './member-api.ts';
import type { Api } from './member.ts';
import { afterwards, until } from './scope.ts';

type Asked = Pick<Api, 'check' | 'fleet'>;

const PAUSE_MS = 8;

interface Answer extends Checked {
  readonly member: number;
  /** When it was asked, monotonic ms of this process. */
  readonly asked_ms: number;
  readonly answered_ms: number;
}

export interface Vigil {
  readonly answers: readonly Answer[];
  /** Of questions that were asked after a moment. */
  readonly allowsAfter: (ms: number) => readonly Answer[];
  readonly add: (member: Asked) => void;
  readonly stop: () => Promise<void>;
}

/** A member that is killed is asked no more; one that is frozen is asked again when it wakes. */
export function keepVigil(members: readonly Asked[], id: string, budget_ms = 0): Vigil {
  const answers: Answer[] = [];
  const loops: Promise<void>[] = [];
  const over = new AbortController();
  const asking = async (member: Asked, index: number): Promise<void> => {
    while (!over.signal.aborted) {
      const asked_ms = performance.now();
      const checked = await member.check(id, budget_ms).catch(() => undefined);
      if (checked === undefined) return;
      answers.push({ ...checked, member: index, asked_ms, answered_ms: performance.now() });
      await sleep(PAUSE_MS);
    }
  };
  const add = (member: Asked): void => void loops.push(asking(member, loops.length));
  members.forEach(add);
  const stop = async (): Promise<void> => {
    over.abort();
    await Promise.all(loops);
  };
  afterwards(() => over.abort());
  return {
    answers,
    allowsAfter: (ms) => answers.filter(({ effect, asked_ms }) => effect === 'allow' && asked_ms >= ms),
    add,
    stop,
  };
}

/** How long it takes until it is allowed, milliseconds. */
export async function untilAllowed(member: Asked, id: string, budget_ms = 0): Promise<number> {
  return untilAnswered(member, id, ({ effect }) => effect === 'allow', budget_ms);
}

export function untilAnswered(
  member: Asked,
  id: string,
  holds: (checked: Checked) => boolean,
  budget_ms = 0,
): Promise<number> {
  return until(() => member.check(id, budget_ms), holds);
}

/** Everything that it has applied is on its own disk. */
export async function untilKept(member: Asked): Promise<void> {
  const lag = async () => {
    const read = await member.fleet();
    return read.ok && read.members.find(({ is_self }) => is_self)?.lag;
  };
  await until(lag, (seen) => seen === 0);
}
