/**
 * The common constraints (draft-mcguinness-oauth-mission, "Common Constraints"; `parameter_values` and
 * `terminal_when` are ours): for each its shape, what is narrower, and what it permits. A key that is not in the
 * table fails closed everywhere.
 */
import { type Json, type JsonObject, isObject, member } from '../json.ts';
import type { ParameterValue, ParameterValues } from '../parameter-types.ts';
import { parseTime } from '../time.ts';
import { compareAmounts, isAmount } from './decimal.ts';

/** What a constraint is held against. */
export interface Exercise {
  readonly action: string;
  readonly parameters: ParameterValues;
  /** The moment of use, epoch ms. */
  readonly wall_ms: number;
  /** A person has approved this one action. */
  readonly is_approved: boolean;
}

export type Unmet =
  'out_of_authority' | 'parameter_violation' | 'constraint_unsupported' | 'approval_required';

interface ConstraintRule {
  /** True when the value has the constraint's shape; the other two are only asked of such values. */
  readonly isWellFormed: (value: Json) => boolean;
  /** True when `inner` is no broader than `outer`. */
  readonly isWithin: (inner: Json, outer: Json) => boolean;
  /** Undefined when the exercise is permitted. */
  readonly unmet: (value: Json, exercise: Exercise) => Unmet | undefined;
}

const violation = (isMet: boolean): Unmet | undefined => (isMet ? undefined : 'parameter_violation');

const CONSTRAINTS: Readonly<Record<string, ConstraintRule>> = {
  max_amount: {
    isWellFormed: (value) =>
      hasExactly(value, ['amount', 'currency']) &&
      isAmount(text(value, 'amount')) &&
      /^[A-Z]{3}$/.test(text(value, 'currency')),
    isWithin: (inner, outer) =>
      text(inner, 'currency') === text(outer, 'currency') &&
      compareAmounts(text(inner, 'amount'), text(outer, 'amount')) <= 0,
    unmet: (value, { parameters }) => {
      const amount = textParameter(parameters, 'amount');
      const isRead =
        amount !== undefined &&
        isAmount(amount) &&
        textParameter(parameters, 'currency') === text(value, 'currency');
      return violation(isRead && compareAmounts(amount, text(value, 'amount')) <= 0);
    },
  },
  // What a resource was issued at is not known where requests are checked.
  resource_issued_after: {
    isWellFormed: isTime,
    isWithin: (inner, outer) => instant(inner) >= instant(outer),
    unmet: () => 'constraint_unsupported',
  },
  resource_issued_before: {
    isWellFormed: isTime,
    isWithin: (inner, outer) => instant(inner) <= instant(outer),
    unmet: () => 'constraint_unsupported',
  },
  tenant: {
    isWellFormed: isName,
    isWithin: (inner, outer) => inner === outer,
    unmet: (value, { parameters }) => violation(textParameter(parameters, 'tenant') === value),
  },
  recipient_domain: {
    isWellFormed: (value) => typeof value === 'string' && DOMAIN.test(value.toLowerCase()),
    isWithin: (inner, outer) => isInDomain(inner as string, outer as string),
    unmet: (value, { parameters }) => {
      const recipients = listParameter(parameters, 'recipient');
      return violation(
        recipients !== undefined && recipients.every((each) => isInDomain(domainOf(each), value as string)),
      );
    },
  },
  time_window: {
    isWellFormed: isWindow,
    isWithin: (inner, outer) =>
      windowOf(inner).from >= windowOf(outer).from && windowOf(inner).until <= windowOf(outer).until,
    unmet: (value, { wall_ms }) => {
      const { from, until } = windowOf(value);
      return from <= wall_ms && wall_ms <= until ? undefined : 'out_of_authority';
    },
  },
  data_classification: {
    isWellFormed: isNames,
    isWithin: isSubsetOf,
    unmet: (value, { parameters }) => {
      const labels = listParameter(parameters, 'classification');
      return violation(labels !== undefined && isSubsetOf(labels, value));
    },
  },
  allowed_tools: {
    isWellFormed: isNames,
    isWithin: isSubsetOf,
    unmet: (value, { action }) => violation((value as readonly string[]).includes(action)),
  },
  parameter_values: {
    isWellFormed: (value) => isObject(value) && Object.values(value).every(isScalars),
    isWithin: (inner, outer) =>
      Object.entries(outer as JsonObject).every(([name, allowed]) => {
        const own = member(inner, name);
        return (
          own !== undefined &&
          (own as readonly Json[]).every((each) => (allowed as readonly Json[]).includes(each))
        );
      }),
    unmet: (value, { parameters }) => {
      const bound = Object.entries(value as JsonObject);
      return violation(
        bound.every(([name, allowed]) => takesOnly(given(parameters, name), allowed as readonly Json[])),
      );
    },
  },
  requires_action_approval: {
    isWellFormed: (value) => typeof value === 'boolean',
    isWithin: (inner, outer) => inner === true || inner === outer,
    unmet: (value, { is_approved }) => (value === true && !is_approved ? 'approval_required' : undefined),
  },
  // Ends the entry when it is discharged; until then it permits.
  terminal_when: {
    isWellFormed: (value) =>
      Array.isArray(value) &&
      value.every(
        (each) => hasExactly(each as Json, ['event_type']) && isName(member(each as Json, 'event_type')!),
      ),
    isWithin: (inner, outer) => isSubsetOf(eventTypes(outer), eventTypes(inner)),
    unmet: () => undefined,
  },
};

