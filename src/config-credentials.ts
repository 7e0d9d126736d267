/** `credentials` and `control.issuers` of the configuration: their shape, and what of it cannot be. */
import { z } from 'zod';
import { ACTION_CLASSES } from './core/classes.ts';

export interface ConfigOptions {
  /** `mandated dev`: keys may come over plain http from loopback. */
  readonly is_dev: boolean;
}

export const path = z.string().min(1, 'expected a path');

const ASYMMETRIC = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;

const jwks = z.union(
  [
    z.strictObject({ file: path }),
    z.strictObject({
      uri: z.string().max(2048),
      min_interval_ms: z.int().min(100).max(3_600_000).default(30_000),
      max_age_ms: z.int().min(1000).max(86_400_000).default(600_000),
    }),
  ],
  'expected `{file}`, or `{uri, min_interval_ms, max_age_ms}`',
);

/** Who this product is to an authorization server, and how that is shown: in exactly one way. */
const asClient = {
  endpoint: z.string().max(2048),
  client_id: z.string().min(1).max(512),
  client_secret_file: path.optional(),
  /** A JWK, which names its algorithm. */
  private_key_file: path.optional(),
  /** A certificate of the client's own (RFC 8705 section 2). */
  tls: z.strictObject({ cert: path, key: path }).optional(),
  /** Certificate authorities of the endpoint, PEM; default: those of the machine. */
  ca: path.optional(),
};

const introspection = z.strictObject({
  ...asClient,
  cache_ms: z.int().min(0).max(60_000).default(5000),
  /** Answers must be signed (RFC 9701), with the keys of `jwks`. */
  signed: z.boolean().default(false),
});

/** Where tokens are revoked once their mandate has ended (RFC 7009). */
const revocation = z.strictObject(asClient);

export const credential = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/, 'expected a short name of letters, digits, `.`, `_` or `-`'),
  issuer: z.string().min(1).max(512),
  audiences: z.array(z.string().min(1)).min(1, 'expected at least one audience'),
  jwks: jwks.optional(),
  introspection: introspection.optional(),
  revocation: revocation.optional(),
  algorithms: z.array(z.enum(ASYMMETRIC)).min(1, 'expected at least one asymmetric algorithm'),
  token_types: z.array(z.string().min(1).toLowerCase()).min(1).default(['at+jwt']),
  dpop: z.enum(['off', 'supported', 'required']).default('off'),
  /** Proofs must have a nonce; sidecars that have the same secret know each other's. */
  dpop_nonce: z.strictObject({ secret_file: path.optional() }).optional(),
  mtls: z.literal('xfcc').optional(),
  require_proof: z.array(z.enum(ACTION_CLASSES).exclude(['non_consequential'])).default([]),
  max_actor_depth: z.int().min(0).max(64).default(4),
});

export type CredentialEntry = z.output<typeof credential>;
export type AsClient = z.output<z.ZodObject<typeof asClient>>;

export function credentialProblems(
  entries: readonly CredentialEntry[],
  key: string,
  options: ConfigOptions,
): string[] {
  const problems: string[] = [];
  for (const [index, each] of entries.entries()) {
    const earlier = entries.slice(0, index);
    if (earlier.some(({ issuer }) => issuer === each.issuer))
      problems.push(`${key}.${index}.issuer: the same issuer twice`);
    if (earlier.some(({ name }) => name === each.name))
      problems.push(`${key}.${index}.name: the same name twice`);
    problems.push(...entryProblems(each, options).map((problem) => `${key}.${index}${problem}`));
  }
  return problems;
}

