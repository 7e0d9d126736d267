/** The check points of a harness (design/2, The check points; design/8, Who asks). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../src/core/json.ts';
import { type Asked, question as ask, verdicts } from './support/question.ts';
import { GIT, type Sidecar, proposalBody, startSidecar } from './support/sidecar.ts';

let sidecar: Sidecar;
const operator = 'operator';
let records: Record<'active' | 'suspended' | 'revoked', JsonObject>;

beforeAll(async () => {
  sidecar = await startSidecar();
  records = {
    active: await sidecar.mandate(),
    suspended: await sidecar.mandate(),
    revoked: await sidecar.mandate(),
  };
  await sidecar.control('POST', `/v1/mandates/${String(records.suspended.id)}/suspend`, {});
  await sidecar.control('POST', `/v1/mandates/${String(records.revoked.id)}/revoke`, {});
});
afterAll(() => sidecar.discard());

const question = ({ of = records.active, point = 'resume', ...asked }: Asked) =>
  ask(sidecar, { of, point, ...asked });

describe.each(['resume', 'retry'])('%s', (point) => {
  test('an operator may ask without the agent`s credential', async () => {
    const answer = await question({ point, caller: operator });
    expect(answer.body).toMatchObject({
      effect: 'allow',
      check_point: point,
      credential: { verdict: 'not_presented' },
    });
    expect(verdicts(answer)).toBe('not_presented legitimate permitted');
    expect(answer.body.mandate).toMatchObject({
      id: records.active.id,
      named_by: 'question',
      state: 'active',
    });
    expect(answer.body.request).toMatchObject({ engines: { cedar: { determining: ['release-push'] } } });
  });

  test('it is answered from the state now', async () => {
    const suspended = await question({ point, caller: operator, of: records.suspended });
    expect(suspended.body).toMatchObject({
      effect: 'deny',
      reason: 'mission_inactive',
      next_action: 'pause',
      stop: { pause: true, cancel_queued: false },
    });
    const revoked = await question({ point, caller: operator, of: records.revoked });
    expect(revoked.body).toMatchObject({
      effect: 'deny',
      reason: 'mission_inactive',
      next_action: 'stop',
      stop: { cancel_queued: true, interrupt_in_flight: true },
    });
    expect(verdicts(revoked)).toBe('not_presented illegitimate permitted');
  });

  test('the next planned step must be inside the mandate still', async () => {
    const outside = await question({
      point,
      caller: operator,
      more: { resource: `${GIT}/repos/example/other` },
    });
    expect(outside.body.reason).toBe('out_of_authority');
    const version = await question({ point, caller: operator, more: { min_version: 2 } });
    expect(version.body).toMatchObject({ reason: 'stale_state', next_action: 'retry' });
  });

  test('an agent asks with its own credential', async () => {
    const own = await question({ point, token: await sidecar.tokenFor(records.active) });
    expect(verdicts(own)).toBe('usable legitimate permitted');
    const other = await question({ point, token: await sidecar.tokenFor(records.active, { sub: 'bob' }) });
    expect(other.body.reason).toBe('mission_mismatch');
  });

  test('a credential that is shown is judged, also when an operator shows it', async () => {
    const token = await sidecar.tokenFor(records.active, { client_id: 'agent-2' });
    expect((await question({ point, caller: operator, token })).body.reason).toBe('mission_mismatch');
    expect((await question({ point, caller: operator, token: 'a.b.c' })).body.reason).toBe(
      'credential_invalid',
    );
  });

  test('nobody else may ask without', async () => {
    expect((await question({ point })).body.reason).toBe('credential_invalid');
    const wrong = await question({ point, caller: 'x'.repeat(43) });
    expect([wrong.status, wrong.body.reason]).toEqual([401, 'unauthorized']);
  });

  test('about which mandate must be said, and an unknown one is nobody`s', async () => {
    expect((await question({ point, caller: operator, of: null })).body.reason).toBe(
      'mission_context_missing',
    );
    const unknown = await question({ point, caller: operator, of: { id: 'msn_nobody' } });
    expect(unknown.body).toMatchObject({ reason: 'mission_mismatch', freshness: { source: 'none' } });
  });
});

test.each(['tool', 'request'])('%s is acting, and nobody acts without a credential', async (point) => {
  const { body } = await question({ point, caller: operator });
  expect(body).toMatchObject({
    effect: 'deny',
    reason: 'credential_invalid',
    credential: { verdict: 'not_presented' },
  });
});

test('a child is asked about like any other', async () => {
  const entry = {
    type: 'mission_resource_access',
    resource: `${GIT}/repos/example/app`,
    resource_match: 'prefix',
    actions: ['repo.*'],
  };
  const delegation = { max_depth: 2, allowed_delegates: [{ sub: 'agent-2' }] };
  const root = await sidecar.mandate(proposalBody({ authorization_details: [{ ...entry, delegation }] }));
  const child = await sidecar.control('POST', `/v1/mandates/${String(root.id)}/children`, {
    client_id: 'agent-2',
    authorization_details: [entry],
  });
  const of = child.body as JsonObject;
  expect((await question({ caller: operator, of })).body).toMatchObject({
    effect: 'allow',
    mandate: { lineage: [root.id, of.id] },
  });
  await sidecar.control('POST', `/v1/mandates/${String(root.id)}/suspend`, {});
  expect((await question({ caller: operator, of })).body).toMatchObject({
    reason: 'mission_inactive',
    next_action: 'pause',
    mandate: { state: 'suspended' },
  });
  await sidecar.control('POST', `/v1/mandates/${String(root.id)}/revoke`, {});
  expect((await question({ caller: operator, of })).body).toMatchObject({
    reason: 'mission_inactive',
    next_action: 'stop',
    mandate: { state: 'cascaded' },
  });
});
