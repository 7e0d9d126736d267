/**
 * The replica and the judge beside a model that is a list of what was revoked when: commands in any order, on a log that a
 * failover cuts short. Two promises (design/3, Why it is right): an allow with budget 0 has seen every revocation that
 * returned before the question arrived (T1), one with a budget every revocation that is older than that (T2).
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { judge } from '../../src/core/freshness.ts';
import type { LogEntry, Position } from '../../src/core/mandate/events.ts';
import type { MandateRecord } from '../../src/core/mandate/record.ts';
import { EMPTY_REPLICA, type Message, type ReplicaState, step } from '../../src/core/replica.ts';
import { GENESIS, approved, at, chain, revoked } from '../support/records.ts';

const IDS = ['a', 'b', 'c'] as const;
type Id = (typeof IDS)[number];

/** What everybody must agree on: when each revocation returned. A failover may take one back, which is not promised here. */
interface Model {
  now: number;
  readonly returned: Map<Id, number>;
  /** A failover has cut the log: what was acknowledged before is only promised where it is noticed. */
  hasForked: boolean;
}

/** The log as its owner has it, a view of it, and what is under way between them. */
interface Real {
  log: LogEntry[];
  branch: number;
  state: ReplicaState;
  readonly working: Map<string, MandateRecord>;
  readonly applied: Map<number, string>;
  readonly asked: { readonly sent: number; readonly position: Position }[];
  readonly answered: Message[];
}

type Step = fc.Command<Model, Real>;

const headOf = (log: readonly LogEntry[]): Position => {
  const { epoch, seq, eid } = log.at(-1) ?? GENESIS;
  return { epoch, seq, eid };
};

function feed(real: Real, message: Message): void {
  const before = real.state.position?.seq ?? 0;
  const { state, changed } = step(real.state, message, {
    find: (id) => real.working.get(id),
    holds: 'all',
    eidAt: (seq) => real.applied.get(seq),
  });
  for (const { record } of changed) real.working.set(record.id, record);
  real.state = state;
  const entries =
    message.kind === 'entries' ? message.entries : message.kind === 'proof' ? message.missing : [];
  for (const { seq, eid } of entries)
    if (seq > before && seq <= (state.position?.seq ?? 0)) real.applied.set(seq, eid);
}

/** A revocation returns once it is in the log. */
const revoke = (id: Id): Step => ({
  check: ({ returned }) => !returned.has(id),
  run: (model, real) => {
    const head = headOf(real.log);
    real.log.push(...chain([revoked(id, 2)], head, `r${real.branch}-`));
    model.now += 1;
    model.returned.set(id, model.now);
  },
  toString: () => `revoke ${id}`,
});

/** The tail brings some of what comes after a place, perhaps again, perhaps late. */
const deliver = (from: number, count: number): Step => ({
  check: () => true,
  run: (model, real) => {
    model.now += 1;
    const start = Math.min(from, real.state.position?.seq ?? 0);
    feed(real, { kind: 'entries', entries: real.log.slice(start, start + count) });
  },
  toString: () => `deliver ${from} ${count}`,
});

const ask: Step = {
  check: () => true,
  run: (model, real) => {
    model.now += 1;
    real.asked.push({ sent: model.now, position: real.state.position! });
  },
  toString: () => 'ask',
};

/** The owner of the log answers a question that was asked before, with so many entries at most; it is on its way. */
const answer = (most: number): Step => ({
  check: () => true,
  run: (model, real) => {
    model.now += 1;
    const question = real.asked.shift();
    if (question === undefined) return;
    const { sent, position } = question;
    const own = position.seq === 0 ? GENESIS : real.log[position.seq - 1];
    if (own?.eid !== position.eid) return void real.answered.push({ kind: 'latched', latch: 'FORK' });
    const missing = real.log.slice(position.seq, position.seq + most);
    real.answered.push({ kind: 'proof', sent: at(sent), asked: position, head: headOf(real.log), missing });
  },
  toString: () => `answer ${most}`,
});

/** An answer arrives, perhaps after one that was given later. */
const arrive = (which: number): Step => ({
  check: () => true,
  run: (model, real) => {
    model.now += 1;
    const [message] = real.answered.splice(which % Math.max(1, real.answered.length), 1);
    if (message === undefined) return;
    feed(real, message);
    // Whatever was lost: what is proven is proven of the history that the answer was of.
    const isProof = message.kind === 'proof' && real.state.proven?.mono_ms === message.sent.mono_ms;
    if (isProof && real.state.latch === undefined)
      expect(real.applied.get(message.head.seq)).toBe(message.head.eid);
  },
  toString: () => `arrive ${which}`,
});

/** The log goes on from an earlier entry, with others in the places of those that are lost. */
const failOver = (lost: number): Step => ({
  check: () => true,
  run: (model, real) => {
    model.now += 1;
    real.branch += 1;
    const kept = real.log.slice(0, Math.max(IDS.length, real.log.length - lost));
    if (kept.length < real.log.length) model.hasForked = true;
    real.log = [...kept, ...chain([approved(`x${real.branch}`)], headOf(kept), `f${real.branch}-`)];
  },
  toString: () => `fail over, ${lost} lost`,
});

/** A check, now: what is allowed must have seen what was promised. */
const check = (id: Id, budget_ms: number, before: number): Step => ({
  check: () => true,
  run: (model, real) => {
    model.now += 1;
    const arrived = model.now - before;
    const { position, proven, latch } = real.state;
    const proof = { source: 'barrier', position: position!, proven: proven!, latch } as const;
    const judged = judge(proof, { budget_ms, arrived: at(arrived) }, at(model.now));
    const isAllowed = judged.fresh && real.working.get(id)!.state === 'active';
    const returned = model.returned.get(id) ?? Infinity;
    const seen_since = budget_ms === 0 ? arrived : model.now - budget_ms;
    if (!model.hasForked) expect(isAllowed && returned < seen_since).toBe(false);
    // Also after a failover: what is proven now is of the log that there is now, or was when the question was answered.
    if (judged.fresh) expect(judged.age_ms).toBeLessThanOrEqual(Math.max(budget_ms, before));
  },
  toString: () => `check ${id} ${budget_ms} ${before}`,
});

test('nothing is allowed that must have been seen to be revoked, whatever the order of things', () => {
  const id = fc.constantFrom(...IDS);
  const steps = [
    id.map(revoke),
    fc.tuple(fc.nat(6), fc.nat(4)).map(([from, count]) => deliver(from, count)),
    fc.constant(ask),
    fc.constantFrom(1, 9).map(answer),
    fc.nat(3).map(arrive),
    fc.nat(2).map(failOver),
    fc
      .tuple(id, fc.constantFrom(0, 3, 6), fc.nat(2))
      .map(([of, budget_ms, before]) => check(of, budget_ms, before)),
  ];
  fc.assert(
    fc.property(fc.commands(steps, { size: 'large', maxCommands: 60 }), (commands) => {
      const setup = () => {
        const log = [...chain(IDS.map(approved))];
        const real: Real = {
          log,
          branch: 0,
          state: EMPTY_REPLICA,
          working: new Map(),
          applied: new Map(),
          asked: [],
          answered: [],
        };
        feed(real, { kind: 'snapshot', position: GENESIS, at: at(0) });
        feed(real, { kind: 'entries', entries: log });
        const model: Model = { now: 0, returned: new Map(), hasForked: false };
        return { model, real };
      };
      fc.modelRun(setup, commands);
    }),
    { numRuns: 2000 },
  );
});
