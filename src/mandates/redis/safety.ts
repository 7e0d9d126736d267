/** What a server must be set to for the promises to hold (design/3, What must be checked at start). */
import { fieldsOf } from './cells.ts';
import { parseInfo } from './info.ts';
import type { Link, Reply } from './link.ts';

export interface Safety {
  /** What is not as it must be, as it is: `appendfsync everysec`. */
  readonly unsafe: readonly string[];
  /** What is not a matter of safety but of being the wrong server: never served. */
  readonly refused: readonly string[];
  /** How many replicas must have what is durable. */
  readonly replicas_needed: number;
  readonly run: string;
  readonly role: string;
  readonly replicas: number;
}

export interface ServerFacts {
  /** INFO, by field. */
  readonly info: ReadonlyMap<string, string>;
  /** CONFIG, by parameter; undefined where it is blocked. */
  readonly config: ReadonlyMap<string, string> | undefined;
  /** Keys of authority that would end by themselves; undefined where they cannot be looked for. */
  readonly mortal: readonly string[] | undefined;
}

const OLDEST = [7, 0];

/** Settings that must have one value. */
const EXACT: Readonly<Record<string, string>> = {
  'maxmemory-policy': 'noeviction',
  appendonly: 'yes',
  appendfsync: 'always',
  'no-appendfsync-on-rewrite': 'no',
};

/** INFO says these as well, where CONFIG is blocked. */
const IN_INFO: Readonly<Record<string, readonly [field: string, value: string]>> = {
  'maxmemory-policy': ['maxmemory_policy', 'noeviction'],
  appendonly: ['aof_enabled', '1'],
};

const MAX_LAG_S = 2;

/** `assume`: what an operator vouches for, as `NAME VALUE`; it counts only where the server does not say. */
export function judgeSafety({ info, config, mortal }: ServerFacts, assume: readonly string[]): Safety {
  const vouched = new Map(assume.map((text) => text.split(' ') as [string, string]));
  const setting = (name: string): string | undefined => config?.get(name) ?? vouched.get(name);
  const replicas = Number(info.get('connected_slaves') ?? 0);
  const needed = Math.ceil(replicas / 2);
  const unsafe = [
    ...Object.entries(EXACT).flatMap(([name, wanted]) => {
      const [field, value] = IN_INFO[name] ?? [];
      const said = config === undefined && field !== undefined ? info.get(field) : undefined;
      const actual = said === undefined ? setting(name) : said === value ? wanted : said;
      return actual === wanted ? [] : [`${name} ${actual ?? 'unknown'}`];
    }),
    ...(info.get('aof_last_write_status') === 'err' ? ['aof_last_write_status err'] : []),
    ...(mortal ?? []).map((key) => `a TTL on ${key}`),
    ...(mortal === undefined && vouched.get('TTL') !== 'none' ? ['TTL unknown'] : []),
    ...(replicas === 0 ? [] : replication(needed, setting)),
  ];
  return {
    unsafe,
    refused: refusedOf(info),
    replicas_needed: Math.max(needed, Number(setting('min-replicas-to-write') ?? 0)),
    run: info.get('run_id') ?? '',
    role: info.get('role') ?? '',
    replicas,
  };
}

/** Settings that only count beside replicas, and when each is as it must be. */
function replication(needed: number, setting: (name: string) => string | undefined): readonly string[] {
  const rules: readonly (readonly [name: string, isGood: (value: string) => boolean])[] = [
    ['min-replicas-to-write', (value) => Number(value) >= needed],
    ['min-replicas-max-lag', (value) => Number(value) > 0 && Number(value) <= MAX_LAG_S],
    ['replica-read-only', (value) => value === 'yes'],
  ];
  return rules.flatMap(([name, isGood]) => {
    const value = setting(name);
    return value !== undefined && isGood(value) ? [] : [`${name} ${value ?? 'unknown'}`];
  });
}

function refusedOf(info: ReadonlyMap<string, string>): readonly string[] {
  const version = info.get('redis_version') ?? '';
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isOld = major < OLDEST[0]! || (major === OLDEST[0] && minor < OLDEST[1]!);
  const role = info.get('role');
  return [
    ...(isOld ? [`Redis ${version || 'of an unknown version'}: 7.0 or newer is needed`] : []),
    ...(role === 'master' ? [] : [`the server is a ${role === 'slave' ? 'replica' : role}, not the primary`]),
  ];
}

const SETTINGS = [
  ...Object.keys(EXACT),
  'min-replicas-to-write',
  'min-replicas-max-lag',
  'replica-read-only',
];

/** Asks the server; a string says why it could not be asked. */
export async function inspect(link: Link, prefix: string): Promise<ServerFacts | string> {
  const info = await link.call('INFO');
  if (!info.ok) return info.why;
  const config = await link.call('CONFIG', 'GET', ...SETTINGS);
  const parsed = parseInfo(String(info.value));
  return {
    info: parsed,
    config: config.ok ? fieldsOf(config.value as readonly string[]) : undefined,
    mortal: hasMortals(parsed) ? await mortalKeys(link, prefix) : [],
  };
}

/** INFO counts the keys that end by themselves, whoever they belong to; mostly there are none. */
function hasMortals(info: ReadonlyMap<string, string>): boolean {
  return [...info].some(([name, value]) => /^db\d+$/.test(name) && !value.includes('expires=0'));
}

/** Enough to say what is wrong. */
const MOST_MORTALS = 3;

async function mortalKeys(link: Link, prefix: string): Promise<readonly string[] | undefined> {
  const mortal: string[] = [];
  for (let cursor = '0'; ;) {
    const page = await link.call('SCAN', cursor, 'MATCH', `${prefix}*`, 'COUNT', 1000);
    if (!page.ok) return undefined;
    const [next, keys] = page.value as readonly [string, readonly string[]];
    const lives = await Promise.all(keys.map((key) => link.call('PTTL', key)));
    if (!lives.every(({ ok }) => ok)) return undefined;
    mortal.push(...keys.filter((_, index) => isMortal(lives[index]!)));
    if (next === '0' || mortal.length >= MOST_MORTALS) return mortal.slice(0, MOST_MORTALS);
    cursor = next;
  }
}

function isMortal(life: Reply): boolean {
  return life.ok && Number(life.value) >= 0;
}
