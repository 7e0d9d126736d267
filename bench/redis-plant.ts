/** Many mandates in a log in Redis: written with the engine's own script, some hundreds in each commit. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Written } from '../src/core/mandate/commands.ts';
import type { MandateEvent } from '../src/core/mandate/events.ts';
import { argumentsOf } from '../src/mandates/redis/batch.ts';
import { effectsOf } from '../src/mandates/redis/effects.ts';
import { type Keys, keysOf } from '../src/mandates/redis/keys.ts';
import { type Link, openLink } from '../src/mandates/redis/link.ts';
import { createReading } from '../src/mandates/redis/reading.ts';
import { ALICE, ENTRY, MANDATES, record } from '../test/support/records.ts';

const IN_ONE_COMMIT = 250;
const LIFETIME_MS = 24 * 3_600_000;

export const plantedId = (index: number): string => `msn_${String(index).padStart(24, '0')}`;

/** Approvals alone, without the proposals before them: one entry of the log for each mandate. */
export async function plantRedis(port: number, tenant: string, count: number): Promise<void> {
  const link = openLink({ redis: { port }, name: 'planting' });
  while (link.run() === undefined) await sleep(5);
  for (let from = 0; from < count; from += IN_ONE_COMMIT)
    await commit(link, keysOf(tenant), from, Math.min(count, from + IN_ONE_COMMIT));
  link.close();
}

async function commit(link: Link, keys: Keys, from: number, to: number): Promise<void> {
  const reading = createReading(keys, new Map(), () => undefined);
  const events = Array.from({ length: to - from }, (_, index) => approval(plantedId(from + index)));
  const written: Written = { events, about: {} };
  // A cell that is made is not read: the reading finds none of them.
  const effects = effectsOf(events, from + 1, reading.stored, keys);
  const nothing = createReading(keys, new Map(), () => undefined);
  const prepared = { command: undefined as never, written, reading: nothing, effects, receipt: undefined };
  const { cells, args } = argumentsOf([prepared]);
  const names = [keys.head, keys.log, keys.roster, ...cells.map(({ key }) => key)];
  const reply = await link.script('append', names, [link.run()!, 1, '', '', '0', ...args]);
  if (!reply.ok) throw new Error(reply.why);
  const [code] = reply.value as readonly string[];
  if (code !== 'OK') throw new Error(`the log said ${code}`);
}

function approval(id: string): MandateEvent {
  const {
    history: _h,
    overlay: _o,
    approved_versions: _a,
    state: _s,
    version: _v,
    ...terms
  } = record({ id });
  const expires_at = new Date(Date.now() + LIFETIME_MS).toISOString();
  const own = { ...terms, expires_at, approval_event_id: `ape_${id}`, authority_set: [ENTRY] };
  const by = { iss: MANDATES, sub: 'operator' };
  return {
    kind: 'approved',
    submission_id: `sub_${id}`,
    terms: own,
    at: new Date().toISOString(),
    by: { ...ALICE, ...by },
  };
}
