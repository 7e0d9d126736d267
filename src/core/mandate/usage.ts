/**
 * Budgets (draft-mcguinness-mission-metering, "Consumption Bounds"): what a mandate may use in all, what it has used,
 * and what it has handed on to its children. A child is charged on its own meters alone: its whole budget was set aside
 * from its parent's when it began.
 */
import { type Json, type JsonObject, isObject, member } from '../json.ts';
import { parseDuration, parseIsoDuration } from '../time.ts';
import { addAmounts, compareAmounts, isAmount, subtractAmounts } from './decimal.ts';

/** A count, milliseconds, or an exact decimal of money. */
type Quantity = number | string;

export interface Meter {
  readonly limit: Quantity;
  /** Used or reserved, and not given back. */
  readonly charged: Quantity;
  /** Set aside for children that live. */
  readonly allotted: Quantity;
}

/** Only what is bounded has a meter. */
export interface Usage {
  readonly max_calls?: Meter;
  readonly max_budget?: Meter & { readonly currency: string };
  readonly max_duration_ms?: Meter;
}

/** What one decision takes. */
export interface Charge {
  readonly calls: number;
  readonly amount?: { readonly amount: string; readonly currency: string };
  readonly duration_ms?: number;
}

/** Bounds as they are written in `intent.controls`, and in a child's `budget`. */
export interface Budget {
  readonly max_calls?: number;
  readonly max_budget?: { readonly amount: string; readonly currency: string };
  /** ISO 8601 (`PT8H`), or as configuration writes durations (`8h`). */
  readonly max_duration?: string;
}

const BOUNDS: Readonly<Record<keyof Budget, (value: Json) => boolean>> = {
  max_calls: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  max_budget: (value) =>
    isObject(value) &&
    Object.keys(value).length === 2 &&
    isAmount(String(member(value, 'amount'))) &&
    typeof value.amount === 'string' &&
    /^[A-Z]{3}$/.test(String(member(value, 'currency'))),
  max_duration: (value) => typeof value === 'string' && durationOf(value) !== undefined,
};

/** The first member that is not a bound which is metered here. */
export function unmeteredBound(value: JsonObject): string | undefined {
  return Object.keys(value).find((name) => {
    return !Object.hasOwn(BOUNDS, name) || !BOUNDS[name as keyof Budget](value[name]!);
  });
}

function durationOf(text: string): number | undefined {
  return parseIsoDuration(text) ?? parseDuration(text);
}

/** Meters at zero; undefined where nothing is bounded. `unmeteredBound` has found nothing. */
export function usageOf(budget: Budget): Usage | undefined {
  const { max_calls, max_budget, max_duration } = budget;
  const usage: Usage = {
    ...(max_calls === undefined ? {} : { max_calls: { limit: max_calls, charged: 0, allotted: 0 } }),
    ...(max_budget === undefined
      ? {}
      : {
          max_budget: {
            currency: max_budget.currency,
            limit: max_budget.amount,
            charged: '0',
            allotted: '0',
          },
        }),
    ...(max_duration === undefined
      ? {}
      : { max_duration_ms: { limit: durationOf(max_duration)!, charged: 0, allotted: 0 } }),
  };
  return Object.keys(usage).length === 0 ? undefined : usage;
}

function plus(a: Quantity, b: Quantity): Quantity {
  return typeof a === 'number' ? a + (b as number) : addAmounts(a, b as string);
}

function minus(a: Quantity, b: Quantity): Quantity {
  return typeof a === 'number' ? Math.max(a - (b as number), 0) : subtractAmounts(a, b as string);
}

function isMore(a: Quantity, b: Quantity): boolean {
  return typeof a === 'number' ? a > (b as number) : compareAmounts(a, b as string) > 0;
}

/** What is left of a meter. */
export function remainder({ limit, charged, allotted }: Meter): Quantity {
  return minus(minus(limit, charged), allotted);
}

type MeterName = keyof Usage;
const METERS = ['max_calls', 'max_budget', 'max_duration_ms'] as const satisfies readonly MeterName[];

