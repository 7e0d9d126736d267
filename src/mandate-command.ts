/** `mandated mandate …`: propose, approve, deny, show, list, and the operations on a mandate. */
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { readConfig } from './config.ts';
import { type Answer, type ControlClient, createControlClient } from './control-client.ts';
import { type Json, type JsonObject, isObject, member, parseJson } from './core/json.ts';
import { differenceOf } from './core/mandate/difference.ts';
import { TRANSITIONS } from './core/mandate/life.ts';
import type { MandateRecord } from './core/mandate/record.ts';
import {
  type Paint,
  showDifference,
  showFleet,
  showEvent,
  showHistory,
  showMandate,
  showMandates,
  showProposal,
  showTree,
} from './show.ts';

/** Ends the command with a message and an exit code: 1 for a no, 2 where nothing could be told. */
export class CommandFailed extends Error {
  readonly exit: number;
  constructor(exit: number, message: string) {
    super(message);
    this.exit = exit;
  }
}

export interface Options {
  readonly config?: string;
  readonly control?: string;
  readonly 'token-file'?: string;
  readonly json?: boolean;
  readonly reason?: string;
  readonly nonce?: string;
  readonly 'expected-version'?: string;
  readonly acknowledge?: string;
  readonly 'timeout-ms'?: string;
  readonly 'proposal-hash'?: string;
  readonly state?: string;
  readonly subject?: string;
  readonly 'client-id'?: string;
  readonly entry?: readonly string[];
  readonly 'event-type'?: string;
  readonly 'event-id'?: string;
  readonly constraints?: string;
  readonly 'expires-at'?: string;
  readonly 'suspend-until'?: string;
  readonly 'on-expiry'?: string;
  readonly 'authorization-details'?: string;
  readonly 'approval-event-id'?: string;
  readonly since?: string;
  readonly intent?: string;
  readonly from?: string;
  readonly to?: string;
}

interface Context {
  readonly client: ControlClient;
  readonly options: Options;
  /** The file or the id that the command is about; empty for `list`. */
  readonly argument: string;
}

const COMMANDS: Readonly<Record<string, (context: Context) => Promise<string>>> = {
  propose: async ({ client, options, argument }) => {
    const body = await ask(client, 'POST', '/v1/proposals', readInput(argument));
    return options.json === true ? pretty(body) : showProposal(body);
  },
  approve,
  deny: async ({ client, options, argument }) => {
    const body = await ask(
      client,
      'POST',
      `${proposalPath(argument)}/deny`,
      members({ reason: options.reason }),
    );
    return options.json === true ? pretty(body) : showProposal(body);
  },
  show: async ({ client, options, argument }) => {
    const body = await ask(client, 'GET', mandatePath(argument));
    return options.json === true ? pretty(body) : showMandate(body, paint);
  },
  list: async ({ client, options }) => {
    const { state, subject, 'client-id': client_id } = options;
    const query = new URLSearchParams(
      Object.entries(members({ state, subject, client_id })) as [string, string][],
    );
    const body = await ask(client, 'GET', `/v1/mandates?${query.toString()}`);
    return options.json === true ? pretty(body) : showMandates(body, paint);
  },
  tree: async ({ client, options, argument }) => {
    const body = await ask(client, 'GET', `${mandatePath(argument)}/tree`);
    return options.json === true ? pretty(body) : showTree(body, paint);
  },
  history: async ({ client, options, argument }) => {
    const body = await ask(client, 'GET', `${mandatePath(argument)}/history`);
    return options.json === true ? pretty(body) : showHistory(body);
  },
  diff,
  watch,
  ...Object.fromEntries(Object.keys(TRANSITIONS).map((operation) => [operation, operate(operation)])),
};

