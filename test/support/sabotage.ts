/**
 * Builds that are broken on purpose, each in one way: what a test of a fault must fail on, or it shows nothing. The
 * breakage stands here and is put into a copy of `src`.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './sidecar.ts';

/** `find` stands exactly once in the file. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const SLOTS = 'src/mandates/slots.ts';
const SYNC = 'src/mandates/redis/sync.ts';
const WRITER = 'src/mandates/redis/attempt.ts';
const TAIL = 'src/mandates/redis/tail.ts';
const FLEET = 'src/mandates/redis/fleet.ts';
const LINK = 'src/mandates/redis/link.ts';
const AGE = {
  file: 'src/core/time.ts',
  find: 'return Math.max(at.mono_ms - then.mono_ms, at.wall_ms - then.wall_ms, 0);',
};

export const SABOTAGE = {
  'a barrier joins the call in flight': [
    { file: SLOTS, find: 'let isFlying = false;\n', replace: 'let isFlying = false, flying;\n' },
    { file: SLOTS, find: 'isFlying = true;', replace: 'isFlying = true; flying = slot;' },
    {
      file: SLOTS,
      find: 'isFlying = false;\n        launch',
      replace: 'isFlying = false; flying = undefined;\n        launch',
    },
    {
      file: SLOTS,
      find: 'const slot = pending;\n      slot.waiting',
      replace: `if (flying !== undefined && want === undefined) {
        if (pending.waiting === 0) pending = undefined;
        return flying.answer.promise;
      }
      const slot = pending;
      slot.waiting`,
    },
    {
      file: 'src/core/freshness.ts',
      find: 'return isAfterArrival\n',
      replace: "return isAfterArrival || proof.source === 'barrier'\n",
    },
  ],
  'a proof is of when its answer came': [
    {
      file: SYNC,
      find: 'return { ok: true, sent, position',
      replace: 'return { ok: true, sent: now(), position',
    },
    {
      file: SYNC,
      find: "feed({ kind: 'proof', sent, asked",
      replace: "feed({ kind: 'proof', sent: now(), asked",
    },
  ],
  'a heartbeat without an answer is a proof': [
    {
      file: SYNC,
      find: "if (read.kind !== 'ok' || asked === undefined) return false;",
      replace:
        "if (read.kind !== 'ok') { view.feed({ kind: 'proof', sent, asked, head: asked, missing: [] }); return false; }",
    },
  ],
  'the tail is a proof': [
    {
      file: TAIL,
      find: 'async function follow({ links, keys, view }: TailParts)',
      replace: 'async function follow({ links, keys, view, now }: TailParts)',
    },
    {
      file: TAIL,
      find: "view.feed({ kind: 'entries', entries: good as never });",
      replace: `view.feed({ kind: 'entries', entries: good as never });
  const { position: here } = view.state();
  view.feed({ kind: 'proof', sent: now(), asked: here, head: here, missing: [] });`,
    },
  ],
  'what is missing comes by the tail alone': [
    { file: SYNC, find: 'missing: read.entries', replace: 'missing: []' },
    { file: SYNC, find: "view.feed({ kind: 'entries', entries: answer.entries });\n", replace: '' },
  ],
  'a check has no deadline': [
    {
      file: 'src/check/deadline.ts',
      find: 'if (!(pending instanceof Promise)) return pending;',
      replace: 'return pending;',
    },
    {
      file: 'src/mandates/redis/open.ts',
      find: "link('barrier', BARRIER_SILENCE_MS)",
      replace: "link('barrier')",
    },
    {
      file: SYNC,
      find: 'return Promise.race([pending, late.promise])',
      replace: 'return pending',
    },
  ],
  'a lost connection is made again late': [
    {
      file: LINK,
      find: 'Math.min(times * RETRY_MS, MAX_RETRY_MS)',
      replace: '60_000',
    },
  ],
  'a script is taken to be known': [
    { file: LINK, find: "!reply.ok && reply.why.startsWith('NOSCRIPT')", replace: 'false' },
  ],
  'a write is acknowledged before it is done': [
    { file: WRITER, find: "if (reply.ok || (!reply.may_have_run && again === ''))", replace: 'if (true)' },
    {
      file: WRITER,
      find: 'const reply = await this.#append(appending, position);',
      replace: `void this.#append(appending, position);
      const [count, place] = [ready.flatMap(({ prepared }) => prepared.effects.drafts).length, position];
      const last = linked(ready.flatMap(({ prepared }) => prepared.effects.drafts), place.epoch, place.seq + 1, place.eid).at(-1) ?? place;
      const reply = { ok: true, value: ['OK', place.seq + 1, place.eid, place.epoch, place.seq + count, last.eid] };`,
    },
  ],
  'a write is asked again as another': [
    { file: WRITER, find: 'again = String(since.seq);', replace: 'args = renewed(args, cells.length);' },
    {
      file: WRITER,
      find: 'function outcomeOf(',
      replace: `/** Other nonces, and no look at what has changed meanwhile. */
function renewed(args: readonly string[], cells: number): readonly string[] {
  const next = [...args];
  for (let each = 0; each < cells; each += 1) next[3 + 3 * each] = '*';
  const entries = 1 + 3 * cells;
  for (let each = 0; each < Number(next[entries]); each += 1) next[entries + 1 + 2 * each] += 'x';
  return next;
}

function outcomeOf(`,
    },
    {
      file: WRITER,
      find: 'if (reply.ok || (!reply.may_have_run',
      replace: 'if (reply.ok || (!reply.may_have_run && false',
    },
  ],
  'age is by the monotonic clock alone': [
    { ...AGE, replace: 'return Math.max(at.mono_ms - then.mono_ms, 0);' },
  ],
  'age is by the wall clock alone': [{ ...AGE, replace: 'return Math.max(at.wall_ms - then.wall_ms, 0);' }],
  'a permit is not looked at again': [
    { file: 'src/core/permit.ts', find: 'return isOver\n', replace: 'return isOver && false\n' },
  ],
  'enforced does not wait': [
    {
      file: FLEET,
      find: 'if (behind.length === 0 && awaited.length === 0) return true;',
      replace: 'return true;',
    },
  ],
  'enforced is said on timeout as well': [
    {
      file: FLEET,
      find: '+ wait_ms > timeout_ms) return false;',
      replace: '+ wait_ms > timeout_ms) return true;',
    },
  ],
  'every barrier is a call of its own': [
    {
      file: SLOTS,
      find: 'ask: (want) => {',
      replace:
        'ask: (want) => {\n      onRun(1);\n      return run(new Set(want === undefined ? [] : [want]));',
    },
  ],
} as const satisfies Readonly<Record<string, readonly Edit[]>>;

export type Sabotage = keyof typeof SABOTAGE;

export interface Build {
  readonly root: string;
  readonly remove: () => void;
}

/** A copy of the product with one breakage. */
export function sabotaged(name: Sabotage): Build {
  return brokenBuild(SABOTAGE[name]);
}

export function brokenBuild(edits: readonly Edit[]): Build {
  const root = mkdtempSync(join(tmpdir(), 'mandated-sabotage-'));
  cpSync(join(ROOT, 'src'), join(root, 'src'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(root, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  for (const { file, find, replace } of edits) {
    const text = readFileSync(join(root, file), 'utf8');
    writeFileSync(join(root, file), edited(text, { file, find, replace }));
  }
  return { root, remove: () => rmSync(root, { recursive: true, force: true }) };
}

/** What is to be broken must be there, and once: else the variant breaks nothing, or more than it says. */
export function edited(text: string, { file, find, replace }: Edit): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${find}`);
  return parts.join(replace);
}
