/**
 * The essay's story on a terminal, every line of it a real call: approved, allowed, the session crashes, the mission
 * is revoked meanwhile, and the same live token is denied when the session resumes.
 */
import { request } from 'node:http';
import type { ControlClient } from './control-client.ts';
import { type Json, type JsonObject, isObject, member, parseJson } from './core/json.ts';

/** The parties of the throwaway setting. */
export const DEV = {
  issuer: 'https://mandates.example',
  authorization_server: 'https://as.example',
  resource_server: 'https://git.example',
  host: 'git.example',
  person: 'alice',
  agent: 'release-agent',
  push_path: '/repos/example/app/git/refs',
} as const;

export type MintToken = (mission: {
  readonly id: string;
  readonly issuer: string;
  readonly authority_hash: string;
}) => Promise<string>;

export interface Mission {
  readonly id: string;
  readonly version: number;
  readonly token: string;
}

export interface Stage {
  readonly check: string;
  readonly client: ControlClient;
  readonly mint: MintToken;
  readonly say: (text: string) => void;
  readonly hasColour: boolean;
}

/** Plays it; afterwards one mission is alive and one is revoked, each with a token that is alive. */
export async function tellStory(
  stage: Stage,
): Promise<{ readonly live: Mission; readonly revoked: Mission }> {
  const { say } = stage;
  say('\nmandated: three questions, asked apart, for every request of an agent\n\n');
  const mission = await begin(stage);
  say(`  1  The release of example/app is approved: ${mission.id}\n`);
  say('  2  The agent pushes to the release branch.\n');
  show(stage, await push(stage, mission.token));
  say(
    '  3  The session crashes. While it is down, a reviewer finds a risky migration and revokes the mission.\n',
  );
  await operate(stage, mission.id, 'revoke', 'risky migration');
  say('  4  The session resumes from its checkpoint: same workspace, same token, same next step.\n');
  show(stage, await push(stage, mission.token));
  say(
    '     The token is as good as before, and the policy would still permit the push. The approval behind it is gone.\n',
  );
  return { revoked: mission, live: await begin(stage) };
}

async function begin({ client, mint }: Stage): Promise<Mission> {
  const proposal = await ok(client.call('POST', '/v1/proposals', proposalBody()));
  const path = `/v1/proposals/${String(proposal.submission_id)}/approve`;
  const record = await ok(client.call('POST', path, { proposal_hash: proposal.proposal_hash! }));
  const id = String(record.id);
  const token = await mint({ id, issuer: DEV.issuer, authority_hash: String(record.authority_hash) });
  return { id, version: Number(record.version), token };
}

function proposalBody(): JsonObject {
  const resource = `${DEV.resource_server}/repos/example/app`;
  return {
    intent: {
      goal: 'Release version 1.4 of example/app',
      resources: [resource],
      purpose: 'urn:example:purpose:release',
      expires_at: new Date(Date.now() + 8 * 3_600_000).toISOString(),
    },
    authorization_details: [
      { type: 'mission_resource_access', resource, resource_match: 'prefix', actions: ['repo.*'] },
    ],
    subject: { iss: DEV.authorization_server, sub: DEV.person },
    client_id: DEV.agent,
  };
}

async function operate({ client }: Stage, id: string, operation: string, reason: string): Promise<void> {
  await ok(client.call('POST', `/v1/mandates/${id}/${operation}`, { reason }));
}

async function ok(call: ReturnType<ControlClient['call']>): Promise<JsonObject> {
  const { status, body } = await call;
  if (status < 300 && isObject(body)) return body;
  throw new Error(`the control listener answered ${status}: ${JSON.stringify(body)}`);
}

interface Shown {
  readonly status: number;
  readonly body: Json;
}

/** What Envoy would send for the agent's request. */
function push({ check }: Stage, token: string): Promise<Shown> {
  const body = JSON.stringify({ ref: 'refs/heads/release' });
  const headers = {
    host: DEV.host,
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  };
  return new Promise((resolve, reject) => {
    const sent = request(`${check}/envoy${DEV.push_path}`, { method: 'POST', headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const parsed = parseJson(Buffer.concat(chunks).toString('utf8') || 'null');
        resolve({ status: response.statusCode ?? 0, body: parsed.ok ? parsed.value : null });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function show({ say, hasColour }: Stage, { status, body }: Shown): void {
  const paint = (text: string, isGood: boolean): string =>
    hasColour ? `\u001b[${isGood ? 32 : 31}m${text}\u001b[0m` : text;
  const isAllowed = status === 200;
  // An allow is lean: it has no body, and all three said yes.
  const verdict = (part: string, yes: string): string => {
    const said = isAllowed ? yes : String(member(member(body, part), 'verdict'));
    return paint(said, said === yes);
  };
  const state = isAllowed ? '' : ` (${String(member(member(body, 'mandate'), 'state'))})`;
  say(`       credential ${verdict('credential', 'usable')}`);
  say(` · mandate ${verdict('mandate', 'legitimate')}${state}`);
  say(` · request ${verdict('request', 'permitted')}`);
  say(
    `   →  ${paint(isAllowed ? '200 allow' : `${status} ${String(member(body, 'reason'))}`, isAllowed)}\n\n`,
  );
}
