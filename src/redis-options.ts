/** How the store's server is reached: from the configuration to what the client library takes. */
import { isIP } from 'node:net';
import type { RedisOptions } from 'ioredis';
import type { Config } from './config.ts';
import { readBounded } from './reading.ts';

type RedisConfig = Extract<Config['store'], { engine: 'redis' }>;

/** Reads the password and the authorities; throws `ConfigurationError` where they cannot be read. */
export function redisOptions({ url, sentinels, password_file, ca }: RedisConfig): RedisOptions {
  const { protocol, hostname, port, username, password, pathname } = new URL(url);
  const host = decodeURIComponent(hostname.replaceAll(/^\[|\]$/g, ''));
  const secret =
    password_file === undefined
      ? decodeURIComponent(password)
      : readBounded(password_file, 'the password').trim();
  const tls = ca === undefined ? {} : { ca: readBounded(ca, 'the certificate authorities') };
  return {
    ...placeOf(host, Number(port || 6379), sentinels),
    db: Number(pathname.slice(1) || 0),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(secret === '' ? {} : { password: secret }),
    ...(protocol === 'rediss:' ? { tls: { ...nameOf(host), ...tls }, enableTLSForSentinelMode: true } : {}),
  };
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
