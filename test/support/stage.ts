/** Where a story plays: a sidecar with the story's own actions and policy, and a real Envoy before its upstream. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Json, type JsonObject, isObject } from '../../src/core/json.ts';
import { type Envoy, startEnvoy } from '../tools/envoy.ts';
import { askNative } from './ask.ts';
import { MANDATES, type Sidecar, startSidecar } from './sidecar.ts';

export interface StageOptions {
  /** The text of `actions.yaml`. */
  readonly actions: string;
  /** Cedar. */
  readonly policy: string;
  /** The resource server that tokens are meant for. */
  readonly audience: string;
  readonly upstream_port: number;
}

export interface Stage {
  readonly sidecar: Sidecar;
  readonly envoy: Envoy;
  /** Makes a child of a mandate; answers its record. */
  readonly delegate: (
    parent: JsonObject,
    client_id: string,
    authorization_details: readonly Json[],
  ) => Promise<JsonObject>;
  /** Answers what the operation did. */
  readonly operate: (mandate: JsonObject, operation: string, more?: JsonObject) => Promise<JsonObject>;
  /** What a harness asks of the mandate service before it goes on, with the agent's own token. */
  readonly askBefore: (
    check_point: 'resume' | 'retry',
    mandate: JsonObject,
    token: string,
    step: JsonObject,
  ) => Promise<JsonObject>;
  readonly stop: () => Promise<void>;
}

export async function startStage({ upstream_port, ...options }: StageOptions): Promise<Stage> {
  const sidecar = await startSidecarWith(options);
  const envoy = await startEnvoy({
    authorizer_port: sidecar.check_port,
    upstream_port,
    with_request_body: { max_request_bytes: 65_536 },
    timeout_ms: 5000,
  });
  const post = async (path: string, body: Json, expected: number): Promise<JsonObject> => {
    const answer = await sidecar.control('POST', path, body);
    if (answer.status === expected && isObject(answer.body)) return answer.body;
    throw new Error(`${path}: ${JSON.stringify(answer)}`);
  };
  return {
    sidecar,
    envoy,
    delegate: (parent, client_id, authorization_details) =>
      post(`/v1/mandates/${String(parent.id)}/children`, { client_id, authorization_details }, 201),
    operate: ({ id }, operation, more = {}) => post(`/v1/mandates/${String(id)}/${operation}`, more, 200),
    askBefore: async (check_point, { id }, token, step) => {
      const mandate = { id: id!, issuer: MANDATES };
      const question = { check_point, mandate, credential: { token }, ...step };
      return (await askNative(sidecar.check_port, question)).body;
    },
    stop: async () => {
      await envoy.stop();
      await sidecar.discard();
    },
  };
}

function startSidecarWith({
  actions,
  policy,
  audience,
}: Omit<StageOptions, 'upstream_port'>): Promise<Sidecar> {
  const folder = mkdtempSync(join(tmpdir(), 'mandated-story-'));
  const [actions_file, cedar] = [join(folder, 'actions.yaml'), join(folder, 'cedar')];
  writeFileSync(actions_file, actions);
  mkdirSync(cedar);
  writeFileSync(join(cedar, 'story.cedar'), policy);
  // Patient with a busy machine.
  const check = '{ listen: "127.0.0.1:0", deadline_ms: 1000 }';
  return startSidecar({ folder, actions: actions_file, policies: { cedar }, check, audience });
}
