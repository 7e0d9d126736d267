/** A real Envoy in front of an authorizer and an upstream, on ports of its own choosing. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface EnvoyOptions {
  readonly authorizer_port: number;
  readonly upstream_port: number;
  readonly path_prefix?: string;
  /** Request headers that reach the authorizer, exact names in lower case. */
  readonly allowed_headers?: readonly string[];
  /** Of the authorizer's answer, what overrides the request's headers. */
  readonly allowed_upstream_prefix?: string;
  readonly with_request_body?: { readonly max_request_bytes: number };
  readonly failure_mode_allow?: boolean;
  readonly timeout_ms?: number;
  /** Clients connect by TLS, and may show a certificate of these: whose it was the authorizer is told, by Envoy alone. */
  readonly downstream_tls?: {
    readonly cert_file: string;
    readonly key_file: string;
    readonly client_ca_file: string;
  };
  /** Off, so that a hostile path reaches the authorizer as it was written. */
  readonly normalize?: boolean;
}

export interface Envoy {
  readonly port: number;
  readonly admin_port: number;
  readonly log: () => string;
  readonly stop: () => Promise<void>;
}

export const envoy_program = resolve(import.meta.dirname, '../../.tools/bin/envoy');

const default_allowed_headers = [
  'authorization',
  'mission-reference',
  'content-type',
  'content-encoding',
  'x-request-id',
  'x-tenant',
  'dpop',
  'x-forwarded-client-cert',
];
const ready_within_ms = 20_000;
const stop_within_ms = 5_000;

export async function startEnvoy(options: EnvoyOptions): Promise<Envoy> {
  if (!existsSync(envoy_program)) throw new Error('no .tools/bin/envoy: run test/tools/bring.ts');
  const folder = await mkdtemp(join(tmpdir(), 'mandated-envoy-'));
  const admin_address = join(folder, 'admin');
  await writeFile(join(folder, 'envoy.json'), JSON.stringify(bootstrap(options)));
  const running = launch(['-c', join(folder, 'envoy.json'), '--admin-address-path', admin_address]);
  const stop = async () => {
    await running.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const ports = await listening(running.child, admin_address);
    return { ...ports, log: running.log, stop };
  } catch (error) {
    await stop();
    throw new Error(`envoy did not start: ${String(error)}\n${running.log()}`, { cause: error });
  }
}

interface Running {
  readonly child: ChildProcess;
  readonly log: () => string;
  readonly stop: () => Promise<void>;
}

