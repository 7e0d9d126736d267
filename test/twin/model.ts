/**
 * The mandate's life as design/2 and design/8 tell it: plain data, one function per call, nothing from `src`. Written
 * before the product was read, so that the two can disagree.
 */

export type Entry = {
  readonly type: 'mission_resource_access';
  readonly resource: string;
  readonly resource_match: 'prefix';
  readonly actions: readonly string[];
  readonly constraints?: { readonly max_amount: { readonly amount: string; readonly currency: 'EUR' } };
  readonly delegation?: Delegation;
};

export type Delegation = {
  readonly max_depth: number;
  readonly allowed_delegates: readonly { readonly sub: string }[];
  readonly children?: { readonly max_children?: number; readonly max_child_depth?: number };
};

export type State = 'active' | 'suspended' | 'revoked' | 'expired' | 'completed' | 'superseded' | 'cascaded';

interface Happened {
  readonly operation: string;
  readonly prior_state?: State;
  readonly state: State;
  readonly version: number;
  readonly at: number;
  readonly nonce?: string;
  readonly reason?: string;
  /** Whose end it followed. */
  readonly cascaded_from?: number;
}

export interface Mandate {
  state: State;
  version: number;
  readonly born_with: readonly Entry[];
  entries: readonly Entry[];
  contained: string[];
  discharged: string[];
  tightened: { readonly entry: string; readonly amount: string }[];
  ends: number;
  /** `intent.expires_at`: how far it may be extended. */
  intent_ends: number;
  suspend_until?: number | undefined;
  on_expiry?: 'resume' | 'revoke' | undefined;
  max_calls?: number | undefined;
  /** Calls that were charged and not given back. */
  used: number;
  readonly client: string;
  readonly depth: number;
  readonly parent?: number | undefined;
  readonly predecessor?: number | undefined;
  successor?: number | undefined;
  readonly history: Happened[];
  readonly nonces: Record<string, { readonly body: string; readonly answer: Answer }>;
}

export interface Proposal {
  status: 'pending' | 'approved' | 'denied';
  readonly entries: readonly Entry[];
  readonly ends: number;
  readonly max_calls?: number | undefined;
  readonly lapses: number;
  readonly predecessor?: number | undefined;
  event?: string;
  mandate?: number;
}

/** A call that was let through, and what came of it. */
export interface Use {
  readonly on: number;
  status: 'decided' | Outcome;
}

type Outcome = 'completed' | 'failed' | 'unknown';

export interface World {
  now: number;
  readonly uses: Use[];
  readonly mandates: Mandate[];
  readonly proposals: Proposal[];
}

export type Ask =
  | {
      readonly kind: 'propose';
      readonly entries: readonly Entry[];
      readonly ends: number;
      readonly max_calls?: number | undefined;
    }
  | {
      readonly kind: 'approve';
      readonly proposal: number;
      readonly is_hash_wrong: boolean;
      readonly event: string;
      readonly entries?: readonly Entry[] | undefined;
      readonly ends?: number | undefined;
    }
  | { readonly kind: 'deny'; readonly proposal: number }
  | {
      readonly kind: 'derive';
      readonly on: number;
      readonly client: string;
      readonly entries: readonly Entry[];
      readonly ends?: number | undefined;
      readonly max_calls?: number | undefined;
    }
  | OperateAsk
  /** One call under a mandate, and what came of it. */
  | { readonly kind: 'use'; readonly on: number }
  | { readonly kind: 'settle'; readonly use: number; readonly outcome: Outcome };

export interface OperateAsk {
  readonly kind: 'operate';
  readonly on: number;
  readonly own: Own;
  readonly expected_version?: number | undefined;
  readonly nonce?: string | undefined;
  readonly reason?: string | undefined;
}

