/** From `credentials` entries to the issuers that tokens are verified with: keys, secrets and certificates are read here. */
import { readFile, stat } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { type CryptoKey, type JWK, importJWK } from 'jose';
import type { AsClient, CredentialEntry } from './config-credentials.ts';
import { isObject, parseJson } from './core/json.ts';
import type { Now } from './core/time.ts';
import type { ClientAuthentication } from './credentials/client-authentication.ts';
import { type Introspection, createIntrospection } from './credentials/introspection.ts';
import type { TokenIssuer } from './credentials/issuer.ts';
import { type Keys, createFileKeys, readKeySet } from './credentials/keys.ts';
import { createNonces } from './credentials/nonces.ts';
import { type Poster, createPoster } from './credentials/outbound.ts';
import { type Revocation, createRevocation } from './credentials/revocation.ts';
import { createSealing } from './credentials/sealing.ts';
import { createRemoteKeys } from './credentials/remote-keys.ts';
import { ConfigurationError, readBounded } from './reading.ts';

export interface IssuersParts {
  readonly now: Now;
  readonly clock_tolerance_s: number;
  readonly complain: (what: string, error?: unknown) => void;
}

export type Issuers = ReadonlyMap<string, TokenIssuer>;

/** `key`: where the entries stand, for the problems that are found. Throws `ConfigurationError`. */
export async function openIssuers(
  entries: readonly CredentialEntry[],
  key: string,
  parts: IssuersParts,
): Promise<Issuers> {
  const issuers = await Promise.all(
    entries.map((entry, index) => openIssuer(entry, `${key}.${index}`, parts)),
  );
  return new Map(issuers.map((issuer) => [issuer.issuer, issuer]));
}

async function openIssuer(entry: CredentialEntry, key: string, parts: IssuersParts): Promise<TokenIssuer> {
  const { name, issuer, audiences, algorithms, token_types, dpop, max_actor_depth } = entry;
  const keys = keysOf(entry, key, parts);
  return {
    name,
    issuer,
    audiences,
    algorithms,
    token_types,
    keys,
    introspection: await introspectionOf(entry, keys, key, parts),
    dpop,
    nonces: noncesOf(entry, key, parts),
    is_mtls_checked: entry.mtls !== undefined,
    max_actor_depth,
  };
}

export function closeIssuers(issuers: Issuers): void {
  for (const { keys, introspection } of issuers.values()) {
    keys?.close();
    introspection?.close();
  }
}

/** Why tokens of an issuer cannot be verified now; undefined while they can. */
export function troubleOf({ keys, introspection }: TokenIssuer, now: Now): string | undefined {
  return keys?.trouble(now()) ?? introspection?.trouble();
}

function keysOf(
  { name, jwks }: CredentialEntry,
  key: string,
  { now, complain }: IssuersParts,
): Keys | undefined {
  if (jwks === undefined) return undefined;
  const told = (what: string): void => complain(`credentials ${name}: ${what}`);
  if ('uri' in jwks) return createRemoteKeys({ ...jwks, now, fetch, complain: told });
  const { file } = jwks;
  const read = readKeySet(readBounded(file, 'the key set'));
  if (!read.ok) throw new ConfigurationError([`${key}.jwks.file: \`${file}\`: ${read.error}`]);
  return createFileKeys({ first: read.keySet, read: () => textOf(file), now, complain: told });
}

const MAX_FILE_BYTES = 1024 * 1024;

