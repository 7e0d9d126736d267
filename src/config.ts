/** Configuration: parsed once, every key checked, then frozen. Unknown keys and unsafe combinations stop the start. */
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { z } from 'zod';
import { ACTION_CLASSES } from './core/classes.ts';
import { parseDuration } from './core/time.ts';
import { normaliseAuthority } from './core/uri.ts';
import { ConfigurationError, readYaml } from './reading.ts';

export type Listen =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

const listen = z.string().transform((text, context): Listen => {
  if (text.startsWith('unix:')) return { kind: 'unix', path: text.slice('unix:'.length) };
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/.exec(text);
  if (match !== null && Number(match[2]) <= 65535) {
    return { kind: 'tcp', host: match[1]!.replace(/^\[|\]$/g, ''), port: Number(match[2]) };
  }
  context.addIssue({ code: 'custom', message: 'expected `HOST:PORT` or `unix:PATH`' });
  return z.NEVER;
});

const duration = z.string().transform((text, context): number => {
  const parsed = parseDuration(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: 'custom', message: 'expected a duration such as `250ms`, `2s`, `5m` or `1h`' });
  return z.NEVER;
});

/** A budget may be tightened, never widened. */
const budget = (most_ms: number, text: string) =>
  duration.refine((ms) => ms <= most_ms, `expected at most \`${text}\`: a budget may only be tightened`);

