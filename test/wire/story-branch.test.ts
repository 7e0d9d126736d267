/**
 * The essay's first story: "A coding agent is approved to implement passkey login. It runs for an hour, spawns a
 * test-repair sub-agent, and opens a pull request. Then a reviewer finds a risky migration and freezes the branch. …
 * The next morning the session resumes, the sub-agent finishes its retry loop, and the agent updates the pull request
 * after approval had been revoked." Here it does not. A real git client in each agent's own process, a real Envoy as
 * its only way out, and a git host whose refs are what counts.
 */
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type JsonObject, member } from '../../src/core/json.ts';
import { type Session, startSession } from '../support/session.ts';
import { GIT, proposalBody } from '../support/sidecar.ts';
import { type Stage, startStage } from '../support/stage.ts';
import { waitUntil } from '../support/wait.ts';
import { type GitServer, type Repository, startGitServer } from '../tools/git-server.ts';

/** Smart HTTP. That `info/refs` comes before a push stands in its query, which is not judged: it is a read. */
const ACTIONS = `
operations:
  - match: { methods: [GET], host: git.example, path: '/{owner}/{repo}/info/refs' }
    action: repo.read
    resource: https://git.example/{owner}/{repo}
    class: consequential_read
  - match: { methods: [POST], host: git.example, path: '/{owner}/{repo}/git-upload-pack' }
    action: repo.fetch
    resource: https://git.example/{owner}/{repo}
    class: consequential_write
  - match: { methods: [POST], host: git.example, path: '/{owner}/{repo}/git-receive-pack' }
    action: repo.push
    resource: https://git.example/{owner}/{repo}
    class: irreversible_action
`;

const POLICY = `
@id("repository")
permit (principal, action in Action::"repo.*", resource)
when { context.mandate.purpose == "urn:example:purpose:passkey-login" && principal.depth <= 1 };
`;

let git: GitServer;
let stage: Stage;

beforeAll(async () => {
  git = await startGitServer();
  stage = await startStage({ actions: ACTIONS, policy: POLICY, audience: GIT, upstream_port: git.port });
});
afterAll(async () => {
  await stage.stop();
  await git.stop();
});

const sessions: Session[] = [];
afterEach(() => Promise.all(sessions.splice(0).map((session) => session.discard())));

interface Agent {
  readonly client_id: string;
  readonly mandate: JsonObject;
  readonly token: string;
  readonly branch: string;
  readonly session: Session;
}

interface Story {
  readonly repository: Repository;
  readonly agent: Agent;
  readonly sub_agent: Agent;
}

let stories = 0;

/** The host says of a branch whether it is frozen. */
const report = ({ path }: Repository, isFrozen: boolean) =>
  stage.sidecar.control('POST', '/v1/conditions/events', {
    event_id: crypto.randomUUID(),
    event_type: 'branch.frozen',
    key: path,
    value: isFrozen,
    observed_at: new Date().toISOString(),
  });

/** Approved, cloned, spawned: both agents have pushed their branches once and have the next commit ready. */
async function begin(): Promise<Story> {
  const repository = git.create(`example/app-${(stories += 1)}`);
  await report(repository, false);
  const entry = {
    type: 'mission_resource_access',
    resource: `${GIT}/${repository.path}`,
    actions: ['repo.read', 'repo.fetch', 'repo.push'],
  };
  const delegation = { max_depth: 1, allowed_delegates: [{ sub: 'test-repair' }] };
  const approved = await approve({ ...entry, delegation }, repository);
  const agent = await spawn(repository, approved, 'passkey-login');
  const child = await stage.delegate(approved, 'test-repair', [entry]);
  const sub_agent = await spawn(repository, child, 'passkey-login-tests');
  for (const each of [agent, sub_agent]) {
    await commit(each, 'passkeys');
    expect(await push(each)).toMatchObject({ code: 0 });
    await commit(each, 'migration');
  }
  return { repository, agent, sub_agent };
}

/** Approved for as long as the branch is not frozen. */
function approve(entry: JsonObject, { path }: Repository): Promise<JsonObject> {
  const intent = {
    goal: 'Implement passkey login',
    resources: [entry.resource!],
    purpose: 'urn:example:purpose:passkey-login',
    expires_at: new Date(Date.now() + 24 * 3_600_000).toISOString(),
  };
  const not_frozen = {
    id: 'not-frozen',
    event_type: 'branch.frozen',
    key: path,
    expect: false,
    on_false: 'suspend',
    max_stale_s: 3600,
  };
  return stage.sidecar.mandate(
    proposalBody({
      intent,
      authorization_details: [entry],
      client_id: 'coding-agent',
      conditions: [not_frozen],
    }),
  );
}

