/** Who may change a mandate (design/2, Life; design/8, Who asks): people and agents under `control.issuers`, and the policies. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../src/core/json.ts';
import { type Answered, ask } from './support/ask.ts';
import { question } from './support/question.ts';
import { AS, type Sidecar, proposalBody, startSidecar } from './support/sidecar.ts';

const CONTROL = 'https://mandates.example/control';
const POLICIES = `
@id("reviewer-suspends")
permit (principal == User::"corp/reviewer", action in [Action::"mandate.suspend", Action::"mandate.read"], resource);

@id("jobs-discharge")
permit (principal == Agent::"corp/ci", action in [Action::"mandate.discharge", Action::"mandate.read"], resource);

@id("monitor-reports")
permit (principal == Agent::"corp/monitor", action == Action::"conditions.report", resource);

@id("only-to-stop")
permit (principal == Agent::"corp/breaker", action == Action::"mandate.revoke", resource);

@id("orchestrator-asks")
permit (principal == Agent::"corp/orchestrator", action == Action::"check.ask", resource)
when { resource.purpose == "urn:example:purpose:release" };

// What no policy can permit.
@id("too-much")
permit (principal == Agent::"corp/agent-1", action, resource);

@id("nobody-completes-secrets")
forbid (principal, action == Action::"mandate.complete", resource) when { resource.goal like "secret *" };
`;

let folder: string;
let sidecar: Sidecar;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mandated-control-'));
  writeFileSync(join(folder, 'team.cedar'), POLICIES);
  sidecar = await startSidecar({
    control: `{ listen: "127.0.0.1:0", issuers: [{ name: corp, issuer: "${AS}", audiences: ["${CONTROL}"], jwks: { file: keys.json }, algorithms: [ES256] }] }`,
    policies: { cedar: 'policies/cedar', control: folder },
  });
});
afterAll(async () => {
  await sidecar.discard();
  rmSync(folder, { recursive: true });
});

/** A token for the control listener: a person through a console, or a client of its own. */
const personOf = (sub: string, client_id = 'console', more: object = {}) =>
  sidecar.issuer.mint({ sub, client_id, aud: CONTROL, ...more });
const clientOf = (client_id: string) => personOf(client_id, client_id);

