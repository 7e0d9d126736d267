/** Every operation in every state (design/2, Life; design/8, Operations), and what each of them changes. */
import { describe, expect, test } from 'vitest';
import type { OperationDetails, Refusal } from '../../src/core/mandate/commands.ts';
import type { MandateEvent } from '../../src/core/mandate/events.ts';
import { effectiveEntries, matchLineage } from '../../src/core/mandate/authority.ts';
import { ACTION_CLASSES } from '../../src/core/classes.ts';
import {
  effectiveEnd,
  effectiveState,
  standingState,
  stopAfter,
  stopFor,
} from '../../src/core/mandate/life.ts';
import type { AuthorityEntry } from '../../src/core/mandate/record.ts';
import { parseResource } from '../../src/core/uri.ts';
import { HOUR, type MemoryLog, createMemoryLog } from '../support/memory-log.ts';
import { ENTRY, T0, iso } from '../support/records.ts';

const READ: AuthorityEntry = {
  ...ENTRY,
  actions: ['repo.read'],
  constraints: { max_amount: { amount: '10', currency: 'EUR' } },
};

function detailsOf(log: MemoryLog, operation: OperationDetails['operation']): OperationDetails {
  const [entry] = log.record('m').entry_digests as [string];
  switch (operation) {
    case 'contain':
      return { operation, entries: [entry] };
    case 'discharge':
      return { operation, entry, event_type: 'done', event_id: 'e1' };
    case 'tighten':
      return { operation, entry, constraints: { tenant: 'acme' } };
    case 'shorten':
      return { operation, expires_at: iso(HOUR) };
    case 'extend':
      return { operation, expires_at: iso(6 * HOUR), approval_event_id: 'ape_x' };
    case 'amend':
      return { operation, authorization_details: [READ], approval_event_id: 'ape_x' };
    case 'renew':
      return { operation, submission_id: 'sub_r' };
    default:
      return { operation };
  }
}

/** A mandate that ends after 4 of the 8 hours that were approved, in the given state. */
function inState(state: string): { log: MemoryLog; at_ms: number } {
  const log = createMemoryLog();
  log.begin('m', [ENTRY, READ]);
  log.operate('m', { operation: 'shorten', expires_at: iso(4 * HOUR) });
  const bring: Record<string, () => void> = {
    active: () => undefined,
    suspended: () => log.operate('m', { operation: 'suspend' }),
    revoked: () => log.operate('m', { operation: 'revoke' }),
    completed: () => log.operate('m', { operation: 'complete' }),
    expired: () => undefined,
  };
  bring[state]!();
  return { log, at_ms: state === 'expired' ? T0 + 4 * HOUR : T0 + 1 };
}

const outcome = (result: readonly MandateEvent[] | Refusal): string => {
  if ('refused' in result) return result.refused;
  const [first] = result;
  return first === undefined ? 'same' : first.kind === 'changed' ? first.state : first.kind;
};

/** Rows: operations. Columns: the state before. `same`: succeeds, and changes nothing. */
const TABLE = `
            active     suspended  revoked   completed  expired
suspend     suspended  same       conflict  conflict   conflict
resume      conflict   active     conflict  conflict   conflict
contain     active     suspended  conflict  conflict   conflict
discharge   active     suspended  conflict  conflict   conflict
tighten     active     suspended  conflict  conflict   conflict
shorten     active     suspended  conflict  conflict   conflict
extend      active     conflict   conflict  conflict   conflict
amend       active     suspended  conflict  conflict   conflict
renew       proposed   conflict   conflict  conflict   conflict
complete    completed  completed  conflict  same       conflict
revoke      revoked    revoked    same      conflict   conflict
`;

const [header, ...rows] = TABLE.trim()
  .split('\n')
  .map((line) => line.trim().split(/ +/));
const cells = rows.flatMap(([operation, ...results]) =>
  results.map((result, column) => [operation!, header![column]!, result] as const),
);

test.each(cells)('%s of a mandate that is %s: %s', (operation, state, expected) => {
  const { log, at_ms } = inState(state);
  const { version } = log.record('m');
  const details = detailsOf(log, operation as OperationDetails['operation']);
  const result = log.operate('m', details, { at_ms, expected_version: version });
  expect(outcome(result)).toBe(expected);
  const changed = ['same', 'conflict', 'proposed'].includes(expected) ? 0 : 1;
  expect(log.record('m').version).toBe(version + changed);
});