async function spawn({ path }: Repository, mandate: JsonObject, branch: string): Promise<Agent> {
  const client_id = String(mandate.client_id);
  const token = await stage.sidecar.tokenFor(mandate, { client_id });
  const session = startSession({ proxy_port: stage.envoy.port, token });
  sessions.push(session);
  expect(await session.git('clone', '--quiet', `http://git.example/${path}`, '.')).toMatchObject({ code: 0 });
  await session.git('checkout', '--quiet', '-b', branch);
  return { client_id, mandate, token, branch, session };
}

async function commit({ session, branch }: Agent, what: string): Promise<void> {
  writeFileSync(join(session.workspace, what), `${what} of ${branch}`);
  await session.git('add', what);
  expect(await session.git('commit', '--quiet', '-m', what)).toMatchObject({ code: 0 });
}

const pushing = ({ branch }: Agent): [string, string, string] => ['push', 'origin', branch];
const push = (agent: Agent) => agent.session.git(...pushing(agent));
const head = async ({ session }: Agent): Promise<string> =>
  (await session.git('rev-parse', 'HEAD')).said.trim();

/** The test-repair agent pushes what its tests pass: git runs them between its read of the refs and its push. */
function testBeforePushing({ session: { workspace } }: Agent) {
  const [running, green] = ['tests-are-running', 'tests-are-green'].map((name) => join(workspace, name));
  const hook = join(workspace, '.git/hooks/pre-push');
  writeFileSync(hook, `#!/bin/sh\ntouch '${running}'\nuntil test -e '${green}'; do sleep 0.02; done\n`);
  chmodSync(hook, 0o755);
  return {
    started: () => waitUntil('the tests run', () => existsSync(running!)),
    passed: () => writeFileSync(green!, ''),
  };
}

/** "On resume, the harness … asks the mandate service whether that mandate is still active". */
const askBeforeResuming = ({ mandate, token }: Agent, { path }: Repository): Promise<JsonObject> =>
  stage.askBefore('resume', mandate, token, { action: { name: 'repo.push' }, resource: `${GIT}/${path}` });

/** From here on: what the sidecar decides, and what gets past Envoy. */
function watch() {
  const [decided, reached] = [stage.sidecar.decisions().length, git.reached.length];
  return {
    decisions: () => stage.sidecar.decisions().slice(decided),
    reached: () => git.reached.slice(reached),
  };
}

const decidedFor = ({ mandate: { id } }: Agent, decisions: readonly JsonObject[]): readonly JsonObject[] =>
  decisions.filter(({ mandate }) => member(mandate, 'id') === id);
const actionOf = ({ action }: JsonObject) => member(action, 'name');

/** Of one agent: the credential good, the policy satisfied, and the approval not there. */
function expectOnlyTheMissionIsGone(agent: Agent, decisions: readonly JsonObject[], state: string): void {
  const own = decidedFor(agent, decisions);
  expect(own.length).toBeGreaterThan(0);
  for (const decision of own) {
    expect(decision).toMatchObject({
      effect: 'deny',
      reason: 'mission_inactive',
      credential: { verdict: 'usable', client_id: agent.client_id },
      mandate: { verdict: 'illegitimate', state },
      request: { verdict: 'permitted' },
    });
  }
}

test('while the approval stands, the agent and its sub-agent push, each under its own name and mandate', async () => {
  const { repository, agent, sub_agent } = await begin();
  const watched = watch();
  for (const each of [agent, sub_agent]) {
    expect(await push(each)).toMatchObject({ code: 0 });
    expect(repository.refs()).toContain(`${await head(each)} commit\trefs/heads/${each.branch}`);
    expect(repository.pusherOf(each.branch)).toBe(`corp/${each.client_id}`);
  }
  const pushes = watched.decisions().filter((decision) => actionOf(decision) === 'repo.push');
  expect(pushes.map(({ effect, mandate }) => [effect, member(mandate, 'lineage')])).toEqual([
    ['allow', [agent.mandate.id]],
    ['allow', [agent.mandate.id, sub_agent.mandate.id]],
  ]);
});