async function textOf(file: string): Promise<string> {
  const { size } = await stat(file);
  if (size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
  return readFile(file, 'utf8');
}

const MIN_SECRET_LENGTH = 32;

function noncesOf({ name, dpop_nonce }: CredentialEntry, key: string, { complain }: IssuersParts) {
  if (dpop_nonce === undefined) return undefined;
  const { secret_file } = dpop_nonce;
  if (secret_file === undefined) {
    complain(
      `credentials ${name}: nonces are this sidecar's alone: others need the same \`dpop_nonce.secret_file\``,
    );
    return createNonces(randomBytes(32));
  }
  const secret = readBounded(secret_file, 'the secret').trim();
  if (secret.length < MIN_SECRET_LENGTH)
    throw new ConfigurationError([
      `${key}.dpop_nonce.secret_file: expected at least ${MIN_SECRET_LENGTH} characters`,
    ]);
  return createNonces(secret);
}

async function introspectionOf(
  { name, issuer, algorithms, introspection }: CredentialEntry,
  keys: Keys | undefined,
  key: string,
  { clock_tolerance_s, now, complain }: IssuersParts,
): Promise<Introspection | undefined> {
  if (introspection === undefined) return undefined;
  const { cache_ms, signed } = introspection;
  return createIntrospection({
    poster: posterOf(introspection),
    client: await clientOf(introspection, issuer, `${key}.introspection`),
    cache_ms,
    now,
    signed_by: signed ? { keys: keys!, issuer, algorithms, clock_tolerance_s } : undefined,
    complain: (what) => complain(`credentials ${name}: ${what}`),
  });
}

/** By issuer, the servers that are told of tokens to be revoked. */
export async function openRevocations(
  entries: readonly CredentialEntry[],
  key: string,
): Promise<ReadonlyMap<string, Revocation>> {
  const opened = entries.map(async ({ issuer, revocation }, index) => {
    if (revocation === undefined) return [];
    const client = await clientOf(revocation, issuer, `${key}.${index}.revocation`);
    // What stands on disk is of no use without what this client proves itself with.
    const secret = revocation.client_secret_file ?? revocation.private_key_file ?? revocation.tls!.key;
    const sealing = createSealing(readBounded(secret, 'the secret').trim());
    return [[issuer, createRevocation(posterOf(revocation), client, sealing)] as const];
  });
  return new Map((await Promise.all(opened)).flat());
}

const DEADLINE_MS = 2000;

function posterOf({ endpoint, tls, ca }: AsClient): Poster {
  const own = {
    ...(tls === undefined
      ? {}
      : { cert: readBounded(tls.cert, 'the certificate'), key: readBounded(tls.key, 'the key') }),
    ...(ca === undefined ? {} : { ca: readBounded(ca, 'the certificate authorities') }),
  };
  try {
    return createPoster({ url: endpoint, tls: own, deadline_ms: DEADLINE_MS });
  } catch (error) {
    throw new ConfigurationError([
      `\`${endpoint}\`: the certificates cannot be used: ${(error as Error).message}`,
    ]);
  }
}

async function clientOf(client: AsClient, audience: string, key: string): Promise<ClientAuthentication> {
  const { client_id, client_secret_file, private_key_file } = client;
  if (client_secret_file !== undefined) {
    const client_secret = readBounded(client_secret_file, 'the client secret').trim();
    if (client_secret === '') throw new ConfigurationError([`${key}.client_secret_file: the file is empty`]);
    return { client_id, method: 'client_secret_basic', client_secret };
  }
  if (private_key_file === undefined) return { client_id, method: 'tls_client_auth' };
  const own = await privateKeyOf(private_key_file, `${key}.private_key_file`);
  return { client_id, method: 'private_key_jwt', ...own, audience };
}

async function privateKeyOf(
  file: string,
  key: string,
): Promise<{ readonly key: CryptoKey; readonly alg: string; readonly kid: string | undefined }> {
  const parsed = parseJson(readBounded(file, 'the private key'));
  const jwk = parsed.ok && isObject(parsed.value) ? parsed.value : undefined;
  const { alg, kid } = jwk ?? {};
  // The file's content must not stand in the problem: it is a secret.
  const problem = `${key}: expected one private key as a JWK with \`alg\``;
  if (jwk === undefined || typeof alg !== 'string' || !Object.hasOwn(jwk, 'd'))
    throw new ConfigurationError([problem]);
  const imported = await importJWK(jwk as JWK, alg).catch(() => undefined);
  if (imported === undefined || imported instanceof Uint8Array) throw new ConfigurationError([problem]);
  return { key: imported, alg, kid: typeof kid === 'string' ? kid : undefined };
}
