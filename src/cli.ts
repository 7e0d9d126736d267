/** The command line. Exit 0: yes; 1: no; 2: could not tell. */
import { parseArgs } from 'node:util';
import { CommandFailed, fleetCommand, mandateCommand } from './mandate-command.ts';
import { dev } from './dev.ts';
import { VERSION, checkConfiguration, serve } from './main.ts';
import { ConfigurationError } from './reading.ts';

const USAGE = `mandated ${VERSION}: is the credential usable, the mission still legitimate, the request permitted?

  mandated serve [--config FILE]       serve proxies and people (default: mandated.yaml)
  mandated dev                         the same on throwaway defaults, with a story to watch
  mandated check [--config FILE]       say what \`serve\` would refuse, and stop

  mandated mandate propose FILE        propose a mission; FILE is the JSON body, or - for standard input
  mandated mandate approve ID          approve a proposal (shows it first; --proposal-hash HASH to skip that)
  mandated mandate deny ID [--reason TEXT]
  mandated mandate show ID | list [--state S] [--subject S] [--client-id C]
  mandated mandate tree ID | history ID | diff ID [--from VERSION] [--to VERSION]
  mandated mandate watch [ID] [--since EPOCH-SEQ]
  mandated mandate OPERATION ID [--reason TEXT] [--nonce N] [--expected-version N]
                                [--acknowledge applied|durable|enforced] [--timeout-ms N]
      suspend [--suspend-until TIME --on-expiry resume|revoke]    resume
      contain --entry DIGEST…             discharge --entry DIGEST --event-type T --event-id E
      tighten --entry DIGEST --constraints JSON                    shorten --expires-at TIME
      extend --expires-at TIME            amend --authorization-details FILE
      renew [--intent FILE] [--authorization-details FILE]
      complete                            revoke

  mandated fleet                       the sidecars that share the store, and how far each has come

Options of \`mandate\` and \`fleet\`:
  --control URL       the control listener: http://127.0.0.1:9192, https://…, or unix:PATH
  --token-file FILE   the operator token (default: as --config says, else data/control-token)
  --config FILE       read both from a configuration
  --json              JSON instead of text

Exit: 0 yes, 1 no, 2 could not tell.
`;

export async function main(argv: readonly string[]): Promise<number> {
  try {
    return await run(argv);
  } catch (error) {
    if (error instanceof ConfigurationError) {
      for (const problem of error.problems) process.stderr.write(`${problem}\n`);
      return 2;
    }
    if (error instanceof CommandFailed) {
      process.stderr.write(`${error.message}\n`);
      return error.exit;
    }
    if (isUsage(error)) {
      process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
      return 2;
    }
    throw error;
  }
}

function isUsage(error: unknown): boolean {
  return String((error as { code?: unknown }).code ?? '').startsWith('ERR_PARSE_ARGS');
}

async function run(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      config: { type: 'string' },
      control: { type: 'string' },
      'token-file': { type: 'string' },
      json: { type: 'boolean' },
      reason: { type: 'string' },
      nonce: { type: 'string' },
      'expected-version': { type: 'string' },
      acknowledge: { type: 'string' },
      'timeout-ms': { type: 'string' },
      'proposal-hash': { type: 'string' },
      state: { type: 'string' },
      subject: { type: 'string' },
      'client-id': { type: 'string' },
      entry: { type: 'string', multiple: true },
      'event-type': { type: 'string' },
      'event-id': { type: 'string' },
      constraints: { type: 'string' },
      'expires-at': { type: 'string' },
      'suspend-until': { type: 'string' },
      'on-expiry': { type: 'string' },
      'authorization-details': { type: 'string' },
      'approval-event-id': { type: 'string' },
      since: { type: 'string' },
      intent: { type: 'string' },
      from: { type: 'string' },
      to: { type: 'string' },
      'check-port': { type: 'string' },
      'control-port': { type: 'string' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean' },
    },
  });
  const [command, ...rest] = positionals;
  if (command !== 'serve') tolerateClosedReader();
  if (values.version === true) return say(`${VERSION}\n`);
  if (values.help === true || command === undefined || command === 'help') return say(USAGE);
  switch (command) {
    case 'serve':
      return serve(values.config ?? 'mandated.yaml');
    case 'dev':
      return dev({
        check_port: portOf(values['check-port'], 9191),
        control_port: portOf(values['control-port'], 9192),
      });
    case 'check':
      return report(await checkConfiguration(values.config ?? 'mandated.yaml'));
    case 'mandate':
      return mandateCommand(rest, values);
    case 'fleet':
      return fleetCommand(values);
    default:
      throw new CommandFailed(2, `\`${command}\` is not a command\n\n${USAGE}`);
  }
}

function portOf(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new CommandFailed(2, 'expected a port number');
}

function report(warnings: readonly string[]): number {
  for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`);
  return say('the configuration, keys, policies and store are good\n');
}

/** `mandated mandate list | head` ends the reader first, which is no failure of ours. */
function tolerateClosedReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
}

function say(text: string): number {
  process.stdout.write(text);
  return 0;
}