test('revoked overnight: the same sessions wake with everything but the approval, and not one ref moves', async () => {
  const { repository, agent, sub_agent } = await begin();
  const tests = testBeforePushing(sub_agent);
  const retries = sub_agent.session.retry(...pushing(sub_agent));
  // It has read the refs, which was allowed, and is about to push.
  await tests.started();
  for (const { session } of [agent, sub_agent]) session.freeze();
  const refs = repository.refs();

  expect(await stage.operate(agent.mandate, 'revoke', { reason: 'risky migration' })).toMatchObject({
    state: 'revoked',
    cascaded: 1,
  });

  for (const each of [agent, sub_agent]) {
    expect(await askBeforeResuming(each, repository)).toMatchObject({
      effect: 'deny',
      reason: 'mission_inactive',
      next_action: 'stop',
      stop: { cancel_queued: true, interrupt_in_flight: true },
    });
  }
  // A harness that did not care for the answer.
  const morning = watch();
  tests.passed();
  for (const { session } of [agent, sub_agent]) session.thaw();
  const pushed = await push(agent);
  await waitUntil('the sub-agent retries', () => retries().length >= 3);

  expect(pushed).toMatchObject({ code: 128, said: expect.stringContaining('403') });
  expect(retries().every(({ code, said }) => code !== 0 && said.includes('403'))).toBe(true);
  expect(repository.refs()).toBe(refs);
  expect(morning.reached()).toEqual([]);
  const decisions = morning.decisions();
  expectOnlyTheMissionIsGone(agent, decisions, 'revoked');
  expectOnlyTheMissionIsGone(sub_agent, decisions, 'cascaded');
  // The push that the night had cut in two was stopped at its second half; later ones do not get as far.
  expect(decidedFor(sub_agent, decisions).slice(0, 2).map(actionOf)).toEqual(['repo.push', 'repo.read']);
  expect([agent, sub_agent].map(({ session }) => session.isAlive())).toEqual([true, true]);
});

test('a session that crashed is restored with its workspace and a fresh token, and without the mission', async () => {
  const { repository, agent } = await begin();
  const refs = repository.refs();
  await agent.session.stop();
  await stage.operate(agent.mandate, 'revoke');
  // An authorization server that refreshes without asking.
  const token = await stage.sidecar.tokenFor(agent.mandate, { client_id: agent.client_id });
  const session = startSession({ proxy_port: stage.envoy.port, token, workspace: agent.session.workspace });
  sessions.push(session);
  const restored = watch();
  expect(await push({ ...agent, session })).toMatchObject({ code: 128 });
  expectOnlyTheMissionIsGone(agent, restored.decisions(), 'revoked');
  expect(repository.refs()).toBe(refs);
});

test('frozen and suspended: nothing moves until the mission is resumed, and then the same pushes go through', async () => {
  const { repository, agent, sub_agent } = await begin();
  const refs = repository.refs();

  const { version } = await stage.operate(agent.mandate, 'suspend');
  const meanwhile = watch();
  const retries = sub_agent.session.retry(...pushing(sub_agent));
  expect(await push(agent)).toMatchObject({ code: 128, said: expect.stringContaining('403') });
  await waitUntil('the sub-agent retries', () => retries().length >= 3);
  for (const each of [agent, sub_agent]) {
    expect(await askBeforeResuming(each, repository)).toMatchObject({
      effect: 'deny',
      next_action: 'pause',
      stop: { pause: true, cancel_queued: false, revoke_tokens: false },
    });
    expectOnlyTheMissionIsGone(each, meanwhile.decisions(), 'suspended');
  }
  expect(meanwhile.reached()).toEqual([]);
  expect(repository.refs()).toBe(refs);

  await stage.operate(agent.mandate, 'resume', { expected_version: version! });
  expect(await askBeforeResuming(agent, repository)).toMatchObject({ effect: 'allow' });
  expect(await push(agent)).toMatchObject({ code: 0 });
  await waitUntil('the sub-agent is through', () => retries().at(-1)!.code === 0);
  for (const each of [agent, sub_agent]) {
    expect(repository.refs()).toContain(`${await head(each)} commit\trefs/heads/${each.branch}`);
  }
});

test('frozen where it lives: the report alone stops both agents, and only a person lets them go on', async () => {
  const { repository, agent, sub_agent } = await begin();
  const refs = repository.refs();
  const path = `/v1/mandates/${String(agent.mandate.id)}`;

  expect(await report(repository, true)).toMatchObject({ status: 200 });
  const meanwhile = watch();
  for (const each of [agent, sub_agent]) expect(await push(each)).toMatchObject({ code: 128 });
  for (const each of [agent, sub_agent]) expectOnlyTheMissionIsGone(each, meanwhile.decisions(), 'suspended');
  expect((await stage.sidecar.control('POST', `${path}/resume`, { expected_version: 2 })).status).toBe(409);

  await report(repository, false);
  expect(await push(agent)).toMatchObject({ code: 128 });
  expect(repository.refs()).toBe(refs);
  await stage.operate(agent.mandate, 'resume', { expected_version: 2 });
  for (const each of [agent, sub_agent]) expect(await push(each)).toMatchObject({ code: 0 });
});
