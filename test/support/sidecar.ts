/** A real `mandated serve` in a process of its own, with a token issuer whose keys the test holds. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import { createControlClient } from '../../src/control-client.ts';
import { type Json, type JsonObject, isObject, member } from '../../src/core/json.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export const AS = 'https://as.example';
export const MANDATES = 'https://mandates.example';
export const GIT = 'https://git.example';

export interface TestIssuer {
  readonly jwks: JsonObject;
  /** A token that is good in every respect; `claims` and `header` replace members, `undefined` removes them. */
  readonly mint: (claims?: Record<string, unknown>, header?: Record<string, unknown>) => Promise<string>;
}

export async function createIssuer(alg = 'ES256', kid = 'k1'): Promise<TestIssuer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const key = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  const mint: TestIssuer['mint'] = (claims = {}, header = {}) => {
    const at = Math.floor(Date.now() / 1000);
    const payload = {
      iss: AS,
      sub: 'alice',
      aud: GIT,
      client_id: 'agent-1',
      iat: at,
      exp: at + 3600,
      jti: crypto.randomUUID(),
      ...claims,
    };
    const kept = { alg, typ: 'at+jwt', kid, ...header };
    return new SignJWT(payload).setProtectedHeader(kept).sign(privateKey);
  };
  return { jwks: { keys: [key] }, mint };
}

export interface SidecarOptions {
  /** Folders under the repository, or absolute; default: the Cedar sample. */
  readonly policies?: { readonly cedar?: string; readonly opa?: string; readonly control?: string };
  readonly actions?: string;
  /** More members of the `corp` entry, as they stand in a YAML map: `dpop: required`. */
  readonly credential?: string;
  /** YAML lines that replace or add top-level keys. */
  readonly extra?: string;
  readonly check?: string;
  readonly control?: string;
  readonly issuer?: TestIssuer;
  /** Whom tokens must be meant for; default: `GIT`, as minted. */
  readonly audience?: string;
  /** Keep the folder of an earlier sidecar: its store, its tokens. */
  readonly folder?: string;
  readonly env?: Record<string, string>;
  /** No file may grow beyond this: a disk that fails. */
  readonly file_limit_kib?: number;
  readonly store_path?: string;
  /** YAML of another store than the embedded one. */
  readonly store?: string;
  /** Where the program is, if not here: another build of it. */
  readonly root?: string;
}

export interface Sidecar {
  readonly folder: string;
  readonly check_port: number;
  readonly control_port: number;
  readonly issuer: TestIssuer;
  readonly process: ChildProcess;
  readonly token_file: string;
  readonly config_file: string;
  /** The decision log so far. */
  readonly decisions: () => readonly JsonObject[];
  readonly stderr: () => string;
  readonly control: (method: string, path: string, body?: Json) => Promise<{ status: number; body: Json }>;
  /** Proposes and approves; answers the record. */
  readonly mandate: (proposal?: JsonObject) => Promise<JsonObject>;
  /** A token whose `mission` claim names the record. */
  readonly tokenFor: (record: JsonObject, claims?: Record<string, unknown>) => Promise<string>;
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | null>;
  /** Stops, and removes the folder. */
  readonly discard: () => Promise<void>;
}

/** A proposal that covers everything below one repository for eight hours. */
export function proposalBody(replaced: JsonObject = {}): JsonObject {
  const resource = `${GIT}/repos/example/app`;
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
    subject: { iss: AS, sub: 'alice' },
    client_id: 'agent-1',
    ...replaced,
  };
}

export async function startSidecar(options: SidecarOptions = {}): Promise<Sidecar> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'mandated-test-'));
  mkdirSync(folder, { recursive: true });
  const issuer = options.issuer ?? (await createIssuer());
  const config_file = join(folder, 'mandated.yaml');
  writeFileSync(join(folder, 'keys.json'), JSON.stringify(issuer.jwks));
  writeFileSync(config_file, configurationText(options));
  const program_file = join(options.root ?? ROOT, 'src/mandated.mjs');
  const command = [process.execPath, program_file, 'serve', '--config', config_file];
  const limit = options.file_limit_kib;
  const [program, ...args] =
    limit === undefined ? command : ['bash', '-c', `ulimit -f ${limit}; exec "$@"`, '-', ...command];
  const child = spawn(program!, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  const exited = new Promise<number | null>((resolve) => child.on('exit', (code) => resolve(code)));
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const addresses = await new Promise<{ check: string; control: string }>((resolve, reject) => {
    child.stderr.on('data', () => {
      const line = stderr.split('\n').find((each) => each.includes('"msg":"serving"'));
      if (line !== undefined) resolve(JSON.parse(line) as { check: string; control: string });
    });
    void exited.then((code) => reject(new Error(`mandated ended with ${code}: ${stderr}`)));
  });
  const token_file = join(options.store_path ?? join(folder, 'data'), 'control-token');
  const client = createControlClient(addresses.control, readFileSync(token_file, 'utf8').trim());
  const mandate: Sidecar['mandate'] = async (proposal = proposalBody()) => {
    const proposed = await client.call('POST', '/v1/proposals', proposal);
    const path = `/v1/proposals/${String(member(proposed.body, 'submission_id'))}/approve`;
    const approved = await client.call('POST', path, {
      proposal_hash: member(proposed.body, 'proposal_hash') ?? '',
    });
    if (approved.status !== 201 || !isObject(approved.body))
      throw new Error(JSON.stringify([proposed, approved]));
    return approved.body;
  };
  const stop: Sidecar['stop'] = (signal = 'SIGKILL') => {
    child.kill(signal);
    return exited;
  };
  return {
    folder,
    check_port: Number(URL.parse(addresses.check)?.port),
    control_port: Number(URL.parse(addresses.control)?.port),
    issuer,
    process: child,
    token_file,
    config_file,
    decisions: () => readLines(join(folder, 'decisions.jsonl')),
    stderr: () => stderr,
    control: client.call,
    mandate,
    tokenFor: (record, claims = {}) => {
      const { id, issuer: iss, authority_hash } = record;
      return issuer.mint({ mission: { id, issuer: iss, authority_hash }, ...claims });
    },
    stop,
    discard: async () => {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Whole lines only: the sidecar may be in the middle of the next one. */
export function readLines(file: string): readonly JsonObject[] {
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as JsonObject);
}

function configurationText(options: SidecarOptions): string {
  const { policies, actions, extra, check, control, audience = GIT, store_path, store, credential } = options;
  const folders = Object.entries(policies ?? { cedar: 'policies/cedar' }).flatMap(([name, folder]) =>
    folder === undefined
      ? []
      : [`${name}: ${JSON.stringify(join(folder.startsWith('/') ? '' : ROOT, folder))}`],
  );
  return `issuer: ${MANDATES}
check: ${check ?? '{ listen: "127.0.0.1:0", deadline_ms: 2000, shutdown_grace_ms: 200 }'}
control: ${control ?? '{ listen: "127.0.0.1:0" }'}
store: ${store ?? `{ engine: sqlite, path: ${store_path ?? 'data'} }`}
credentials:
  - { name: corp, issuer: "${AS}", audiences: ["${audience}"], jwks: { file: keys.json }, algorithms: [ES256]${credential === undefined ? '' : `, ${credential}`} }
actions: ${JSON.stringify(actions ?? join(ROOT, 'policies/actions.yaml'))}
policies: { ${folders.join(', ')} }
log: { decisions: decisions.jsonl }
${extra ?? ''}
`;
}
