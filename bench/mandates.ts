/** What mandates cost: the entry match of a deep mandate, and the end of a large tree beside one plain commit. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MandateStore } from '../src/check/ports.ts';
import { matchLineage } from '../src/core/mandate/authority.ts';
import type { Command } from '../src/core/mandate/commands.ts';
import type { Lineage } from '../src/core/mandate/life.ts';
import { parseResource } from '../src/core/uri.ts';
import { ALICE, ENTRY, record } from '../test/support/records.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { median } from './load.ts';
import { approve, openStore, write } from './store.ts';

export async function mandates(options: BenchOptions): Promise<readonly Figure[]> {
  return [matchFigure(options), ...(await cascadeFigures(options))];
}

/** Depth 3, 20 entries each, all for the same action; the last of them covers the request. */
function matchFigure({ isShort }: BenchOptions): Figure {
  const authority_set = Array.from({ length: 20 }, (_, index) => {
    return {
      ...ENTRY,
      resource: `${ENTRY.resource}${index}`,
      actions: ['repo.read', 'repo.push', `x${index}.*`],
    };
  });
  const ids = ['m0', 'm1', 'm2', 'm3'];
  const lineage = ids.map((id, depth) => {
    return record({ id, depth, authority_set, lineage: ids.slice(0, depth + 1) });
  }) as unknown as Lineage;
  const resource = parseResource(`${ENTRY.resource}19/x`);
  if ('refused' in resource) throw new Error(resource.refused);
  const exercise = { action: 'repo.push', parameters: {}, wall_ms: Date.now(), is_approved: false };
  const rounds = isShort ? 1000 : 20_000;
  const batches = Array.from({ length: 22 }, () => {
    const begun = performance.now();
    for (let round = 0; round < rounds; round += 1) {
      const match = matchLineage(lineage, resource, exercise);
      if (!('matched' in match) || match.matched.index !== 19)
        throw new Error('the match is not the last entry');
    }
    return ((performance.now() - begun) * 1000) / rounds;
  });
  return {
    what: 'effective authority and entry match, depth 3, 20 entries',
    value: median(batches.slice(2)),
    unit: 'µs',
  };
}

async function cascadeFigures({ isShort }: BenchOptions): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-cascade-'));
  const store = await openStore(folder);
  const [wide, deep] = isShort ? [10, 9] : [100, 99];
  const leaf = await plant(store, wide, deep);
  const plain = await timed(store, operate('suspend', leaf));
  const gaps = watchLoop();
  const end = await timed(store, operate('revoke', 'root'));
  const pause_ms = gaps();
  const descendants = wide * (deep + 1);
  if (!end.result.ok || end.result.receipt?.cascaded !== descendants)
    throw new Error('the tree did not end whole');
  await store.close();
  rmSync(folder, { recursive: true });
  return [
    { what: 'one plain commit', value: plain.took_ms, unit: 'ms' },
    { what: `revoke of a root with ${descendants} descendants, one commit`, value: end.took_ms, unit: 'ms' },
    { what: 'ratio to one plain commit', value: end.took_ms / plain.took_ms, unit: '' },
    { what: 'longest pause of the checks meanwhile', value: pause_ms, unit: 'ms' },
  ];
}

/** Two generations below `root`; answers the id of one leaf. */
async function plant(store: MandateStore, wide: number, deep: number): Promise<string> {
  const at_ms = Date.now();
  const delegation = { max_depth: 9, allowed_delegates: [{ sub: 'agent-1' }] };
  const authorization_details = [{ ...ENTRY, delegation }];
  const intent = {
    goal: 'g',
    resources: [ENTRY.resource],
    expires_at: new Date(at_ms + 3_600_000).toISOString(),
  };
  await approve(store, 'root', { intent, authorization_details, subject: ALICE, client_id: 'agent-1' });
  const derive = (parent: string, mandate_id: string) =>
    write(store, {
      kind: 'derive',
      parent,
      mandate_id,
      client_id: 'agent-1',
      authorization_details,
      policy_version: 'v',
      by: ALICE,
      at_ms,
    });
  for (let child = 0; child < wide; child += 1) {
    await derive('root', `c${child}`);
    await Promise.all(Array.from({ length: deep }, (_, index) => derive(`c${child}`, `c${child}-${index}`)));
  }
  return 'c0-0';
}

function operate(operation: 'suspend' | 'revoke', id: string): Command {
  return {
    kind: 'operate',
    details: { operation },
    id,
    may_resume: true,
    fingerprint: '',
    by: ALICE,
    at_ms: Date.now(),
  };
}

async function timed(store: MandateStore, command: Command) {
  const begun = performance.now();
  const result = await store.write(command, 'durable');
  return { result, took_ms: performance.now() - begun };
}

/** The longest time in which this thread could not have served a check. */
function watchLoop(): () => number {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const at = performance.now();
    longest = Math.max(longest, at - last);
    last = at;
  }, 1);
  return () => {
    clearInterval(timer);
    return longest;
  };
}
