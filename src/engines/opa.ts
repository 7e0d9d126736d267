/** OPA policies, compiled to WebAssembly by `opa build`, as a policy engine. */
import * as z from 'zod';
import type { JsonObject } from '../core/json.ts';
import type { EngineAnswer, PolicyEngine, PolicyInput } from '../core/policy.ts';
import {
  HOST_BUILTINS,
  type LoadedPolicy,
  compilePolicy,
  failureText,
  foreignModule,
  importedBuiltins,
  startPolicy,
} from './opa-wasm.ts';
import { regoInput } from './rego-input.ts';

export interface OpaOptions {
  /** An evaluation that takes more CPU time puts the engine out of service; default 100. */
  readonly overrun_ms?: number;
  /** Memory of an instance in pages of 64 KiB; default 512, which is 32 MiB. */
  readonly max_memory_pages?: number;
  /** CPU time of this thread: a process that was paused has not overrun. */
  readonly cpu_ms: () => number;
  readonly complain: (what: string) => void;
}

export type OpaLoad =
  { readonly ok: true; readonly engine: PolicyEngine } | { readonly ok: false; readonly error: string };

const ENTRY_POINT = 'mandated/allow';
const OVERRUN_MS = 100;
const MAX_MEMORY_PAGES = 512;

/** Compiles a policy and starts it once. `error` is one sentence that says why it is refused. */
export async function loadOpa(
  wasm: Uint8Array,
  data: JsonObject | undefined,
  options: OpaOptions,
): Promise<OpaLoad> {
  try {
    const compiled = await compilePolicy(wasm);
    const max_pages = options.max_memory_pages ?? MAX_MEMORY_PAGES;
    const foreign = foreignModule(compiled, max_pages);
    if (foreign !== undefined) return { ok: false, error: foreign };
    const start = (): LoadedPolicy => startPolicy(compiled, data, max_pages);
    const policy = start();
    const unfit = unfitPolicy(policy);
    if (unfit !== undefined) return { ok: false, error: unfit };
    return { ok: true, engine: { name: 'opa', evaluate: evaluator(policy, start, options) } };
  } catch (thrown) {
    return { ok: false, error: `the policy cannot be started: ${failureText(thrown)}` };
  }
}

function unfitPolicy(policy: LoadedPolicy): string | undefined {
  if (!Object.hasOwn(policy.entrypoints, ENTRY_POINT))
    return `the policy has no entry point \`${ENTRY_POINT}\``;
  const absent = importedBuiltins(policy).filter((name) => !HOST_BUILTINS.includes(name));
  if (absent.length === 0) return undefined;
  const names = absent.toSorted().map((name) => `\`${name}\``);
  return `the policy calls built-in functions that are not available: ${names.join(', ')}`;
}

function evaluator(
  first: LoadedPolicy,
  start: () => LoadedPolicy,
  { overrun_ms = OVERRUN_MS, cpu_ms, complain }: OpaOptions,
): PolicyEngine['evaluate'] {
  let policy: LoadedPolicy | undefined = first;
  let overran = false;
  const slow = `a policy evaluation took longer than ${overrun_ms} ms`;

  const run = (input: PolicyInput): unknown => {
    policy ??= start();
    const json = regoInput(input);
    const begun_ms = cpu_ms();
    try {
      return policy.evaluate(json, ENTRY_POINT);
    } finally {
      overran = cpu_ms() - begun_ms > overrun_ms;
      if (overran) complain(`${slow}: no more of this bundle is evaluated until it is replaced`);
    }
  };

  return (input) => {
    // Nothing can stop an evaluation while every other check waits for it, so that being this slow is done only once.
    if (overran) return failed(slow);
    try {
      const results = run(input);
      return overran ? failed(slow) : answerOf(results);
    } catch (thrown) {
      // An exception does not wind the module's own stack back: some hundreds of them, and every call would trap.
      policy = undefined;
      return failed(`the policy evaluation failed: ${failureText(thrown)}`);
    }
  };
}

const MAX_REASONS = 32;
const MAX_REASON_LENGTH = 256;

/** Strict, so that a misspelt `obligations` is an error and not an allow without them. */
const ANSWER = z.strictObject({
  allow: z.boolean(),
  reasons: z.array(z.string()).default([]),
  obligations: z
    .array(z.looseObject({ type: z.string().max(MAX_REASON_LENGTH) }))
    .max(32)
    .default([]),
});
const RESULTS = z.array(z.strictObject({ result: z.union([z.boolean(), ANSWER]) })).max(1);

/** Parses a result set: none is undefined in Rego, hence a deny. Obligations are never cut short, reasons are. */
function answerOf(results: unknown): EngineAnswer {
  const parsed = RESULTS.safeParse(results);
  if (!parsed.success) {
    return failed(`\`${ENTRY_POINT}\` is neither a boolean nor \`{allow, reasons?, obligations?}\``);
  }
  const result = parsed.data[0]?.result ?? false;
  const { allow, reasons, obligations } =
    typeof result === 'boolean' ? { allow: result, reasons: [], obligations: [] } : result;
  const determining = reasons
    .slice(0, MAX_REASONS)
    .map((reason) => reason.slice(0, MAX_REASON_LENGTH).toWellFormed());
  return {
    decision: allow ? 'allow' : 'deny',
    determining: allow && determining.length === 0 ? [ENTRY_POINT] : determining,
    errors: [],
    obligations,
  };
}

function failed(error: string): EngineAnswer {
  return { decision: 'error', determining: [], errors: [error], obligations: [] };
}