function launch(config: readonly string[]): Running {
  // Hot restart is what makes parallel Envoys collide over a base id.
  const settings = ['--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning'];
  const child = spawn(envoy_program, [...config, ...settings], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  const append = (text: string) => (log += text);
  child.stdout.setEncoding('utf8').on('data', append);
  child.stderr.setEncoding('utf8').on('data', append);
  const gone = new Promise<void>((done) => {
    child.once('close', () => done());
    child.once('error', (error) => append(`${error.message}\n`));
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async () => {
    const patience = setTimeout(kill, stop_within_ms);
    child.kill('SIGTERM');
    await gone;
    clearTimeout(patience);
    process.off('exit', kill);
  };
  return { child, log: () => log, stop };
}

async function listening(
  child: ChildProcess,
  admin_address: string,
): Promise<{ port: number; admin_port: number }> {
  const deadline = performance.now() + ready_within_ms;
  while (ending(child) === null && performance.now() < deadline) {
    const admin = await readFile(admin_address, 'utf8').catch(() => '');
    const port = admin === '' ? undefined : await listenerPort(admin).catch(() => undefined);
    if (port !== undefined) return { port, admin_port: Number(admin.split(':')[1]) };
    await sleep(20);
  }
  throw new Error(ending(child) ?? `not ready within ${ready_within_ms} ms`);
}

function ending(child: ChildProcess): string | null {
  return child.exitCode === null ? child.signalCode : `exit code ${child.exitCode}`;
}

interface Listeners {
  readonly listener_statuses?: {
    readonly local_address: { readonly socket_address: { readonly port_value: number } };
  }[];
}

async function listenerPort(admin: string): Promise<number | undefined> {
  const ready = await fetch(`http://${admin}/ready`);
  if (!ready.ok) return undefined;
  const answer = await fetch(`http://${admin}/listeners?format=json`);
  const { listener_statuses = [] } = (await answer.json()) as Listeners;
  return listener_statuses[0]?.local_address.socket_address.port_value;
}

function bootstrap(options: EnvoyOptions): object {
  return {
    admin: { address: loopback(0) },
    static_resources: {
      listeners: [
        {
          name: 'agents',
          address: loopback(0),
          filter_chains: [{ filters: [connectionManager(options)], ...transport(options) }],
        },
      ],
      clusters: [cluster('mandated', options.authorizer_port), cluster('upstream', options.upstream_port)],
    },
  };
}

function transport({ downstream_tls }: EnvoyOptions): object {
  if (downstream_tls === undefined) return {};
  const { cert_file, key_file, client_ca_file } = downstream_tls;
  const certificate = { certificate_chain: { filename: cert_file }, private_key: { filename: key_file } };
  const typed_config = {
    '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
    common_tls_context: {
      tls_certificates: [certificate],
      validation_context: { trusted_ca: { filename: client_ca_file } },
    },
    // Who shows none is served as far as its token goes.
    require_client_certificate: false,
  };
  return { transport_socket: { name: 'envoy.transport_sockets.tls', typed_config } };
}

function connectionManager(options: EnvoyOptions): object {
  const { normalize = false, downstream_tls } = options;
  const forwarding = {
    forward_client_cert_details: 'SANITIZE_SET',
    set_current_client_cert_details: { subject: true, cert: true },
  };
  const everything = { match: { prefix: '/' }, route: { cluster: 'upstream' } };
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': extension('network.http_connection_manager.v3.HttpConnectionManager'),
      stat_prefix: 'agents',
      ...(downstream_tls === undefined ? {} : forwarding),
      normalize_path: normalize,
      merge_slashes: false,
      path_with_escaped_slashes_action: normalize ? 'REJECT_REQUEST' : 'KEEP_UNCHANGED',
      common_http_protocol_options: {
        headers_with_underscores_action: normalize ? 'REJECT_REQUEST' : 'ALLOW',
      },
      route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [everything] }] },
      http_filters: [
        { name: 'envoy.filters.http.ext_authz', typed_config: extAuthz(options) },
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': extension('http.router.v3.Router') },
        },
      ],
    },
  };
}

function extAuthz(options: EnvoyOptions): object {
  const { path_prefix = '/envoy', allowed_headers = default_allowed_headers } = options;
  const { allowed_upstream_prefix = 'x-mandate-', failure_mode_allow = false, timeout_ms = 500 } = options;
  const { with_request_body } = options;
  return {
    '@type': extension('http.ext_authz.v3.ExtAuthz'),
    http_service: {
      server_uri: { uri: 'http://mandated', cluster: 'mandated', timeout: `${timeout_ms / 1000}s` },
      path_prefix,
      authorization_response: {
        allowed_upstream_headers: { patterns: [{ prefix: allowed_upstream_prefix }] },
      },
    },
    allowed_headers: { patterns: allowed_headers.map((exact) => ({ exact })) },
    failure_mode_allow,
    status_on_error: { code: 'Forbidden' },
    ...(with_request_body && { with_request_body: { ...with_request_body, allow_partial_message: false } }),
  };
}

function extension(name: string): string {
  return `type.googleapis.com/envoy.extensions.filters.${name}`;
}

function cluster(name: string, port: number): object {
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: loopback(port) } }] }];
  return { name, connect_timeout: '1s', type: 'STATIC', load_assignment: { cluster_name: name, endpoints } };
}

function loopback(port: number): object {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}
