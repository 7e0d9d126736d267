/** What every engine must do for use: reservations, settlements, approvals of one action, conditions, renewals, versions. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MandateStore } from '../../src/check/ports.ts';
import type { Command, ReserveCommand } from '../../src/core/mandate/commands.ts';
import type { Reserved, StoredDecision } from '../../src/core/mandate/stored-decision.ts';
import { commands, committed, decisionOf, fresh, reservation, soon } from '../support/authority.ts';
import { ALICE, ENTRY, MANDATES } from '../support/records.ts';
import type { Opened } from './acceptance.ts';

const by = { iss: MANDATES, sub: 'operator' };
const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

export function useAcceptance(name: string, open: () => Promise<Opened>): void {
  describe(`the store contract, in use: ${name}`, () => {
    let opened: Opened;
    let store: MandateStore;
    beforeEach(async () => {
      opened = await open();
      ({ store } = opened);
    });
    afterEach(() => opened.discard());
    const reopen = async (): Promise<void> => {
      opened = await opened.reopen();
      ({ store } = opened);
    };
    const write = (command: Command) => committed(store.write(command, 'durable'));

    const begin = async (more: object = {}, controls: object = {}): Promise<string> => {
      const submission_id = fresh('sub');
      const intent = { goal: 'g', resources: [ENTRY.resource], expires_at: soon(3_600_000), controls };
      const { proposal } = await write(commands().propose(submission_id, [ENTRY], { intent, ...more }));
      const { mandate } = await write(commands().approve(submission_id, proposal!.proposal_hash));
      return mandate!.id;
    };
    const found = async (id: string) => {
      const fact = await store.prove({ budget_ms: 0, arrived: now() }).find({ id, issuer: MANDATES });
      if (fact.kind !== 'found') throw new Error(fact.kind);
      return fact.lineage.at(-1)!;
    };

    const reserve = async (
      mandate: string,
      more: Partial<StoredDecision> = {},
      rest: Partial<ReserveCommand> = {},
    ): Promise<Reserved> => (await write(reservation(decisionOf(mandate, more), rest))).reserved!;
    const said = (reserved: Reserved): string =>
      reserved.outcome === 'refused' ? reserved.reason : reserved.outcome;
    const idOf = (reserved: Reserved): string => {
      if (reserved.outcome !== 'held') throw new Error(said(reserved));
      return reserved.decision.decision_id;
    };
    const settle = async (decision_id: string, outcome: 'completed' | 'failed', principal = 'p') => {
      const { reserved } = await write({
        kind: 'settle',
        decision_id,
        outcome,
        caller: { principal },
        by: ALICE,
        at_ms: Date.now(),
      });
      return said(reserved!);
    };

    test('of many reservations at once as many are held as the budget reaches, and the view knows', async () => {
      const id = await begin({}, { max_calls: 3 });
      const answers = await Promise.all(Array.from({ length: 10 }, () => reserve(id)));
      expect(answers.map(said).toSorted()).toEqual([
        ...Array.from({ length: 3 }, () => 'held'),
        ...Array.from({ length: 7 }, () => 'quota_exceeded'),
      ]);
      expect((await found(id)).usage).toEqual({ max_calls: { limit: 3, charged: 3, allotted: 0 } });
      await reopen();
      expect(said(await reserve(id))).toBe('quota_exceeded');
    });

    test('under one key many are one, with one charge, also after a restart', async () => {
      const id = await begin({}, { max_calls: 2 });
      const answers = await Promise.all(Array.from({ length: 8 }, () => reserve(id, { key: 'k' })));
      const ids = new Set(answers.map(idOf));
      expect(ids.size).toBe(1);
      await reopen();
      expect(idOf(await reserve(id, { key: 'k' }))).toBe([...ids][0]);
      expect(said(await reserve(id, { key: 'k', binding: 'sha-256:other' }))).toBe('idempotency_conflict');
      expect((await found(id)).usage!.max_calls!.charged).toBe(1);
    });

    test('a reservation holds only if the mandate is what the decision saw', async () => {
      const id = await begin({}, { max_calls: 2 });
      await write(commands().operate('suspend', id));
      expect(said(await reserve(id))).toBe('moved');
      expect(said(await reserve(id, {}, { versions: [2] }))).toBe('moved');
      await write(commands().operate('resume', id, { expected_version: 2 }));
      expect(said(await reserve(id, {}, { versions: [2] }))).toBe('moved');
      expect(said(await reserve(id, {}, { versions: [3] }))).toBe('held');
    });

    test('what is only asked for is not kept', async () => {
      const id = await begin({}, { max_calls: 1 });
      expect(said(await reserve(id, { key: 'k' }, { is_dry: true }))).toBe('held');
      expect(said(await reserve(id, { key: 'other' }))).toBe('held');
      expect(said(await reserve(id, { key: 'k' }, { is_dry: true }))).toBe('quota_exceeded');
    });

    test('a settlement is its caller`s, once, and there after a restart', async () => {
      const id = await begin({}, { max_calls: 1 });
      const decision_id = idOf(await reserve(id, { key: 'k' }));
      expect(await settle(decision_id, 'completed', 'somebody')).toBe('unknown_decision');
      expect(await settle(decision_id, 'completed')).toBe('held');
      await reopen();
      expect(await settle(decision_id, 'completed')).toBe('held');
      expect(await settle(decision_id, 'failed')).toBe('idempotency_conflict');
      expect(said(await reserve(id, { key: 'k' }))).toBe('duplicate_suppressed');
      expect(await store.decision(decision_id)).toMatchObject({
        ok: true,
        decision: { status: 'completed' },
      });
      expect(await store.decision('dec_nobody')).toEqual({ ok: true, decision: undefined });
    });

    test('an approval of one action is used once, of many at once', async () => {
      const id = await begin();
      const { mandate } = await write({
        kind: 'approve_action',
        approval_id: 'ape_1',
        mandate: id,
        action: 'repo.push',
        resource: ENTRY.resource,
        parameter_digest: 'sha-256:b',
        approved_until: soon(60_000),
        by,
        at_ms: Date.now(),
      });
      expect(mandate!.action_approvals).toHaveLength(1);
      await reopen();
      expect((await found(id)).action_approvals).toMatchObject([{ id: 'ape_1' }]);
      const answers = await Promise.all(Array.from({ length: 5 }, () => reserve(id, { approval: 'ape_1' })));
      expect(answers.map(said).filter((each) => each === 'held')).toHaveLength(1);
      expect((await found(id)).action_approvals![0]!.used_by).toBeDefined();
    });

    test('what was observed is obeyed at once, told of every condition on it, and there after a restart', async () => {
      const conditions = [
        { id: 'c', event_type: 't', key: 'k', expect: true, on_false: 'suspend', max_stale_s: 3600 },
      ];
      const [one, two] = [await begin({ conditions }), await begin({ conditions })];
      const observe = (value: boolean, event_id: string) =>
        write({
          kind: 'observe',
          observation: {
            event_id,
            event_type: 't',
            key: 'k',
            value,
            observed_at: soon(0),
            received_at: soon(0),
          },
          clock_tolerance_ms: 5000,
          by,
          at_ms: Date.now(),
        });
      await observe(true, 'e1');
      expect((await found(one)).conditions![0]!.last).toMatchObject({ value: true });
      await reopen();
      expect((await found(two)).conditions![0]!.last).toMatchObject({ value: true });
      await observe(false, 'e2');
      for (const id of [one, two]) expect(await found(id)).toMatchObject({ state: 'suspended', version: 2 });
      await reopen();
      expect((await found(one)).conditions![0]!.last).toMatchObject({ value: false });
    });

    test('a renewal is one proposal under its nonce, and its approval one commit', async () => {
      const id = await begin();
      const renew: Command = {
        kind: 'operate',
        id,
        details: { operation: 'renew', submission_id: fresh('sub') },
        expected_version: 1,
        nonce: 'n',
        may_resume: true,
        fingerprint: 'f',
        by,
        at_ms: Date.now(),
      };
      const { proposal } = await write(renew);
      await reopen();
      const again = await write({ ...renew, details: { operation: 'renew', submission_id: fresh('sub') } });
      expect(again.proposal).toEqual(proposal);
      const { mandate, position } = await write(
        commands().approve(proposal!.submission_id, proposal!.proposal_hash),
      );
      expect(await found(id)).toMatchObject({ state: 'superseded', successor: mandate!.id });
      expect(position.seq - mandate!.history[0]!.seq).toBe(1);
    });

    test('every version stays readable', async () => {
      const id = await begin();
      await write(commands().operate('suspend', id));
      await write(commands().operate('revoke', id));
      await reopen();
      const states = await Promise.all(
        [0, 1, 2, 3, 4].map(async (version) => {
          const read = await store.version(id, version);
          return read.ok ? read.record?.state : 'refused';
        }),
      );
      expect(states).toEqual([undefined, 'active', 'suspended', 'revoked', undefined]);
    });
  });
}
