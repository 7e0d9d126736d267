/** What a test's authorization server knows of missions: which client acts under which, and what was granted to whom. */
import type { Properties, Provider } from 'oidc-provider';
import type { Basis, Details, MissionClaim } from './authorization-server-issuing.ts';

/** What a person has approved, as far as a refresh token is given for it. */
export interface Granted {
  readonly client_id: string;
  /** Default: alice. */
  readonly subject?: string;
  readonly mission?: MissionClaim;
  readonly authorization_details?: Details;
  /** Default: the server's first. */
  readonly resource?: string;
  /** RFC 9449 section 5: the thumbprint of the key that a refresh must prove. */
  readonly jkt?: string;
}

export interface Grants {
  readonly assign: (client_id: string, mission: MissionClaim | undefined) => void;
  readonly grant: (provider: Provider, granted: Granted & { readonly resource: string }) => Promise<string>;
  /** What a client acts under by itself. */
  readonly ownBasis: (client_id: string) => Basis;
  /** What a refresh token was given for. */
  readonly grantBasis: (grant_id: string) => Basis;
}

export function createGrants(): Grants {
  const assigned = new Map<string, MissionClaim | undefined>();
  const granted = new Map<string, Basis>();
  return {
    assign: (client_id, mission) => void assigned.set(client_id, mission),
    ownBasis: (client_id) => basisOf(client_id, assigned.get(client_id)),
    grantBasis: (grant_id) => granted.get(grant_id)!,
    grant: async (provider, asked) => {
      const { subject = 'alice', mission } = asked;
      const common = await commonOf(provider, asked.client_id, subject);
      const grant = new provider.Grant(common);
      grant.addResourceScope(asked.resource, '');
      const grantId = await grant.save();
      granted.set(grantId, basisOf(subject, mission));
      return new provider.RefreshToken({ ...common, ...refreshOf(asked), grantId }).save();
    },
  };
}

function basisOf(subject: string, mission: MissionClaim | undefined): Basis {
  return mission === undefined ? { subject } : { subject, mission };
}

async function commonOf(provider: Provider, client_id: string, accountId: string): Promise<Properties> {
  const client = await provider.Client.find(client_id);
  if (client === undefined) throw new Error(`there is no client ${client_id}`);
  return { accountId, client, clientId: client_id };
}

/** As a code would have left it behind. */
function refreshOf({ resource, authorization_details, jkt }: Granted): Properties {
  return {
    gty: 'authorization_code',
    expiresWithSession: false,
    rotations: 0,
    ...(resource === undefined ? {} : { resource }),
    ...(authorization_details === undefined ? {} : { rar: authorization_details }),
    ...(jkt === undefined ? {} : { jkt }),
  };
}
