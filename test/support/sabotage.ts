/**
 * Builds that are broken on purpose, each in one way: what a test of a fault must fail on, or it shows nothing. The
 * breakage stands here and is put into a copy of `src`.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { ROOT } from './sidecar.ts';

/** Below this folder, so that they find its packages; not in `node_modules`, where no types are stripped. */
const BUILDS = join(ROOT, '.tools/sabotage');

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

/** The folder of a copy of the product with one breakage. */
export function sabotaged(name: Sabotage): string {
  return brokenBuild(name, SABOTAGE[name]);
}

/**
 * The folder of a copy of the product with these edits. It stays for as long as the product is what it was, so that the
 * next run finds it, and what has been compiled of it.
 */
export function brokenBuild(name: string, edits: readonly Edit[]): string {
  const texts = editedTexts(edits);
  const hash = createHash('sha1');
  for (const [file, text] of texts) hash.update(`${file}\n${text.length}\n${text}`);
  const slug = name.replaceAll(/\W+/g, '-');
  const root = join(BUILDS, `${slug}.${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(root)) return root;
  mkdirSync(BUILDS, { recursive: true });
  for (const earlier of readdirSync(BUILDS))
    if (earlier.startsWith(`${slug}.`)) rmSync(join(BUILDS, earlier), { recursive: true, force: true });
  const partial = mkdtempSync(join(BUILDS, '.partial-'));
  for (const [file, text] of texts) {
    mkdirSync(dirname(join(partial, file)), { recursive: true });
    writeFileSync(join(partial, file), text);
  }
  renameSync(partial, root);
  return root;
}

/** By file: all that a build is made of. */
function editedTexts(edits: readonly Edit[]): ReadonlyMap<string, string> {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => relative(ROOT, join(each.parentPath, each.name)));
  const texts = new Map(
    ['package.json', ...files].map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]),
  );
  for (const edit of edits) texts.set(edit.file, edited(texts.get(edit.file) ?? '', edit));
  return texts;
}

/** What is to be broken must be there, and once: else the variant breaks nothing, or more than it says. */
export function edited(text: string, { file, find, replace }: Edit): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${find}`);
  return parts.join(replace);
}
