/** Wiring: everything that one sidecar is made of, opened in order and closed in reverse. */
import { existsSync, readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { openDecisionLog } from './audit/decision-log.ts';
import { createMetrics } from './audit/metrics.ts';
import { createCheck } from './check/check.ts';
import type { Config } from './config.ts';
import { type ActionsOptions, emptyActions, readActions } from './actions-file.ts';
import type { ActionTable } from './core/action-table.ts';
import type { Settings } from './core/facts.ts';
import type { PolicySet } from './core/policy.ts';
import type { Now } from './core/time.ts';
import { createCredentials } from './credentials/credentials.ts';
import { type Revoking, createRevoking } from './credentials/revoking.ts';
import { sha256 } from './digest.ts';
import { type LoadedControl, loadControl } from './engines/control.ts';
import { loadPolicies } from './engines/load.ts';
import { createAccess } from './http/access.ts';
import { createCheckListener } from './http/check-listener.ts';
import { createControlListener } from './http/control-listener.ts';
import type { Schemes } from './http/problem.ts';
import { createIds } from './ids.ts';
import { readOperatorToken } from './operator-token.ts';
import { closeIssuers, openIssuers, openRevocations, troubleOf } from './issuers.ts';
import { ConfigurationError } from './reading.ts';
import { openStore } from './open-store.ts';

export interface AppParts {
  readonly version: string;
  readonly now: Now;
  /** Operational log; `error` may be anything, and only its message is kept. */
  readonly complain: (what: string, error?: unknown) => void;
  readonly isShuttingDown: () => boolean;
}

export interface App {
  readonly check: FastifyInstance;
  readonly control: FastifyInstance;
  readonly warnings: readonly string[];
  readonly close: () => Promise<void>;
}

/** Opens all but the listeners. Throws `ConfigurationError` with what must be mended. */
export async function openApp(config: Config, parts: AppParts): Promise<App> {
  const { now, complain, version } = parts;
  const { table, text: actions_text } = actionsOf(config);
  const policies = await policiesOf(config, table, actions_text, parts);
  const { clock_tolerance_s } = config;
  const opening = { now, complain, clock_tolerance_s };
  const issuers = await openIssuers(config.credentials, 'credentials', opening);
  const people = await openIssuers(config.control.issuers, 'control.issuers', opening);
  const revocations = await openRevocations(config.credentials, 'credentials');
  const control = controlOf(config);
  const log = openLog(config.log.decisions);
  const away = () =>
    [...issuers.values(), ...people.values()].map((issuer) => ({
      name: issuer.name,
      trouble: troubleOf(issuer, now),
    }));
  const metrics = createMetrics({
    version,
    policy_revision: () => policies.set.revision,
    keys_away: () =>
      [...Map.groupBy(away(), ({ name }) => name)].map(([name, of]) => {
        return { name, away: of.some(({ trouble }) => trouble !== undefined) };
      }),
  });
  const opened = await openStore(config, parts, metrics.barrier);
  if (!opened.ok) throw new ConfigurationError([`store: ${opened.error}`]);
  const { store, proofs, errands } = opened;
  metrics.watch(store);
  const revoking: Revoking | undefined =
    errands === undefined || revocations.size === 0
      ? undefined
      : createRevoking({
          revocations,
          store,
          errands,
          by: { iss: config.issuer, sub: 'mandated' },
          now,
          told: metrics.told,
          complain,
        });
  metrics.watchErrands(() => revoking?.waiting());
  const access = createAccess({
    origin: config.control.origin,
    issuer: config.issuer,
    store,
    now,
    isOperator: readOperatorToken(config.control.token_file),
    credentials: createCredentials({ issuers: people, clock_tolerance_s, proofs }),
    people_through: new Map(
      config.control.issuers.flatMap(({ issuer, people_through }) =>
        people_through === undefined ? [] : [[issuer, people_through] as const],
      ),
    ),
    policies: control.policies,
  });
  const ids = createIds();
  const settings = settingsOf(config);
  let sequence = 0;
  const credentials = createCredentials({ issuers, clock_tolerance_s, proofs });
  const check = createCheck({
    credentials,
    mandates: store,
    issuer: config.issuer,
    policies: { current: () => policies.set },
    ids,
    settings,
    deadline_ms: config.check.deadline_ms,
    now,
    actions: table,
    digest: sha256,
    sinks: [log, metrics],
    emitter: { id: ids.emitter(), next: () => (sequence += 1) },
    ...(revoking === undefined ? {} : { revoking }),
    complain,
  });
  return {
    check: createCheckListener({
      check,
      now,
      access,
      tls: config.check.tls,
      deny_detail: config.check.deny_detail,
      schemes: schemesOf(config.credentials),
      reads_certificates: config.credentials.some(({ mtls }) => mtls !== undefined),
      realms: settings.realms,
      forward_reference: config.check.forward_reference,
      scheme: config.check.scheme,
      request_ids: config.check.request_ids,
      complain,
    }),
    control: createControlListener({
      tls: config.control.tls,
      // The operator's token is a bearer token.
      schemes: { ...schemesOf(config.control.issuers), is_bearer_served: true },
      store,
      now,
      digest: sha256,
      access,
      credentials,
      settings,
      ids,
      policy_revision: () => policies.set.revision,
      clock_tolerance_ms: settings.clock_tolerance_ms,
      acknowledge: config.store.engine === 'redis' ? config.store.acknowledge : 'durable',
      written: metrics.written,
      store_health: store.health,
      isShuttingDown: parts.isShuttingDown,
      troubles: () =>
        away().flatMap(({ name, trouble }) =>
          trouble === undefined ? [] : [`credentials ${name}: ${trouble}`],
        ),
      metrics: metrics.render,
      complain,
    }),
    warnings: [...policies.warnings, ...control.warnings],
    close: async () => {
      revoking?.close();
      for (const revocation of revocations.values()) revocation.close();
      closeIssuers(issuers);
      closeIssuers(people);
      await store.close();
      log.close();
    },
  };
}

function actionsOf(config: Config): { readonly table: ActionTable; readonly text: string } {
  const options: ActionsOptions = {
    scheme: config.check.scheme,
    is_cedar_bound: config.policies.cedar !== undefined,
  };
  const { path, is_given } = config.actions_file;
  if (!is_given && !existsSync(path)) return { table: emptyActions(options), text: '' };
  return { table: readActions(path, options), text: readFileSync(path, 'utf8') };
}

async function policiesOf(
  config: Config,
  actions: ActionTable,
  actions_text: string,
  { complain }: AppParts,
): Promise<{ readonly set: PolicySet; readonly warnings: readonly string[] }> {
  const { cedar, opa } = config.policies;
  const loaded = await loadPolicies(
    {
      actions,
      actions_text,
      ...(cedar === undefined ? {} : { cedar }),
      ...(opa === undefined ? {} : { opa }),
    },
    { digest: sha256, cpu_ms, complain },
  );
  if (!loaded.ok) throw new ConfigurationError(loaded.errors);
  return loaded;
}

function cpu_ms(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function controlOf(config: Config): Extract<LoadedControl, { ok: true }> {
  const loaded = loadControl(config.policies.control, realmsOf(config), sha256);
  if (!loaded.ok) throw new ConfigurationError(loaded.errors);
  return loaded;
}

/** Names of all issuers: one issuer has one name, whatever its tokens are used for. */
function realmsOf({ credentials, control }: Config): ReadonlyMap<string, string> {
  return new Map([...control.issuers, ...credentials].map(({ issuer, name }) => [issuer, name]));
}

/** What a client may try with: proofs of which algorithms, and whether a bearer token can be enough. */
function schemesOf(entries: Config['credentials']): Schemes {
  const proving = entries.filter(({ dpop }) => dpop !== 'off');
  return {
    is_bearer_served: entries.some(({ dpop }) => dpop !== 'required'),
    dpop_algorithms: [...new Set(proving.flatMap(({ algorithms }) => algorithms))],
  };
}

function settingsOf(config: Config): Settings {
  return {
    are_actors_required: config.actors === 'required',
    require_proof: new Map(
      config.credentials.map(({ issuer, require_proof }) => [issuer, new Set(require_proof)]),
    ),
    budgets: config.budgets,
    permit_validity_ms: config.permit_validity_ms,
    clock_tolerance_ms: config.clock_tolerance_s * 1000,
    settle_within_ms: config.settle_within,
    realms: realmsOf(config),
  };
}

function openLog(target: string) {
  try {
    return openDecisionLog(target);
  } catch (error) {
    throw new ConfigurationError([
      `log.decisions: \`${target}\` cannot be opened: ${(error as Error).message}`,
    ]);
  }
}