const url = z
  .string()
  .max(512)
  .regex(/^https?:\/\/[\x21-\x7e]+$/, 'expected a URL')
  .refine((text) => URL.canParse(text) && !/[?#]/.test(text), 'expected a URL without query and fragment');

/** Settings that a later version serves: named here so that nobody relies on one that does nothing. */
const emptyYet = z.array(z.never('expected an empty list: this is not served by this version')).default([]);

const path = z.string().min(1, 'expected a path');
const tls = z.strictObject({ cert: path, key: path, client_ca: path.optional() });

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

const origin = z.string().transform((text, context): string => {
  const match = /^(https?):\/\/([^/?#]+)\/?$/.exec(text);
  const authority = match === null ? { refused: '' } : normaliseAuthority(match[2]!, match[1]!);
  if (match !== null && typeof authority === 'string') return `${match[1]!}://${authority}`;
  context.addIssue({ code: 'custom', message: 'expected an origin such as `https://git.example`' });
  return z.NEVER;
});

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

const credential = z.strictObject({
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

const sqlite = z.strictObject({ engine: z.literal('sqlite'), path: path.default('data') });

const REDIS_URL = /^rediss?:\/\/[\x21-\x7e]+$/;

const redis = z.strictObject({
  engine: z.literal('redis'),
  url: z
    .string()
    .max(512)
    .regex(REDIS_URL, 'expected `redis://…` or `rediss://…`')
    .refine((text) => URL.canParse(text), 'expected `redis://…` or `rediss://…`'),
  /** Asked where the primary is; the host of `url` is then the name that they know it by. */
  sentinels: z
    .array(z.string().regex(/^[^\s:]+:\d{1,5}$/, 'expected `HOST:PORT`'))
    .min(1)
    .optional(),
  password_file: path.optional(),
  sentinel_password_file: path.optional(),
  /** Certificate authorities of the server, PEM; default: those of the machine. */
  ca: path.optional(),
  tenant: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/, 'expected letters, digits, `.`, `_` or `-`, at most 64')
    .default('default'),
  acknowledge: z.enum(['applied', 'durable', 'enforced']).default('durable'),
  outbox: path.default('data/outbox'),
  unsafe_store: z.boolean().default(false),
  assume: z
    .array(z.string().regex(/^\S+( \S+)+$/, 'expected what is vouched for, such as `appendfsync always`'))
    .default([]),
  working_set: z.int().min(256).max(10_000_000).default(10_000),
  keep_entries: z.int().min(1000).max(1_000_000_000).default(100_000),
});

/** The embedded engine is the default; an unknown one is named. */
function withEngine(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || 'engine' in value) return value;
  return { engine: 'sqlite', ...value };
}

const file = z.strictObject({
  issuer: url,
  check: z
    .strictObject({
      listen: listen.prefault('127.0.0.1:9191'),
      tls: tls.optional(),
      deadline_ms: z.int().min(1).max(10_000).default(150),
      scheme: z.enum(['http', 'https']).default('https'),
      trusted_proxies: emptyYet,
      request_ids: z.enum(['untrusted', 'proxy']).default('untrusted'),
      forward_reference: z.array(origin).default([]),
      deny_detail: z.enum(['full', 'reason']).default('full'),
      shutdown_grace_ms: z.int().min(0).max(600_000).default(10_000),
    })
    .prefault({}),
  control: z
    .strictObject({
      listen: listen.prefault('127.0.0.1:9192'),
      tls: tls.optional(),
      issuers: z
        .array(credential.extend({ people_through: z.array(z.string().min(1)).optional() }))
        .default([]),
      token_file: path.optional(),
    })
    .prefault({}),
  store: z
    .preprocess(
      withEngine,
      z.discriminatedUnion('engine', [sqlite, redis], {
        error: ({ code }) => (code === 'invalid_union' ? 'expected `sqlite` or `redis`' : undefined),
      }),
    )
    .prefault({}),
  budgets: z
    .strictObject({
      consequential_read: budget(60_000, '60s').prefault('60s'),
      consequential_write: budget(15_000, '15s').prefault('15s'),
    })
    .prefault({}),
  permit_validity_ms: z.int().min(1).max(10_000).default(1000),
  settle_within: duration.refine((ms) => ms >= 1000, 'expected at least `1s`').prefault('60s'),
  clock_tolerance_s: z.int().min(0).max(60).default(5),
  actors: z.enum(['optional', 'required']).default('optional'),
  credentials: z.array(credential).min(1, 'expected at least one credential issuer'),
  actions: path.optional(),
  policies: z
    .strictObject({ cedar: path.optional(), opa: path.optional(), control: path.optional() })
    .refine(({ cedar, opa }) => cedar !== undefined || opa !== undefined, 'expected `cedar`, `opa` or both'),
  log: z.strictObject({ decisions: path.default('stdout') }).prefault({}),
});

type FileConfig = z.output<typeof file>;

export type Config = Readonly<
  FileConfig & {
    readonly control: FileConfig['control'] & { readonly token_file: string };
    /** `is_given`: a table that is named must be there; the default one may be absent. */
    readonly actions_file: { readonly path: string; readonly is_given: boolean };
  }
>;

export interface ConfigOptions {
  /** `mandated dev`: keys may come over plain http from loopback. */
  readonly is_dev: boolean;
}

/** Reads a configuration file; throws `ConfigurationError` with every problem it has. */
export function readConfig(name: string, options: ConfigOptions): Config {
  const parsed = readYaml(name, 'the configuration', file);
  const problems = [
    ...listenProblems(parsed),
    ...credentialProblems(parsed.credentials, 'credentials', options),
    ...credentialProblems(parsed.control.issuers, 'control.issuers', options),
    ...controlProblems(parsed.control.issuers),
    ...realmProblems(parsed),
    ...storeProblems(parsed.store),
  ];
  if (problems.length > 0) throw new ConfigurationError(problems.map((problem) => `${name}: ${problem}`));
  return deepFreeze(withPaths(parsed, dirname(resolve(name))));
}

/** Relative paths are relative to the file that names them. */
function withPaths(config: FileConfig, base: string): Config {
  const at = (text: string): string => (isAbsolute(text) ? text : resolve(base, text));
  const maybe = <K extends string>(key: K, text: string | undefined) =>
    (text === undefined ? {} : { [key]: at(text) }) as { [P in K]?: string };
  const tlsAt = (own: FileConfig['check']['tls']) =>
    own === undefined
      ? {}
      : { tls: { cert: at(own.cert), key: at(own.key), ...maybe('client_ca', own.client_ca) } };
  const listenAt = (own: Listen): Listen =>
    own.kind === 'unix' ? { kind: 'unix', path: at(own.path) } : own;
  const clientAt = <C extends AsClient>(own: C): C => ({
    ...own,
    ...maybe('client_secret_file', own.client_secret_file),
    ...maybe('private_key_file', own.private_key_file),
    ...maybe('ca', own.ca),
    ...(own.tls === undefined ? {} : { tls: { cert: at(own.tls.cert), key: at(own.tls.key) } }),
  });
  const entryAt = <C extends CredentialEntry>(each: C): C => ({
    ...each,
    ...(each.jwks !== undefined && 'file' in each.jwks ? { jwks: { file: at(each.jwks.file) } } : {}),
    ...(each.introspection === undefined ? {} : { introspection: clientAt(each.introspection) }),
    ...(each.revocation === undefined ? {} : { revocation: clientAt(each.revocation) }),
    ...(each.dpop_nonce === undefined
      ? {}
      : { dpop_nonce: maybe('secret_file', each.dpop_nonce.secret_file) }),
  });
  const storeAt = (own: FileConfig['store']): FileConfig['store'] =>
    own.engine === 'sqlite'
      ? { ...own, path: at(own.path) }
      : {
          ...own,
          outbox: at(own.outbox),
          ...maybe('password_file', own.password_file),
          ...maybe('sentinel_password_file', own.sentinel_password_file),
          ...maybe('ca', own.ca),
        };
  const { check, control, store, policies, log } = config;
  const { tls: checkTls, ...checkRest } = check;
  const { tls: controlTls, ...controlRest } = control;
  return {
    ...config,
    check: { ...checkRest, ...tlsAt(checkTls), listen: listenAt(check.listen) },
    control: {
      ...controlRest,
      ...tlsAt(controlTls),
      listen: listenAt(control.listen),
      issuers: control.issuers.map(entryAt),
      token_file: at(
        control.token_file ?? `${store.engine === 'sqlite' ? store.path : 'data'}/control-token`,
      ),
    },
    store: storeAt(store),
    credentials: config.credentials.map(entryAt),
    actions_file: {
      path: at(config.actions ?? 'policies/actions.yaml'),
      is_given: config.actions !== undefined,
    },
    policies: {
      ...maybe('cedar', policies.cedar),
      ...maybe('opa', policies.opa),
      ...controlFolder(policies.control, base),
    },
    log: { decisions: log.decisions === 'stdout' ? 'stdout' : at(log.decisions) },
  };
}

/** A folder that is named must be there; the default one is used where it is. */
function controlFolder(given: string | undefined, base: string): { readonly control?: string } {
  const folder = resolve(base, given ?? 'policies/control');
  return given !== undefined || existsSync(folder) ? { control: folder } : {};
}

function listenProblems(config: FileConfig): string[] {
  return (['check', 'control'] as const).flatMap((name) => {
    const { listen: at, tls: own } = config[name];
    if (at.kind === 'unix' || own !== undefined || isLoopback(at.host)) return [];
    return [
      `${name}.listen: plaintext is for loopback and unix sockets only: give \`${name}.tls\`, or listen on 127.0.0.1`,
    ];
  });
}

/** What travels to the store is who may do what: in the clear it stays on this machine. */
function storeProblems(store: FileConfig['store']): string[] {
  if (store.engine === 'sqlite') return [];
  const { protocol, hostname, password, pathname } = new URL(store.url);
  const hosts = store.sentinels?.map((each) => each.slice(0, each.lastIndexOf(':'))) ?? [hostname];
  const isPrivate = hosts.every((host) => isLoopback(host.replaceAll(/^\[|\]$/g, '')));
  return [
    ...(protocol === 'rediss:' || isPrivate || store.assume.includes('private network')
      ? []
      : [
          'store.url: `redis://` is for loopback only: use `rediss://`, or vouch for it with `assume: ["private network"]`',
        ]),
    ...(password !== '' && store.password_file !== undefined
      ? ['store.password_file: the password stands in `store.url` already']
      : []),
    ...(/^(\/\d{0,4})?$/.test(pathname) ? [] : ['store.url: expected the number of a database, as in `/0`']),
    ...(store.sentinel_password_file !== undefined && store.sentinels === undefined
      ? ['store.sentinel_password_file: there are no sentinels']
      : []),
    ...(protocol === 'redis:' && store.ca !== undefined ? ['store.ca: `redis://` is not TLS'] : []),
  ];
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function credentialProblems(
  entries: FileConfig['credentials'],
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
function controlProblems(entries: readonly CredentialEntry[]): string[] {
  return entries.flatMap(({ mtls, require_proof, dpop_nonce, revocation: told }, index) => {
    const misplaced = [
      ...(mtls === undefined ? [] : ['mtls']),
      ...(require_proof.length === 0 ? [] : ['require_proof']),
      ...(dpop_nonce === undefined ? [] : ['dpop_nonce']),
      ...(told === undefined ? [] : ['revocation']),
    ];
    return misplaced.map((key) => `control.issuers.${index}.${key}: this is for \`credentials\` alone`);
  });
}

/** Policies know people and agents by the names of their issuers: one name is one issuer, in both lists. */
function realmProblems({ credentials, control }: FileConfig): string[] {
  return control.issuers.flatMap(({ name, issuer }, index) => {
    const other = credentials.find((each) => (each.name === name) !== (each.issuer === issuer));
    if (other === undefined) return [];
    return [
      `control.issuers.${index}: one name for one issuer: \`credentials\` has \`${other.name}\` for ${other.issuer}`,
    ];
  });
}

function isAcceptableSource(uri: string, { is_dev }: ConfigOptions): boolean {
  const parsed = URL.parse(uri);
  if (parsed === null || parsed.username !== '' || parsed.password !== '' || parsed.hash !== '') return false;
  if (parsed.protocol === 'https:') return true;
  return is_dev && parsed.protocol === 'http:' && isLoopback(parsed.hostname.replace(/^\[|\]$/g, ''));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