/** What an operation says beyond what all of them may say. Entries are named by what they are, times are epoch ms. */
export type Own =
  | {
      readonly operation: 'suspend';
      readonly until?: number | undefined;
      readonly on_expiry?: 'resume' | 'revoke' | undefined;
    }
  | { readonly operation: 'resume' | 'complete' | 'revoke' }
  | { readonly operation: 'contain'; readonly entries: readonly Entry[] }
  | { readonly operation: 'discharge'; readonly entry: Entry; readonly event_id: string }
  | { readonly operation: 'tighten'; readonly entry: Entry; readonly amount: string }
  | { readonly operation: 'shorten'; readonly ends: number }
  | { readonly operation: 'extend'; readonly ends: number }
  | { readonly operation: 'amend'; readonly entries: readonly Entry[] }
  | {
      readonly operation: 'renew';
      readonly entries?: readonly Entry[] | undefined;
      readonly ends?: number | undefined;
    };

/** `reasons`: each fault that there is, where the design does not say which comes first. */
export type Answer =
  | {
      readonly ok: true;
      readonly mandate?: number;
      readonly proposal?: number;
      readonly use?: number;
      readonly state?: State;
      readonly version?: number;
      readonly cascaded?: number;
    }
  | { readonly ok: false; readonly reasons: readonly string[] };

const DAY = 24 * 3_600_000;
const name = (entry: Entry): string => JSON.stringify(entry);
const refuse = (...reasons: string[]): Answer => ({ ok: false, reasons });
export const hasEnded = (state: State): boolean => state !== 'active' && state !== 'suspended';

export function answer(world: World, ask: Ask): Answer {
  switch (ask.kind) {
    case 'propose':
      return propose(world, ask);
    case 'approve':
      return approve(world, ask);
    case 'deny':
      return deny(world, ask.proposal);
    case 'derive':
      return derive(world, ask);
    case 'operate':
      return operate(world, ask);
    case 'use':
      return use(world, ask.on);
    case 'settle':
      return settle(world, ask.use, ask.outcome);
  }
}

// --- how things stand ------------------------------------------------------------------------------------------

/** "A stored terminal state wins over a later expiry"; "`expires_at` is tested before stored state on every decision". */
function ownState(mandate: Mandate, now: number): State {
  const { state, suspend_until, on_expiry, ends } = mandate;
  if (hasEnded(state)) return state;
  const is_over = state === 'suspended' && suspend_until !== undefined && now >= suspend_until;
  if (is_over && on_expiry === 'revoke' && suspend_until < ends) return 'revoked';
  if (now >= ends) return 'expired';
  return is_over ? 'active' : state;
}

function ancestors(world: World, index: number): readonly Mandate[] {
  const { parent } = world.mandates[index]!;
  return parent === undefined ? [] : [...ancestors(world, parent), world.mandates[parent]!];
}

/** "own expiry wins, else cascaded"; "Projected suspension of children is derived". */
export function standing(world: World, index: number): State {
  const own = ownState(world.mandates[index]!, world.now);
  const above = ancestors(world, index).map((each) => ownState(each, world.now));
  if (hasEnded(own)) return own;
  if (above.some(hasEnded)) return 'cascaded';
  return [own, ...above].includes('suspended') ? 'suspended' : 'active';
}

/** "the earliest expiry of itself and its ancestors" (design/1). */
export function effectiveEnd(world: World, index: number): number {
  return Math.min(world.mandates[index]!.ends, ...ancestors(world, index).map(({ ends }) => ends));
}

// --- authority -------------------------------------------------------------------------------------------------

/** An approved entry with all that bounds its amount; what was withdrawn is gone. */
interface Holding {
  readonly entry: Entry;
  readonly amounts: readonly number[];
}

/** Every amount that bounds an entry: as approved, and as tightened. */
function amountsOf({ tightened }: Mandate, entry: Entry): readonly number[] {
  const approved = entry.constraints?.max_amount.amount;
  const later = tightened.filter((each) => each.entry === name(entry)).map(({ amount }) => amount);
  return [...(approved === undefined ? [] : [approved]), ...later].map(Number);
}

function holdings(mandate: Mandate): readonly Holding[] {
  const withdrawn = new Set([...mandate.contained, ...mandate.discharged]);
  return mandate.entries
    .filter((entry) => !withdrawn.has(name(entry)))
    .map((entry) => ({ entry, amounts: amountsOf(mandate, entry) }));
}

const isWithin = (resource: string, prefix: string): boolean =>
  resource === prefix || resource.startsWith(`${prefix}/`);

