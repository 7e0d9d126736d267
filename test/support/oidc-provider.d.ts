/** What the tests use of oidc-provider 9.13.3, which brings no types of its own. */

declare module 'oidc-provider' {
  import type { EventEmitter } from 'node:events';
  import type { IncomingMessage, ServerResponse } from 'node:http';

  type Details = readonly { readonly [name: string]: unknown }[];

  export interface Client {
    readonly clientId: string;
    readonly tlsClientCertificateBoundAccessTokens?: boolean;
  }

  export interface ResourceServerInfo {
    readonly scope: string;
    readonly audience?: string;
    readonly accessTokenTTL?: number;
    readonly accessTokenFormat?: 'opaque' | 'jwt';
    readonly jwt?: { readonly sign: { readonly alg: string } };
  }

  export interface ResourceServer extends ResourceServerInfo {
    identifier(): string;
  }

  /** What every model is made of. */
  export interface Properties {
    readonly accountId?: string;
    readonly client?: Client;
    readonly clientId?: string;
    readonly expiresWithSession?: boolean;
    readonly grantId?: string;
    readonly gty?: string;
    readonly jkt?: string;
    readonly rar?: Details;
    readonly resource?: string;
    readonly rotations?: number;
    readonly scope?: string;
    readonly 'x5t#S256'?: string;
  }

  /** An instance of any of the models. */
  export interface Model extends Properties {
    iat?: number;
    exp?: number;
    readonly expiration: number;
    readonly extra?: { readonly [name: string]: unknown };
    resourceServer?: ResourceServer | undefined;
    readonly tokenType: string;
    save(): Promise<string>;
    setThumbprint(kind: 'jkt' | 'x5t', of: unknown): void;
    addResourceScope(resource: string, scope: string): void;
  }

  export interface ModelClass {
    new (properties: Properties): Model;
    find(value: string): Promise<Model | undefined>;
  }

  export interface Context {
    readonly req: IncomingMessage;
    body: unknown;
    get(header: string): string;
    readonly oidc: {
      readonly client: Client;
      readonly params: Record<string, string | undefined>;
      readonly entities: { readonly RefreshToken?: Model; readonly Grant?: Model };
      entity(name: string, value: Model): void;
    };
  }

  export interface Adapter {
    upsert(id: string, payload: Stored, expires_in_s?: number): Promise<void>;
    find(id: string): Promise<Stored | undefined>;
    findByUid(uid: string): Promise<Stored | undefined>;
    findByUserCode(code: string): Promise<Stored | undefined>;
    consume(id: string): Promise<void>;
    destroy(id: string): Promise<void>;
    revokeByGrantId(grant_id: string): Promise<void>;
  }

  export interface Stored {
    readonly grantId?: string;
    readonly consumed?: number;
    readonly [name: string]: unknown;
  }

  export class Provider {
    constructor(issuer: string, configuration: object);
    readonly AccessToken: ModelClass;
    readonly ClientCredentials: ModelClass;
    readonly RefreshToken: ModelClass;
    readonly Grant: ModelClass;
    readonly Client: { find(client_id: string): Promise<Client | undefined> };
    callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>;
    on(
      event: 'grant.error' | 'introspection.error' | 'server_error',
      listener: (ctx: Context, error: Error) => void,
    ): EventEmitter;
    registerGrantType(
      name: string,
      handler: (ctx: Context) => Promise<void>,
      parameters: readonly string[],
      may_repeat: readonly string[],
    ): void;
  }

  export namespace errors {
    class OIDCProviderError extends Error {
      constructor(status: number, error: string, options?: { readonly cause?: unknown });
      expose: boolean;
      error_description?: string;
    }
    class InvalidGrant extends OIDCProviderError {
      constructor(detail: string);
    }
    class InvalidRequest extends OIDCProviderError {
      constructor(description: string);
    }
    class InvalidTarget extends OIDCProviderError {
      constructor(description?: string);
    }
    class InvalidAuthorizationDetails extends OIDCProviderError {
      constructor(description?: string);
    }
  }
}

/** "Grant implementation helpers for custom grant types" (its own words), outside semantic versioning. */
declare module 'oidc-provider/lib/helpers/grants.js' {
  import type { Client, Context, Details, Model, Provider, ResourceServer } from 'oidc-provider';

  interface Proof {
    readonly thumbprint: string;
    readonly jti: string;
  }

  export function validateDpop(provider: Provider, ctx: Context): Promise<Proof | undefined>;
  export function checkDpopReplay(
    provider: Provider,
    ctx: Context,
    proof: Proof | undefined,
    client_id: string,
  ): Promise<void>;
  export function checkDpopRequired(provider: Provider, ctx: Context, proof: Proof | undefined): void;
  /** The certificate, where the client's tokens are bound to one. */
  export function checkMtlsCert(provider: Provider, ctx: Context): unknown;
  export function resolveRequestedResources(
    provider: Provider,
    ctx: Context,
  ): Promise<readonly ResourceServer[]>;
  export function applyAuthorizationDetails(provider: Provider, ctx: Context, token: Model): Promise<void>;
  export function buildTokenResponse(
    provider: Provider,
    parts: {
      readonly accessToken: string;
      readonly authorizationDetails?: Details | undefined;
      readonly expiresIn: number;
      readonly issuedTokenType: string;
      readonly tokenType: string;
    },
  ): object;
}
