/** Renewal (design/2, Life: "amend widening, renew"; design/8, Operations). */
import { describe, expect, test } from 'vitest';
import type { Refusal } from '../../src/core/mandate/commands.ts';
import type { MandateEvent } from '../../src/core/mandate/events.ts';
import { effectiveEnd, effectiveState } from '../../src/core/mandate/life.ts';
import type { AuthorityEntry } from '../../src/core/mandate/record.ts';
import { HOUR, type MemoryLog, createMemoryLog } from '../support/memory-log.ts';
import { ENTRY, T0, iso } from '../support/records.ts';

const delegation = { max_depth: 3, allowed_delegates: [{ sub: 'agent-2' }] };
const PUSH: AuthorityEntry = { ...ENTRY, actions: ['repo.push'], delegation };
const READ: AuthorityEntry = { ...ENTRY, actions: ['repo.read'], delegation };
const WIDER: AuthorityEntry = { ...ENTRY, resource: 'https://git.example/repos', actions: ['repo.*'] };

const renew = (log: MemoryLog, id: string, own = {}, more = {}) =>
  log.operate(
    id,
    { operation: 'renew', submission_id: 'sub_r', ...own },
    { expected_version: log.record(id).version, ...more },
  );
const reason = (result: readonly MandateEvent[] | Refusal): string =>
  'refused' in result ? `${result.refused} ${result.field ?? ''}`.trim() : 'ok';
const states = (log: MemoryLog, ...ids: string[]): string =>
  ids.map((id) => effectiveState(log.lineage(id), T0)).join(' ');

function begun(): MemoryLog {
  const log = createMemoryLog();
  log.begin('m', [PUSH, READ]);
  return log;
}

describe('the proposal', () => {
  test('starts from the effective entries: what was withdrawn is out, what was tightened is in', () => {
    const log = begun();
    const [push, read] = log.record('m').entry_digests as [string, string];
    log.operate('m', { operation: 'contain', entries: [push] });
    log.operate('m', { operation: 'tighten', entry: read, constraints: { tenant: 'acme' } });
    expect(reason(renew(log, 'm'))).toBe('ok');
    const { authorization_details, predecessor, intent, client_id, subject } = log.proposal('sub_r');
    expect(authorization_details).toEqual([{ ...READ, constraints: { tenant: 'acme' } }]);
    expect({ predecessor, intent, client_id, subject }).toEqual({
      predecessor: 'm',
      intent: log.record('m').intent,
      client_id: 'agent-1',
      subject: log.record('m').subject,
    });
  });

  test('leaves the mandate as it is, and may ask for more', () => {
    const log = begun();
    const before = log.record('m');
    const intent = { ...before.intent, expires_at: iso(100 * HOUR) };
    renew(log, 'm', { authorization_details: [WIDER], intent });
    expect(log.record('m')).toBe(before);
    expect(log.proposal('sub_r')).toMatchObject({
      authorization_details: [WIDER],
      intent,
      status: 'pending',
    });
  });

  test('a mission that would be over, and one that has nothing left, must say what is asked for', () => {
    const log = begun();
    log.operate('m', { operation: 'contain', entries: log.record('m').entry_digests });
    expect(reason(renew(log, 'm'))).toBe('invalid_request authorization_details');
    const intent = { ...log.record('m').intent, expires_at: iso(0) };
    expect(reason(renew(log, 'm', { intent }))).toBe('invalid_request intent.expires_at');
  });

  test('the version that it was decided on is needed', () => {
    const log = begun();
    expect(reason(renew(log, 'm', {}, { expected_version: undefined }))).toBe(
      'invalid_request expected_version',
    );
    expect(reason(renew(log, 'm', {}, { expected_version: 2 }))).toBe('stale_version expected_version');
  });
});