const isCovered = (action: string, by: readonly string[]): boolean =>
  by.some((each) => each === action || (each.endsWith('.*') && action.startsWith(each.slice(0, -1))));

/** "resource equal, or inside a prefix; actions literal or inside the family; every parent constraint present and no broader". */
function fits(inner: Entry, { entry, amounts }: Holding): boolean {
  const amount = inner.constraints?.max_amount.amount;
  return (
    isWithin(inner.resource, entry.resource) &&
    inner.actions.every((action) => isCovered(action, entry.actions)) &&
    amounts.every((most) => amount !== undefined && Number(amount) <= most)
  );
}

/** What is handed on is no more than what was: "`depth` and `max_child_depth` decrease", by `step` for a child. */
function handsOnNoMore(inner: Delegation | undefined, outer: Delegation | undefined, step: 0 | 1): boolean {
  if (inner === undefined) return true;
  if (outer === undefined) return false;
  const subs = new Set(outer.allowed_delegates.map(({ sub }) => sub));
  const { max_children = Infinity, max_child_depth = Infinity } = inner.children ?? {};
  return (
    inner.max_depth <= outer.max_depth &&
    inner.allowed_delegates.every(({ sub }) => subs.has(sub)) &&
    max_children <= (outer.children?.max_children ?? Infinity) &&
    (outer.children?.max_child_depth === undefined ||
      max_child_depth <= outer.children.max_child_depth - step)
  );
}

/** Each entry inside one of these, and handing on no more than it. */
function isSubset(inner: readonly Entry[], outer: readonly Holding[]): boolean {
  return inner.every((each) =>
    outer.some((hold) => fits(each, hold) && handsOnNoMore(each.delegation, hold.entry.delegation, 0)),
  );
}

/** Whether a mandate above `index` has been narrowed so far that it no longer holds these: "and of every ancestor". */
function isBeyondAncestors(world: World, index: number, entries: readonly Entry[]): boolean {
  return ancestors(world, index)
    .map(holdings)
    .some((held) => !entries.every((entry) => held.some((hold) => fits(entry, hold))));
}

/** What stands against a child of these terms; empty when nothing does. `instead_of` is not counted as a child. */
function faultsOfChild(
  world: World,
  parent: number,
  client: string,
  entries: readonly Entry[],
  instead_of?: number,
): string[] {
  const faults = new Set<string>();
  if (isBeyondAncestors(world, parent, entries)) faults.add('not_strict_subset');
  const held = holdings(world.mandates[parent]!);
  const living = world.mandates.filter((each, index) => {
    return each.parent === parent && index !== instead_of && !hasEnded(standing(world, index));
  });
  for (const entry of entries) {
    const handed = held.find((hold) => fits(entry, hold))?.entry.delegation;
    if (!held.some((hold) => fits(entry, hold))) faults.add('not_strict_subset');
    else if (handed === undefined) faults.add('delegation_not_permitted');
    else {
      const { max_children = Infinity, max_child_depth = Infinity } = handed.children ?? {};
      if (world.mandates[parent]!.depth + 1 > handed.max_depth || max_child_depth < 1)
        faults.add('delegation_not_permitted');
      if (!handed.allowed_delegates.some(({ sub }) => sub === client)) faults.add('child_actor_not_allowed');
      if (living.length >= max_children) faults.add('fanout_exceeded');
      if (!handsOnNoMore(entry.delegation, handed, 1)) faults.add('not_strict_subset');
    }
  }
  return [...faults];
}

export interface Probe {
  readonly action: string;
  readonly resource: string;
  readonly amount: number;
}

/** Why the effective authority does not cover this, each reason there is; empty when it does. */
export function uncovered(
  world: World,
  index: number,
  { action, resource, amount }: Probe,
): readonly string[] {
  const reasons = new Set<string>();
  for (const mandate of [...ancestors(world, index), world.mandates[index]!]) {
    const about = (entry: Entry): boolean =>
      isWithin(resource, entry.resource) && isCovered(action, entry.actions);
    const held = holdings(mandate).filter(({ entry }) => about(entry));
    if (held.some(({ amounts }) => amounts.every((most) => amount <= most))) continue;
    if (!mandate.entries.some(about)) reasons.add('out_of_authority');
    if (held.length > 0) reasons.add('parameter_violation');
    if (mandate.entries.filter(about).length > held.length) reasons.add('authority_contained');
  }
  return [...reasons];
}

