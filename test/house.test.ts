/** The house: which room may import which, and what the pure room may not touch. */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

/** Per room: the rooms it may import, and the packages. A room that is not listed may import everything. */
const ROOMS: Readonly<Record<string, { rooms: readonly string[]; packages?: readonly string[] }>> = {
  core: { rooms: ['core'], packages: ['canonicalize'] },
  check: { rooms: ['check', 'core'], packages: [] },
  credentials: { rooms: ['credentials', 'core', 'check/ports.ts'] },
  mandates: { rooms: ['mandates', 'core', 'check/ports.ts', 'digest.ts'] },
  engines: { rooms: ['engines', 'core', 'check/ports.ts'] },
  http: { rooms: ['http', 'core', 'check'] },
  audit: { rooms: ['audit', 'core', 'check/ports.ts'] },
};

interface Import {
  readonly file: string;
  readonly target: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const text = (file: string): string => readFileSync(join(SRC, file), 'utf8');
const roomOf = (file: string): string => file.split('/')[0]!;

function importsOf(file: string): readonly Import[] {
  const found = text(file).matchAll(/(?:from|import\()\s*'([^']+)'|new URL\('(\.[^']+)'/g);
  return [...found].map(([, named, url]) => ({ file, target: (named ?? url)! }));
}

/** The path below `src` of a relative import; undefined for a package. */
function inside({ file, target }: Import): string | undefined {
  return target.startsWith('.') ? relative(SRC, resolve(SRC, dirname(file), target)) : undefined;
}

function violation(each: Import): string | undefined {
  const room = ROOMS[roomOf(each.file)];
  if (room === undefined) return undefined;
  const path = inside(each);
  const isAllowed =
    path === undefined
      ? room.packages === undefined || room.packages.includes(each.target)
      : room.rooms.some((allowed) => path === allowed || path.startsWith(`${allowed}/`));
  return isAllowed ? undefined : `${each.file} imports ${each.target}`;
}

const imports = files.flatMap(importsOf);

test('rooms import only what their door leads to', () => {
  expect(imports.length).toBeGreaterThan(100);
  expect(imports.map(violation).filter((each) => each !== undefined)).toEqual([]);
});

test('every room of the rule exists', () => {
  expect(Object.keys(ROOMS).filter((room) => !files.some((file) => roomOf(file) === room))).toEqual([]);
});

test.each([
  ['core/x.ts', 'node:fs'],
  ['core/x.ts', '../check/ports.ts'],
  ['core/mandate/x.ts', '../../http/problem.ts'],
  ['check/x.ts', '../mandates/follower.ts'],
  ['engines/x.ts', '../credentials/keys.ts'],
  ['mandates/sqlite/x.ts', '../../check/gather.ts'],
  ['http/x.ts', '../app.ts'],
])('%s may not import %s', (file, target) => {
  expect(violation({ file, target })).toBeDefined();
});

/** What would make the core depend on the moment, the machine or the luck of a run. */
const IMPURE =
  /\bawait\b|\basync\b|\bPromise\b|Date\.now|new Date\(\)|performance\.|Math\.random|\bcrypto\b|\bprocess\b|setTimeout|setInterval|\bfetch\(|console\./;

test('the core is pure: no clock, no randomness, no waiting, no I/O', () => {
  const core = files.filter((file) => roomOf(file) === 'core');
  const code = (file: string): string => text(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
  expect(core.filter((file) => IMPURE.test(code(file)))).toEqual([]);
});

test('the check is four steps that a reader sees at once', () => {
  const check = text('check/check.ts');
  expect(check).toMatch(/= classify\([^]*= await gather\([^]*= decide\([^]*return record\(/);
  expect(check.split('\n').length).toBeLessThan(60);
});
