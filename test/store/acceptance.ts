/**
 * What every engine of the mandate store must do, whatever it keeps its log in. Written against the contract in
 * `src/check/ports.ts` alone.
 */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MandateFilter, MandateStore, Paging, WriteResult } from '../../src/check/ports.ts';
import { judge } from '../../src/core/freshness.ts';
import type { Command } from '../../src/core/mandate/commands.ts';
import type { AuthorityEntry, MandateState } from '../../src/core/mandate/record.ts';
import { type Transition, commands, committed, fresh } from '../support/authority.ts';
import { ALICE, ENTRY, MANDATES } from '../support/records.ts';

export interface Opened {
  readonly store: MandateStore;
  /** Closes it and opens it again on what it has kept. */
  readonly reopen: () => Promise<Opened>;
  readonly discard: () => Promise<void>;
}

const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

export function acceptance(name: string, open: () => Promise<Opened>): void {
  describe(`the store contract: ${name}`, () => {
    let opened: Opened;
    let store: MandateStore;
    const write = (command: Command): Promise<WriteResult> => store.write(command, 'durable');

    const approveOne = async (entries: readonly AuthorityEntry[] = [ENTRY]): Promise<string> => {
      const submission_id = fresh('sub');
      const { proposal } = await committed(write(commands().propose(submission_id, entries)));
      const { mandate } = await committed(write(commands().approve(submission_id, proposal!.proposal_hash)));
      return mandate!.id;
    };

    const stateInView = async (id: string): Promise<string> => {
      const fact = await store.prove({ budget_ms: 0, arrived: now() }).find({ id, issuer: MANDATES });
      return fact.kind === 'found' ? fact.lineage.at(-1)!.state : fact.kind;
    };

    const lineageOf = async (id: string) => {
      const read = await store.lineage(id);
      if (!read.ok) throw new Error(read.detail);
      return read.lineage;
    };
    const treeOf = async (id: string) => {
      const read = await store.tree(id);
      if (!read.ok) throw new Error(read.detail);
      return read.records;
    };

    beforeEach(async () => {
      opened = await open();
      ({ store } = opened);
    });
    afterEach(() => opened.discard());

    const reopen = async (): Promise<void> => {
      opened = await opened.reopen();
      ({ store } = opened);
    };

    test('a proposal becomes a mandate, and both are what was asked for', async () => {
      const submission_id = fresh('sub');
      const { proposal } = await committed(write(commands().propose(submission_id)));
      expect(proposal).toMatchObject({ submission_id, status: 'pending', subject: ALICE });
      const { mandate, position } = await committed(
        write(commands().approve(submission_id, proposal!.proposal_hash)),
      );
      expect(mandate).toMatchObject({
        state: 'active',
        version: 1,
        authority_set: [ENTRY],
        lineage: [mandate!.id],
        depth: 0,
      });
      expect(mandate!.history).toMatchObject([
        { seq: position.seq, operation: 'approve', state: 'active', version: 1 },
      ]);
      const read = await store.proposal(submission_id);
      expect(read).toMatchObject({ ok: true, proposal: { status: 'approved', mission_id: mandate!.id } });
    });

    test('what returned is seen by every view that is asked for afterwards', async () => {
      const id = await approveOne();
      expect(await stateInView(id)).toBe('active');
      await committed(write(commands().operate('suspend', id)));
      expect(await stateInView(id)).toBe('suspended');
      await committed(write(commands().operate('resume', id, { expected_version: 2 })));
      expect(await stateInView(id)).toBe('active');
      await committed(write(commands().operate('revoke', id)));
      expect(await stateInView(id)).toBe('revoked');
    });

    test('a mandate that does not exist, or of another issuer, is absent', async () => {
      const id = await approveOne();
      expect(await stateInView('msn_nobody')).toBe('absent');
      const proving = store.prove({ budget_ms: 0, arrived: now() });
      expect(await proving.find({ id, issuer: 'https://other.example' })).toEqual({ kind: 'absent' });
      expect(await lineageOf('msn_nobody')).toBeUndefined();
    });

    test('a barrier proves the view current since it was asked for', async () => {
      const arrived = now();
      const { position } = await committed(write(commands().propose()));
      const proof = await store.barrier();
      if ('refused' in proof) throw new Error(proof.refused);
      expect(proof.position).toEqual(position);
      expect(judge(proof, { budget_ms: 0, arrived }, now())).toMatchObject({ fresh: true });
      const proving = store.prove({ budget_ms: 0, arrived: now() });
      const fact = await proving.find({ id: await approveOne(), issuer: MANDATES });
      expect(fact.kind).toBe('found');
    });

    test('every entry has its own place, in the order of the answers of one caller', async () => {
      const results = await Promise.all(
        Array.from({ length: 200 }, () => committed(write(commands().propose()))),
      );
      const seqs = results.map(({ position }) => position.seq);
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
      expect(new Set(results.map(({ position }) => position.eid)).size).toBe(new Set(seqs).size);
      const last = results.at(-1)!.position;
      const proof = await store.barrier();
      expect('position' in proof && proof.position).toEqual(last);
    });

    test('of two conflicting writes at once exactly one wins', async () => {
      const id = await approveOne();
      await committed(write(commands().operate('suspend', id)));
      const results = await Promise.all([
        write(commands().operate('resume', id, { expected_version: 2 })),
        write(commands().operate('resume', id, { expected_version: 2 })),
        write(commands().operate('resume', id, { expected_version: 2 })),
      ]);
      expect(results.filter(({ ok }) => ok)).toHaveLength(1);
      for (const each of results) if (!each.ok) expect(each.refused).toBe('stale_version');
    });

    test('a nonce is answered again with what it was answered, also after a restart', async () => {
      const id = await approveOne();
      const command = commands().operate('suspend', id, { nonce: 'n-1' });
      const first = await committed(write(command));
      await committed(write(commands().operate('resume', id, { expected_version: 2 })));
      expect((await committed(write(command))).receipt).toEqual(first.receipt);
      await reopen();
      expect((await committed(write(command))).receipt).toEqual(first.receipt);
      expect(await stateInView(id)).toBe('active');
      const other = await write(
        commands().operate('suspend', id, { nonce: 'n-1', fingerprint: 'another body' }),
      );
      expect(other).toMatchObject({ ok: false, refused: 'conflict', field: 'nonce' });
    });

    test('an operation on a mandate that is there already succeeds and appends nothing', async () => {
      const id = await approveOne();
      const first = await committed(write(commands().operate('revoke', id)));
      const again = await committed(write(commands().operate('revoke', id)));
      expect(again.receipt).toMatchObject({ state: 'revoked', version: 2 });
      expect(again.position).toEqual(first.position);
      expect(again.mandate!.history).toHaveLength(2);
    });

    test('everything that was answered is there after a restart', async () => {
      const id = await approveOne();
      const { position } = await committed(write(commands().operate('revoke', id)));
      const before = await lineageOf(id);
      await reopen();
      expect(await lineageOf(id)).toEqual(before);
      const proof = await store.barrier();
      expect('position' in proof && proof.position).toEqual(position);
      expect(await stateInView(id)).toBe('revoked');
    });

    test('the end of a root ends its whole tree in one commit, and is there after a restart', async () => {
      const delegation = { max_depth: 3, allowed_delegates: [{ sub: 'agent-1' }] };
      const root = await approveOne([{ ...ENTRY, delegation }]);
      const ids = [root];
      for (const parent of [0, 0, 1, 3]) {
        const derived = await committed(
          write(commands().derive(ids[parent]!, parent === 3 ? {} : { delegation })),
        );
        ids.push(derived.mandate!.id);
      }
      expect((await treeOf(root)).map(({ id }) => id)).toEqual([0, 1, 3, 4, 2].map((index) => ids[index]));
      const { receipt, position } = await committed(write(commands().operate('revoke', root)));
      expect(receipt).toMatchObject({ state: 'revoked', cascaded: 4, position });
      for (const id of ids.slice(1)) expect(await stateInView(id)).toBe('cascaded');
      await reopen();
      expect((await treeOf(root)).map(({ state }) => state)).toEqual([
        'revoked',
        ...ids.slice(1).map(() => 'cascaded'),
      ]);
      expect(await treeOf('msn_nobody')).toEqual([]);
    });

    test('one approval makes one mandate', async () => {
      const [first, second] = [fresh('sub'), fresh('sub')];
      const approval = { approval_event_id: fresh('ape') };
      const hashes = await Promise.all(
        [first, second].map(
          async (id) => (await committed(write(commands().propose(id)))).proposal!.proposal_hash,
        ),
      );
      const made = await committed(write(commands().approve(first, hashes[0]!, approval)));
      expect(await write(commands().approve(second, hashes[1]!, approval))).toMatchObject({
        ok: false,
        refused: 'conflict',
        field: 'approval_event_id',
      });
      expect((await committed(write(commands().approve(first, hashes[0]!, approval)))).mandate!.id).toBe(
        made.mandate!.id,
      );
    });

    const list = async (
      filter: MandateFilter,
      limit: number,
      cursor: string | undefined,
      isSeen: Paging['isSeen'] = () => true,
    ) => {
      const read = await store.list(filter, { limit, cursor, isSeen }, now());
      if (!read.ok) throw new Error(read.detail);
      return read.page;
    };

    test('what may not be seen is passed over', async () => {
      const ids = [await approveOne(), await approveOne(), await approveOne()];
      const isSeen: Paging['isSeen'] = (lineage) => lineage.at(-1)!.id !== ids[1];
      expect((await list({}, 2, undefined, isSeen)).items.map(({ id }) => id)).toEqual([ids[0], ids[2]]);
      const all = await list({}, 1, undefined, () => false);
      expect(all).toEqual({ items: [] });
    });

    test('records come in pages, oldest first, filtered by the state that counts', async () => {
      const ids = [await approveOne(), await approveOne(), await approveOne()];
      await committed(write(commands().operate('revoke', ids[1]!)));
      const first = await list({}, 2, undefined);
      expect(first.items.map(({ id }) => id)).toEqual(ids.slice(0, 2));
      const second = await list({}, 2, first.next_cursor);
      expect(second.items.map(({ id }) => id)).toEqual(ids.slice(2));
      expect(second.next_cursor).toBeUndefined();
      const active = await list({ state: 'active' }, 10, undefined);
      expect(active.items.map(({ id }) => id)).toEqual([ids[0], ids[2]]);
      expect((await list({ client_id: 'agent-2' }, 10, undefined)).items).toEqual([]);
    });

    test('it agrees with a model over random walks, restarts included', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
          const id = await approveOne();
          const model: Model = { state: 'active', version: 1, nonces: new Map() };
          for (const each of steps) {
            if (each.kind === 'reopen') {
              await reopen();
              continue;
            }
            const expected = modelled(model, each);
            const result = await write(
              commands().operate(each.operation, id, { ...each.more, fingerprint: each.operation }),
            );
            const actual = result.ok ? `${result.receipt!.state} ${result.receipt!.version}` : result.refused;
            expect(actual).toBe(expected);
          }
          expect(await stateInView(id)).toBe(model.state);
        }),
        { numRuns: 12 },
      );
    });
  });
}