// --- budgets ---------------------------------------------------------------------------------------------------

/** What a mandate holds of its parent's budget: all of it while it lives, afterwards what was used. */
function callsHeld(world: World, index: number): number {
  const { max_calls = 0 } = world.mandates[index]!;
  return hasEnded(standing(world, index)) ? callsSpent(world, index) : max_calls;
}

function sumOfChildren(world: World, index: number, of: (each: number) => number): number {
  return world.mandates.reduce((sum, { parent }, each) => (parent === index ? sum + of(each) : sum), 0);
}

/** What was used under a mandate and all below it. */
function callsSpent(world: World, index: number): number {
  return world.mandates[index]!.used + sumOfChildren(world, index, (each) => callsSpent(world, each));
}

/** "Budget is reserved from the parent's *remainder*"; undefined where nothing is metered. */
function callsLeft(world: World, index: number): number | undefined {
  const { max_calls, used } = world.mandates[index]!;
  if (max_calls === undefined) return undefined;
  return max_calls - used - sumOfChildren(world, index, (each) => callsHeld(world, each));
}

/** "storing `expired` may be lazy": a child has ended, and what it did not use may still be set aside. */
export function hasUnstoredEnd(world: World, index: number): boolean {
  return world.mandates.some(({ parent, state }, each) => {
    return parent === index && hasEnded(standing(world, each)) && !hasEnded(state);
  });
}

/** What is left, where a record must show it. */
export function callsShown(world: World, index: number): number | undefined {
  const isUnsure = hasUnstoredEnd(world, index) || hasEnded(standing(world, index));
  return isUnsure ? undefined : callsLeft(world, index);
}

/** What is used when a call is made. */
export const CALL: Probe = {
  action: 'repo.push',
  resource: 'https://git.example/repos/example/app/docs/a',
  amount: 8,
};

/** One decision, in order: state, effective entry, constraints, budget. */
function use(world: World, index: number): Answer {
  const reasons = whyNot(world, index, CALL);
  if (reasons.length > 0) return refuse(...reasons);
  world.mandates[index]!.used += 1;
  world.uses.push({ on: index, status: 'decided' });
  return { ok: true, use: world.uses.length - 1 };
}

/** Why this may not be done under a mandate now, where the design says which comes first that one alone. */
export function whyNot(world: World, index: number, probe: Probe): readonly string[] {
  if (standing(world, index) !== 'active') return ['mission_inactive'];
  const reasons = uncovered(world, index, probe);
  if (reasons.length > 0) return reasons;
  return (callsLeft(world, index) ?? 1) < 1 ? ['quota_exceeded'] : [];
}

/** The life of a decision: what failed is given back, and what is committed stays so. */
function settle(world: World, index: number, outcome: Outcome): Answer {
  const known = world.uses[index]!;
  if (known.status === outcome) return { ok: true, use: index };
  if (known.status === 'completed' || known.status === 'failed') return refuse('idempotency_conflict');
  const mandate = world.mandates[known.on]!;
  if (outcome === 'failed') mandate.used -= 1;
  known.status = outcome;
  return { ok: true, use: index };
}

// --- proposals -------------------------------------------------------------------------------------------------

function propose(world: World, { entries, ends, max_calls }: Extract<Ask, { kind: 'propose' }>): Answer {
  if (ends <= world.now) return refuse('invalid_request');
  world.proposals.push({ status: 'pending', entries, ends, max_calls, lapses: world.now + DAY });
  return { ok: true, proposal: world.proposals.length - 1 };
}

