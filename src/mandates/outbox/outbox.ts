/**
 * The local durable outbox: what this sidecar must be able to say again after a restart, on a server that may have lost
 * it (design/3, Failover). The file is this process's alone.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Errands } from '../../check/ports.ts';
import type { OperateCommand } from '../../core/mandate/commands.ts';
import { createCalls } from '../calls.ts';
import type { Ending, FromOutbox, Intent, Memory, ToOutbox } from './protocol.ts';

export type { Ending, Intent, Memory } from './protocol.ts';

export interface Outbox {
  /** As it was when it was opened. */
  readonly memory: Memory;
  /** Endings that were asked for and are not known to be in the log, oldest first. */
  readonly intents: () => readonly Intent[];
  /** Resolves once it is on disk: true, or false where it cannot be kept. */
  readonly keep: (endings: readonly Ending[], memory: Omit<Memory, 'id'>) => Promise<boolean>;
  /** The intent's number once it is on disk; undefined where it cannot be kept. */
  readonly intend: (command: OperateCommand) => Promise<number | undefined>;
  readonly done: (number: number) => Promise<boolean>;
  /** Latest first. */
  readonly endings: (offset: number, limit: number) => Promise<readonly Ending[]>;
  /** What is to be done elsewhere, whatever becomes of this process. */
  readonly errands: Errands;
  readonly isBroken: () => boolean;
  readonly close: () => Promise<void>;
}

export type OpenedOutbox =
  { readonly ok: true; readonly outbox: Outbox } | { readonly ok: false; readonly error: string };

/** More endings that the store does not take are refused: memory and disk are not a queue without an end. */
const MOST_INTENTS = 4096;
const MOST_ERRANDS = 65_536;

type Answer = number | readonly Ending[] | boolean | undefined;

export async function openOutbox(path: string, tenant: string): Promise<OpenedOutbox> {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    return { ok: false, error: `the folder \`${path}\` cannot be made: ${(error as Error).message}` };
  }
  const workerData = {
    file: join(path, 'outbox.db'),
    id: `sc_${randomBytes(12).toString('base64url')}`,
    tenant,
  };
  const worker = new Worker(new URL('./thread.ts', import.meta.url), { workerData });
  const calls = createCalls<Answer>();
  const opened = Promise.withResolvers<OpenedOutbox>();
  const closed = Promise.withResolvers<void>();
  const intents = new Map<number, Intent>();
  const errands = new Map<number, string>();
  let isBroken = false;
  /** Intents, and errands, that are being put on disk. */
  let asked = 0;
  let entrusting = 0;
  const fail = (detail: string): void => {
    isBroken = true;
    calls.settleAll(undefined);
    closed.resolve();
    opened.resolve({ ok: false, error: detail });
  };
  const ask = (message: (call: number) => ToOutbox): Promise<Answer> =>
    isBroken
      ? Promise.resolve(undefined)
      : calls.ask(
          (call) => worker.postMessage(message(call)),
          () => undefined,
        );
  const outboxOf = (memory: Memory): Outbox => ({
    memory,
    intents: () => [...intents.values()],
    keep: async (endings, next) =>
      (await ask((call) => ({ kind: 'keep', call, endings, memory: next }))) === true,
    intend: async (command) => {
      if (intents.size + asked >= MOST_INTENTS) return undefined;
      asked += 1;
      const number = await ask((call) => ({ kind: 'intend', call, command }));
      asked -= 1;
      if (typeof number !== 'number') return undefined;
      intents.set(number, { number, command });
      return number;
    },
    done: async (number) => {
      intents.delete(number);
      return (await ask((call) => ({ kind: 'done', call, number }))) === true;
    },
    endings: async (offset, limit) =>
      ((await ask((call) => ({ kind: 'endings', call, offset, limit }))) as readonly Ending[] | undefined) ??
      [],
    errands: {
      list: () => [...errands].map(([number, text]) => ({ number, text })),
      entrust: async (text) => {
        if (errands.size + entrusting >= MOST_ERRANDS) return false;
        entrusting += 1;
        const number = await ask((call) => ({ kind: 'entrust', call, text }));
        entrusting -= 1;
        if (typeof number !== 'number') return false;
        errands.set(number, text);
        return true;
      },
      done: async (number) => {
        errands.delete(number);
        await ask((call) => ({ kind: 'run', call, number }));
      },
    },
    isBroken: () => isBroken,
    close: async () => {
      if (!isBroken) worker.postMessage({ kind: 'close' } satisfies ToOutbox);
      await closed.promise;
      await worker.terminate();
    },
  });
  worker.on('message', (message: FromOutbox) => {
    switch (message.kind) {
      case 'ready':
        for (const each of message.intents) intents.set(each.number, each);
        for (const { number, text } of message.errands) errands.set(number, text);
        return opened.resolve({ ok: true, outbox: outboxOf(message.memory) });
      case 'refused':
        return fail(message.detail);
      case 'numbered':
        return calls.settle(message.call, message.number);
      case 'endings':
        return calls.settle(message.call, message.endings);
      case 'kept':
        return message.calls.forEach((call) => calls.settle(call, true));
      case 'failed':
        message.calls.forEach((call) => calls.settle(call, undefined));
        return message.is_broken ? fail(message.detail) : undefined;
      case 'closed':
        return closed.resolve();
    }
  });
  worker.on('error', (error) => fail((error as Error).message));
  worker.on('exit', () => fail('the thread ended'));
  return opened.promise;
}