interface Model {
  state: MandateState;
  version: number;
  readonly nonces: Map<string, { readonly operation: string; readonly answer: string }>;
}

type Step =
  | {
      readonly kind: 'operate';
      readonly operation: Transition;
      readonly more: { readonly nonce?: string; readonly expected_version?: number };
    }
  | { readonly kind: 'reopen' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('operate' as const),
      operation: fc.constantFrom<Transition>('suspend', 'resume', 'suspend', 'resume', 'revoke'),
      more: fc.record(
        { nonce: fc.constantFrom('a', 'b'), expected_version: fc.integer({ min: 1, max: 6 }) },
        { requiredKeys: [] },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
);

/** The life of a mandate as design/2 and design/8 tell it, for these three operations. */
function modelled(model: Model, { operation, more }: Extract<Step, { kind: 'operate' }>): string {
  const { nonce, expected_version } = more;
  const earlier = nonce === undefined ? undefined : model.nonces.get(nonce);
  if (earlier !== undefined) return earlier.operation === operation ? earlier.answer : 'conflict';
  if (operation === 'resume' && expected_version === undefined) return 'invalid_request';
  if (expected_version !== undefined && expected_version !== model.version) return 'stale_version';
  const target = { suspend: 'suspended', resume: 'active', revoke: 'revoked' } as const;
  const isThere = model.state === target[operation];
  if (operation === 'resume' ? model.state !== 'suspended' : !isThere && model.state === 'revoked')
    return 'conflict';
  if (!isThere) {
    model.state = target[operation];
    model.version += 1;
  }
  const answer = `${model.state} ${model.version}`;
  if (nonce !== undefined) model.nonces.set(nonce, { operation, answer });
  return answer;
}