export async function mandateCommand(args: readonly string[], options: Options): Promise<number> {
  const [name = '', argument = ''] = args;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined)
    throw new CommandFailed(2, `expected one of: ${Object.keys(COMMANDS).join(', ')}`);
  if (argument === '' && name !== 'list' && name !== 'watch')
    throw new CommandFailed(2, `\`mandate ${name}\` needs ${name === 'propose' ? 'a file' : 'an id'}`);
  process.stdout.write(await command({ client: clientOf(options), options, argument }));
  return 0;
}

/** `mandated fleet`: the sidecars that share the log, and how far each has come. */
export async function fleetCommand(options: Options): Promise<number> {
  const body = await ask(clientOf(options), 'GET', '/v1/fleet');
  process.stdout.write(options.json === true ? pretty(body) : showFleet(body, paint));
  return 0;
}

function clientOf(options: Options): ControlClient {
  const config = options.config === undefined ? undefined : readConfig(options.config, { is_dev: false });
  const at = options.control ?? (config === undefined ? 'http://127.0.0.1:9192' : addressOf(config.control));
  const file = options['token-file'] ?? config?.control.token_file ?? 'data/control-token';
  return createControlClient(at, readText(file, 'the operator token').trim());
}

function addressOf({ listen, tls }: ReturnType<typeof readConfig>['control']): string {
  if (listen.kind === 'unix') return `unix:${listen.path}`;
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  return `${tls === undefined ? 'http' : 'https'}://${host}:${listen.port}`;
}

function readText(file: string, what: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new CommandFailed(2, `${what} \`${file}\` cannot be read: ${(error as Error).message}`);
  }
}

function readInput(file: string): Json {
  const parsed = parseJson(readText(file, 'the proposal'));
  if (parsed.ok) return parsed.value;
  throw new CommandFailed(2, `\`${file}\` is ${parsed.error}`);
}

async function ask(client: ControlClient, method: string, path: string, body?: Json): Promise<JsonObject> {
  let answer: Answer;
  try {
    answer = await client.call(method, path, body);
  } catch (error) {
    throw new CommandFailed(2, `the control listener did not answer: ${(error as Error).message}`);
  }
  if (answer.status < 300 && isObject(answer.body)) return answer.body;
  throw refusal(answer);
}

function refusal(answer: Answer): CommandFailed {
  const [reason, detail, field] = ['reason', 'detail', 'field'].map((name) => member(answer.body, name));
  const where = field === undefined ? '' : ` (${String(field)})`;
  return new CommandFailed(
    answer.status >= 500 ? 2 : 1,
    `${String(reason ?? answer.status)}: ${String(detail ?? 'no detail')}${where}`,
  );
}

/** Approves what was shown: the hash names it, so another proposal under the same id would be refused. */
async function approve({ client, options, argument }: Context): Promise<string> {
  let hash = options['proposal-hash'];
  let shown = '';
  if (hash === undefined) {
    const proposal = await ask(client, 'GET', proposalPath(argument));
    hash = String(proposal.proposal_hash);
    shown = options.json === true ? '' : `${showProposal(proposal)}\n`;
  }
  const body = await ask(client, 'POST', `${proposalPath(argument)}/approve`, { proposal_hash: hash });
  return options.json === true ? pretty(body) : `${shown}${showMandate(body, paint)}`;
}

/** Two versions side by side: by default what the last change did. */
async function diff({ client, options, argument }: Context): Promise<string> {
  const current = Number((await ask(client, 'GET', mandatePath(argument))).version);
  const to = options.to === undefined ? current : versionOf(options.to, '--to');
  const from = options.from === undefined ? Math.max(1, to - 1) : versionOf(options.from, '--from');
  const [before, after] = await Promise.all(
    [from, to].map((version) => ask(client, 'GET', `${mandatePath(argument)}/versions/${version}`)),
  );
  const difference = differenceOf(before as unknown as MandateRecord, after as unknown as MandateRecord);
  return options.json === true ? pretty(difference as unknown as Json) : showDifference(difference, paint);
}

