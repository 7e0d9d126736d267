/** Configuration: parsed once, every key checked, then frozen. Unknown keys and unsafe combinations stop the start. */
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { z } from 'zod';
import {
  type ConfigOptions,
  type CredentialEntry,
  controlProblems,
  credential,
  credentialProblems,
  isLoopback,
  path,
  withEntryPaths,
} from './config-credentials.ts';
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

const tls = z.strictObject({ cert: path, key: path, client_ca: path.optional() });

const origin = z.string().transform((text, context): string => {
  const match = /^(https?):\/\/([^/?#]+)\/?$/.exec(text);
  const authority = match === null ? { refused: '' } : normaliseAuthority(match[2]!, match[1]!);
  if (match !== null && typeof authority === 'string') return `${match[1]!}://${authority}`;
  context.addIssue({ code: 'custom', message: 'expected an origin such as `https://git.example`' });
  return z.NEVER;
});

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
      /** As its callers write it: what a proof of possession is for. */
      origin: origin.optional(),
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

/** Reads a configuration file; throws `ConfigurationError` with every problem it has. */
export function readConfig(name: string, options: ConfigOptions): Config {
  const parsed = readYaml(name, 'the configuration', file);
  const problems = [
    ...listenProblems(parsed),
    ...credentialProblems(parsed.credentials, 'credentials', options),
    ...credentialProblems(parsed.control.issuers, 'control.issuers', options),
    ...controlProblems(parsed.control),
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
  const entryAt = <C extends CredentialEntry>(each: C): C => withEntryPaths(each, at);
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

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const member of Object.values(value)) deepFreeze(member);
  }
  return value;
}
