/**
 * The essay's second story: "An agent is approved to reconcile vendor invoices for an active procurement program. It …
 * pulls invoice data, asks a sub-agent to compare contract terms, and posts reconciliation adjustments directly to the
 * general ledger. Halfway through, the procurement program is suspended because the vendor is under legal review. The
 * runtime session still has its workspace, task graph, cached tool connections, and retry queue. The mission no longer
 * has a legitimate purpose." A real ledger that is appended to, a retry queue in a process of its own, a real Envoy.
 */
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type JsonObject, member } from '../../src/core/json.ts';
import { ask } from '../support/ask.ts';
import { type LiveProcess, startProcess } from '../support/process.ts';
import type { Attempt } from '../support/retry-queue.ts';
import { proposalBody } from '../support/sidecar.ts';
import { type Stage, startStage } from '../support/stage.ts';
import { waitUntil } from '../support/wait.ts';
import { type Ledger, startLedger } from '../tools/ledger.ts';

const ERP = 'https://erp.example';
const VENDOR = 'vendor-4711';

const ACTIONS = `
operations:
  - match: { methods: [GET], host: erp.example, path: '/invoices/{invoice}' }
    action: invoice.read
    class: consequential_read
  - match: { methods: [POST], host: erp.example, path: /ledger/postings }
    action: ledger.post
    class: irreversible_action
    parameters: { amount: { from: 'body:/amount', type: decimal }, currency: 'body:/currency', recipient: 'body:/recipient' }
`;

const POLICY = `
@id("procurement")
permit (principal, action in [Action::"invoice.read", Action::"ledger.post"], resource)
when { context.mandate.purpose == "urn:example:purpose:procurement" && principal.depth <= 1 };
`;

const INVOICES = {
  type: 'mission_resource_access',
  resource: `${ERP}/invoices`,
  resource_match: 'prefix',
  actions: ['invoice.read'],
};
const POSTINGS = {
  type: 'mission_resource_access',
  resource: `${ERP}/ledger/postings`,
  actions: ['ledger.post'],
};
const upTo = (amount: string) => ({ max_amount: { amount, currency: 'EUR' } });

let ledger: Ledger;
let stage: Stage;
let root: JsonObject;
let root_token: string;
let child: JsonObject;
let child_token: string;

beforeAll(async () => {
  ledger = await startLedger();
  stage = await startStage({ actions: ACTIONS, policy: POLICY, audience: ERP, upstream_port: ledger.port });
  root = await approve();
  root_token = await tokenOf('reconciliation', root);
  child = await delegate();
  child_token = await tokenOf('contract-comparison', child);
});
afterAll(async () => {
  await stage.stop();
  await ledger.stop();
});

const tokenOf = (client_id: string, mandate: JsonObject): Promise<string> =>
  stage.sidecar.tokenFor(mandate, { client_id, aud: ERP });

/** "Approved to reconcile vendor invoices for an active procurement program." */
function approve(): Promise<JsonObject> {
  const delegation = { max_depth: 1, allowed_delegates: [{ sub: 'contract-comparison' }] };
  const intent = {
    goal: 'Reconcile the vendor’s invoices',
    resources: [ERP],
    purpose: 'urn:example:purpose:procurement',
    expires_at: new Date(Date.now() + 24 * 3_600_000).toISOString(),
  };
  const postings = { ...POSTINGS, constraints: upTo('5000'), delegation };
  const authorization_details = [INVOICES, postings];
  return stage.sidecar.mandate(proposalBody({ intent, authorization_details, client_id: 'reconciliation' }));
}

/** Of all that, the sub-agent gets small postings for the one vendor. */
function delegate(): Promise<JsonObject> {
  const constraints = { ...upTo('250'), parameter_values: { recipient: [VENDOR] } };
  return stage.delegate(root, 'contract-comparison', [{ ...POSTINGS, constraints }]);
}

const headersFor = (token: string) => ({ host: 'erp.example', authorization: `Bearer ${token}` });
const readInvoice = (token: string) =>
  ask(stage.envoy.port, { path: '/invoices/2026-11', headers: headersFor(token) });
const post = (token: string, amount: string, recipient = VENDOR) =>
  ask(stage.envoy.port, {
    method: 'POST',
    path: '/ledger/postings',
    headers: { ...headersFor(token), 'content-type': 'application/json' },
    body: JSON.stringify({ amount, currency: 'EUR', recipient }),
  });

describe('"Issue an attenuated child mandate before spawning any sub-agent"', () => {
  test('the agent reads invoices and posts, the sub-agent posts inside its own bounds, each under its own name', async () => {
    expect(await readInvoice(root_token)).toMatchObject({ status: 200, body: { amount: '120.00' } });
    expect((await post(root_token, '4999.99', 'vendor-other')).status).toBe(201);
    expect((await post(child_token, '250.00')).status).toBe(201);
    expect(ledger.postings().map(({ by, under }) => [by, under])).toEqual([
      ['corp/reconciliation', root.id],
      ['corp/contract-comparison', child.id],
    ]);
  });

  test.each([
    ['more than its own maximum', () => post(child_token, '250.01'), 'parameter_violation'],
    ['another payee', () => post(child_token, '10', 'vendor-other'), 'parameter_violation'],
    ['an invoice, which its parent may read', () => readInvoice(child_token), 'out_of_authority'],
  ])('not for the sub-agent: %s', async (_, asking, reason) => {
    const before = ledger.postings();
    expect(await asking()).toMatchObject({ status: 403, body: { reason } });
    expect(ledger.postings()).toEqual(before);
  });

  test('"authority by ancestry": the sub-agent`s credential does not carry its parent`s mandate', async () => {
    const token = await tokenOf('contract-comparison', root);
    expect(await post(token, '10')).toMatchObject({ status: 403, body: { reason: 'mission_mismatch' } });
  });
});

