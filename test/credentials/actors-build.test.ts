/** What Rego sees of a chain of actors (design/8): `input.principal.actors` and `depth`, in a policy that the real `opa` builds. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type JsonObject, member } from '../../src/core/json.ts';
import { ROOT } from '../support/sidecar.ts';
import { WIDE, chain, childOf, handsOn } from './acting.ts';
import { type Served, mandateOf, nativeDoor, outcomeOf, serve } from './serving.ts';

const POLICY = `package mandated

allow := {"allow": true, "reasons": seen} if input.principal.depth <= 2

seen contains sprintf("actor %s", [actor]) if some actor in input.principal.actors

seen contains sprintf("depth %d", [input.principal.depth])
`;

let folder: string;
let served: Served;
let root: JsonObject;
let child: JsonObject;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-actors-rego-'));
  writeFileSync(join(folder, 'actors.rego'), POLICY);
  const argv = ['build', '-t', 'wasm', '-e', 'mandated/allow', '-o', 'bundle.tar.gz', 'actors.rego'];
  execFileSync(join(ROOT, '.tools/bin/opa'), argv, { cwd: folder });
  served = await serve({ issuers: { corp: {} }, policies: { opa: folder } });
  root = await mandateOf(served, 'corp', { authorization_details: [handsOn(5, ...WIDE)] });
  child = await childOf(served, root, 'agent-2', handsOn(4, 'agent-3', 'agent-4'));
});
afterAll(async () => {
  await served.discard();
  rmSync(folder, { recursive: true });
});

test.each<readonly ['root' | 'child', string, readonly string[], readonly string[]]>([
  ['root', 'agent-1', [], ['actor agent-1', 'depth 0']],
  ['root', 'agent-1', ['agent-1', 'agent-2'], ['actor agent-1', 'actor agent-2', 'depth 1']],
  [
    'child',
    'agent-2',
    ['agent-1', 'agent-2', 'agent-3'],
    ['actor agent-1', 'actor agent-2', 'actor agent-3', 'depth 2'],
  ],
])('design/8: under the %s, for %s with %j', async (of, client_id, actors, expected) => {
  const token = chain(of === 'root' ? root : child, client_id, ...actors);
  const answered = await nativeDoor(served, { token });
  expect(outcomeOf(answered)).toBe('allow');
  const opa = member(member(answered.body.request, 'engines'), 'opa');
  expect([...(member(opa, 'determining') as string[])].toSorted()).toEqual(expected);
});

test('design/8: a policy forbids by the depth of a chain', async () => {
  const fitting = await nativeDoor(served, { token: chain(root, 'agent-1', 'agent-2', 'agent-3') });
  const deeper = await nativeDoor(served, { token: chain(root, 'agent-1', 'agent-2', 'agent-3', 'agent-4') });
  expect([outcomeOf(fitting), outcomeOf(deeper)]).toEqual(['allow', 'resource_policy']);
});