const push = parseResource('https://git.example/repos/example/app/x');
const match = (log: MemoryLog, id: string, action = 'repo.push', parameters = {}): string => {
  if ('refused' in push) throw new Error(push.refused);
  const found = matchLineage(log.lineage(id), push, { action, parameters, wall_ms: T0, is_approved: false });
  return 'reason' in found ? found.reason : 'covered';
};

describe('narrowing in place', () => {
  const begun = (): MemoryLog => {
    const log = createMemoryLog();
    log.begin('m', [
      { ...ENTRY, actions: ['repo.push'] },
      { ...ENTRY, actions: ['repo.read'] },
    ]);
    return log;
  };

  test('contain withdraws an entry and leaves the others', () => {
    const log = begun();
    log.operate('m', { operation: 'contain', entries: [log.record('m').entry_digests[0]!] });
    expect([match(log, 'm'), match(log, 'm', 'repo.read')]).toEqual(['authority_contained', 'covered']);
    expect(log.record('m').authority_set).toHaveLength(2);
  });

  test('discharge withdraws it for an event, which is kept', () => {
    const log = begun();
    const entry = log.record('m').entry_digests[0]!;
    log.operate('m', { operation: 'discharge', entry, event_type: 'released', event_id: 'r-1' });
    expect(match(log, 'm')).toBe('authority_contained');
    expect(log.record('m').overlay.discharged).toEqual([
      { entry, event_type: 'released', event_id: 'r-1', at: iso(0) },
    ]);
    expect(
      outcome(log.operate('m', { operation: 'discharge', entry, event_type: 'released', event_id: 'r-1' })),
    ).toBe('same');
  });

  test('tighten adds a constraint to an entry, and only tighter ones after it', () => {
    const log = begun();
    const entry = log.record('m').entry_digests[0]!;
    const tighten = (amount: string) =>
      log.operate('m', {
        operation: 'tighten',
        entry,
        constraints: { max_amount: { amount, currency: 'EUR' } },
      });
    expect([tighten('10'), tighten('10.00'), tighten('5'), tighten('5.01')].map(outcome)).toEqual([
      'active',
      'active',
      'active',
      'not_strict_subset',
    ]);
    const pay = (value: string) =>
      match(log, 'm', 'repo.push', {
        amount: { type: 'decimal', value },
        currency: { type: 'string', value: 'EUR' },
      });
    expect([pay('5'), pay('5.01')]).toEqual(['covered', 'parameter_violation']);
  });

  test('an entry that the mandate has not is named by its field', () => {
    const log = begun();
    expect(
      log.operate('m', { operation: 'contain', entries: [log.record('m').entry_digests[0]!, 'sha-256:x'] }),
    ).toMatchObject({ refused: 'invalid_request', field: 'entries.1' });
  });

  test('shorten, and extend up to the approved ceiling', () => {
    const log = createMemoryLog();
    log.begin('m');
    const change = (operation: 'shorten' | 'extend', hours: number) =>
      outcome(
        log.operate(
          'm',
          operation === 'shorten'
            ? { operation, expires_at: iso(hours * HOUR) }
            : { operation, expires_at: iso(hours * HOUR), approval_event_id: 'a' },
          { expected_version: log.record('m').version },
        ),
      );
    expect([change('shorten', 4), change('shorten', 4), change('shorten', 5), change('shorten', -1)]).toEqual(
      ['active', 'same', 'not_strict_subset', 'invalid_request'],
    );
    expect([change('extend', 9), change('extend', 2), change('extend', 8)]).toEqual([
      'not_strict_subset',
      'invalid_request',
      'active',
    ]);
    expect(effectiveEnd(log.lineage('m'))).toBe(T0 + 8 * HOUR);
    expect(log.record('m').approved_versions.map(({ version }) => version)).toEqual([1, 3]);
  });

  test('amend keeps inside what holds now: what was withdrawn stays out', () => {
    const log = begun();
    const [pushing] = log.record('m').entry_digests;
    const hash = log.record('m').authority_hash;
    log.operate('m', { operation: 'contain', entries: [pushing!] });
    const amend = (actions: string) =>
      log.operate(
        'm',
        {
          operation: 'amend',
          authorization_details: [{ ...ENTRY, actions: [actions] }],
          approval_event_id: 'a',
        },
        { expected_version: log.record('m').version },
      );
    expect(amend('repo.push')).toMatchObject({
      refused: 'not_strict_subset',
      detail: expect.stringContaining('renew'),
      field: 'authorization_details.0',
    });
    expect(outcome(amend('repo.read'))).toBe('active');
    expect(log.record('m').authority_hash).not.toBe(hash);
    expect(effectiveEntries(log.record('m'))).toHaveLength(1);
    expect(log.record('m').approved_versions).toHaveLength(2);
  });
});