describe('"The runtime graph keeps executing while children wait on tool calls"', () => {
  const WORKERS = 3;
  let queue: LiveProcess<Attempt>;

  beforeAll(() => {
    queue = startProcess<Attempt>(join(import.meta.dirname, '../support/retry-queue.ts'), {
      ...process.env,
      PROXY_PORT: String(stage.envoy.port),
      TOKEN: child_token,
      RECIPIENT: VENDOR,
      WORKERS: String(WORKERS),
    });
  });
  afterAll(() => queue.stop());

  const since = (ns: bigint) => queue.told.filter(({ begun_ns }) => BigInt(begun_ns) >= ns);
  /** What the queue took for done, and what of it the ledger holds: by its number, in order. */
  const done = () => ordered(queue.told.map(({ status, reference }) => (status === 201 ? reference : null)));
  const queued = () => ordered(ledger.postings().map(({ posted }) => member(posted, 'reference')));
  const ordered = (references: readonly unknown[]): readonly number[] =>
    references.filter((each) => typeof each === 'number').toSorted((a, b) => a - b);

  /** How often anybody has connected to Envoy. */
  const connections = async (): Promise<string> => {
    const answer = await fetch(
      `http://127.0.0.1:${stage.envoy.admin_port}/stats?filter=agents.downstream_cx_total`,
    );
    return answer.text();
  };

  /**
   * From the moment at which an operation was acknowledged (ns): an attempt that begins later is denied. One that began
   * earlier may still be in flight with its allow, so each worker, which has one at a time, is waited for; from there
   * on the ledger does not grow, however long the queue goes on.
   */
  async function expectStandstill(acknowledged: bigint, state: string): Promise<void> {
    const at_first = queued().length;
    const later = () => since(acknowledged);
    await waitUntil(
      'every worker is past it',
      () => new Set(later().map(({ worker }) => worker)).size === WORKERS,
    );
    const settled = queued();
    expect(settled.length - at_first).toBeLessThanOrEqual(WORKERS);
    expect(settled).toEqual(done());
    const tried = later().length;
    await waitUntil('the queue goes on', () => later().length >= tried + 100);
    expect(queued()).toEqual(settled);
    const denied = { status: 403, reason: 'mission_inactive', state };
    expect(later()).toEqual(later().map((attempt) => ({ ...attempt, ...denied })));
  }

  /** "A live process tells you the runtime is alive." */
  const expectAliveButForTheMission = async (state: string): Promise<void> => {
    expect(queue.isAlive()).toBe(true);
    expect(decodeJwt(child_token).exp! * 1000).toBeGreaterThan(Date.now());
    expect((await post(child_token, '10')).body).toMatchObject({
      reason: 'mission_inactive',
      credential: { verdict: 'usable', client_id: 'contract-comparison' },
      mandate: { verdict: 'illegitimate', id: child.id, state },
      request: { verdict: 'permitted' },
    });
  };

  const askBeforeRetrying = (): Promise<JsonObject> =>
    stage.askBefore('retry', child, child_token, {
      action: { name: 'ledger.post' },
      resource: POSTINGS.resource,
      parameters: { amount: '12.50', currency: 'EUR', recipient: VENDOR },
    });

  test('while the program is active, the queue drains into the ledger', async () => {
    await waitUntil('it posts', () => done().length >= 50);
    expect(queue.told.every(({ status }) => status === 201)).toBe(true);
    expect(await askBeforeRetrying()).toMatchObject({ effect: 'allow' });
  });

  test('suspended for legal review: the queue goes on by itself, and not one posting is added', async () => {
    const connected = await connections();
    const answer = await stage.operate(root, 'suspend', { reason: 'the vendor is under legal review' });
    const acknowledged = process.hrtime.bigint();
    expect(answer).toMatchObject({ state: 'suspended', stop: { pause: true, cancel_queued: false } });
    await expectStandstill(acknowledged, 'suspended');
    // "Cached tool connections": every one of those attempts came over the connections that postings had come over.
    expect(await connections()).toBe(connected);
    await expectAliveButForTheMission('suspended');
    expect(await askBeforeRetrying()).toMatchObject({ effect: 'deny', next_action: 'pause' });
    expect(await readInvoice(root_token)).toMatchObject({
      status: 403,
      body: { reason: 'mission_inactive', mandate: { id: root.id, state: 'suspended' } },
    });
  });

  test('"If the parent mandate is revoked, do all children stop?" The ended program takes its sub-agent along', async () => {
    const answer = await stage.operate(root, 'revoke');
    const acknowledged = process.hrtime.bigint();
    expect(answer).toMatchObject({ state: 'revoked', cascaded: 1, stop: { cancel_queued: true } });
    await expectStandstill(acknowledged, 'cascaded');
    await expectAliveButForTheMission('cascaded');
    expect(await askBeforeRetrying()).toMatchObject({ effect: 'deny', next_action: 'stop' });
    expect((await readInvoice(root_token)).body).toMatchObject({ mandate: { state: 'revoked' } });
    const shown = await stage.sidecar.control('GET', `/v1/mandates/${String(child.id)}`);
    expect(shown.body).toMatchObject({ state: 'cascaded' });
  });

  test('nothing brings it back', async () => {
    const resuming = stage.operate(root, 'resume', { expected_version: 3 });
    await expect(resuming).rejects.toThrow('conflict');
    const refused = process.hrtime.bigint();
    await expectStandstill(refused, 'cascaded');
  });
});
