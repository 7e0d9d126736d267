/**
 * The retry queue of an agent's runtime: workers that take postings off it and post each until it is taken, with the
 * token that stands in the environment. Nothing stops it but its end; it is "engineered for survival".
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { member } from '../../src/core/json.ts';
import { ask } from './ask.ts';

/** One try at one posting. */
export interface Attempt {
  readonly worker: number;
  readonly reference: number;
  /** On the monotonic clock that all processes of a machine share, ns. */
  readonly begun_ns: string;
  readonly status: number;
  readonly reason?: string;
  readonly state?: string;
}

const { PROXY_PORT, TOKEN, RECIPIENT, WORKERS } = process.env;
const PAUSE_MS = 2;

let taken = 0;

async function attempt(worker: number, reference: number): Promise<boolean> {
  const begun_ns = String(process.hrtime.bigint());
  const { status, body } = await ask(Number(PROXY_PORT), {
    method: 'POST',
    path: '/ledger/postings',
    headers: {
      host: 'erp.example',
      authorization: `Bearer ${TOKEN}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ reference, amount: '12.50', currency: 'EUR', recipient: RECIPIENT }),
  });
  const state = member(body.mandate, 'state');
  process.send!({ worker, reference, begun_ns, status, reason: body.reason, state });
  await sleep(PAUSE_MS);
  return status === 201;
}

async function work(worker: number): Promise<never> {
  for (;;) {
    const reference = (taken += 1);
    while (!(await attempt(worker, reference)));
  }
}

for (let worker = 0; worker < Number(WORKERS); worker += 1) void work(worker);
process.on('disconnect', () => process.exit());