describe('its approval', () => {
  test('makes the successor active and the predecessor superseded, with all below, in one commit', () => {
    const log = begun();
    log.derive('m', 'child', [{ ...READ, delegation: { ...delegation, max_depth: 3 } }]);
    log.derive('child', 'grandchild', [{ ...READ, delegation: undefined } as unknown as AuthorityEntry]);
    renew(log, 'm', { authorization_details: [WIDER] });
    const events = log.approve('sub_r', 'n') as readonly MandateEvent[];
    expect(
      events.map((event) => (event.kind === 'changed' ? `${event.id} ${event.state}` : event.kind)),
    ).toEqual(['approved', 'm superseded', 'child cascaded', 'grandchild cascaded']);
    expect(log.record('n')).toMatchObject({
      state: 'active',
      version: 1,
      predecessor: 'm',
      authority_set: [WIDER],
    });
    expect(log.record('m')).toMatchObject({ state: 'superseded', version: 2, successor: 'n' });
    expect(log.record('m').history.at(-1)).toMatchObject({ operation: 'renew', prior_state: 'active' });
  });

  test.each(['suspend', 'revoke', 'complete'] as const)(
    'is refused after a %s: it would bring back',
    (operation) => {
      const log = begun();
      renew(log, 'm');
      log.operate('m', { operation });
      const before = log.record('m');
      expect(reason(log.approve('sub_r', 'n'))).toBe('conflict');
      expect([log.record('n'), log.record('m')]).toEqual([undefined, before]);
    },
  );

  test('is refused after the end of the predecessor', () => {
    const log = begun();
    log.operate('m', { operation: 'shorten', expires_at: iso(HOUR) });
    renew(log, 'm');
    expect(reason(log.approve('sub_r', 'n', { at_ms: T0 + HOUR }))).toBe('conflict');
    expect(reason(log.approve('sub_r', 'n', { at_ms: T0 + HOUR - 1 }))).toBe('ok');
  });

  test('happens once: of two renewals the second finds the predecessor superseded', () => {
    const log = begun();
    renew(log, 'm');
    renew(log, 'm', { submission_id: 'sub_2' });
    expect(reason(log.approve('sub_r', 'n'))).toBe('ok');
    expect(reason(log.approve('sub_2', 'o'))).toBe('conflict');
    expect(states(log, 'm', 'n')).toBe('superseded active');
  });
});

describe('a child', () => {
  const withChild = (): MemoryLog => {
    const log = begun();
    log.derive('m', 'child', [{ ...READ, delegation: { ...delegation, max_depth: 2 } }], {
      expires_at: iso(2 * HOUR),
    });
    return log;
  };

  test('is renewed below the same parent, to no later than its end', () => {
    const log = withChild();
    renew(log, 'child');
    expect(reason(log.approve('sub_r', 'n'))).toBe('ok');
    expect(log.record('n')).toMatchObject({
      parent: 'm',
      lineage: ['m', 'n'],
      depth: 1,
      predecessor: 'child',
    });
    expect(effectiveEnd(log.lineage('n'))).toBe(effectiveEnd(log.lineage('m')));
    expect(states(log, 'm', 'child', 'n')).toBe('active superseded active');
  });

  test('stays a subset of its parent', () => {
    const log = withChild();
    renew(log, 'child', { authorization_details: [WIDER] });
    expect(reason(log.approve('sub_r', 'n'))).toBe('not_strict_subset authorization_details.0');
    expect(states(log, 'child')).toBe('active');
  });

  test('starts from what every mandate above still holds', () => {
    const log = withChild();
    const [, read] = log.record('m').entry_digests as [string, string];
    log.operate('m', { operation: 'contain', entries: [read] });
    expect(reason(renew(log, 'child'))).toBe('invalid_request authorization_details');
    expect(log.record('child').version).toBe(1);
  });

  test('does not count twice against the fan-out', () => {
    const log = createMemoryLog();
    const only = { ...delegation, children: { max_children: 1, max_child_depth: 1 } };
    log.begin('m', [{ ...READ, delegation: only }]);
    log.derive('m', 'child', [{ ...ENTRY, actions: ['repo.read'] }]);
    renew(log, 'child');
    expect(reason(log.approve('sub_r', 'n'))).toBe('ok');
    expect(reason(log.derive('m', 'other', [{ ...ENTRY, actions: ['repo.read'] }]))).toContain(
      'fanout_exceeded',
    );
  });

  test('is not renewed while its parent is suspended', () => {
    const log = withChild();
    log.operate('m', { operation: 'suspend' });
    expect(reason(renew(log, 'child'))).toBe('conflict');
  });
});