function ruleOf(key: string): ConstraintRule | undefined {
  return Object.hasOwn(CONSTRAINTS, key) ? CONSTRAINTS[key] : undefined;
}

/** The first known constraint whose value has not its shape, for the answer to a proposal; unknown keys pass here. */
export function malformedConstraint(constraints: JsonObject): string | undefined {
  return Object.keys(constraints).find((key) => ruleOf(key)?.isWellFormed(constraints[key]!) === false);
}

export interface UnmetConstraint {
  readonly reason: Unmet;
  readonly key: string;
}

/** The first constraint that the exercise does not meet. */
export function unmetConstraint(constraints: JsonObject, exercise: Exercise): UnmetConstraint | undefined {
  for (const [key, value] of Object.entries(constraints)) {
    const rule = ruleOf(key);
    const reason =
      rule?.isWellFormed(value) === true ? rule.unmet(value, exercise) : 'constraint_unsupported';
    if (reason !== undefined) return { reason, key };
  }
  return undefined;
}

/** The first key of `outer` that `inner` lacks or holds more broadly; a key that is not known cannot be compared. */
export function broaderConstraint(inner: JsonObject, outer: JsonObject): string | undefined {
  return Object.keys(outer).find((key) => {
    const rule = ruleOf(key);
    const value = Object.hasOwn(inner, key) ? inner[key] : undefined;
    if (value === undefined) return !isIdle(key, outer[key]!);
    const isComparable = rule?.isWellFormed(value) === true && rule.isWellFormed(outer[key]!);
    return !isComparable || !rule.isWithin(value, outer[key]!);
  });
}

/** `requires_action_approval: false` is the same as leaving it out. */
function isIdle(key: string, value: Json): boolean {
  return key === 'requires_action_approval' && value === false;
}

function hasExactly(value: Json, names: readonly string[]): boolean {
  return (
    isObject(value) &&
    Object.keys(value).length === names.length &&
    names.every((name) => Object.hasOwn(value, name))
  );
}

function text(value: Json, name: string): string {
  const found = member(value, name);
  return typeof found === 'string' ? found : '';
}

function isName(value: Json): value is string {
  return typeof value === 'string' && value !== '';
}

function isNames(value: Json): boolean {
  return Array.isArray(value) && (value as readonly Json[]).every(isName);
}

function isScalars(value: Json): boolean {
  return (
    Array.isArray(value) &&
    (value as readonly Json[]).every((each) => ['string', 'number', 'boolean'].includes(typeof each))
  );
}

function isSubsetOf(inner: Json, outer: Json): boolean {
  const allowed = new Set(outer as readonly string[]);
  return (inner as readonly string[]).every((each) => allowed.has(each));
}

function isTime(value: Json): boolean {
  return typeof value === 'string' && parseTime(value) !== undefined;
}

function instant(value: Json): number {
  return parseTime(value as string)!;
}

function isWindow(value: Json): boolean {
  if (!isObject(value)) return false;
  const names = Object.keys(value);
  return (
    names.length > 0 &&
    names.every((name) => ['not_before', 'not_after'].includes(name) && isTime(value[name]!))
  );
}

function windowOf(value: Json): { readonly from: number; readonly until: number } {
  const { not_before, not_after } = value as JsonObject;
  return {
    from: not_before === undefined ? -Infinity : instant(not_before),
    until: not_after === undefined ? Infinity : instant(not_after),
  };
}

function eventTypes(value: Json): readonly string[] {
  return (value as readonly Json[]).map((each) => text(each, 'event_type'));
}

const DOMAIN = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;

/**
 * One address and no more, or a bare domain. A list, a display name or a quoted or routed part could send elsewhere
 * than to the domain it ends with.
 */
const RECIPIENT = /^(?:[A-Za-z0-9!#$&'*+/=?^_`{|}~.-]+@)?([^@]*)$/;

function domainOf(recipient: string): string {
  return RECIPIENT.exec(recipient)?.[1] ?? '';
}

/** Whole labels, in any case: `mail.example.com` is in `example.com`, `badexample.com` is not. */
function isInDomain(domain: string, outer: string): boolean {
  const [inner, base] = [domain.toLowerCase(), outer.toLowerCase()];
  return DOMAIN.test(inner) && (inner === base || inner.endsWith(`.${base}`));
}

function given(parameters: ParameterValues, name: string): ParameterValue | undefined {
  return Object.hasOwn(parameters, name) ? parameters[name] : undefined;
}

function textParameter(parameters: ParameterValues, name: string): string | undefined {
  const found = given(parameters, name);
  return found?.type === 'string' || found?.type === 'decimal' ? found.value : undefined;
}

/** A string or a list of strings; an empty list names nobody, so it fits nothing. */
function listParameter(parameters: ParameterValues, name: string): readonly string[] | undefined {
  const found = given(parameters, name);
  if (found?.type === 'string') return [found.value];
  return found?.type === 'strings' && found.value.length > 0 ? found.value : undefined;
}

function takesOnly(value: ParameterValue | undefined, allowed: readonly Json[]): boolean {
  if (value === undefined) return false;
  if (value.type !== 'strings') return allowed.includes(value.value);
  return value.value.length > 0 && value.value.every((each) => allowed.includes(each));
}
