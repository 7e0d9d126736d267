/** Rows about a store that says nothing, or not all: who must deny meanwhile, how soon, and when it must be over. */
import { ask as get } from '../support/ask.ts';
import type { Action } from './classes.ts';
import { ACTIONS } from './classes.ts';
import type { Member } from './fleet.ts';
import { startLoad } from './load.ts';
import type { Checked } from './recorder.ts';

/** Longest that a check waits for a proof (design/3, Barrier). */
const BARRIER_MS = 250;
/** What a check takes beside that, and a little more. */
const SLACK_MS = 250;
/** All must be well again so soon after the fault has ended. */
export const RECOVERY_MS = 1000;
const CHECKS_PER_S = 24;
const PINGS_PER_S = 8;

export interface Watched {
  readonly checks: readonly Checked[];
  /** The longest that the machine has kept an answer back that needs nothing of anybody. */
  readonly lag_ms: number;
}

export interface Watch {
  readonly stop: () => Promise<Watched>;
}

/** Asks about one mandate that lives, for every class in turn. */
export function watch(member: Member, mandate: string): Watch {
  const checks: Checked[] = [];
  const ask = async (turn: number) => {
    checks.push(await member.check(mandate, ACTIONS[turn % ACTIONS.length]!));
  };
  let lag_ms = 0;
  const ping = async () => {
    const began = performance.now();
    await get(member.sidecar.control_port, { path: '/livez' });
    lag_ms = Math.max(lag_ms, performance.now() - began);
  };
  const loads = [
    startLoad({ per_second: CHECKS_PER_S, act: ask }),
    startLoad({ per_second: PINGS_PER_S, act: ping }),
  ];
  return {
    stop: async () => {
      await Promise.all(loads.map((each) => each.stop()));
      return { checks, lag_ms: Math.max(lag_ms, ...checks.filter(isHeld).map(({ lasted_ms }) => lasted_ms)) };
    },
  };
}

/** Decided from what is held: neither does that need anybody. */
const isHeld = ({ freshness, effect }: Checked): boolean =>
  effect === 'allow' && freshness?.source === 'replica';

/** A fault from one moment to another, monotonic ms, and what it takes away. */
export interface Fault {
  readonly from: number;
  readonly to: number;
  /** No barrier is answered. */
  readonly is_unproven: boolean;
  /** No heartbeat is. */
  readonly is_unbeaten: boolean;
}

/** What a member did that it may not; empty where all is as it must be. */
export function complaintsOf(watched: Watched, fault: Fault): readonly string[] {
  const { checks, lag_ms } = watched;
  const wrong = checks.flatMap((check) => {
    const [began, ended] = [check.began.mono_ms, check.began.mono_ms + check.lasted_ms];
    if (began > fault.to + RECOVERY_MS + lag_ms) return outcomeIs('allow', check, fault, 'not back');
    if (began <= fault.from || began >= fault.to) return [];
    // One that is answered after the fault says nothing of it, but that it took so long.
    const is_slow = Math.min(ended, fault.to) - began > BARRIER_MS + SLACK_MS + lag_ms;
    const slow = is_slow ? [`slow: ${described(check, fault)}`] : [];
    return ended >= fault.to ? slow : [...slow, ...duringFault(check, fault)];
  });
  return [...wrong, ...needlessDenies(watched, fault)];
}

function duringFault(check: Checked, fault: Fault): readonly string[] {
  const { budget_ms, began } = check;
  const is_old = began.mono_ms > fault.from + budget_ms;
  if (fault.is_unproven && budget_ms === 0) return outcomeIs('state_unavailable', check, fault, 'unproven');
  if (fault.is_unproven && fault.is_unbeaten && is_old)
    return outcomeIs('state_unavailable', check, fault, 'too old');
  return [];
}

/** Where there is a proof, or one that is young enough. A few denies are of the machine, which was too slow for them. */
function needlessDenies({ checks }: Watched, fault: Fault): readonly string[] {
  const isServed = ({ began, budget_ms }: Checked): boolean => {
    if (fault.is_unproven && budget_ms === 0) return false;
    // It may have been as old as a heartbeat when the fault began.
    const is_young = began.mono_ms < fault.from + budget_ms - 2 * BARRIER_MS;
    return is_young || !fault.is_unproven || !fault.is_unbeaten;
  };
  const served = checks.filter(
    (each) => each.began.mono_ms > fault.from && each.began.mono_ms < fault.to && isServed(each),
  );
  const needless = served.flatMap((each) => outcomeIs('allow', each, fault, 'needless'));
  return needless.length > served.length / 4 ? needless : [];
}

function outcomeIs(expected: string, check: Checked, fault: Fault, what: string): readonly string[] {
  return check.outcome === expected ? [] : [`${what}: ${described(check, fault)}`];
}

function described({ budget_ms, outcome, began, lasted_ms, body }: Checked, fault: Fault): string {
  const at = Math.round(began.mono_ms - fault.from);
  const detail = typeof body.detail === 'string' ? ` (${body.detail})` : '';
  return `budget ${budget_ms}, ${at} ms after the fault: ${outcome} in ${Math.round(lasted_ms)} ms${detail}`;
}

/** Whether each class was asked while it lasted: a row in which nothing was asked has shown nothing. */
export function askedDuring({ checks }: Watched, { from, to }: Fault): readonly Action[] {
  const during = checks.filter(({ began }) => began.mono_ms > from && began.mono_ms < to);
  return ACTIONS.filter((action) => during.some(({ action: each }) => each === action));
}