describe('a suspension that ends by itself', () => {
  test.each([
    ['resume', 'active'],
    ['revoke', 'revoked'],
  ] as const)('%s', (on_expiry, after) => {
    const log = createMemoryLog();
    log.begin('m');
    log.operate('m', { operation: 'suspend', suspend_until: iso(HOUR), on_expiry });
    const at = (ms: number): string => standingState(log.record('m'), T0 + ms);
    expect([at(0), at(HOUR - 1), at(HOUR)]).toEqual(['suspended', 'suspended', after]);
  });

  test('a revoke after it ended as revoked is stored, and the tree ends with it', () => {
    const log = createMemoryLog();
    const delegation = { max_depth: 1, allowed_delegates: [{ sub: 'agent-2' }] };
    log.begin('m', [{ ...ENTRY, delegation }]);
    log.derive('m', 'child', [ENTRY]);
    log.operate('m', { operation: 'suspend', suspend_until: iso(HOUR), on_expiry: 'revoke' });
    const later = { at_ms: T0 + HOUR };
    expect(log.operate('m', { operation: 'revoke' }, later)).toMatchObject([
      { state: 'revoked' },
      { id: 'child', state: 'cascaded' },
    ]);
    expect(log.record('m')).toMatchObject({ state: 'revoked', version: 3 });
    expect(outcome(log.operate('m', { operation: 'revoke' }, later))).toBe('same');
  });

  test('a suspend after it went on by itself suspends again, with and without an end', () => {
    const again: OperationDetails[] = [
      { operation: 'suspend' },
      { operation: 'suspend', suspend_until: iso(3 * HOUR), on_expiry: 'revoke' },
    ];
    for (const details of again) {
      const log = createMemoryLog();
      log.begin('m');
      log.operate('m', { operation: 'suspend', suspend_until: iso(HOUR), on_expiry: 'resume' });
      const later = { at_ms: T0 + HOUR };
      expect(standingState(log.record('m'), later.at_ms)).toBe('active');
      expect(outcome(log.operate('m', details, later))).toBe('suspended');
      expect(standingState(log.record('m'), later.at_ms)).toBe('suspended');
    }
  });

  test('what an operation answers is what counts from then on, whatever lapsed before', () => {
    const log = createMemoryLog();
    log.begin('m');
    log.operate('m', { operation: 'suspend', suspend_until: iso(HOUR), on_expiry: 'resume' });
    const at_ms = T0 + HOUR;
    expect(outcome(log.operate('m', { operation: 'shorten', expires_at: iso(2 * HOUR) }, { at_ms }))).toBe(
      'active',
    );
    expect([log.record('m').state, standingState(log.record('m'), at_ms)]).toEqual(['active', 'active']);
    expect(log.record('m')).not.toHaveProperty('suspend_until');
  });

  test('another end is a change, the same one is not', () => {
    const log = createMemoryLog();
    log.begin('m');
    const suspend = (hours: number) =>
      outcome(
        log.operate('m', { operation: 'suspend', suspend_until: iso(hours * HOUR), on_expiry: 'resume' }),
      );
    expect([suspend(1), suspend(1), suspend(2)]).toEqual(['suspended', 'same', 'suspended']);
    expect(log.record('m')).toMatchObject({ version: 3, suspend_until: iso(2 * HOUR) });
    log.operate('m', { operation: 'resume' }, { expected_version: 3 });
    expect(log.record('m').suspend_until).toBeUndefined();
  });
});

