/** What an authorization server that knows of missions asks a sidecar before it issues (design/2, The check points). */
import { type Json, type JsonObject, isObject, member } from '../../src/core/json.ts';
import { TOKEN_EXCHANGE } from './authorization-server-clients.ts';
import type {
  BeforeIssue,
  Details,
  Issuing,
  MissionClaim,
  Permitted,
  Refused,
} from './authorization-server-issuing.ts';
import { question } from './question.ts';
import type { Sidecar } from './sidecar.ts';

const AWAY: Refused = { error: 'temporarily_unavailable', mission_error: 'temporarily_unavailable' };

/** `current`: whom to ask now. */
export function missionHook(current: () => Sidecar): BeforeIssue {
  return async (issuing) => {
    const { mission } = issuing;
    if (mission === undefined) return { error: 'invalid_grant' };
    try {
      return await asked(current(), issuing, mission);
    } catch (error) {
      // Nobody listens there. Anything else is a defect, of this file or of the sidecar.
      if (CONNECTION.has(String(member(error as Json, 'code')))) return AWAY;
      throw error;
    }
  };
}

const CONNECTION: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET']);

async function asked(
  sidecar: Sidecar,
  issuing: Issuing,
  mission: MissionClaim,
): Promise<Permitted | Refused> {
  const { requested, granted, cnf } = issuing;
  const details = requested ?? granted;
  const answer = await question(sidecar, {
    point: pointOf(issuing),
    of: { id: mission.id },
    caller: 'operator',
    more: {
      ...(details === undefined ? {} : { authorization_details: details }),
      ...(cnf === undefined ? {} : { cnf }),
    },
  });
  // What cannot be read as authority is not what anybody was granted.
  if (answer.status === 400) return { error: 'invalid_authorization_details' };
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body.effect === 'allow' ? permitted(sidecar, mission, answer.body) : refused(answer.body);
}

/** What was granted once, with a refresh token or the token that is exchanged, is given as far as it is left. */
function pointOf({ grant_type, requested }: Issuing): 'issue' | 'refresh' {
  const isExchange = grant_type === TOKEN_EXCHANGE && requested === undefined;
  return grant_type === 'refresh_token' || isExchange ? 'refresh' : 'issue';
}

function refused({ error, mission_error }: JsonObject): Refused {
  return { error: String(error), mission_error: String(mission_error) };
}

/** A token joins by the hash of the current terms, which stands in the record. */
async function permitted(
  sidecar: Sidecar,
  mission: MissionClaim,
  answer: JsonObject,
): Promise<Permitted | Refused> {
  const { status, body } = await sidecar.control('GET', `/v1/mandates/${mission.id}`);
  if (status !== 200 || !isObject(body)) return AWAY;
  // It has changed between the two questions, so that the first is to be asked again.
  if (body.version !== answer.version) return AWAY;
  return {
    authorization_details: answer.authorization_details as Details,
    max_exp: String(answer.max_exp),
    mission: { ...mission, authority_hash: String(body.authority_hash) },
  };
}
