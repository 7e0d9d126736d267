/** docs/mandates.md is true: its examples run against a real sidecar, and its tables are those of the code. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, type JsonObject, isObject, parseJson } from '../src/core/json.ts';
import { type Stop, TRANSITIONS, stopFor } from '../src/core/mandate/life.ts';
import { DECISION_LIFE } from '../src/core/mandate/stored-decision.ts';
import { ask } from './support/ask.ts';
import { ROOT, type Sidecar, proposalBody, startSidecar } from './support/sidecar.ts';

const TEXT = readFileSync(join(ROOT, 'docs/mandates.md'), 'utf8');

// --- tables ----------------------------------------------------------------------------------------------------

/** The rows of the table whose header begins so, each cell without its backticks. */
function table(header: string): readonly (readonly string[])[] {
  const lines = TEXT.split('\n');
  const from = lines.findIndex((line) => line.startsWith(`| ${header} |`));
  const rows: string[][] = [];
  for (let at = from + 2; lines[at]?.startsWith('|') === true; at += 1) {
    rows.push(
      lines[at]!.split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
  }
  return rows;
}

test('the table of operations is the one in the code', () => {
  const rows = Object.entries(TRANSITIONS).map(([operation, { from, to, needs_version }]) => {
    return [operation, from.join(', '), to ?? 'the same', needs_version ? 'yes' : 'no'];
  });
  expect(table('operation')).toEqual(rows);
});

test('the table of what an ending means is the one in the code', () => {
  const [states, members] = [
    ['active', 'suspended', 'revoked', 'cascaded', 'expired', 'completed', 'superseded'] as const,
    [
      'stop_issuance',
      'revoke_tokens',
      'cancel_queued',
      'interrupt_in_flight',
      'pause',
      'reevaluate',
    ] as const,
  ];
  const rows = states.map((state) => {
    const stop: Stop = stopFor(state);
    return [state, ...members.map((member) => (stop[member] ? 'yes' : 'no'))];
  });
  expect(table('state')).toEqual(rows);
});

test('the life of a decision is the one in the code', () => {
  const rows = Object.entries(DECISION_LIFE).map(([status, { asked_again, next_action, settles_to }]) => {
    return [status, asked_again.replace('_', ' '), next_action, settles_to.join(', ') || 'nothing'];
  });
  expect(table('status')).toEqual(rows);
});

// --- examples --------------------------------------------------------------------------------------------------

interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly status: number;
  readonly expected: string;
}

interface Example {
  readonly name: string;
  readonly exchanges: readonly Exchange[];
}

const EXAMPLES: readonly Example[] = TEXT.split(/^### /m)
  .slice(1)
  .map((section) => ({
    name: section.split('\n')[0]!,
    exchanges: [...section.matchAll(/```http\n([A-Z]+) (\S+)\n([^]*?)\n\n?(\d{3})\n([^]*?)\n```/g)].map(
      ([, method, path, body, status, expected]) => {
        return { method: method!, path: path!, body: body!, status: Number(status), expected: expected! };
      },
    ),
  }));

let sidecar: Sidecar;
let operator: string;
beforeAll(async () => {
  sidecar = await startSidecar();
  operator = readFileSync(sidecar.token_file, 'utf8').trim();
});
afterAll(() => sidecar.discard());

/** The mandate that each example begins with. */
async function begin(): Promise<Map<string, string>> {
  const [entry] = proposalBody().authorization_details as JsonObject[];
  const delegation = { max_depth: 3, allowed_delegates: [{ sub: 'agent-2' }] };
  const entries = [
    { ...entry, actions: ['repo.push'], delegation },
    { ...entry, actions: ['repo.read'] },
  ];
  const body = proposalBody({ authorization_details: entries });
  const proposed = (await sidecar.control('POST', '/v1/proposals', body)).body as JsonObject;
  const [sub, hash] = [String(proposed.submission_id), String(proposed.proposal_hash)];
  const other = (await sidecar.control('POST', '/v1/proposals', body)).body as JsonObject;
  const approved = await sidecar.control('POST', `/v1/proposals/${sub}/approve`, {
    proposal_hash: hash,
    expires_at: new Date(Date.now() + 4 * 3_600_000).toISOString(),
  });
  const record = approved.body as JsonObject;
  const [push, read] = record.entry_digests as [string, string];
  return new Map([
    ['id', String(record.id)],
    ['push', push],
    ['read', read],
    ['sub', String(other.submission_id)],
    ['hash', String(other.proposal_hash)],
  ]);
}

function filled(text: string, names: ReadonlyMap<string, string>): string {
  return text
    .replaceAll(/\{([+-]\d+)h\}/g, (_, hours: string) =>
      new Date(Date.now() + Number(hours) * 3_600_000).toISOString(),
    )
    .replaceAll(/\{([a-z0-9]+)\}/g, (whole, name: string) => names.get(name) ?? whole);
}

/** Takes from the answer what the expectation names `{=name}`, and puts it where it was named. */
function captured(expected: Json, actual: Json | undefined, names: Map<string, string>): Json {
  if (typeof expected === 'string') {
    const name = /^\{=([a-z0-9]+)\}$/.exec(expected)?.[1];
    if (name === undefined) return expected;
    names.set(name, String(actual));
    return actual ?? 'nothing';
  }
  if (!isObject(expected)) return expected;
  return Object.fromEntries(
    Object.entries(expected).map(([name, value]) => [
      name,
      captured(value, isObject(actual) ? actual[name] : undefined, names),
    ]),
  );
}

function json(text: string): Json {
  const parsed = parseJson(text);
  if (!parsed.ok) throw new Error(`${parsed.error}: ${text}`);
  return parsed.value;
}

describe('each example of docs/mandates.md', () => {
  test.each(EXAMPLES)('$name', async ({ exchanges }) => {
    expect(exchanges.length).toBeGreaterThan(0);
    const names = await begin();
    for (const { method, path, body, status, expected } of exchanges) {
      const port = path === '/v1/check' ? sidecar.check_port : sidecar.control_port;
      const sent = filled(body, names);
      const answer = await ask(port, {
        method,
        path: filled(path, names),
        headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json' },
        ...(sent === '' ? {} : { body: sent }),
      });
      const wanted = captured(json(filled(expected, names)), answer.body, names);
      expect(answer).toMatchObject({ status, body: wanted as object });
    }
  });

  test('there is one for every operation', () => {
    const named = new Set(EXAMPLES.map(({ name }) => name.toLowerCase()));
    expect(Object.keys(TRANSITIONS).filter((operation) => !named.has(operation))).toEqual([]);
  });
});