function taken({ calls, amount, duration_ms }: Charge, name: MeterName): Quantity {
  switch (name) {
    case 'max_calls':
      return calls;
    case 'max_budget':
      return amount?.amount ?? '0';
    case 'max_duration_ms':
      return duration_ms ?? 0;
  }
}

export type Charged =
  | { readonly usage: Usage }
  | { readonly refused: 'quota_exceeded' | 'parameter_violation'; readonly detail: string };

/** The meters after the charge, or what does not reach. */
export function charge(usage: Usage, taking: Charge): Charged {
  const { amount } = taking;
  const currency = usage.max_budget?.currency;
  if (amount !== undefined && currency !== undefined && amount.currency !== currency) {
    return { refused: 'parameter_violation', detail: `the budget is in ${currency}` };
  }
  const short = METERS.find((name) => {
    const meter = usage[name];
    return meter !== undefined && isMore(taken(taking, name), remainder(meter));
  });
  if (short !== undefined) return { refused: 'quota_exceeded', detail: `\`${short}\` does not reach` };
  return { usage: changed(usage, (meter, name) => ({ charged: plus(meter.charged, taken(taking, name)) })) };
}

/** The meters with a charge, or a part of one, given back. */
export function giveBack(usage: Usage, taking: Charge): Usage {
  return changed(usage, (meter, name) => ({ charged: minus(meter.charged, taken(taking, name)) }));
}

export type Allotted =
  | { readonly usage: Usage }
  | { readonly refused: MeterName; readonly detail: string; readonly is_short: boolean };

/**
 * A parent's meters after a child's budget is set aside. What bounds the parent must bound the child: a child without a
 * bound could use what the parent may not.
 */
export function allot(usage: Usage, child: Usage): Allotted {
  for (const name of METERS) {
    const [meter, wanted] = [usage[name], child[name]];
    if (meter === undefined) continue;
    if (wanted === undefined) {
      return {
        refused: name,
        detail: 'the parent is metered, so the child must name its part',
        is_short: false,
      };
    }
    if (name === 'max_budget' && usage.max_budget!.currency !== child.max_budget!.currency) {
      return { refused: name, detail: 'not in the currency of the parent', is_short: false };
    }
    if (isMore(wanted.limit, remainder(meter))) {
      return { refused: name, detail: 'more than the parent has left', is_short: true };
    }
  }
  return {
    usage: changed(usage, (meter, name) => ({ allotted: plus(meter.allotted, child[name]!.limit) })),
  };
}

/** A parent's meters after a child has ended: what the child did not use is the parent's again. */
export function release(usage: Usage, child: Usage): Usage {
  return changed(usage, (meter, name) => {
    const own = child[name];
    if (own === undefined) return {};
    const used = plus(own.charged, own.allotted);
    return { allotted: minus(meter.allotted, own.limit), charged: plus(meter.charged, used) };
  });
}

/** The same meters with the most that either says of each: what was spent is spent, whoever has seen it. */
export function mostUsed(usage: Usage, other: Usage): Usage {
  return changed(usage, ({ charged, allotted }, name) => {
    return {
      charged: larger(charged, other[name]?.charged),
      allotted: larger(allotted, other[name]?.allotted),
    };
  });
}

function larger(a: Quantity, b: Quantity | undefined): Quantity {
  return b !== undefined && isMore(b, a) ? b : a;
}

/** The same bounds with nothing used. */
export function renewed(usage: Usage): Usage {
  return changed(usage, ({ limit }) => {
    const zero = typeof limit === 'number' ? 0 : '0';
    return { charged: zero, allotted: zero };
  });
}

function changed(usage: Usage, change: (meter: Meter, name: MeterName) => Partial<Meter>): Usage {
  return Object.fromEntries(
    METERS.flatMap((name) => {
      const meter = usage[name];
      return meter === undefined ? [] : [[name, { ...meter, ...change(meter, name) }]];
    }),
  );
}