/** "Approving twice: 409, or the same record for the same `approval_event_id`." */
function approve(world: World, ask: Extract<Ask, { kind: 'approve' }>): Answer {
  const proposal = world.proposals[ask.proposal];
  if (proposal === undefined) return refuse('not_found');
  const is_same_event = proposal.event === ask.event;
  if (is_same_event && !ask.is_hash_wrong) return { ok: true, mandate: proposal.mandate! };
  const faults = new Set<string>();
  const { predecessor, max_calls } = proposal;
  const before = predecessor === undefined ? undefined : world.mandates[predecessor]!;
  const parent = before?.parent;
  if (proposal.status !== 'pending' || world.now >= proposal.lapses || ask.is_hash_wrong)
    faults.add('conflict');
  if (world.proposals.some(({ event }) => event === ask.event)) faults.add('conflict');
  if (predecessor !== undefined && standing(world, predecessor) !== 'active') faults.add('conflict');
  const entries = ask.entries ?? proposal.entries;
  const proposed = proposal.entries.map((entry) => {
    const amount = entry.constraints?.max_amount.amount;
    return { entry, amounts: amount === undefined ? [] : [Number(amount)] };
  });
  if (!isSubset(entries, proposed)) faults.add('not_strict_subset');
  const asked_end = ask.ends ?? proposal.ends;
  if (asked_end > proposal.ends) faults.add('not_strict_subset');
  const ends = parent === undefined ? asked_end : Math.min(asked_end, effectiveEnd(world, parent));
  if (ends <= world.now) faults.add('invalid_request');
  if (parent !== undefined) {
    for (const fault of faultsOfChild(world, parent, before!.client, entries, predecessor)) faults.add(fault);
  }
  if (parent !== undefined && before?.max_calls !== undefined) {
    const left = (callsLeft(world, parent) ?? Infinity) + before.max_calls - callsSpent(world, predecessor!);
    if (before.max_calls > left) faults.add('not_strict_subset');
  }
  if (faults.size > 0) return refuse(...faults);
  const mandate = world.mandates.length;
  world.mandates.push({
    ...newborn(world, 'approve', entries, ends, proposal.ends),
    client: before?.client ?? 'agent-1',
    depth: before?.depth ?? 0,
    parent,
    predecessor,
    max_calls: parent === undefined ? max_calls : before!.max_calls,
  });
  Object.assign(proposal, { status: 'approved', event: ask.event, mandate });
  if (before !== undefined) {
    end(world, predecessor!, { operation: 'renew', state: 'superseded' });
    before.successor = mandate;
  }
  return { ok: true, mandate };
}

function deny(world: World, index: number): Answer {
  const proposal = world.proposals[index];
  if (proposal === undefined) return refuse('not_found');
  if (proposal.status === 'denied') return { ok: true };
  if (proposal.status === 'approved' || world.now >= proposal.lapses) return refuse('conflict');
  proposal.status = 'denied';
  return { ok: true };
}

function newborn(
  world: World,
  operation: string,
  entries: readonly Entry[],
  ends: number,
  intent_ends: number,
) {
  return {
    state: 'active' as const,
    version: 1,
    born_with: entries,
    entries,
    ends,
    intent_ends,
    contained: [],
    discharged: [],
    tightened: [],
    used: 0,
    history: [{ operation, state: 'active' as const, version: 1, at: world.now }],
    nonces: {},
  };
}

// --- children --------------------------------------------------------------------------------------------------

/** design/2, Attenuation. "Creating a child does not change the parent's version." */
function derive(world: World, ask: Extract<Ask, { kind: 'derive' }>): Answer {
  const parent = world.mandates[ask.on];
  if (parent === undefined) return refuse('not_found');
  const faults = new Set(faultsOfChild(world, ask.on, ask.client, ask.entries));
  if (standing(world, ask.on) !== 'active') faults.add('parent_not_active');
  const latest = effectiveEnd(world, ask.on);
  const ends = ask.ends ?? latest;
  if (ends > latest) faults.add('not_strict_subset');
  if (ends <= world.now) faults.add('invalid_request');
  const left = callsLeft(world, ask.on);
  if (left !== undefined && !((ask.max_calls ?? Infinity) <= left)) faults.add('not_strict_subset');
  if (faults.size > 0) return refuse(...faults);
  world.mandates.push({
    ...newborn(world, 'derive', ask.entries, ends, parent.intent_ends),
    client: ask.client,
    depth: parent.depth + 1,
    parent: ask.on,
    max_calls: ask.max_calls,
  });
  return { ok: true, mandate: world.mandates.length - 1 };
}

