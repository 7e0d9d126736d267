/**
 * Steps of a walk, and what each asks in a given world. They name mandates, proposals and entries by number, modulo how
 * many there are, so that every part of a walk is a walk: what is left when fast-check shrinks still means something.
 */
import {
  type Ask,
  type Delegation,
  type Entry,
  type Own,
  type State,
  type World,
  boundaries,
  standing,
} from './model.ts';

const HOUR = 3_600_000;
export const APP = 'https://git.example/repos/example/app';
export const RESOURCES = [APP, `${APP}/docs`] as const;
export const ACTIONS = ['repo.*', 'repo.push', 'repo.read'] as const;
export const AMOUNTS = ['10', '5', '20'] as const;

/** An entry made from one that is there. */
export interface EntryStep {
  readonly of: number;
  readonly action: 'same' | (typeof ACTIONS)[number];
  readonly resource: 'same' | (typeof RESOURCES)[number];
  readonly amount: 'same' | 'none' | (typeof AMOUNTS)[number];
  readonly delegation: 'same' | 'down' | 'none' | 'deep' | 'flat';
}

interface Terms {
  readonly entries: readonly EntryStep[];
  readonly hours?: number | undefined;
  readonly max_calls?: number | undefined;
}

export type OwnStep =
  | {
      readonly operation: 'suspend';
      readonly until?: { readonly hours: number; readonly on_expiry?: 'resume' | 'revoke' } | undefined;
    }
  | { readonly operation: 'resume' | 'complete' | 'revoke' }
  | { readonly operation: 'contain'; readonly entries: readonly number[] }
  | { readonly operation: 'discharge'; readonly entry: number; readonly event_id: string }
  | { readonly operation: 'tighten'; readonly entry: number; readonly amount: string }
  | { readonly operation: 'shorten' | 'extend'; readonly hours: number }
  | { readonly operation: 'amend'; readonly entries: readonly EntryStep[] }
  | {
      readonly operation: 'renew';
      readonly entries?: readonly EntryStep[] | undefined;
      readonly hours?: number | undefined;
    };

export type Version = 'right' | 'none' | 'ahead' | 'behind';

/** Which of the things that are there: of those for which there is a point in it, of all, or the one spoken of last. */
export interface Aim {
  readonly at: number;
  readonly of: 'apt' | 'all' | 'last';
}

/** A step that asks the product something. */
export type AskStep =
  | { readonly do: 'propose'; readonly terms: Terms }
  | {
      readonly do: 'approve';
      readonly aim: Aim;
      readonly is_hash_wrong: boolean;
      readonly event: 'fresh' | 'e1' | 'e2';
      readonly entries?: readonly EntryStep[] | undefined;
      readonly hours?: number | undefined;
    }
  | { readonly do: 'deny'; readonly aim: Aim }
  | { readonly do: 'derive'; readonly aim: Aim; readonly client: string; readonly terms: Terms }
  | {
      readonly do: 'operate';
      readonly aim: Aim;
      readonly own: OwnStep;
      readonly version: Version;
      readonly nonce?: string | undefined;
      readonly reason?: string | undefined;
    }
  | { readonly do: 'use'; readonly aim: Aim }
  | { readonly do: 'settle'; readonly aim: Aim; readonly outcome: 'completed' | 'failed' | 'unknown' }
  /** One of the asks before, word for word. */
  | { readonly do: 'again'; readonly which: number };

export type TimeStep =
  | { readonly do: 'wait'; readonly minutes: number }
  /** Until something ends or lapses, or to the millisecond before. */
  | { readonly do: 'wait_for'; readonly which: number; readonly is_just_before: boolean };

export type Step =
  | AskStep
  | TimeStep
  /** Two at once, on one mandate or one proposal where both are about one. */
  | { readonly do: 'both'; readonly first: AskStep; readonly second: AskStep };

export const isTime = (step: Step): step is TimeStep => step.do === 'wait' || step.do === 'wait_for';

