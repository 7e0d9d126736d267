/** What an authorization server that knows of missions asks a sidecar before it issues (design/2, The check points). */
import { type Json, type JsonObject, member } from '../../src/core/json.ts';
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
  const { requested, granted, cnf, client_id } = issuing;
  const details = requested ?? granted;
  const answer = await question(sidecar, {
    point: pointOf(issuing),
    of: { id: mission.id },
    caller: 'operator',
    more: {
      client_id,
      ...(details === undefined ? {} : { authorization_details: details }),
      ...(cnf === undefined ? {} : { cnf }),
    },
  });
  // What cannot be read as authority is not what anybody was granted.
  if (answer.status === 400) return { error: 'invalid_authorization_details' };
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body.effect === 'allow' ? permitted(answer.body) : refused(answer.body);
}

/** What was granted once, with a refresh token or the token that is exchanged, is given as far as it is left. */
function pointOf({ grant_type, requested }: Issuing): 'issue' | 'refresh' {
  const isExchange = grant_type === TOKEN_EXCHANGE && requested === undefined;
  return grant_type === 'refresh_token' || isExchange ? 'refresh' : 'issue';
}

function refused({ error, mission_error }: JsonObject): Refused {
  return { error: String(error), mission_error: String(mission_error) };
}

/** The claim is what the token joins by, and that of the current terms. */
function permitted({ authorization_details, max_exp, mission }: JsonObject): Permitted {
  return {
    authorization_details: authorization_details as Details,
    max_exp: String(max_exp),
    mission: mission as unknown as MissionClaim,
  };
}
