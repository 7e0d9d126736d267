/** `actions.yaml`: what each request means, read into the table that `classify` walks. */
import { z } from 'zod';
import type { ActionTable, HttpMatch, NamedAction, OperationRule, PathSegment } from './core/action-table.ts';
import { ACTION_CLASSES, type ActionClass, widest } from './core/classes.ts';
import { PARAMETER_TYPES, type ParameterType } from './core/parameter-types.ts';
import { type ParameterRule, type ParameterSource } from './core/parameters.ts';
import { judgePath, normaliseAuthority, parseResource } from './core/uri.ts';
import { ConfigurationError, readYaml } from './reading.ts';

const actionName = z
  .string()
  .regex(/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/, 'expected an action name such as `repo.push`')
  .max(256);
const actionOrFamily = z
  .string()
  .regex(
    /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?:\.\*)?$/,
    'expected an action name or a family such as `repo.*`',
  )
  .max(256);
const actionClass = z.enum(ACTION_CLASSES);
const parameterType = z.enum(PARAMETER_TYPES);

const source = z
  .string()
  .regex(
    /^(?:body:(?:\/.*)?|query:.+|header:[A-Za-z0-9-]+|path:[A-Za-z0-9_]+)$/,
    'expected `body:/pointer`, `query:name`, `header:name` or `path:name`',
  );
const parameter = z.union([
  parameterType,
  source,
  z.strictObject({
    from: source.optional(),
    type: parameterType.default('string'),
    optional: z.boolean().default(false),
  }),
]);

const operation = z.strictObject({
  match: z.union([
    z.strictObject({
      methods: z
        .array(z.string().regex(/^[A-Z-]{1,32}$/, 'expected a method in capitals'))
        .min(1)
        .optional(),
      host: z.string().optional(),
      path: z.string().startsWith('/', 'expected a path that begins with `/`'),
    }),
    z.strictObject({ tool: actionName }),
  ]),
  action: actionName.optional(),
  resource: z.string().optional(),
  class: actionClass.optional(),
  parameters: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, 'expected a parameter name'), parameter)
    .default({}),
});

const actionsFile = z.strictObject({
  unmapped: z.enum(['http', 'deny']).default('http'),
  floors: z.record(actionOrFamily, actionClass).default({}),
  operations: z.array(operation).max(10_000).default([]),
});

type OperationText = z.output<typeof operation>;

export interface ActionsOptions {
  readonly scheme: 'http' | 'https';
  readonly is_cedar_bound: boolean;
}

export function readActions(file: string, options: ActionsOptions): ActionTable {
  const text = readYaml(file, 'the action table', actionsFile);
  const problems: string[] = [];
  const operations = text.operations.map((each, index) => {
    const complain = (path: string, what: string): void =>
      void problems.push(`${file}: operations.${index}.${path}: ${what}`);
    return readOperation(each, options.scheme, complain);
  });
  const named = nameActions(operations, (what) => void problems.push(`${file}: ${what}`));
  if (problems.length > 0) throw new ConfigurationError(problems);
  const floors = Object.entries(text.floors).map(([action, name]) => ({ action, class: name }));
  return { ...options, unmapped: text.unmapped, floors, operations, named };
}

/** A table with no operation: everything is unmapped. */
export function emptyActions(options: ActionsOptions): ActionTable {
  return { ...options, unmapped: 'http', floors: [], operations: [], named: new Map() };
}

type Complain = (path: string, what: string) => void;

function readOperation(text: OperationText, scheme: string, complain: Complain): OperationRule {
  const match =
    'tool' in text.match
      ? ({ kind: 'tool', tool: text.match.tool } as const)
      : readMatch(text.match, scheme, complain);
  if (text.class === 'non_consequential' && !isHarmless(match)) {
    complain('class', 'only GET, HEAD and OPTIONS may be mapped `non_consequential`');
  }
  if (match.kind === 'tool' && (text.action !== undefined || text.resource !== undefined)) {
    complain('match', 'a tool is its own action, and its resource comes with the question');
  }
  const parameters = Object.entries(text.parameters).map(([name, value]) => {
    const rule = readParameter(name, value);
    checkSource(rule, match, (what) => complain(`parameters.${name}`, what));
    return rule;
  });
  checkTemplate(text.resource, match, (what) => complain('resource', what));
  return {
    match,
    action: match.kind === 'tool' ? match.tool : text.action,
    resource: text.resource,
    class: text.class,
    parameters,
  };
}

function isHarmless(match: OperationRule['match']): boolean {
  if (match.kind === 'tool' || match.methods === undefined) return false;
  return [...match.methods].every((method) => ['GET', 'HEAD', 'OPTIONS'].includes(method));
}