// --- entries and times -----------------------------------------------------------------------------------------

const DEEP: Delegation = {
  max_depth: 3,
  allowed_delegates: [{ sub: 'agent-2' }, { sub: 'agent-3' }],
  children: { max_children: 2, max_child_depth: 3 },
};
const FLAT: Delegation = { max_depth: 2, allowed_delegates: [{ sub: 'agent-2' }] };
const FIRST: Entry = {
  type: 'mission_resource_access',
  resource: APP,
  resource_match: 'prefix',
  actions: ['repo.*'],
  delegation: DEEP,
};

function handedOn(how: EntryStep['delegation'], from: Delegation | undefined): Delegation | undefined {
  if (how === 'none') return undefined;
  if (how === 'deep') return DEEP;
  if (how === 'flat') return FLAT;
  const depth = from?.children?.max_child_depth;
  if (how === 'same' || from === undefined || depth === undefined) return from;
  return { ...from, children: { ...from.children, max_child_depth: Math.max(depth - 1, 0) } };
}

function entryFrom(step: EntryStep, pool: readonly Entry[]): Entry {
  const from = pool[step.of % pool.length]!;
  const amount = step.amount === 'same' ? from.constraints?.max_amount.amount : step.amount;
  const delegation = handedOn(step.delegation, from.delegation);
  return {
    type: 'mission_resource_access',
    resource: step.resource === 'same' ? from.resource : step.resource,
    resource_match: 'prefix',
    actions: step.action === 'same' ? from.actions : [step.action],
    ...(amount === undefined || amount === 'none'
      ? {}
      : { constraints: { max_amount: { amount, currency: 'EUR' } } }),
    ...(delegation === undefined ? {} : { delegation }),
  };
}

const entriesFrom = (steps: readonly EntryStep[], pool: readonly Entry[]): readonly Entry[] =>
  steps.map((step) => entryFrom(step, pool));

/** This number means an entry that the mandate has not. */
const STRANGE = 7;

function entryOf(pool: readonly Entry[], which: number): Entry {
  const entry = pool[which % pool.length]!;
  return which === STRANGE ? { ...entry, actions: ['repo.none'] } : entry;
}

/** On the hour, so that equal times are met; an hour before now, and now itself, are past. */
const hourFrom = (now: number, hours: number): number => (Math.ceil(now / HOUR) + hours) * HOUR;

/** The time until which a step waits. */
export function timeOf(step: TimeStep, world: World): number {
  if (step.do === 'wait') return world.now + step.minutes * 60_000;
  const moments = boundaries(world);
  const moment = moments[step.which % moments.length] ?? world.now;
  return Math.max(world.now, step.is_just_before ? moment - 1 : moment);
}

// --- asks ------------------------------------------------------------------------------------------------------

/** Members that are not there are left out. */
export const defined = <T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;

function ownOf(step: OwnStep, now: number, pool: readonly Entry[]): Own {
  switch (step.operation) {
    case 'suspend': {
      const { operation, until } = step;
      if (until === undefined) return { operation };
      return { ...until, operation, until: hourFrom(now, until.hours) };
    }
    case 'contain':
      return { operation: 'contain', entries: step.entries.map((which) => entryOf(pool, which)) };
    case 'discharge':
    case 'tighten':
      return { ...step, entry: entryOf(pool, step.entry) };
    case 'shorten':
    case 'extend':
      return { operation: step.operation, ends: hourFrom(now, step.hours) };
    case 'amend':
      return { operation: 'amend', entries: entriesFrom(step.entries, pool) };
    case 'renew': {
      const { operation, hours, entries } = step;
      return defined({
        operation,
        entries: entries && entriesFrom(entries, pool),
        ends: hours === undefined ? undefined : hourFrom(now, hours),
      });
    }
    default:
      return { operation: step.operation };
  }
}

function versionOf(version: number, how: Version): number | undefined {
  const versions = { right: version, ahead: version + 1, behind: Math.max(version - 1, 1), none: undefined };
  return versions[how];
}

