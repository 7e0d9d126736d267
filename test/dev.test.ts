/** `npm start`: the story is told by real calls, and the two lines it prints do what it says. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { member, parseJson } from '../src/core/json.ts';
import { ask } from './support/ask.ts';
import { mandated } from './support/cli.ts';
import { ROOT } from './support/sidecar.ts';

const child = spawn(
  process.execPath,
  [join(ROOT, 'src/mandated.mjs'), 'dev', '--check-port', '0', '--control-port', '0'],
  {
    stdio: ['ignore', 'pipe', 'inherit'],
  },
);
const exited = new Promise((resolve) => child.on('exit', resolve));
let out = '';

beforeAll(async () => {
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('mandate suspend')) resolve();
    });
    void exited.then(() => reject(new Error(out)));
  });
}, 30_000);
afterAll(() => child.kill('SIGKILL'));

/** What a shell would make of a printed `curl` line. */
function curl(line: string) {
  const url = new URL(/(http:\/\/\S+)/.exec(line)![1]!);
  const token = readFileSync(/\$\(cat (\S+)\)/.exec(line)![1]!, 'utf8');
  const headers = {
    host: /'Host: ([^']+)'/.exec(line)![1]!,
    'content-type': 'application/json',
    authorization: `Bearer ${token}`,
  };
  return ask(Number(url.port), {
    method: 'POST',
    path: url.pathname,
    headers,
    body: /-d '([^']+)'/.exec(line)![1]!,
  });
}

const lines = (): readonly string[] => out.split('\n').filter((line) => line.trimStart().startsWith('curl '));

test('the same live token is allowed before the revocation, and denied after it', () => {
  expect(out).toMatch(/credential usable · mandate legitimate · request permitted {3}→ {2}200 allow/);
  expect(out).toMatch(
    /credential usable · mandate illegitimate \(revoked\) · request permitted {3}→ {2}403 mission_inactive/,
  );
});

test('the two lines to try answer 200 and 403', async () => {
  expect(lines()).toHaveLength(2);
  const [allowed, denied] = await Promise.all(lines().map(curl));
  expect([allowed!.status, denied!.status, denied!.body.reason]).toEqual([200, 403, 'mission_inactive']);
  expect(allowed!.headers['x-mandate-id']).toMatch(/^msn_/);
});

test('no token is printed', () => {
  expect(out).not.toMatch(/eyJ/);
});

test('the suspend line stops the first one', async () => {
  const args = /npm run -s mandated -- (mandate suspend .*)/.exec(out)![1]!.split(' ');
  expect((await mandated(...args)).code).toBe(0);
  const { status, body } = await curl(lines()[0]!);
  expect([status, member(body.mandate, 'state'), body.next_action]).toEqual([403, 'suspended', 'pause']);
});

test('every decision stands in its log, and Ctrl-C leaves nothing behind', async () => {
  const file = /decisions (\S+)/.exec(out)![1]!;
  const logged = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => parseJson(line));
  expect(logged.every(({ ok }) => ok)).toBe(true);
  expect(logged.length).toBeGreaterThanOrEqual(5);
  child.kill('SIGINT');
  expect(await exited).toBe(0);
  expect(existsSync(file)).toBe(false);
});