// --- operations ------------------------------------------------------------------------------------------------

const NEEDS_VERSION = new Set(['resume', 'extend', 'amend', 'renew']);

/** "Order of checks on a write: nonce, `expected_version`, same state, transition." */
function operate(world: World, ask: OperateAsk): Answer {
  const mandate = world.mandates[ask.on];
  if (mandate === undefined) return refuse('not_found');
  const { nonce, expected_version, own } = ask;
  const body = JSON.stringify(ask);
  const kept = nonce === undefined ? undefined : mandate.nonces[nonce];
  if (kept !== undefined) return kept.body === body ? kept.answer : refuse('conflict');
  if (expected_version === undefined && NEEDS_VERSION.has(own.operation)) return refuse('invalid_request');
  if (expected_version !== undefined && expected_version !== mandate.version) return refuse('stale_version');
  const answered = perform(world, ask);
  if (nonce !== undefined && answered.ok) mandate.nonces[nonce] = { body, answer: answered };
  return answered;
}

function perform(world: World, ask: OperateAsk): Answer {
  const { own } = ask;
  switch (own.operation) {
    case 'suspend':
      return suspend(world, ask, own);
    case 'resume':
      return resume(world, ask);
    case 'contain':
      return contain(world, ask, own.entries);
    case 'discharge':
      return discharge(world, ask, own.entry, own.event_id);
    case 'tighten':
      return tighten(world, ask, own.entry, own.amount);
    case 'shorten':
      return shorten(world, ask, own.ends);
    case 'extend':
      return extend(world, ask, own.ends);
    case 'amend':
      return amend(world, ask, own.entries);
    case 'renew':
      return renew(world, ask, own);
    case 'complete':
      return finish(world, ask, 'completed');
    case 'revoke':
      return finish(world, ask, 'revoked');
  }
}

/** How it stands, after nothing or after something was done. */
function told(world: World, index: number, cascaded = 0): Answer {
  const mandate = world.mandates[index]!;
  return { ok: true, state: standing(world, index), version: mandate.version, cascaded };
}

/** One committed change: a version, and a line of history. */
function change(world: World, index: number, { state, ...more }: Omit<Happened, 'version' | 'at'>): void {
  const mandate = world.mandates[index]!;
  const prior_state = ownState(mandate, world.now);
  mandate.version += 1;
  mandate.state = state;
  mandate.history.push({ prior_state, state, version: mandate.version, at: world.now, ...more });
  if (state !== 'suspended') {
    mandate.suspend_until = undefined;
    mandate.on_expiry = undefined;
  }
}

/** What of an ask stands in the history. */
function told_why({ own: { operation }, nonce, reason }: OperateAsk) {
  return {
    operation,
    ...(nonce === undefined ? {} : { nonce }),
    ...(reason === undefined ? {} : { reason }),
  };
}

/** A change that leaves the state as it counts. */
function changeInPlace(world: World, ask: OperateAsk): Answer {
  change(world, ask.on, { ...told_why(ask), state: ownState(world.mandates[ask.on]!, world.now) });
  return told(world, ask.on);
}

/** "When a parent ends, every generation below is `cascaded` in the same commit", but what ended by itself; answers how many. */
function end(world: World, index: number, how: Parameters<typeof change>[2]): number {
  const below = [...world.mandates.keys()].filter((each) => {
    const is_below = ancestors(world, each).includes(world.mandates[index]!);
    return is_below && !hasEnded(ownState(world.mandates[each]!, world.now));
  });
  change(world, index, how);
  for (const each of below)
    change(world, each, { operation: 'cascade', state: 'cascaded', cascaded_from: index });
  return below.length;
}

/** "storing `expired` may be lazy": what has ended by itself is stored now, and what is below ends with it. */
export function storeEnd(world: World, index: number): void {
  const mandate = world.mandates[index]!;
  const state = ownState(mandate, world.now);
  if (hasEnded(mandate.state) || !hasEnded(state)) return;
  end(world, index, { operation: 'expire', prior_state: mandate.state, state });
}