describe('trees', () => {
  const delegation = {
    max_depth: 2,
    allowed_delegates: [{ sub: 'agent-2' }],
    children: { max_children: 2, max_child_depth: 2 },
  };
  const parentEntry: AuthorityEntry = { ...ENTRY, delegation };
  const childEntry: AuthorityEntry = {
    ...ENTRY,
    actions: ['repo.push'],
    delegation: { ...delegation, children: { max_children: 2, max_child_depth: 1 } },
  };
  const leaf: AuthorityEntry = { ...ENTRY, actions: ['repo.push'] };

  const tree = (): MemoryLog => {
    const log = createMemoryLog();
    log.begin('root', [parentEntry]);
    expect(outcome(log.derive('root', 'child', [childEntry]))).toBe('derived');
    expect(outcome(log.derive('child', 'grandchild', [leaf]))).toBe('derived');
    return log;
  };
  const states = (log: MemoryLog, at_ms = T0): string =>
    ['root', 'child', 'grandchild'].map((id) => effectiveState(log.lineage(id), at_ms)).join(' ');

  test('a child is what its parent allows, and names its own actor', () => {
    const log = tree();
    expect(log.record('grandchild')).toMatchObject({
      parent: 'child',
      lineage: ['root', 'child', 'grandchild'],
      depth: 2,
      client_id: 'agent-2',
      version: 1,
    });
    expect(log.record('root').version).toBe(1);
    expect(match(log, 'grandchild')).toBe('covered');
  });

  test.each<[string, string, readonly AuthorityEntry[], object, string]>([
    ['an entry that may not be handed on', 'plain', [leaf], {}, 'delegation_not_permitted'],
    ['too deep', 'grandchild', [leaf], {}, 'delegation_not_permitted'],
    ['another actor', 'root', [leaf], { client_id: 'agent-3' }, 'child_actor_not_allowed'],
    ['more than the parent has', 'root', [{ ...leaf, actions: ['admin.all'] }], {}, 'not_strict_subset'],
    ['handing on as deep as the parent', 'root', [parentEntry], {}, 'not_strict_subset'],
    ['later than the parent', 'root', [leaf], { expires_at: iso(9 * HOUR) }, 'not_strict_subset'],
    ['in the past', 'root', [leaf], { expires_at: iso(-1) }, 'invalid_request'],
    ['under nobody', 'nobody', [leaf], {}, 'not_found'],
  ])('%s: %s', (_, parent, entries, more, reason) => {
    const log = tree();
    log.begin('plain', [ENTRY]);
    const before = log.events.length;
    expect(outcome(log.derive(parent, 'x', entries, more))).toBe(reason);
    expect(log.events).toHaveLength(before);
  });

  test('only so many live at once; one that ended makes room', () => {
    const log = tree();
    expect(outcome(log.derive('root', 'second', [leaf]))).toBe('derived');
    expect(outcome(log.derive('root', 'third', [leaf]))).toBe('fanout_exceeded');
    log.operate('second', { operation: 'revoke' });
    expect(outcome(log.derive('root', 'third', [leaf]))).toBe('derived');
  });

  test.each(['suspend', 'revoke', 'complete'] as const)(
    'no child is made below a mandate after %s',
    (operation) => {
      const log = tree();
      log.operate('root', { operation });
      for (const parent of ['root', 'child'])
        expect(outcome(log.derive(parent, 'x', [leaf]))).toBe('parent_not_active');
    },
  );

  test.each(['revoke', 'complete'] as const)('%s ends every generation in the same commit', (operation) => {
    const log = tree();
    const events = log.operate('root', { operation });
    expect(events).toMatchObject([
      { id: 'root' },
      { id: 'child', state: 'cascaded', cascaded_from: 'root' },
      { id: 'grandchild', state: 'cascaded', cascaded_from: 'root' },
    ]);
    expect(states(log)).toBe(`${operation === 'revoke' ? 'revoked' : 'completed'} cascaded cascaded`);
  });

  test('what ended by itself keeps its own end', () => {
    const log = tree();
    log.operate('child', { operation: 'complete' });
    const events = log.operate('root', { operation: 'revoke' });
    expect(events).toHaveLength(1);
    expect(states(log)).toBe('revoked completed cascaded');
  });

  test('a suspension is projected, and restores only what it projected', () => {
    const log = tree();
    log.operate('grandchild', { operation: 'suspend' });
    log.operate('root', { operation: 'suspend' });
    expect(states(log)).toBe('suspended suspended suspended');
    expect(log.record('child').version).toBe(1);
    expect(outcome(log.operate('child', { operation: 'resume' }, { expected_version: 1 }))).toBe('conflict');
    expect(outcome(log.operate('grandchild', { operation: 'resume' }, { expected_version: 2 }))).toBe(
      'conflict',
    );
    log.operate('root', { operation: 'resume' }, { expected_version: 2 });
    expect(states(log)).toBe('active active suspended');
  });

  test('a suspend below a suspended parent is recorded as its own', () => {
    const log = tree();
    log.operate('root', { operation: 'suspend' });
    expect(outcome(log.operate('child', { operation: 'suspend' }))).toBe('suspended');
    log.operate('root', { operation: 'resume' }, { expected_version: 2 });
    expect(states(log)).toBe('active suspended suspended');
  });

  test('narrowing a parent narrows the child at once', () => {
    const log = tree();
    log.operate('root', { operation: 'contain', entries: log.record('root').entry_digests });
    expect(match(log, 'grandchild')).toBe('authority_contained');
  });

  test('an ancestor that is shortened ends the child as cascaded', () => {
    const log = tree();
    log.operate('root', { operation: 'shorten', expires_at: iso(HOUR) });
    expect(states(log, T0 + HOUR)).toBe('expired cascaded cascaded');
    expect(effectiveEnd(log.lineage('grandchild'))).toBe(T0 + HOUR);
  });

  test('a child extends within its parent`s effective end', () => {
    const log = tree();
    log.operate('child', { operation: 'shorten', expires_at: iso(HOUR) });
    log.operate('root', { operation: 'shorten', expires_at: iso(4 * HOUR) });
    const extend = (hours: number) =>
      outcome(
        log.operate(
          'child',
          { operation: 'extend', expires_at: iso(hours * HOUR), approval_event_id: 'a' },
          { expected_version: log.record('child').version },
        ),
      );
    expect([extend(5), extend(4)]).toEqual(['not_strict_subset', 'active']);
  });
});

