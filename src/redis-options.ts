/** How the store's server is reached: from the configuration to what the client library takes. */
import { isIP } from 'node:net';
import type { RedisOptions } from 'ioredis';
import type { Config } from './config.ts';
import { readBounded } from './reading.ts';

type RedisConfig = Extract<Config['store'], { engine: 'redis' }>;

/** Reads the password and the authorities; throws `ConfigurationError` where they cannot be read. */
export function redisOptions(config: RedisConfig): RedisOptions {
  const { url, sentinels, password_file, sentinel_password_file, ca } = config;
  const { protocol, hostname, port, username, password, pathname } = new URL(url);
  const host = decodeURIComponent(hostname.replaceAll(/^\[|\]$/g, ''));
  const secret =
    password_file === undefined
      ? decodeURIComponent(password)
      : readBounded(password_file, 'the password').trim();
  const authorities = ca === undefined ? {} : { ca: readBounded(ca, 'the certificate authorities') };
  const asked = sentinel_password_file;
  return {
    ...placeOf(host, Number(port || 6379), sentinels),
    db: Number(pathname.slice(1) || 0),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(secret === '' ? {} : { password: secret }),
    ...(asked === undefined ? {} : { sentinelPassword: readBounded(asked, 'the password').trim() }),
    ...(protocol === 'rediss:' ? secured(sentinels === undefined ? host : undefined, authorities) : {}),
  };
}

/** The server's connections, and those to the sentinels that know it. */
function secured(host: string | undefined, authorities: { readonly ca?: string }): RedisOptions {
  const tls = { ...(host === undefined ? {} : nameOf(host)), ...authorities };
  return { tls, enableTLSForSentinelMode: true, sentinelTLS: authorities };
}

/** What the certificate must name; an address has no name to send along. */
function nameOf(host: string): { readonly servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {};
}

function placeOf(host: string, port: number, sentinels: readonly string[] | undefined): RedisOptions {
  if (sentinels === undefined) return { host, port };
  const nodes = sentinels.map((each) => {
    const colon = each.lastIndexOf(':');
    return { host: each.slice(0, colon), port: Number(each.slice(colon + 1)) };
  });
  return { name: host, sentinels: nodes };
}