/** What has ended so by itself, and is not stored yet, is stored. */
function finish(world: World, ask: OperateAsk, state: 'completed' | 'revoked'): Answer {
  const now = standing(world, ask.on);
  if (world.mandates[ask.on]!.state === state) return told(world, ask.on);
  if (hasEnded(now) && now !== state) return refuse('conflict');
  return told(world, ask.on, end(world, ask.on, { ...told_why(ask), state }));
}

/** "Another `suspend_until` on a suspended mandate is a metadata change, v+1; without `on_expiry`: 400." */
function suspend(
  world: World,
  ask: OperateAsk,
  { until, on_expiry }: Extract<Own, { operation: 'suspend' }>,
): Answer {
  const mandate = world.mandates[ask.on]!;
  const faults = [];
  if (hasEnded(standing(world, ask.on))) faults.push('conflict');
  if (until !== undefined && (until <= world.now || on_expiry === undefined)) faults.push('invalid_request');
  if (faults.length > 0) return refuse(...faults);
  const is_same = until === undefined || (until === mandate.suspend_until && on_expiry === mandate.on_expiry);
  if (ownState(mandate, world.now) === 'suspended' && is_same) return told(world, ask.on);
  change(world, ask.on, { ...told_why(ask), state: 'suspended' });
  mandate.suspend_until = until;
  mandate.on_expiry = on_expiry;
  return told(world, ask.on);
}

/** "`resume` of an active mandate, and below a suspended parent, is 409 `conflict`." */
function resume(world: World, ask: OperateAsk): Answer {
  const mandate = world.mandates[ask.on]!;
  const above = ancestors(world, ask.on).map((each) => ownState(each, world.now));
  if (ownState(mandate, world.now) !== 'suspended' || above.some((state) => state !== 'active'))
    return refuse('conflict');
  change(world, ask.on, { ...told_why(ask), state: 'active' });
  return told(world, ask.on);
}

/** "While suspended: `complete`, `amend` and every narrowing are allowed (it stays suspended)". */
function contain(world: World, ask: OperateAsk, entries: readonly Entry[]): Answer {
  const mandate = world.mandates[ask.on]!;
  const known = new Set(mandate.entries.map(name));
  const faults = [];
  if (hasEnded(standing(world, ask.on))) faults.push('conflict');
  if (!entries.every((entry) => known.has(name(entry)))) faults.push('invalid_request');
  if (faults.length > 0) return refuse(...faults);
  const fresh = entries.map(name).filter((each) => !mandate.contained.includes(each));
  if (fresh.length === 0) return told(world, ask.on);
  mandate.contained.push(...fresh);
  return changeInPlace(world, ask);
}

function discharge(world: World, ask: OperateAsk, entry: Entry, event_id: string): Answer {
  const mandate = world.mandates[ask.on]!;
  const faults = [];
  if (hasEnded(standing(world, ask.on))) faults.push('conflict');
  if (!mandate.entries.map(name).includes(name(entry))) faults.push('invalid_request');
  if (faults.length > 0) return refuse(...faults);
  void event_id;
  if (mandate.discharged.includes(name(entry))) return told(world, ask.on);
  mandate.discharged.push(name(entry));
  return changeInPlace(world, ask);
}

function tighten(world: World, ask: OperateAsk, entry: Entry, amount: string): Answer {
  const mandate = world.mandates[ask.on]!;
  const faults = [];
  if (hasEnded(standing(world, ask.on))) faults.push('conflict');
  if (!mandate.entries.map(name).includes(name(entry))) faults.push('invalid_request');
  if (amountsOf(mandate, entry).some((most) => Number(amount) > most)) faults.push('not_strict_subset');
  if (faults.length > 0) return refuse(...faults);
  const is_there = mandate.tightened.some((each) => each.entry === name(entry) && each.amount === amount);
  if (is_there) return told(world, ask.on);
  mandate.tightened.push({ entry: name(entry), amount });
  return changeInPlace(world, ask);
}

