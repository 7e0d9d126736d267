/** Reading files that people write: YAML with positions, zod with key paths, and messages that say what to do. */
import { readFileSync } from 'node:fs';
import { type YAMLParseError, parseDocument } from 'yaml';
import type { z } from 'zod';

/** Stops the start. Each line names a file, a key path, what was found, and what was expected. */
export class ConfigurationError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

const MAX_FILE_BYTES = 1024 * 1024;

/** Text of a file of at most `max_bytes`. */
export function readBounded(file: string, what: string, max_bytes = MAX_FILE_BYTES): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigurationError([`${what} \`${file}\` cannot be read: ${(error as Error).message}`]);
  }
  if (text.length > max_bytes)
    throw new ConfigurationError([`${what} \`${file}\` is larger than ${max_bytes} bytes`]);
  return text;
}

export function readYaml<S extends z.ZodType>(file: string, what: string, schema: S): z.output<S> {
  const document = parseDocument(readBounded(file, what), { uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) throw new ConfigurationError([`${file}: ${describeSyntax(error)}`]);
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 100 }), {
    reportInput: false,
    error: explain,
  });
  if (parsed.success) return parsed.data;
  throw new ConfigurationError(
    parsed.error.issues.flatMap((issue) => describe(issue).map((line) => `${file}: ${line}`)),
  );
}

/** Where it is and of what kind: the library's own message shows what stands there, which may be a secret. */
function describeSyntax({ code, linePos }: YAMLParseError): string {
  const at = linePos === undefined ? '' : ` at line ${linePos[0].line}, column ${linePos[0].col}`;
  const what = code === 'DUPLICATE_KEY' ? 'Map keys must be unique' : code.toLowerCase().replaceAll('_', ' ');
  return `not valid YAML${at}: ${what}`;
}

/** One line per problem: `key.path: expected …, found …`. */
function describe(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${at([...issue.path, key])}: this key is not known`);
  }
  return [`${at(issue.path)}: ${issue.message}`];
}

const at = (path: readonly PropertyKey[]): string => path.map(String).join('.') || 'the file';

/** Says what kind of value was found, never the value: it may be a secret in the wrong place. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${String(issue.expected)}, found ${kindOf(issue.input)}`;
    case 'invalid_value':
      return `expected ${(issue.values as unknown[]).map((value) => JSON.stringify(value)).join(' or ')}, found ${kindOf(issue.input)}`;
    default:
      return undefined;
  }
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : `a ${typeof value === 'object' ? 'map' : typeof value}`;
}
