/** The action table: what requests are matched with, and how a class is found and raised. */
import { type ActionClass, widest } from './classes.ts';
import { coversAction } from './mandate/authority.ts';
import type { ParameterRule } from './parameters.ts';
import type { HttpRequest } from './request.ts';
import { type ResourceUri, parseResource } from './uri.ts';

export type PathSegment =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'any'; readonly name: string }
  /** The last one only: whatever follows, nothing included. */
  | { readonly kind: 'rest' };

export interface HttpMatch {
  readonly kind: 'http';
  /** Undefined: every method. */
  readonly methods: ReadonlySet<string> | undefined;
  readonly host: string | undefined;
  readonly path: readonly PathSegment[];
}

export interface OperationRule {
  readonly match: HttpMatch | { readonly kind: 'tool'; readonly tool: string };
  /** Undefined: `http.` and the method. */
  readonly action: string | undefined;
  /** Template over the path's names; undefined: the target itself. */
  readonly resource: string | undefined;
  /** Undefined: the widest the operation can reach. */
  readonly class: ActionClass | undefined;
  readonly parameters: readonly ParameterRule[];
}

/** What native questions find under an action's name: the widest class and the parameters of all its operations. */
export interface NamedAction {
  readonly class: ActionClass;
  readonly parameters: readonly ParameterRule[];
}

export interface ActionTable {
  readonly scheme: 'http' | 'https';
  readonly unmapped: 'http' | 'deny';
  readonly floors: readonly { readonly action: string; readonly class: ActionClass }[];
  readonly operations: readonly OperationRule[];
  readonly named: ReadonlyMap<string, NamedAction>;
  /** Cedar is configured, so decimals must be such as Cedar holds. */
  readonly is_cedar_bound: boolean;
}

export type ClassSource = 'operation' | 'unmapped' | 'floor' | 'question';

export function unmappedClass(method: string): ActionClass {
  return method === 'GET' || method === 'HEAD' ? 'consequential_read' : 'irreversible_action';
}

interface FoundOperation {
  readonly rule: OperationRule;
  readonly names: ReadonlyMap<string, string>;
}

export function findOperation(
  method: string,
  target: ResourceUri,
  table: ActionTable,
): FoundOperation | undefined {
  const segments = target.path.slice(1).split('/');
  for (const rule of table.operations) {
    if (rule.match.kind !== 'http') continue;
    const { methods, host, path } = rule.match;
    if (methods !== undefined && !methods.has(method)) continue;
    if (host !== undefined && host !== target.authority) continue;
    const names = matchPath(path, segments);
    if (names !== undefined) return { rule, names };
  }
  return undefined;
}

function matchPath(
  pattern: readonly PathSegment[],
  segments: readonly string[],
): ReadonlyMap<string, string> | undefined {
  const names = new Map<string, string>();
  for (const [at, part] of pattern.entries()) {
    if (part.kind === 'rest') return names;
    const segment = segments[at];
    if (segment === undefined) return undefined;
    if (part.kind === 'literal') {
      if (segment !== part.text) return undefined;
    } else {
      if (segment === '') return undefined;
      names.set(part.name, segment);
    }
  }
  return segments.length === pattern.length ? names : undefined;
}

export function expand(
  template: string,
  names: ReadonlyMap<string, string>,
): ResourceUri | { refused: string } {
  return parseResource(template.replace(/\{([^}]*)\}/g, (_, name: string) => names.get(name) ?? ''));
}

export interface Graded {
  readonly name: string;
  readonly class: ActionClass;
  readonly class_source: ClassSource;
}

export function grade(request: HttpRequest, rule: OperationRule | undefined, table: ActionTable): Graded {
  const name = rule?.action ?? `http.${request.method.toLowerCase()}`;
  const own: Graded =
    rule?.class === undefined
      ? { name, class: unmappedClass(request.method), class_source: 'unmapped' }
      : { name, class: rule.class, class_source: 'operation' };
  return raise(own, floorOf(name, table), 'floor');
}

export function floorOf(name: string, table: ActionTable): ActionClass | undefined {
  let floor: ActionClass | undefined;
  for (const each of table.floors) {
    if (coversAction(each.action, name)) floor = floor === undefined ? each.class : widest(floor, each.class);
  }
  return floor;
}

export function raise(graded: Graded, to: ActionClass | undefined, source: ClassSource): Graded {
  if (to === undefined || widest(graded.class, to) === graded.class) return graded;
  return { ...graded, class: to, class_source: source };
}

/** `repo.refs.push` is in `repo.refs.*` and in `repo.*`. */
export function familiesOf(name: string): readonly string[] {
  const families: string[] = [];
  for (let at = name.lastIndexOf('.'); at > 0; at = name.lastIndexOf('.', at - 1)) {
    families.push(`${name.slice(0, at)}.*`);
  }
  return families;
}