const call = (token: string, method: string, path: string, body?: Json): Promise<Answered> =>
  ask(sidecar.control_port, {
    method,
    path,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
const told = ({ status, body }: Answered): string =>
  `${status} ${String(body.reason ?? body.state ?? body.status ?? '')}`.trim();

const delegation = { max_depth: 3, allowed_delegates: [{ sub: 'agent-2' }] };
const [entry] = proposalBody().authorization_details as JsonObject[];
const DELEGABLE = [{ ...entry, delegation }];

/** A mandate of alice for agent-1; approved by alice herself where it says so, else by the operator. */
async function begin(more: JsonObject = {}, isOwn = false) {
  const body = proposalBody({ authorization_details: DELEGABLE, ...more });
  const client = String(body.client_id);
  if (!isOwn) return sidecar.mandate(body);
  const proposed = await call(await personOf('alice', client), 'POST', '/v1/proposals', body);
  const path = `/v1/proposals/${String(proposed.body.submission_id)}/approve`;
  const approved = await call(await personOf('alice'), 'POST', path, {
    proposal_hash: proposed.body.proposal_hash!,
  });
  return approved.body;
}
const operate = async (token: string, record: JsonObject, operation: string, body: JsonObject = {}) =>
  told(await call(token, 'POST', `/v1/mandates/${String(record.id)}/${operation}`, body));
const see = async (token: string, record: JsonObject) =>
  told(await call(token, 'GET', `/v1/mandates/${String(record.id)}`));

describe('proposals', () => {
  const propose = async (token: string, more: JsonObject = {}) =>
    call(token, 'POST', '/v1/proposals', proposalBody(more));

  test('a client proposes for itself, an operator for any', async () => {
    expect(told(await propose(await personOf('alice', 'agent-1')))).toBe('202 pending');
    expect(told(await propose(await clientOf('agent-2'), { client_id: 'agent-2' }))).toBe('202 pending');
    expect(told(await propose(await clientOf('agent-2')))).toBe('403 policy_denied');
    expect(told(await propose(await personOf('alice')))).toBe('403 policy_denied');
  });

  test('who proposed as the client cannot approve, nor any agent; the person can', async () => {
    const agent = await personOf('alice', 'agent-1');
    const proposed = await propose(agent);
    const path = `/v1/proposals/${String(proposed.body.submission_id)}`;
    const approve = async (token: string) =>
      told(await call(token, 'POST', `${path}/approve`, { proposal_hash: proposed.body.proposal_hash! }));
    expect(told(await call(agent, 'GET', path))).toBe('200 pending');
    expect(await approve(agent)).toBe('403 policy_denied');
    // Even where a policy says so.
    expect(await approve(await clientOf('agent-1'))).toBe('403 policy_denied');
    expect(await approve(await personOf('mallory'))).toBe('404 not_found');
    const approved = await call(await personOf('alice'), 'POST', `${path}/approve`, {
      proposal_hash: proposed.body.proposal_hash!,
    });
    expect(approved).toMatchObject({
      status: 201,
      body: { approver: { iss: AS, sub: 'alice' }, state: 'active' },
    });
  });
});

describe('the narrow default set', () => {
  test('strangers see nothing: unknown and not visible are one answer, for every call', async () => {
    const record = await begin();
    const stranger = await personOf('mallory');
    const paths = (id: string): (readonly [string, string, JsonObject?])[] => [
      ['GET', `/v1/mandates/${id}`],
      ['GET', `/v1/mandates/${id}/history`],
      ['GET', `/v1/mandates/${id}/lineage`],
      ['GET', `/v1/mandates/${id}/tree`],
      ['POST', `/v1/mandates/${id}/revoke`, {}],
      ['POST', `/v1/mandates/${id}/children`, { client_id: 'agent-2', authorization_details: [entry!] }],
    ];
    const answers = async (id: string) =>
      Promise.all(
        paths(id).map(async ([method, path, body]) => {
          const { status, body: answer } = await call(stranger, method, path, body);
          return [status, answer];
        }),
      );
    const [theirs, nobodys] = [await answers(String(record.id)), await answers('msn_nobody')];
    expect(theirs).toEqual(nobodys);
    expect(theirs.map(([status]) => status)).toEqual([404, 404, 404, 404, 404, 404]);
    expect((await call(stranger, 'GET', '/v1/mandates')).body).toEqual({ items: [] });
    expect(await see(await personOf('alice'), record)).toBe('200 active');
  });

  test('the subject narrows and ends, and does not give back', async () => {
    const record = await begin();
    const alice = await personOf('alice');
    expect(await operate(alice, record, 'suspend')).toBe('200 suspended');
    expect(await operate(alice, record, 'resume', { expected_version: 2 })).toBe('403 policy_denied');
    expect(
      await operate(alice, record, 'extend', { expires_at: '2090-01-01T00:00:00Z', expected_version: 2 }),
    ).toBe('403 policy_denied');
    const [digest] = record.entry_digests as string[];
    const discharge = { entry: digest!, event_type: 'done', event_id: 'e' };
    expect(await operate(alice, record, 'discharge', discharge)).toBe('403 policy_denied');
    expect(await operate(alice, record, 'revoke')).toBe('200 revoked');
  });

  test('the approver gives back, and is named for it', async () => {
    const record = await begin({}, true);
    const alice = await personOf('alice');
    expect(await operate(alice, record, 'suspend')).toBe('200 suspended');
    expect(await operate(alice, record, 'resume', { expected_version: 2 })).toBe('200 active');
    const { body } = await call(alice, 'GET', `/v1/mandates/${String(record.id)}/history`);
    expect((body.items as JsonObject[]).map(({ by }) => by)).toEqual(
      Array.from({ length: 3 }, () => ({ iss: AS, sub: 'alice' })),
    );
  });

  test('the agent sees its own mandate, asks for another, and delegates; it changes nothing', async () => {
    const record = await begin({ client_id: 'agent-3' }, true);
    for (const agent of [await personOf('alice', 'agent-3'), await clientOf('agent-3')]) {
      expect(await see(agent, record)).toBe('200 active');
      expect(await operate(agent, record, 'resume', { expected_version: 1 })).toBe('403 policy_denied');
      expect(
        await operate(agent, record, 'amend', { authorization_details: [entry!], expected_version: 1 }),
      ).toBe('403 policy_denied');
      const approval = {
        mandate: record.id!,
        action: 'repo.push',
        resource: 'https://git.example/repos/example/app',
        parameter_digest: `sha-256:${'A'.repeat(43)}`,
        approved_until: new Date(Date.now() + 60_000).toISOString(),
      };
      expect(told(await call(agent, 'POST', '/v1/approvals', approval))).toBe('403 policy_denied');
      expect(await operate(agent, record, 'renew', { expected_version: 1 })).toBe('202 pending');
    }
    const agent = await personOf('alice', 'agent-3');
    expect(await operate(agent, record, 'revoke')).toBe('403 policy_denied');
    const child = await call(agent, 'POST', `/v1/mandates/${String(record.id)}/children`, {
      client_id: 'agent-2',
      authorization_details: [entry!],
    });
    expect(child.status).toBe(201);
    // Each sees its own, and what is below it; the child does not see who sent it.
    const own = await clientOf('agent-2');
    expect([await see(agent, child.body), await see(own, child.body), await see(own, record)]).toEqual([
      '200 active',
      '200 active',
      '404 not_found',
    ]);
    const lineage = await call(own, 'GET', `/v1/mandates/${String(child.body.id)}/lineage`);
    expect((lineage.body.items as JsonObject[]).map(({ id }) => id)).toEqual([child.body.id]);
  });

  test('a token for something else, of somebody else, or none: 401', async () => {
    const tokens = [
      await personOf('alice', 'console', { aud: 'https://git.example' }),
      await personOf('alice', 'console', { iss: 'https://other.example' }),
      'a.b.c',
    ];
    for (const token of tokens)
      expect(told(await call(token, 'GET', '/v1/mandates'))).toBe('401 unauthorized');
    expect((await ask(sidecar.control_port, { path: '/v1/mandates' })).headers['www-authenticate']).toBe(
      'Bearer',
    );
  });
});

describe('policies.control adds to it', () => {
  test('a reviewer suspends, and does nothing else', async () => {
    const record = await begin();
    const reviewer = await personOf('reviewer');
    expect([await see(reviewer, record), await operate(reviewer, record, 'suspend')]).toEqual([
      '200 active',
      '200 suspended',
    ]);
    expect(await operate(reviewer, record, 'revoke')).toBe('403 policy_denied');
  });

  test('who may do one thing and see nothing does that one thing', async () => {
    const record = await begin();
    const breaker = await clientOf('breaker');
    expect([await see(breaker, record), await operate(breaker, record, 'suspend')]).toEqual([
      '404 not_found',
      '404 not_found',
    ]);
    expect(await operate(breaker, record, 'revoke')).toBe('200 revoked');
  });

  test('a policy may permit the client through which a person comes, but not to approve', async () => {
    const record = await begin();
    const through = await personOf('carol', 'breaker');
    expect(await operate(through, record, 'resume', { expected_version: 1 })).toBe('404 not_found');
    expect(await operate(through, record, 'revoke')).toBe('200 revoked');
  });

  test('discharge has a grant of its own', async () => {
    const record = await begin();
    const [digest] = record.entry_digests as string[];
    const own = { entry: digest!, event_type: 'released', event_id: 'r-1' };
    expect(await operate(await clientOf('ci'), record, 'discharge', own)).toBe('200 active');
  });

  test('what no policy can permit stays refused', async () => {
    const record = await begin({ client_id: 'agent-2' });
    const agent = await clientOf('agent-1');
    expect(await operate(agent, record, 'suspend')).toBe('200 suspended');
    expect(await operate(agent, record, 'resume', { expected_version: 2 })).toBe('403 policy_denied');
  });

  test('a forbid binds the operator as well', async () => {
    const intent = proposalBody().intent as JsonObject;
    const record = await begin({ intent: { ...intent, goal: 'secret work' } });
    const path = `/v1/mandates/${String(record.id)}/complete`;
    expect(await sidecar.control('POST', path, {})).toMatchObject({
      status: 403,
      body: { reason: 'policy_denied' },
    });
  });

  test('reports come from the sources that may make them', async () => {
    const report = {
      event_id: crypto.randomUUID(),
      event_type: 'branch.frozen',
      key: 'k',
      value: false,
      observed_at: new Date().toISOString(),
    };
    const from = async (token: string) => told(await call(token, 'POST', '/v1/conditions/events', report));
    expect(await from(await personOf('alice'))).toBe('403 policy_denied');
    expect(await from(await clientOf('monitor'))).toBe('200');
  });
});

describe('who asks without the agent`s credential (Action::"check.ask")', () => {
  const asked = (of: JsonObject, caller: string, point = 'resume') =>
    question(sidecar, { point, of, caller });

  test('a caller that the policies let, about the mandates that they let it ask about', async () => {
    const [record, other] = [
      await begin(),
      await begin({ intent: { ...(proposalBody().intent as JsonObject), purpose: 'urn:other' } }),
    ];
    const orchestrator = await clientOf('orchestrator');
    expect((await asked(record, orchestrator)).body).toMatchObject({
      effect: 'allow',
      credential: { verdict: 'not_presented' },
    });
    expect((await asked(other, orchestrator)).body.reason).toBe('credential_invalid');
    expect((await asked(record, orchestrator, 'tool')).body.reason).toBe('credential_invalid');
    expect((await asked(record, await clientOf('nobody'))).body.reason).toBe('credential_invalid');
    expect((await asked({ id: 'msn_nobody' }, orchestrator)).body.reason).toBe('credential_invalid');
  });

  test('a caller`s own credential that is no good is refused', async () => {
    const record = await begin();
    const { status, body } = await asked(record, await personOf('alice', 'console', { aud: 'x' }));
    expect([status, body.reason]).toEqual([401, 'unauthorized']);
  });
});

test('a reader of events is told of what it may see', async () => {
  const seen: string[] = [];
  const token = await clientOf('agent-9');
  const sent = httpRequest({
    port: sidecar.control_port,
    path: '/v1/events',
    headers: { authorization: `Bearer ${token}` },
  });
  const stream = new Promise<void>((resolve) => {
    sent.on('response', (response) => {
      response.setEncoding('utf8').on('data', (text: string) => {
        seen.push(...[...text.matchAll(/"id":"(msn_[^"]+)"/g)].map(([, id]) => id!));
        if (seen.length > 0) resolve();
      });
    });
  });
  sent.end();
  await new Promise((resolve) => setTimeout(resolve, 100));
  await begin();
  const own = await begin({ client_id: 'agent-9' });
  await stream;
  sent.destroy();
  expect(seen).toEqual([own.id]);
});

test('people_through: what comes through another client is that client`s own', async () => {
  const own = await startSidecar({
    control: `{ listen: "127.0.0.1:0", issuers: [{ name: corp, issuer: "${AS}", audiences: ["${CONTROL}"], jwks: { file: keys.json }, algorithms: [ES256], people_through: [console] }] }`,
    issuer: sidecar.issuer,
  });
  try {
    const record = await own.mandate();
    const show = async (token: string) =>
      ask(own.control_port, {
        path: `/v1/mandates/${String(record.id)}`,
        headers: { authorization: `Bearer ${token}` },
      });
    expect((await show(await personOf('alice', 'console'))).status).toBe(200);
    expect((await show(await personOf('alice', 'agent-9'))).status).toBe(404);
  } finally {
    await own.discard();
  }
});

describe('the configuration', () => {
  const fails = async (options: Parameters<typeof startSidecar>[0]): Promise<string> =>
    startSidecar(options).then(
      async (started) => {
        await started.discard();
        return 'started';
      },
      (error: Error) => error.message,
    );

  test('a policy that does not type-check stops the start, with its place', async () => {
    const own = mkdtempSync(join(tmpdir(), 'mandated-control-'));
    writeFileSync(
      join(own, 'bad.cedar'),
      'permit (principal, action == Action::"mandate.revoke", resource)\nwhen { resource.colour == "red" };\n',
    );
    expect(await fails({ policies: { cedar: 'policies/cedar', control: own } })).toMatch(
      /policies\.control: bad\.cedar:2:\d+: .*colour/,
    );
    rmSync(own, { recursive: true });
  });

  test('a folder that is named must be there', async () => {
    expect(await fails({ policies: { cedar: 'policies/cedar', control: '/nowhere' } })).toContain(
      'policies.control: the folder `/nowhere` cannot be read',
    );
  });

  test('one name is one issuer', async () => {
    const issuers = `issuers: [{ name: corp, issuer: "https://other.example", audiences: [x], jwks: { file: keys.json }, algorithms: [ES256] }]`;
    expect(await fails({ control: `{ listen: "127.0.0.1:0", ${issuers} }` })).toContain('control.issuers.0');
  });
});
