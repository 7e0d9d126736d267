/** Cedar through cedar-wasm. A policy that errs is skipped by Cedar, a forbid included, so any error is a deny. */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import type { EngineAnswer, PolicyEngine } from '../core/policy.ts';
import { type CedarRequest, cedarRequest } from './cedar-input.ts';

export interface PolicyFile {
  /** As it is shown in messages. */
  readonly name: string;
  readonly text: string;
}

export type CedarLoad =
  | { readonly ok: true; readonly engine: PolicyEngine; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly errors: readonly string[] };

export type CedarSet =
  | {
      readonly ok: true;
      readonly evaluate: (request: CedarRequest) => EngineAnswer;
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly errors: readonly string[] };

/** What a set of policies is about; the two never take each other's place. */
type Family = 'requests' | 'control';

/**
 * Two names in turn: cedar-wasm keeps a parsed set by name for ever, so a fresh name for every load would leak, and
 * one name alone would swap the policies under a check that is still running on the old ones.
 */
const SLOTS = ['a', 'b'] as const;
/** Which load each slot holds now: an engine whose slot went to a later load answers nothing but an error. */
const holds = new Map<string, number>();
const loads: Record<Family, number> = { requests: 0, control: 0 };

/** The engine of requests. */
export function loadCedar(files: readonly PolicyFile[], schema: string): CedarLoad {
  const loaded = loadCedarSet('requests', files, schema);
  if (!loaded.ok) return loaded;
  const evaluate: PolicyEngine['evaluate'] = (input) => loaded.evaluate(cedarRequest(input));
  return { ok: true, engine: { name: 'cedar', evaluate }, warnings: loaded.warnings };
}

/** Parses, names and type-checks policies; every error names `file:line:column`. */
export function loadCedarSet(family: Family, files: readonly PolicyFile[], schema: string): CedarSet {
  const policies = new Map<string, NamedPolicy>();
  const errors: string[] = [];
  for (const file of files) collect(file, policies, errors);
  if (policies.size === 0 && errors.length === 0)
    errors.push('there is no policy, so nothing would be permitted');
  if (errors.length > 0) return { ok: false, errors };
  const staticPolicies = Object.fromEntries([...policies].map(([id, policy]) => [id, policy.text]));
  const checked = validate(policies, staticPolicies, schema);
  if (checked.errors.length > 0) return { ok: false, errors: checked.errors };
  const load = (loads[family] += 1);
  const slot = `${family}-${SLOTS[load % SLOTS.length]!}`;
  const parsed = cedar.preparsePolicySet(slot, { staticPolicies });
  if (parsed.type === 'failure') return { ok: false, errors: parsed.errors.map((error) => error.message) };
  holds.set(slot, load);
  return { ok: true, evaluate: evaluateIn(slot, load), warnings: checked.warnings };
}

interface NamedPolicy {
  readonly text: string;
  readonly file: PolicyFile;
  /** Where the policy's text begins in its file. */
  readonly offset: number;
}

function collect(file: PolicyFile, policies: Map<string, NamedPolicy>, errors: string[]): void {
  const parts = cedar.policySetTextToParts(file.text);
  if (parts.type === 'failure') {
    errors.push(...located(cedar.checkParsePolicySet({ staticPolicies: file.text }), parts.errors, file));
    return;
  }
  if (parts.policy_templates.length > 0) errors.push(`${file.name}: templates are not supported`);
  let from = 0;
  for (const [index, text] of parts.policies.entries()) {
    const offset = Math.max(file.text.indexOf(text, from), 0);
    from = offset + text.length;
    const id = annotatedId(text) ?? `${file.name}#${index}`;
    if (policies.has(id)) errors.push(`${place(file, offset)}: the id \`${id}\` is used twice`);
    policies.set(id, { text, file, offset });
  }
}

/** The `@id("…")` of a policy: what decisions call it. */
function annotatedId(text: string): string | undefined {
  const json = cedar.policyToJson(text);
  return json.type === 'success' ? json.json.annotations?.id : undefined;
}

function located(
  answer: cedar.CheckParseAnswer,
  fallback: readonly cedar.DetailedError[],
  file: PolicyFile,
): readonly string[] {
  const errors = answer.type === 'failure' ? answer.errors : fallback;
  return errors.map((error) => `${place(file, error.sourceLocations?.[0]?.start ?? 0)}: ${explain(error)}`);
}

function explain({ message, help }: cedar.DetailedError): string {
  return help === null ? message : `${message} (${help})`;
}

/** `file:line:column` of a byte offset into the file's UTF-8, as Cedar counts. */
function place(file: PolicyFile, offset: number): string {
  const before = Buffer.from(file.text, 'utf8').subarray(0, offset).toString('utf8').split('\n');
  return `${file.name}:${before.length}:${before.at(-1)!.length + 1}`;
}

function validate(
  policies: ReadonlyMap<string, NamedPolicy>,
  staticPolicies: Record<string, string>,
  schema: string,
): { errors: readonly string[]; warnings: readonly string[] } {
  const answer = cedar.validate({ schema, policies: { staticPolicies } });
  if (answer.type === 'failure') return { errors: answer.errors.map(explain), warnings: [] };
  const show = ({ policyId, error }: cedar.ValidationError): string => {
    const policy = policies.get(policyId)!;
    const bytesBefore = Buffer.byteLength(policy.file.text.slice(0, policy.offset), 'utf8');
    return `${place(policy.file, bytesBefore + (error.sourceLocations?.[0]?.start ?? 0))}: ${explain(error)}`;
  };
  return { errors: answer.validationErrors.map(show), warnings: answer.validationWarnings.map(show) };
}

function evaluateIn(slot: string, load: number): (request: CedarRequest) => EngineAnswer {
  return (request) => {
    if (holds.get(slot) !== load) return failed(['these policies were replaced']);
    try {
      const answer = cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId: slot });
      return read(answer);
    } catch (error) {
      return failed([(error as Error).message]);
    }
  };
}

function read(answer: cedar.AuthorizationAnswer): EngineAnswer {
  if (answer.type === 'failure') return failed(answer.errors.map((error) => error.message));
  const { decision, diagnostics } = answer.response;
  const errors = diagnostics.errors.map((each) => `${each.policyId}: ${each.error.message}`);
  const determining = diagnostics.reason;
  if (errors.length > 0) return { decision: 'error', determining, errors, obligations: [] };
  return { decision, determining, errors, obligations: [] };
}

function failed(errors: readonly string[]): EngineAnswer {
  return { decision: 'error', determining: [], errors, obligations: [] };
}
