/** What a sidecar says of the tokens that it has had revoked: in its metrics, and in the mandate's history. */
import { type Json, type JsonObject, member } from '../../src/core/json.ts';
import type { Sidecar } from '../support/sidecar.ts';

export async function metricsOf({ control_port }: Sidecar): Promise<string> {
  return (await fetch(`http://127.0.0.1:${control_port}/metrics`)).text();
}

/** A series as it stands there, with its labels; 0 where it does not. */
async function figure(sidecar: Sidecar, series: string): Promise<number> {
  const line = (await metricsOf(sidecar)).split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length));
}

export const waiting = (sidecar: Sidecar): Promise<number> =>
  figure(sidecar, 'mandated_token_revocations_waiting');

export const told = (sidecar: Sidecar, outcome: string): Promise<number> =>
  figure(sidecar, `mandated_token_revocations_total{outcome="${outcome}"}`);

export async function historyOf(sidecar: Sidecar, { id }: JsonObject): Promise<readonly JsonObject[]> {
  const { body } = await sidecar.control('GET', `/v1/mandates/${String(id)}/history`);
  return member(body, 'items') as readonly JsonObject[];
}

/** The notes of tokens that were revoked elsewhere. */
export async function notesOf(sidecar: Sidecar, record: JsonObject): Promise<readonly JsonObject[]> {
  return (await historyOf(sidecar, record)).filter(({ operation }) => operation === 'revoke_tokens');
}

export async function operate(
  sidecar: Sidecar,
  { id }: JsonObject,
  operation: string,
  own: JsonObject = {},
): Promise<Json> {
  const { status, body } = await sidecar.control('POST', `/v1/mandates/${String(id)}/${operation}`, own);
  if (status !== 200 && status !== 202) throw new Error(`${operation}: ${JSON.stringify(body)}`);
  return body;
}
