/** The Cedar schema that policies are checked against, generated from the model and the action table. */
import { type ActionTable, type NamedAction, familiesOf } from '../core/action-table.ts';
import { ACTION_CLASSES } from '../core/classes.ts';
import type { ParameterType } from '../core/parameter-types.ts';
import type { ParameterRule } from '../core/parameters.ts';

/** Entity types and the part of the context that is the same for every action. */
const MODEL = `
entity User;
entity Agent = {
  issuer: String, client_id: String, subject: User, depth: Long, actors: Set<String>
};
entity Mandate in [Mandate] = {
  state: String, version: Long, purpose: String, goal: String, depth: Long, expires_at: datetime,
  approved_at: datetime, subject: User, approver: User, tenant: String, suspended_before: Bool, remaining_calls: Long
};
entity Resource = { host: String, path: String, segments: Set<String> };
type HttpRequest = { method: String, scheme: String, host: String, path: String };
type Freshness = { source: String, age_ms: Long };
type Credential = { issuer: String, subject: String, client_id: String, expires_at: datetime };
`;

const CEDAR_TYPES: Readonly<Record<ParameterType, string>> = {
  string: 'String',
  long: 'Long',
  boolean: 'Bool',
  decimal: 'decimal',
  strings: 'Set<String>',
};

/** Methods whose unmapped actions policies may name. */
const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete', 'options'];

/** Schema text. Actions are the table's, those of unmapped methods, their families, and the classes as groups. */
export function cedarSchema(table: ActionTable): string {
  const actions = new Map<string, readonly ParameterRule[]>();
  for (const method of METHODS) actions.set(`http.${method}`, []);
  for (const [name, named] of table.named) actions.set(name, named.parameters);
  const groups = new Set<string>(ACTION_CLASSES);
  for (const name of actions.keys()) for (const family of familiesOf(name)) groups.add(family);
  return [MODEL, ...[...groups].map(groupText), ...[...actions].map(actionText(table.named))].join('\n');
}

function groupText(name: string): string {
  return `action ${JSON.stringify(name)};`;
}

/** An action is in every class from its own up, since floors and questions may raise it. */
function actionText(named: ReadonlyMap<string, NamedAction>) {
  return ([name, parameters]: readonly [string, readonly ParameterRule[]]): string => {
    const own = named.get(name)?.class ?? 'consequential_read';
    const classes = ACTION_CLASSES.slice(ACTION_CLASSES.indexOf(own));
    const groups = [...familiesOf(name), ...classes].map((group) => JSON.stringify(group)).join(', ');
    const fields = parameters.map((rule) => {
      return `${JSON.stringify(rule.name)}${rule.optional ? '?' : ''}: ${CEDAR_TYPES[rule.type]}`;
    });
    return `action ${JSON.stringify(name)} in [${groups}] appliesTo {
  principal: [Agent], resource: [Resource],
  context: {
    mandate: Mandate, parameters: { ${fields.join(', ')} }, request: HttpRequest, check_point: String,
    action_class: String, freshness: Freshness, credential: Credential, now: datetime
  }
};`;
  };
}
