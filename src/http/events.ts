/**
 * `GET /v1/events`: server-sent events, one per committed change of a mandate, in commit order. A reader is a place in the
 * log and nothing more: what is slow to read is not queued here, it stays in the log.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import type { LogPlace, MandateStore } from '../check/ports.ts';
import type { LogEntry, MandateEvent } from '../core/mandate/events.ts';
import type { Principal } from '../core/control.ts';
import { TRANSITIONS } from '../core/mandate/life.ts';
import type { AskedOperation } from '../core/mandate/record.ts';
import { headerValues } from '../core/request.ts';
import { type Access, storedLineage } from './access.ts';
import { Refused } from './bodies.ts';
import { callerOf } from './callers.ts';
import { controlProblem } from './problem.ts';

const PAGE = 500;
/** A comment, so that proxies and readers see that the connection lives. */
const KEEP_ALIVE_MS = 15_000;
/** A reader that takes nothing for this long is let go; it resumes by its last id. */
const STALL_MS = 30_000;
const MAX_READERS = 256;

export interface EventSource {
  readonly store: MandateStore;
  readonly access: Access;
}

export function openEvents(scope: FastifyInstance, source: EventSource): void {
  const { store } = source;
  let readers = 0;
  scope.get('/v1/events', async (request, reply) => {
    const caller = callerOf(request);
    if (readers >= MAX_READERS) throw new Refused(controlProblem('rate_limited', 'too many readers'));
    // Counted before anything is waited for: those who come at once are many at once.
    readers += 1;
    try {
      const from = await placeOf(headerValues(request.raw.rawHeaders, 'last-event-id'), store);
      const first = await readPage(from, store);
      // From here on the response is ours: Fastify would wait for an end that does not come.
      reply.hijack();
      await stream(reply.raw, from, first, { ...source, caller });
      reply.raw.destroy();
    } finally {
      readers -= 1;
    }
  });
}

/** After the last event that the reader has had; without one, from now on. */
async function placeOf(last: readonly string[], store: MandateStore): Promise<LogPlace> {
  if (last.length > 0) {
    const match = last.length === 1 ? /^(\d{1,15})-(\d{1,15})$/.exec(last[0]!) : null;
    if (match === null)
      throw new Refused(controlProblem('invalid_request', 'expected the id of an event', 'Last-Event-ID'));
    return { epoch: Number(match[1]), seq: Number(match[2]) };
  }
  const proof = await store.barrier();
  if ('refused' in proof) throw new Refused(controlProblem('unavailable', proof.refused));
  return proof.position;
}

async function readPage(after: LogPlace, store: MandateStore): Promise<readonly LogEntry[]> {
  const page = await store.entriesAfter(after, PAGE);
  if (page.ok) return page.entries;
  if ('detail' in page) throw new Refused(controlProblem(page.refused, page.detail));
  const gone = controlProblem(
    'not_found',
    'this event is not kept: read the records again, and go on from now',
  );
  throw new Refused({ ...gone, status: 410 });
}

async function stream(
  response: ServerResponse,
  from: LogPlace,
  first: readonly LogEntry[],
  { store, access, caller }: EventSource & { readonly caller: Principal },
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write(': mandates\n\n');
  // Writing to a reader that has just gone is an error event, which nobody would hear but the process.
  response.on('error', () => response.destroy());
  const commits = createSignal(store);
  response.once('close', commits.stop);
  let place = from;
  let entries = first;
  try {
    while (!response.destroyed) {
      for (const entry of entries) {
        place = entry;
        const told = eventOf(entry);
        if (told === undefined || !(await isSeen(told.id, caller, { store, access }))) continue;
        if (!response.write(told.text)) await drained(response);
      }
      if (entries.length < PAGE && !(await commits.next())) response.write(': still here\n\n');
      entries = response.destroyed ? [] : await readPage(place, store);
    }
  } catch {
    // The reader went, or the store did: either way it comes back with its last id.
  } finally {
    commits.stop();
  }
}

function drained(response: ServerResponse): Promise<unknown> {
  return once(response, 'drain', { signal: AbortSignal.timeout(STALL_MS) });
}

/** Remembers that something was committed since it was last asked, so that nothing falls between two looks. */
function createSignal(store: MandateStore) {
  let isRung = false;
  let wake: ((isCommit: boolean) => void) | undefined;
  const ring = (isCommit: boolean): void => {
    isRung ||= isCommit;
    wake?.(isCommit);
  };
  const unsubscribe = store.onCommit(() => ring(true));
  return {
    /** Resolves with true after a commit, with false when there was none for a while, or no more will come. */
    next: async (): Promise<boolean> => {
      if (!isRung) {
        const timer = Promise.withResolvers<boolean>();
        wake = timer.resolve;
        const patience = setTimeout(() => timer.resolve(false), KEEP_ALIVE_MS);
        await timer.promise;
        clearTimeout(patience);
      }
      const wasRung = isRung;
      isRung = false;
      return wasRung;
    },
    stop: (): void => {
      unsubscribe();
      ring(false);
    },
  };
}

/** A reader is told of what it may see, and of nothing else that something has happened. */
async function isSeen(id: string, caller: Principal, { store, access }: EventSource): Promise<boolean> {
  const lineage = await storedLineage(store, id);
  return lineage !== undefined && access.may(caller, 'mandate.read', lineage);
}

/** One change of a mandate; undefined for what changes none. */
function eventOf({
  epoch,
  seq,
  event,
}: LogEntry): { readonly id: string; readonly text: string } | undefined {
  const data = eventData(event);
  if (data === undefined) return undefined;
  const text = `id: ${epoch}-${seq}\nevent: mandate\ndata: ${JSON.stringify(data)}\n\n`;
  return { id: data.id, text };
}

function eventData(event: MandateEvent) {
  switch (event.kind) {
    case 'proposed':
    case 'denied':
    // Use is not a change of the mandate: it has no version, and there is no end of it.
    case 'metered':
    case 'decided':
    case 'observed':
    case 'held_up':
    case 'action_approved':
    case 'tokens_revoked':
      return undefined;
    case 'approved':
    case 'derived': {
      const operation = event.kind === 'approved' ? 'approve' : 'derive';
      const { at, by, terms } = event;
      return { id: terms.id, operation, state: 'active', version: 1, at, by, authority_changed: true };
    }
    case 'changed': {
      const { id, operation, prior_state, state, version, at, by, reason, cascaded_from } = event;
      const authority_changed = isNarrowing(operation);
      return { id, operation, prior_state, state, version, at, by, reason, authority_changed, cascaded_from };
    }
  }
}

function isNarrowing(operation: string): boolean {
  return Object.hasOwn(TRANSITIONS, operation) && TRANSITIONS[operation as AskedOperation].narrows;
}
