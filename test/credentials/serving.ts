/** A real `mandated serve` with several issuers, and its two doors asked by whoever holds a token of one. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createControlClient } from '../../src/control-client.ts';
import { type Json, type JsonObject, isObject, member } from '../../src/core/json.ts';
import { type Answered, ask, askEnvoyDoor } from '../support/ask.ts';
import { GIT, MANDATES, ROOT, proposalBody, readLines } from '../support/sidecar.ts';
import { JWKS, type Members, mintToken } from './minting.ts';

export const RESOURCE = `${GIT}/repos/example/app`;
export const CONTENTS = '/repos/example/app/contents';
export const REFS = '/repos/example/app/git/refs';

export interface Serving {
  /** One issuer for each name, with these members in its entry beside the required ones. */
  readonly issuers: Readonly<Record<string, JsonObject>>;
  readonly check?: JsonObject;
  readonly control?: JsonObject;
  readonly policies?: JsonObject;
  /** Top-level keys beside these. */
  readonly more?: JsonObject;
}

export interface Served {
  readonly check_port: number;
  readonly control_port: number;
  readonly decisions: () => readonly JsonObject[];
  readonly stderr: () => string;
  readonly control: (method: string, path: string, body?: Json) => Promise<{ status: number; body: Json }>;
  readonly discard: () => Promise<void>;
}

export const issuerOf = (name: string): string => `https://${name}.example`;

export function entryOf(name: string, more: JsonObject = {}, audience = GIT): JsonObject {
  const jwks = { file: 'keys.json' };
  return { name, issuer: issuerOf(name), audiences: [audience], jwks, algorithms: ['ES256'], ...more };
}

/** JSON is YAML. */
function configuration({ issuers, check, control, policies, more }: Serving): JsonObject {
  return {
    issuer: MANDATES,
    check: { listen: '127.0.0.1:0', deadline_ms: 2000, shutdown_grace_ms: 0, ...check },
    control: { listen: '127.0.0.1:0', ...control },
    store: { engine: 'sqlite', path: 'data' },
    credentials: Object.entries(issuers).map(([name, own]) => entryOf(name, own)),
    actions: join(ROOT, 'policies/actions.yaml'),
    policies: policies ?? { cedar: join(ROOT, 'policies/cedar') },
    log: { decisions: 'decisions.jsonl' },
    ...more,
  };
}

