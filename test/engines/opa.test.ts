/** The OPA engine against the committed sample bundle: no `opa` is needed to run these. */
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import type { PolicyEngine } from '../../src/core/policy.ts';
import { HOST_BUILTINS } from '../../src/engines/opa-wasm.ts';
import { type OpaFolder, readOpaFolder } from '../../src/engines/opa-folder.ts';
import { type OpaOptions, loadOpa } from '../../src/engines/opa.ts';
import { regoInput } from '../../src/engines/rego-input.ts';
import { NOW_MS, policyInputWith } from '../support/policy-input.ts';

const OPTIONS: OpaOptions = { cpu_ms: () => 0, complain: () => {} };

let sample: OpaFolder;
let engine: PolicyEngine;

beforeAll(async () => {
  const read = await readOpaFolder(resolve(import.meta.dirname, '../../policies/opa'));
  if ('error' in read) throw new Error(read.error);
  sample = read;
  engine = await engineOf(sample.wasm);
});

async function engineOf(wasm: Uint8Array, options: Partial<OpaOptions> = {}): Promise<PolicyEngine> {
  const load = await loadOpa(wasm, undefined, { ...OPTIONS, ...options });
  if (!load.ok) throw new Error(load.error);
  return load.engine;
}

describe('the sample policy', () => {
  const read = { name: 'http.get', class: 'consequential_read' } as const;
  const pay = { name: 'payments.send', class: 'external_commitment' } as const;
  const root = { lineage: ['msn_root'], depth: 0 };

  test.each([
    ['a push for the release', {}, 'allow', ['release-push']],
    ['a push for another purpose', { mandate: { purpose: 'urn:example:purpose:audit' } }, 'deny', []],
    ['a push at depth 2', { principal: { depth: 2 } }, 'allow', ['release-push']],
    ['a push at depth 3', { principal: { depth: 3 } }, 'deny', []],
    [
      'a push a minute before the end',
      { mandate: { expires_at_ms: NOW_MS + 60_000 } },
      'allow',
      ['release-push'],
    ],
    ['a push in the last minute', { mandate: { expires_at_ms: NOW_MS + 59_999 } }, 'deny', ['last-minute']],
    ['a read', { action: read }, 'allow', ['read-while-it-lasts']],
    [
      'a read in the last ms',
      { action: read, mandate: { expires_at_ms: NOW_MS + 1 } },
      'allow',
      ['read-while-it-lasts'],
    ],
    ['a read at the end', { action: read, mandate: { expires_at_ms: NOW_MS } }, 'deny', []],
    ['a read with an unreadable end', { action: read, mandate: { expires_at_ms: -Infinity } }, 'deny', []],
    ['a payment under a root', { action: pay, mandate: root }, 'allow', ['payment-by-the-root']],
    ['a payment under a child', { action: pay }, 'deny', []],
    ['a payment without a mandate', { action: pay, mandate: { lineage: [] } }, 'deny', []],
    ['health', { action: { name: 'health.read', class: 'non_consequential' } }, 'allow', ['health']],
    ['health, raised', { action: { name: 'health.read', class: 'consequential_write' } }, 'deny', []],
    ['another write', { action: { name: 'repo.delete' } }, 'deny', []],
  ] as const)('%s', (_, varied, decision, determining) => {
    expect(engine.evaluate(policyInputWith(varied))).toEqual({
      decision,
      determining,
      errors: [],
      obligations: [],
    });
  });
});

describe('the input of Rego', () => {
  test('is the tree of Cedar, with references as type and id and times in two forms', () => {
    const parameters = {
      ref: { type: 'string', value: 'refs/heads/x' },
      amount: { type: 'decimal', value: '12.50' },
      count: { type: 'long', value: 3 },
      to: { type: 'strings', value: ['a', 'b'] },
    } as const;
    expect(regoInput(policyInputWith({ context: { parameters } }))).toEqual({
      principal: {
        type: 'Agent',
        id: 'corp/agent-1',
        issuer: 'https://as.example',
        client_id: 'agent-1',
        subject: { type: 'User', id: 'corp/alice' },
        depth: 1,
        actors: ['agent-1'],
      },
      action: {
        type: 'Action',
        id: 'repo.push',
        name: 'repo.push',
        class: 'irreversible_action',
        families: ['repo.*'],
      },
      resource: {
        type: 'Resource',
        id: 'https://git.example/repos/a/b',
        host: 'git.example',
        path: '/repos/a/b',
        segments: ['repos', 'a', 'b'],
      },
      context: {
        mandate: {
          type: 'Mandate',
          id: 'msn_child',
          state: 'active',
          version: 3,
          purpose: 'urn:example:purpose:release',
          goal: 'ship 1.2',
          depth: 1,
          expires_at: '2026-11-23T10:00:00.000Z',
          expires_at_ms: NOW_MS + 3_600_000,
          approved_at: '2026-11-23T08:00:00.000Z',
          approved_at_ms: NOW_MS - 3_600_000,
          subject: { type: 'User', id: 'corp/alice' },
          approver: { type: 'User', id: 'corp/bob' },
          tenant: 'acme',
          suspended_before: false,
          remaining_calls: 7,
          lineage: ['msn_root', 'msn_child'],
        },
        parameters: { ref: 'refs/heads/x', amount: '12.50', count: 3, to: ['a', 'b'] },
        request: { method: 'POST', scheme: 'https', host: 'git.example', path: '/repos/a/b' },
        check_point: 'request',
        action_class: 'irreversible_action',
        freshness: { source: 'barrier', age_ms: 1 },
        credential: {
          issuer: 'https://as.example',
          subject: 'alice',
          client_id: 'agent-1',
          expires_at: '2026-11-23T09:10:00.000Z',
          expires_at_ms: NOW_MS + 600_000,
        },
        now: '2026-11-23T09:00:00.000Z',
        now_ms: NOW_MS,
      },
    });
  });

  test('has only times that RFC 3339 can write, in whole milliseconds', () => {
    const never = JSON.stringify(regoInput(policyInputWith({ mandate: { expires_at_ms: -Infinity } })));
    const always = JSON.stringify(regoInput(policyInputWith({ mandate: { expires_at_ms: 1e300 } })));
    const between = JSON.stringify(regoInput(policyInputWith({ context: { now_ms: NOW_MS + 0.9 } })));
    expect(between).toContain(`"now":"2026-11-23T09:00:00.000Z","now_ms":${NOW_MS}}`);
    expect(never).toContain('"expires_at":"0001-01-01T00:00:00.000Z","expires_at_ms":-62135596800000,');
    expect(always).toContain('"expires_at":"9999-12-31T23:59:59.999Z","expires_at_ms":253402300799999,');
  });

  test('keeps a parameter called `__proto__` a parameter', () => {
    const parameters = Object.fromEntries([['__proto__', { type: 'string', value: 'x' } as const]]);
    const json = JSON.stringify(regoInput(policyInputWith({ context: { parameters } })));
    expect(json).toContain('"parameters":{"__proto__":"x"}');
  });
});