function versionOf(given: string, name: string): number {
  if (/^[1-9]\d{0,8}$/.test(given)) return Number(given);
  throw new CommandFailed(2, `\`${name}\` expects a version`);
}

const COLOURS = { green: 32, yellow: 33, red: 31 } as const;

const paint: Paint = (shown, colour) => {
  const { stdout } = process;
  return stdout.isTTY && stdout.hasColors() ? `\u001b[${COLOURS[colour]}m${shown}\u001b[0m` : shown;
};

const RECONNECT_MS = 1000;

/** Prints each change as it is committed, of one mandate or of all; goes on from the last one after a break. */
async function watch({ client, options, argument }: Context): Promise<string> {
  let last = options.since;
  const print = (id: string, data: Json): void => {
    last = id;
    if (argument !== '' && member(data, 'id') !== argument && member(data, 'cascaded_from') !== argument)
      return;
    process.stdout.write(options.json === true ? `${JSON.stringify(data)}\n` : showEvent(data));
  };
  for (;;) {
    let refused: Answer | undefined;
    try {
      refused = await client.follow(last, print);
    } catch (error) {
      if (last === undefined)
        throw new CommandFailed(2, `the control listener did not answer: ${(error as Error).message}`);
    }
    if (refused !== undefined) throw refusal(refused);
    await setTimeout(RECONNECT_MS);
  }
}

function operate(operation: string) {
  return async ({ client, options, argument }: Context): Promise<string> => {
    const version = options['expected-version'] ?? (await versionNeeded(operation, client, argument));
    const body = members({
      reason: options.reason,
      nonce: options.nonce,
      acknowledge: options.acknowledge,
      timeout_ms: options['timeout-ms'] === undefined ? undefined : Number(options['timeout-ms']),
      expected_version: version === undefined ? undefined : Number(version),
      ...ownMembers(operation, options),
    });
    const answer = await ask(client, 'POST', `${mandatePath(argument)}/${operation}`, body);
    if (options.json === true) return pretty(answer);
    if (answer.submission_id !== undefined) return showProposal(answer);
    return `${String(answer.id)} is ${String(answer.state)} at version ${String(answer.version)} (${String(answer.acknowledged)})\n`;
  };
}

/** Members of one operation's own. What it has not is refused by the listener, by name. */
function ownMembers(operation: string, options: Options): Readonly<Record<string, Json | undefined>> {
  const { entry, constraints, 'authorization-details': file } = options;
  return {
    ...(operation === 'contain' ? { entries: entry } : { entry: entry?.[0] }),
    event_type: options['event-type'],
    event_id: options['event-id'],
    expires_at: options['expires-at'],
    suspend_until: options['suspend-until'],
    on_expiry: options['on-expiry'],
    approval_event_id: options['approval-event-id'],
    constraints: constraints === undefined ? undefined : parseOption(constraints, '--constraints'),
    authorization_details: file === undefined ? undefined : readInput(file),
    intent: options.intent === undefined ? undefined : readInput(options.intent),
  };
}

function parseOption(text: string, name: string): Json {
  const parsed = parseJson(text);
  if (parsed.ok) return parsed.value;
  throw new CommandFailed(2, `\`${name}\` is ${parsed.error}`);
}

/** An operation that must name the version it was decided on takes the one that stands now. */
async function versionNeeded(
  operation: string,
  client: ControlClient,
  id: string,
): Promise<string | undefined> {
  if (!TRANSITIONS[operation as keyof typeof TRANSITIONS].needs_version) return undefined;
  return String((await ask(client, 'GET', mandatePath(id))).version);
}

function members(given: Readonly<Record<string, Json | undefined>>): JsonObject {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as JsonObject;
}

const proposalPath = (id: string): string => `/v1/proposals/${encodeURIComponent(id)}`;
const mandatePath = (id: string): string => `/v1/mandates/${encodeURIComponent(id)}`;

function pretty(value: Json): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