function aimed<T>(
  { at, of }: Aim,
  things: readonly T[],
  hasPoint: (thing: T, index: number) => boolean,
): number | undefined {
  const some = [...things.keys()].filter((index) => of === 'all' || hasPoint(things[index]!, index));
  return some[at % some.length];
}

const isOnMandate = (step: AskStep): step is Extract<AskStep, { do: 'derive' | 'operate' | 'use' }> =>
  ['derive', 'operate', 'use'].includes(step.do);

/** A resume is for what is suspended; what gives more is for what is active; the rest for all that live. */
function isApt(step: AskStep, state: State): boolean {
  const operation = step.do === 'operate' ? step.own.operation : step.do;
  if (operation === 'resume') return state === 'suspended';
  return state === 'active' || (state === 'suspended' && !['derive', 'use', 'renew'].includes(operation));
}

function mandateOf(step: AskStep, world: World, before: readonly Ask[]): number | undefined {
  if (!isOnMandate(step)) return undefined;
  const last = before.findLast((ask) => 'on' in ask);
  if (step.aim.of === 'last' && last !== undefined) return last.on;
  return aimed(step.aim, world.mandates, (_, index) => isApt(step, standing(world, index)));
}

function proposalOf(step: AskStep, { proposals }: World): number | undefined {
  if (step.do !== 'approve' && step.do !== 'deny') return undefined;
  return aimed(step.aim, proposals, ({ status }) => status === 'pending');
}

/** What a step asks in this world; nothing where it needs something that is not there. `beside`: asked at the same time. */
export function askOf(step: AskStep, world: World, before: readonly Ask[], beside?: Ask): Ask | undefined {
  const { now, mandates, proposals, uses } = world;
  const shared = beside !== undefined && 'on' in beside && isOnMandate(step) ? beside.on : undefined;
  const on = shared ?? mandateOf(step, world, before);
  const same = beside !== undefined && 'proposal' in beside ? beside.proposal : undefined;
  const proposal = proposalOf(step, world) === undefined ? undefined : (same ?? proposalOf(step, world));
  switch (step.do) {
    case 'again':
      return before[step.which % before.length];
    case 'propose': {
      const { entries, hours = 6, max_calls } = step.terms;
      const [asked, ends] = [entriesFrom(entries, [FIRST]), hourFrom(now, hours)];
      return defined({ kind: 'propose', entries: asked, ends, max_calls });
    }
    case 'approve': {
      if (proposal === undefined) return undefined;
      const { is_hash_wrong, entries, hours, event } = step;
      return defined({
        kind: 'approve',
        proposal,
        is_hash_wrong,
        event: event === 'fresh' ? `fresh-${before.length}` : event,
        entries: entries && entriesFrom(entries, proposals[proposal]!.entries),
        ends: hours === undefined ? undefined : hourFrom(now, hours),
      });
    }
    case 'deny':
      return proposal === undefined ? undefined : { kind: 'deny', proposal };
    case 'derive': {
      if (on === undefined) return undefined;
      const { client, terms } = step;
      return defined({
        kind: 'derive',
        on,
        client,
        entries: entriesFrom(terms.entries, mandates[on]!.entries),
        ends: terms.hours === undefined ? undefined : hourFrom(now, terms.hours),
        max_calls: terms.max_calls,
      });
    }
    case 'operate': {
      if (on === undefined) return undefined;
      const { nonce, reason } = step;
      const { version, entries } = mandates[on]!;
      const own = ownOf(step.own, now, entries);
      return defined({
        kind: 'operate',
        on,
        own,
        expected_version: versionOf(version, step.version),
        nonce,
        reason,
      });
    }
    case 'use':
      return on === undefined ? undefined : { kind: 'use', on };
    case 'settle': {
      const use = aimed(step.aim, uses, ({ status }) => status === 'decided' || status === 'unknown');
      return use === undefined ? undefined : { kind: 'settle', use, outcome: step.outcome };
    }
  }
}