export async function serve(serving: Serving): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-credentials-'));
  const config_file = join(folder, 'mandated.yaml');
  writeFileSync(join(folder, 'keys.json'), JSON.stringify(JWKS));
  writeFileSync(config_file, JSON.stringify(configuration(serving)));
  const argv = [join(ROOT, 'src/mandated.mjs'), 'serve', '--config', config_file];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = new Promise<number | null>((resolve) => child.on('exit', resolve));
  let stderr = '';
  const at = await new Promise<{ check: string; control: string }>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      const line = stderr.split('\n').find((each) => each.includes('"msg":"serving"'));
      if (line !== undefined) resolve(JSON.parse(line) as { check: string; control: string });
    });
    void exited.then((code) => reject(new Error(`mandated ended with ${code}: ${stderr}`)));
  });
  return {
    check_port: Number(new URL(at.check).port),
    control_port: Number(new URL(at.control).port),
    decisions: () => readLines(join(folder, 'decisions.jsonl')),
    stderr: () => stderr,
    control: createControlClient(at.control, readFileSync(join(folder, 'data/control-token'), 'utf8').trim())
      .call,
    discard: async () => {
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Proposes and approves a mandate of alice at this issuer, for its `agent-1`. */
export async function mandateOf(served: Served, name: string, more: JsonObject = {}): Promise<JsonObject> {
  const proposal = proposalBody({ subject: { iss: issuerOf(name), sub: 'alice' }, ...more });
  const proposed = await served.control('POST', '/v1/proposals', proposal);
  const path = `/v1/proposals/${String(member(proposed.body, 'submission_id'))}/approve`;
  const proposal_hash = member(proposed.body, 'proposal_hash') ?? '';
  const { status, body } = await served.control('POST', path, { proposal_hash });
  if (status !== 201 || !isObject(body)) throw new Error(JSON.stringify([proposed, body]));
  return body;
}

/** A token of this issuer whose `mission` claim names the record. */
export function tokenOf(
  name: string,
  { id, issuer, authority_hash }: JsonObject,
  claims: Members = {},
): string {
  return mintToken(issuerOf(name), { mission: { id, issuer, authority_hash }, ...claims });
}

/** How a token is shown at one of the doors. */
export interface Showing {
  readonly token: string;
  readonly scheme?: string;
  readonly proof?: Json;
  readonly certificate?: Json;
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** Of a native question: members that replace its own. */
  readonly more?: Members;
  readonly body?: string;
}

export type Door = (served: Served, showing: Showing) => Promise<Answered>;

/** As Envoy asks: a read of the repository's contents, unless something else is said. */
export const envoyDoor: Door = (served, showing) => {
  const { token, scheme = 'DPoP', proof, method = 'GET', path = CONTENTS, host = 'git.example' } = showing;
  const shown = proof === undefined ? {} : { dpop: proof as string | string[] };
  const headers = { host, authorization: `${scheme} ${token}`, ...shown, ...showing.headers };
  const body = showing.body === undefined ? {} : { body: showing.body };
  return askEnvoyDoor(served.check_port, undefined, { method, path, headers, ...body });
};

/** The same as a native question. */
export const nativeDoor: Door = (served, showing) => {
  const { token, proof, certificate, method = 'GET', path = CONTENTS, host = 'git.example', more } = showing;
  const credential = {
    token,
    ...(proof === undefined ? {} : { dpop: proof }),
    ...(certificate === undefined ? {} : { certificate_sha256: certificate }),
  };
  const url = `https://${host}${path}`;
  const asked = {
    check_point: 'tool',
    action: { name: 'repo.read' },
    resource: RESOURCE,
    credential,
    method,
    url,
  };
  const question = JSON.stringify({ ...asked, ...more });
  const headers = { 'content-type': 'application/json', ...showing.headers };
  return ask(served.check_port, { method: 'POST', path: '/v1/check', headers, body: question });
};

export const DOORS: Readonly<Record<string, Door>> = { '/envoy': envoyDoor, '/v1/check': nativeDoor };

export const PUSH_AT_ENVOY = {
  method: 'POST',
  path: REFS,
  headers: { 'content-type': 'application/json' },
  body: '{"ref":"refs/heads/release"}',
} as const;
export const PUSH_ASKED = {
  action: { name: 'repo.push' },
  parameters: { ref: 'refs/heads/release' },
} as const;

/** `allow`, or the reason of the deny, whatever the door. */
export function outcomeOf({ status, body }: Answered): string {
  if (status === 200) return body.effect === 'deny' ? String(body.reason) : 'allow';
  return String(body.reason ?? status);
}

/** The challenges of a `WWW-Authenticate` value: for each scheme its parameters. */
export function challengesOf({
  headers,
}: Answered): Readonly<Record<string, Readonly<Record<string, string>>>> {
  const found: Record<string, Record<string, string>> = {};
  let last: Record<string, string> = {};
  for (const [, name, value] of String(headers['www-authenticate'] ?? '').matchAll(
    /([\w-]+)(?:="([^"]*)")?/g,
  )) {
    if (value === undefined) found[name!] = last = {};
    else last[name!] = value;
  }
  return found;
}

const part = (body: JsonObject, name: string): JsonObject => {
  const found = body[name];
  return isObject(found) ? found : {};
};

/** design/7 and 8: the credential is what failed, nothing else was judged, and nothing of anybody is told. */
export function expectRefused({ status, headers, body }: Answered, record: JsonObject): void {
  expect(body).toMatchObject({ effect: 'deny', reason: 'credential_invalid', next_action: 'none' });
  expect([200, 401]).toContain(status);
  expect(part(body, 'credential')).toMatchObject({ verdict: 'unusable', reason: 'credential_invalid' });
  expect(part(body, 'mandate')).toEqual({ verdict: 'not_evaluated' });
  expect(part(body, 'request')).toEqual({ verdict: 'not_evaluated' });
  expect(part(body, 'freshness')).toEqual({ source: 'none' });
  const text = `${JSON.stringify(body)} ${JSON.stringify(headers)}`;
  for (const told of [String(record.id), 'msn_', 'alice', 'agent-1']) expect(text).not.toContain(told);
}

/** The parts of an answer that a test speaks of. */
export const partOf = ({ body }: Answered, name: string): JsonObject => part(body, name);