/** "`shorten` into the past: 400." */
function shorten(world: World, ask: OperateAsk, ends: number): Answer {
  const mandate = world.mandates[ask.on]!;
  const faults = [];
  if (hasEnded(standing(world, ask.on))) faults.push('conflict');
  if (ends <= world.now) faults.push('invalid_request');
  if (ends > mandate.ends) faults.push('not_strict_subset');
  if (faults.length > 0) return refuse(...faults);
  if (ends === mandate.ends) return told(world, ask.on);
  mandate.ends = ends;
  return changeInPlace(world, ask);
}

/** "`extend`: … up to the approved `intent.expires_at`, also after `shorten`"; "A child extends within its parent's effective end." */
function extend(world: World, ask: OperateAsk, ends: number): Answer {
  const mandate = world.mandates[ask.on]!;
  const faults = [];
  const ceiling = mandate.parent === undefined ? Infinity : effectiveEnd(world, mandate.parent);
  if (standing(world, ask.on) !== 'active') faults.push('conflict');
  if (ends > Math.min(mandate.intent_ends, ceiling)) faults.push('not_strict_subset');
  if (ends < mandate.ends) faults.push('invalid_request');
  if (faults.length > 0) return refuse(...faults);
  if (ends === mandate.ends) return told(world, ask.on);
  mandate.ends = ends;
  return changeInPlace(world, ask);
}

/** "An `amend` that widens: 422 `not_strict_subset`". */
function amend(world: World, ask: OperateAsk, entries: readonly Entry[]): Answer {
  const mandate = world.mandates[ask.on]!;
  const faults = [];
  if (hasEnded(standing(world, ask.on))) faults.push('conflict');
  if (!isSubset(entries, holdings(mandate))) faults.push('not_strict_subset');
  if (faults.length > 0) return refuse(...faults);
  Object.assign(mandate, { entries, contained: [], discharged: [], tightened: [] });
  return changeInPlace(world, ask);
}

/** "`renew`: 202 with a proposal that starts from the effective entries." */
function renew(world: World, ask: OperateAsk, own: Extract<Own, { operation: 'renew' }>): Answer {
  const mandate = world.mandates[ask.on]!;
  const faults = [];
  const stated = holdings(mandate).map(({ entry, amounts }) => {
    const amount = String(Math.min(...amounts));
    return amounts.length === 0
      ? entry
      : { ...entry, constraints: { max_amount: { amount, currency: 'EUR' as const } } };
  });
  const left = stated.filter((entry) => !isBeyondAncestors(world, ask.on, [entry]));
  const entries = own.entries ?? left;
  const ends = own.ends ?? mandate.intent_ends;
  if (standing(world, ask.on) !== 'active') faults.push('conflict');
  if (entries.length === 0 || ends <= world.now) faults.push('invalid_request');
  if (faults.length > 0) return refuse(...faults);
  const { max_calls } = mandate;
  world.proposals.push({
    status: 'pending',
    entries,
    ends,
    max_calls,
    lapses: world.now + DAY,
    predecessor: ask.on,
  });
  return { ok: true, proposal: world.proposals.length - 1 };
}

/** Consequences of standing in a state, as far as the table of design/2 says them without a doubt. */
export function stopsIn(state: State): Readonly<Record<string, boolean>> {
  const nothing = { interrupt_in_flight: false, pause: false };
  switch (state) {
    case 'active':
      return { ...nothing, stop_issuance: false, revoke_tokens: false, cancel_queued: false };
    case 'suspended':
      return { ...stopsIn('active'), stop_issuance: true, pause: true };
    case 'revoked':
    case 'cascaded':
      return { ...stopsIn('completed'), interrupt_in_flight: true };
    case 'completed':
      return { ...nothing, stop_issuance: true, revoke_tokens: true, cancel_queued: true };
    case 'expired':
      return { pause: false, stop_issuance: true, cancel_queued: true, interrupt_in_flight: true };
    case 'superseded':
      return { ...nothing, stop_issuance: true };
  }
}

/** The moments after now at which something counts otherwise. */
export function boundaries(world: World): readonly number[] {
  const moments = [
    ...world.mandates.flatMap(({ ends, suspend_until = 0 }) => [ends, suspend_until]),
    ...world.proposals.map(({ lapses }) => lapses),
  ];
  return [...new Set(moments)].filter((moment) => moment > world.now).toSorted((a, b) => a - b);
}