const text = new TextEncoder();

/** A module with one function type and one import of `env`. */
function moduleWith(name: string, kind: readonly number[]): Uint8Array {
  const imports = [1, 3, ...text.encode('env'), name.length, ...text.encode(name), ...kind];
  const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  return new Uint8Array([...header, 1, 5, 1, 0x60, 1, 0x7f, 0, 2, imports.length, ...imports]);
}

describe('loading refuses', () => {
  test.each([
    ['what is no WebAssembly', text.encode('package mandated'), 'expected magic word'],
    ['a module that prints to stdout', moduleWith('opa_println', [0, 0]), '`env.opa_println`'],
    ['a module with its own memory', moduleWith('opa_abort', [0, 0]), 'does not import its memory'],
    ['a module of another make', moduleWith('memory', [2, 0, 1]), '`opa_wasm_abi_version`'],
    ['a module that needs 300 pages of 100', moduleWith('memory', [2, 0, 0xac, 0x02]), 'needs 300 pages'],
  ])('%s', async (_, wasm, expected) => {
    const load = await loadOpa(wasm, undefined, { ...OPTIONS, max_memory_pages: 100 });
    expect(load).toEqual({ ok: false, error: expect.stringContaining(expected) });
  });

  test('a policy without the entry point', async () => {
    const wasm = Buffer.from(sample.wasm);
    const name = 'mandated/allow';
    for (let at = wasm.indexOf(name); at !== -1; at = wasm.indexOf(name)) wasm.write('mandated/other', at);
    const load = await loadOpa(wasm, undefined, OPTIONS);
    expect(load).toEqual({ ok: false, error: 'the policy has no entry point `mandated/allow`' });
  });

  test('data that does not fit into the memory', async () => {
    const load = await loadOpa(
      sample.wasm,
      { big: 'x'.repeat(200_000) },
      { ...OPTIONS, max_memory_pages: 4 },
    );
    expect(load).toEqual({ ok: false, error: 'the policy cannot be started: opa_malloc: failed' });
  });

  test('all built-ins but those that opa-wasm really has', () => {
    const require = createRequire(import.meta.url);
    const source = dirname(require.resolve('@open-policy-agent/opa-wasm'));
    const builtins = require(join(source, 'builtins/index.js')) as object;
    expect(Object.keys(builtins).toSorted()).toEqual(HOST_BUILTINS);
  });
});

describe('an evaluation', () => {
  test('that runs out of memory is an error without a word of the input, and the next one is not', async () => {
    const small = await engineOf(sample.wasm, { max_memory_pages: 3 });
    const goal = 'secret'.repeat(50_000);
    for (const _ of [1, 2]) {
      expect(small.evaluate(policyInputWith({ mandate: { goal } }))).toEqual({
        decision: 'error',
        determining: [],
        errors: ['the policy evaluation failed: out of memory or stack'],
        obligations: [],
      });
      expect(small.evaluate(policyInputWith()).decision).toBe('allow');
    }
  });

  test('that took too long is an error, and so is every later one', async () => {
    const complain = vi.fn<(what: string) => void>();
    const clock_ms = [0, 100, 200, 300.5, 400, 400];
    const slow = await engineOf(sample.wasm, { cpu_ms: () => clock_ms.shift()!, complain });
    expect(slow.evaluate(policyInputWith()).decision).toBe('allow');
    expect(complain).not.toHaveBeenCalled();
    for (const _ of [1, 2]) {
      expect(slow.evaluate(policyInputWith())).toEqual({
        decision: 'error',
        determining: [],
        errors: ['a policy evaluation took longer than 100 ms'],
        obligations: [],
      });
    }
    expect(complain).toHaveBeenCalledExactlyOnceWith(expect.stringContaining('longer than 100 ms'));
  });

  test('never throws, whatever breaks around it', async () => {
    const broken = await engineOf(sample.wasm, {
      cpu_ms: () => {
        throw new Error('no clock');
      },
    });
    expect(broken.evaluate(policyInputWith()).decision).toBe('error');
  });
});
