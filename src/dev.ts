/** `mandated dev`: everything embedded and throwaway, the essay's story played once, then it keeps serving. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import { pino } from 'pino';
import { readConfig } from './config.ts';
import { createControlClient } from './control-client.ts';
import { standardError, start } from './main.ts';
import { DEV, type Mission, type MintToken, tellStory } from './story.ts';

export interface DevOptions {
  /** 0: any free port. */
  readonly check_port: number;
  readonly control_port: number;
}

const POLICIES = fileURLToPath(new URL('../policies', import.meta.url));
const TOKEN_LIFETIME_S = 24 * 3600;

export async function dev(options: DevOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-dev-'));
  const discard = (): void => rmSync(folder, { recursive: true, force: true });
  process.on('exit', discard);
  const mint = await openIssuer(folder);
  const file = join(folder, 'mandated.yaml');
  writeFileSync(file, configurationText(options));
  // The operational log would run through the story; what goes wrong is still said.
  const log = pino({ name: 'mandated', base: null, level: 'error' }, standardError());
  const running = await start(readConfig(file, { is_dev: true }), log, () => false);
  const client = createControlClient(
    running.control,
    readFileSync(join(folder, 'data/control-token'), 'utf8').trim(),
  );
  const { live, revoked } = await tellStory({
    check: running.check,
    client,
    mint,
    say,
    hasColour: process.stdout.isTTY && process.stdout.hasColors(),
  });
  say(whatToTry(folder, running, live, revoked));
  return new Promise((resolve) => {
    const stop = (): void => void running.stop().then(() => resolve(0));
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
  });
}

const say = (text: string): void => void process.stdout.write(text);

/** A token issuer for this run alone: its key never leaves the process. */
async function openIssuer(folder: string): Promise<MintToken> {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const key = { ...(await exportJWK(publicKey)), kid: 'dev', alg: 'ES256', use: 'sig' };
  writeFileSync(join(folder, 'keys.json'), JSON.stringify({ keys: [key] }));
  return (mission) =>
    new SignJWT({ client_id: DEV.agent, jti: crypto.randomUUID(), mission: { ...mission } })
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'dev' })
      .setIssuer(DEV.authorization_server)
      .setSubject(DEV.person)
      .setAudience(DEV.resource_server)
      .setIssuedAt()
      .setExpirationTime(`${TOKEN_LIFETIME_S}s`)
      .sign(privateKey);
}

function configurationText({ check_port, control_port }: DevOptions): string {
  return `issuer: ${DEV.issuer}
check: { listen: "127.0.0.1:${check_port}" }
control: { listen: "127.0.0.1:${control_port}" }
store: { engine: sqlite, path: data }
credentials:
  - name: dev
    issuer: ${DEV.authorization_server}
    audiences: [${DEV.resource_server}]
    jwks: { file: keys.json }
    algorithms: [ES256]
actions: ${JSON.stringify(join(POLICIES, 'actions.yaml'))}
policies: { cedar: ${JSON.stringify(join(POLICIES, 'cedar'))}, opa: ${JSON.stringify(join(POLICIES, 'opa'))} }
log: { decisions: decisions.jsonl }
`;
}

function whatToTry(
  folder: string,
  running: { readonly check: string; readonly control: string },
  live: Mission,
  revoked: Mission,
): string {
  writeFileSync(join(folder, 'token'), live.token, { mode: 0o600 });
  writeFileSync(join(folder, 'token-of-the-revoked-mission'), revoked.token, { mode: 0o600 });
  const curl = (token: string): string =>
    `curl -sS -i ${running.check}/envoy${DEV.push_path} -H 'Host: ${DEV.host}' ` +
    `-H "Authorization: Bearer $(cat ${folder}/${token})" ` +
    `-H 'Content-Type: application/json' -d '{"ref":"refs/heads/release"}'`;
  return `
Serving until Ctrl-C. Try both; the tokens are equally alive, the missions are not:

  ${curl('token')}

  ${curl('token-of-the-revoked-mission')}

Checks ${running.check} · control ${running.control} · decisions ${folder}/decisions.jsonl
Stop the live mission, then try the first line again:

  npm run -s mandated -- mandate suspend ${live.id} --control ${running.control} --token-file ${folder}/data/control-token
`;
}