/** What one entry says that cannot be: each as `.key: what was expected`. */
function entryProblems(each: CredentialEntry, options: ConfigOptions): string[] {
  const {
    jwks: source,
    introspection: asked,
    revocation: told,
    dpop,
    dpop_nonce,
    mtls,
    require_proof,
  } = each;
  const isProvable = dpop !== 'off' || mtls !== undefined;
  return [
    ...(source === undefined && asked === undefined
      ? ['.jwks: expected `jwks`, `introspection`, or both: there is nothing to verify its tokens with']
      : []),
    ...(source !== undefined && 'uri' in source && !isAcceptableSource(source.uri, options)
      ? ['.jwks.uri: expected an https URL without userinfo and fragment']
      : []),
    ...(asked === undefined ? [] : clientProblems(asked, '.introspection', options)),
    ...(told === undefined ? [] : clientProblems(told, '.revocation', options)),
    ...(asked?.signed === true && source === undefined
      ? ['.introspection.signed: signed answers are verified with `jwks`, which is not there']
      : []),
    ...(dpop_nonce !== undefined && dpop === 'off'
      ? ['.dpop_nonce: proofs are not checked: `dpop` is `off`']
      : []),
    ...(require_proof.length > 0 && !isProvable
      ? ['.require_proof: nobody could prove anything: `dpop` is `off`, and there is no `mtls`']
      : []),
  ];
}

function clientProblems(client: AsClient, key: string, options: ConfigOptions): string[] {
  const ways = [client.client_secret_file, client.private_key_file, client.tls];
  return [
    ...(isAcceptableSource(client.endpoint, options)
      ? []
      : [`${key}.endpoint: expected an https URL without userinfo and fragment`]),
    ...(ways.filter((way) => way !== undefined).length === 1
      ? []
      : [`${key}: expected exactly one of \`client_secret_file\`, \`private_key_file\` and \`tls\``]),
  ];
}

/** What belongs to the check listener: its door knows certificates, and its actions have classes. */
export function controlProblems({
  issuers,
  origin,
}: {
  readonly issuers: readonly CredentialEntry[];
  readonly origin?: string | undefined;
}): string[] {
  return issuers.flatMap(({ mtls, require_proof, dpop, dpop_nonce, revocation: told }, index) => {
    const misplaced = [
      ...(mtls === undefined ? [] : ['mtls']),
      ...(require_proof.length === 0 ? [] : ['require_proof']),
      ...(dpop_nonce === undefined ? [] : ['dpop_nonce']),
      ...(told === undefined ? [] : ['revocation']),
    ];
    const key = `control.issuers.${index}`;
    return [
      ...misplaced.map((name) => `${key}.${name}: this is for \`credentials\` alone`),
      ...(dpop === 'off' || origin !== undefined
        ? []
        : [`${key}.dpop: a proof is for a url: \`control.origin\` must say where this listener is`]),
    ];
  });
}

function isAcceptableSource(uri: string, { is_dev }: ConfigOptions): boolean {
  const parsed = URL.parse(uri);
  if (parsed === null || parsed.username !== '' || parsed.password !== '' || parsed.hash !== '') return false;
  if (parsed.protocol === 'https:') return true;
  return is_dev && parsed.protocol === 'http:' && isLoopback(parsed.hostname.replace(/^\[|\]$/g, ''));
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

type At = (text: string) => string;

/** Relative paths of an entry, made absolute. */
export function withEntryPaths<E extends CredentialEntry>(each: E, at: At): E {
  const { jwks: source, introspection: asked, revocation: told, dpop_nonce } = each;
  return {
    ...each,
    ...(source !== undefined && 'file' in source ? { jwks: { file: at(source.file) } } : {}),
    ...(asked === undefined ? {} : { introspection: withClientPaths(asked, at) }),
    ...(told === undefined ? {} : { revocation: withClientPaths(told, at) }),
    ...(dpop_nonce?.secret_file === undefined
      ? {}
      : { dpop_nonce: { secret_file: at(dpop_nonce.secret_file) } }),
  };
}

function withClientPaths<C extends AsClient>(own: C, at: At): C {
  const { client_secret_file, private_key_file, tls, ca } = own;
  return {
    ...own,
    ...(client_secret_file === undefined ? {} : { client_secret_file: at(client_secret_file) }),
    ...(private_key_file === undefined ? {} : { private_key_file: at(private_key_file) }),
    ...(tls === undefined ? {} : { tls: { cert: at(tls.cert), key: at(tls.key) } }),
    ...(ca === undefined ? {} : { ca: at(ca) }),
  };
}
