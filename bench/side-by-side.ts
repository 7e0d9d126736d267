/** Servers beside each other: on one core, under the same load, in rounds that take turns. */
import { execFileSync } from 'node:child_process';
import { type Load, load } from './load.ts';

const CONNECTIONS = 16;

/**
 * Rates of each, round by round. The order turns with every round, so that a machine that becomes slower favours none;
 * the first round warms up and is not counted.
 */
export async function interleave<Name extends string>(
  loads: Readonly<Record<Name, Pick<Load, 'port' | 'requests'>>>,
  { rounds, duration_ms }: { readonly rounds: number; readonly duration_ms: number },
): Promise<Readonly<Record<Name, readonly number[]>>> {
  const names = Object.keys(loads) as Name[];
  const rates = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = 0; round <= rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const rate = await load({ ...loads[name], connections: CONNECTIONS, duration_ms });
      if (round > 0) rates[name].push(rate);
    }
  }
  return rates;
}

/** Servers share one core and the load has the other; without `taskset` the figures are only rough. */
export function pin(pid: number, core: number): void {
  try {
    execFileSync('taskset', ['-a', '-p', '-c', String(core), String(pid)], { stdio: 'ignore' });
  } catch {
    process.stderr.write('taskset is not to be had: processes are not pinned to cores\n');
  }
}