describe('what must be stopped after an operation', () => {
  const on = (operation: Parameters<typeof stopAfter>[0], state: Parameters<typeof stopAfter>[1]): string =>
    Object.entries(stopAfter(operation, state))
      .filter(([, value]) => value)
      .map(([name]) => name)
      .join(' ');
  test.each([
    ['suspend', 'suspended', 'stop_issuance pause'],
    ['resume', 'active', 'reevaluate'],
    ['contain', 'active', 'reevaluate'],
    ['tighten', 'active', 'reevaluate'],
    ['contain', 'suspended', 'stop_issuance pause reevaluate'],
    ['extend', 'active', ''],
    ['complete', 'completed', 'stop_issuance revoke_tokens cancel_queued'],
    ['revoke', 'revoked', 'stop_issuance revoke_tokens cancel_queued interrupt_in_flight'],
  ] as const)('%s, then %s: %s', (operation, state, expected) => {
    expect(on(operation, state)).toBe(expected);
  });

  test('the record may spare a class, and the widest over the classes is told', () => {
    const revocation = {
      consequential_read: { in_flight: false },
      consequential_write: { in_flight: false, queued: false },
    };
    expect(stopAfter('revoke', 'revoked', revocation)).toMatchObject({
      interrupt_in_flight: true,
      cancel_queued: true,
      by_class: {
        consequential_read: { interrupt_in_flight: false, cancel_queued: true, stop_issuance: true },
        consequential_write: { interrupt_in_flight: false, cancel_queued: false },
      },
    });
    const everything = Object.fromEntries(ACTION_CLASSES.map((name) => [name, { in_flight: false }]));
    expect(stopAfter('revoke', 'revoked', everything)).toMatchObject({
      interrupt_in_flight: false,
      cancel_queued: true,
    });
  });

  test('it spares nothing that an ending would not stop, and says nothing of a pause', () => {
    const revocation = { irreversible_action: { tokens: true, in_flight: true } };
    expect(stopAfter('complete', 'completed', revocation)).not.toHaveProperty('by_class');
    expect(stopAfter('suspend', 'suspended', revocation)).toEqual(stopAfter('suspend', 'suspended'));
    expect(stopFor('expired', revocation)).toMatchObject({
      revoke_tokens: false,
      by_class: { irreversible_action: { revoke_tokens: false, interrupt_in_flight: true } },
    });
  });
});
