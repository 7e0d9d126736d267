/** The native question as a harness asks it: a push under a mandate, with what is given put in its place. */
import { readFileSync } from 'node:fs';
import { type JsonObject, member } from '../../src/core/json.ts';
import { type Answered, ask } from './ask.ts';
import { GIT, MANDATES, type Sidecar } from './sidecar.ts';

export interface Asked {
  readonly point?: string;
  /** The mandate that it names; null for none. */
  readonly of?: JsonObject | null;
  /** The caller's own credential: `operator`, or a token. */
  readonly caller?: string;
  /** The agent's. */
  readonly token?: string;
  readonly more?: JsonObject;
}

export const RESOURCE = `${GIT}/repos/example/app`;
export const PUSH_PARAMETERS = { ref: 'refs/heads/release' };

export function question(
  sidecar: Sidecar,
  { point = 'tool', of = null, caller, token, more = {} }: Asked,
): Promise<Answered> {
  const isAboutAction = !['renew', 'commit', 'delegate', 'issue', 'refresh'].includes(point);
  const body = {
    check_point: point,
    ...(isAboutAction
      ? { action: { name: 'repo.push' }, resource: RESOURCE, parameters: PUSH_PARAMETERS }
      : {}),
    ...(of === null ? {} : { mandate: { id: of.id!, issuer: MANDATES } }),
    ...(token === undefined ? {} : { credential: { token } }),
    ...more,
  };
  const own = caller === 'operator' ? readFileSync(sidecar.token_file, 'utf8').trim() : caller;
  const authorization = own === undefined ? {} : { authorization: `Bearer ${own}` };
  const headers = { 'content-type': 'application/json', ...authorization };
  return ask(sidecar.check_port, { method: 'POST', path: '/v1/check', headers, body: JSON.stringify(body) });
}

export const verdicts = ({ body }: { readonly body: JsonObject }): string =>
  ['credential', 'mandate', 'request'].map((part) => String(member(body[part], 'verdict'))).join(' ');

/** Effect and reason in one: `allow`, or the reason of the deny. */
export const outcome = ({ body }: { readonly body: JsonObject }): string =>
  body.effect === 'allow' ? 'allow' : String(body.reason);
