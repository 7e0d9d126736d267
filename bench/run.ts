/** `npm run bench -- NAME [--short]`: runs one bench, prints its table and writes it to `bench/results/`. */
import { writeFileSync } from 'node:fs';
import { arch, cpus, platform } from 'node:os';
import { join } from 'node:path';
import type { BenchOptions, Figure } from './figure.ts';
import { credentials } from './credentials.ts';
import { fleet } from './fleet.ts';
import { freshness } from './freshness.ts';
import { hello } from './hello.ts';
import { mandates } from './mandates.ts';

const BENCHES: Readonly<Record<string, (options: BenchOptions) => Promise<readonly Figure[]>>> = {
  credentials,
  fleet,
  freshness,
  hello,
  mandates,
};

const [name = '', ...flags] = process.argv.slice(2);
const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
if (bench === undefined || flags.some((flag) => flag !== '--short')) {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(BENCHES).join(' | ')} [--short]\n`);
  process.exit(2);
}
const isShort = flags.includes('--short');
const figures = await bench({ isShort });
for (const { what, value, unit } of figures)
  process.stdout.write(`${what.padEnd(64)} ${value.toFixed(2).padStart(10)} ${unit}\n`);
if (!isShort) {
  const machine = `${cpus()[0]?.model ?? 'unknown'}, ${cpus().length} cores, ${platform()} ${arch()}`;
  const result = { bench: name, date: new Date().toISOString(), node: process.version, machine, figures };
  writeFileSync(
    join(import.meta.dirname, 'results', `${name}.json`),
    `${JSON.stringify(result, undefined, 2)}\n`,
  );
}
