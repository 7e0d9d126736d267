/** Each row about lost history is shown to fail on a build that is broken in what it looks at; else it shows nothing. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../support/sidecar.ts';
import { brokenBuild } from '../support/sabotage.ts';
import { BREAKAGES } from './breakages.ts';
import { byLength } from './length.ts';

interface Ran {
  readonly passed: number;
  readonly failed: number;
  readonly messages: string;
}

const all = Object.entries(BREAKAGES);
const short = all.filter(([, { is_short }]) => is_short);

test.concurrent.each(byLength(short, all))(
  '%s',
  async (breakage, { edits, row: [file, name], shows }) => {
    const { passed, failed, messages } = await runRow(file, name, brokenBuild(breakage, edits));
    expect([passed, failed]).toEqual([0, 1]);
    expect(messages).toMatch(shows);
  },
  120_000,
);

test('every breakage fits the product as it is', () => {
  for (const [breakage, { edits }] of all) expect(brokenBuild(breakage, edits)).not.toBe('');
});

/** As it is run elsewhere, but on another build. */
async function runRow(file: string, name: string, build: string): Promise<Ran> {
  const program = join(ROOT, 'node_modules/.bin/vitest');
  const folder = mkdtempSync(join(tmpdir(), 'mandated-report-'));
  const report_file = join(folder, 'report.json');
  const only = ['run', '--project', 'faults', `test/faults/${file}.test.ts`, '-t', name];
  const report_to = ['--reporter=json', `--outputFile=${report_file}`];
  const env = { ...process.env, FAULTS_BUILD: build };
  const child = spawn(program, [...only, ...report_to], { cwd: ROOT, env, stdio: 'ignore' });
  await new Promise((resolve) => child.on('close', resolve));
  const report = JSON.parse(readFileSync(report_file, 'utf8')) as Report;
  rmSync(folder, { recursive: true });
  const messages = report.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .flatMap((each) => each.failureMessages);
  return { passed: report.numPassedTests, failed: report.numFailedTests, messages: messages.join('\n') };
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly failureMessages: readonly string[] }[];
  }[];
}