function readMatch(
  text: { methods?: string[] | undefined; host?: string | undefined; path: string },
  scheme: string,
  complain: Complain,
): HttpMatch {
  const host = text.host === undefined ? undefined : normaliseAuthority(text.host, scheme);
  if (host !== undefined && typeof host !== 'string') complain('match.host', host.refused);
  const segments = text.path.slice(1).split('/');
  const path = segments.map((segment, index): PathSegment => {
    if (segment === '**' && index === segments.length - 1) return { kind: 'rest' };
    const name = /^\{([A-Za-z0-9_]+)\}$/.exec(segment)?.[1];
    if (name !== undefined) return { kind: 'any', name };
    const judged = judgePath(`/${segment}`);
    if (typeof judged !== 'string') complain('match.path', judged.refused);
    else if (/[{}*]/.test(segment))
      complain('match.path', 'expected `{name}` for a whole segment, or `**` at the end');
    return { kind: 'literal', text: typeof judged === 'string' ? judged.slice(1) : segment };
  });
  return {
    kind: 'http',
    methods: text.methods === undefined ? undefined : new Set(text.methods),
    host: typeof host === 'string' ? host : undefined,
    path,
  };
}

const TYPE_NAMES: ReadonlySet<string> = new Set(PARAMETER_TYPES);

function readParameter(name: string, text: z.output<typeof parameter>): ParameterRule {
  if (typeof text !== 'string') {
    const from = text.from === undefined ? {} : { source: readSource(text.from) };
    return { name, type: text.type, optional: text.optional, ...from };
  }
  if (TYPE_NAMES.has(text)) return { name, type: text as ParameterType, optional: false };
  return { name, type: 'string', optional: false, source: readSource(text) };
}

function readSource(text: string): ParameterSource {
  const at = text.indexOf(':');
  const [from, rest] = [text.slice(0, at), text.slice(at + 1)];
  if (from === 'body') {
    const tokens = rest === '' ? [] : rest.slice(1).split('/');
    return { from, pointer: tokens.map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~')) };
  }
  return { from: from as 'query' | 'header' | 'path', name: from === 'header' ? rest.toLowerCase() : rest };
}

function checkSource(
  rule: ParameterRule,
  match: OperationRule['match'],
  complain: (what: string) => void,
): void {
  const { source: from } = rule;
  if (match.kind === 'tool') {
    if (from !== undefined) complain('a tool takes its parameters from the question, not from a request');
    return;
  }
  if (from === undefined)
    return complain(
      'expected where it comes from: `body:/pointer`, `query:name`, `header:name` or `path:name`',
    );
  if (from.from === 'path' && !namesOf(match).has(from.name)) complain('the path has no such name');
}

function namesOf(match: HttpMatch): ReadonlySet<string> {
  return new Set(match.path.flatMap((segment) => (segment.kind === 'any' ? [segment.name] : [])));
}

function checkTemplate(
  template: string | undefined,
  match: OperationRule['match'],
  complain: (what: string) => void,
): void {
  if (template === undefined) return;
  const names = match.kind === 'http' ? namesOf(match) : new Set<string>();
  for (const [, name] of template.matchAll(/\{([^}]*)\}/g)) {
    if (!names.has(name!)) complain(`\`{${name}}\` is not a name of the path`);
  }
  const sample = parseResource(template.replaceAll(/\{[^}]*\}/g, 'x'));
  if ('refused' in sample) complain(sample.refused);
}

/** Everything that native questions may ask by name; one name has one meaning, whatever operations share it. */
function nameActions(
  operations: readonly OperationRule[],
  complain: (what: string) => void,
): Map<string, NamedAction> {
  const named = new Map<string, NamedAction>();
  for (const rule of operations) {
    for (const name of actionNames(rule)) {
      const before = named.get(name);
      const own = rule.class ?? widestReach(rule);
      named.set(name, {
        class: before === undefined ? own : widest(before.class, own),
        parameters: merge(before?.parameters, rule.parameters, (parameterName) =>
          complain(`the parameter \`${parameterName}\` of the action \`${name}\` has two types`),
        ),
      });
    }
  }
  return named;
}

function actionNames(rule: OperationRule): readonly string[] {
  if (rule.action !== undefined) return [rule.action];
  const methods = rule.match.kind === 'http' ? [...(rule.match.methods ?? [])] : [];
  return methods.map((method) => `http.${method.toLowerCase()}`);
}

function widestReach(rule: OperationRule): ActionClass {
  const methods = rule.match.kind === 'http' ? rule.match.methods : undefined;
  const isReading =
    methods !== undefined && [...methods].every((method) => method === 'GET' || method === 'HEAD');
  return isReading ? 'consequential_read' : 'irreversible_action';
}

function merge(
  before: readonly ParameterRule[] | undefined,
  rules: readonly ParameterRule[],
  complain: (name: string) => void,
): readonly ParameterRule[] {
  if (before === undefined) return rules.map(withoutSource);
  const merged = new Map(before.map((rule) => [rule.name, rule]));
  for (const known of merged.values()) {
    if (!rules.some((rule) => rule.name === known.name)) merged.set(known.name, { ...known, optional: true });
  }
  for (const rule of rules) {
    const known = merged.get(rule.name);
    if (known !== undefined && known.type !== rule.type) complain(rule.name);
    merged.set(rule.name, {
      ...withoutSource(rule),
      optional: known === undefined || known.optional || rule.optional,
    });
  }
  return [...merged.values()];
}

function withoutSource({ name, type, optional }: ParameterRule): ParameterRule {
  return { name, type, optional };
}
