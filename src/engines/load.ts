/** Loads the configured policies into one set, and names it by a digest of everything it was made from. */
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { ActionTable } from '../core/action-table.ts';
import { canonicalJson } from '../core/json.ts';
import type { Digest } from '../core/mandate/record.ts';
import type { PolicyEngine, PolicySet } from '../core/policy.ts';
import { type PolicyFile, loadCedar } from './cedar.ts';
import { cedarSchema } from './cedar-schema.ts';
import { readOpaFolder } from './opa-folder.ts';
import { loadOpa } from './opa.ts';

export interface PolicySources {
  /** Folder of `.cedar` files. */
  readonly cedar?: string;
  /** Folder with `bundle.tar.gz` or `policy.wasm`. */
  readonly opa?: string;
  readonly actions: ActionTable;
  /** Text of the action table, for the revision. */
  readonly actions_text: string;
}

export interface LoadParts {
  readonly digest: Digest;
  readonly cpu_ms: () => number;
  readonly complain: (what: string) => void;
}

export type LoadedPolicies =
  | { readonly ok: true; readonly set: PolicySet; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly errors: readonly string[] };

interface Loaded {
  readonly engine: PolicyEngine;
  /** Digest of each file, by name. */
  readonly files: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

type Loading = Loaded | { readonly errors: readonly string[] };

export async function loadPolicies(sources: PolicySources, parts: LoadParts): Promise<LoadedPolicies> {
  const loading: Loading[] = [];
  if (sources.cedar !== undefined)
    loading.push(loadCedarFolder(sources.cedar, sources.actions, parts.digest));
  if (sources.opa !== undefined) loading.push(await loadOpaFolder(sources.opa, parts));
  const errors = loading.flatMap((each) => ('errors' in each ? each.errors : []));
  if (errors.length > 0) return { ok: false, errors };
  const loaded = loading as Loaded[];
  const made_from = {
    actions: parts.digest(sources.actions_text),
    engines: loaded.map((each) => each.files),
  };
  return {
    ok: true,
    set: { engines: loaded.map((each) => each.engine), revision: parts.digest(canonicalJson(made_from)) },
    warnings: loaded.flatMap((each) => each.warnings),
  };
}

const MAX_POLICY_BYTES = 8 * 1024 * 1024;

function loadCedarFolder(folder: string, actions: ActionTable, digest: Digest): Loading {
  let files: PolicyFile[];
  try {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.cedar'),
    );
    files = names.toSorted().map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));
  } catch (error) {
    return {
      errors: [`policies.cedar: the folder \`${folder}\` cannot be read: ${(error as Error).message}`],
    };
  }
  if (files.length === 0) return { errors: [`policies.cedar: \`${folder}\` holds no \`.cedar\` file`] };
  const bytes = files.reduce((sum, file) => sum + file.text.length, 0);
  if (bytes > MAX_POLICY_BYTES)
    return { errors: [`policies.cedar: more than ${MAX_POLICY_BYTES} bytes of policies`] };
  const load = loadCedar(files, cedarSchema(actions));
  if (!load.ok) return { errors: load.errors.map((error) => `policies.cedar: ${error}`) };
  const digests = Object.fromEntries(files.map((file) => [`cedar/${file.name}`, digest(file.text)]));
  return { engine: load.engine, files: digests, warnings: load.warnings };
}

async function loadOpaFolder(folder: string, parts: LoadParts): Promise<Loading> {
  const read = await readOpaFolder(folder);
  if ('error' in read) return { errors: [`policies.opa: ${read.error}`] };
  const { cpu_ms, complain } = parts;
  const load = await loadOpa(read.wasm, read.data, { cpu_ms, complain });
  if (!load.ok) return { errors: [`policies.opa: ${load.error}`] };
  const digests = read.files.map(
    ({ name, bytes }) => [`opa/${basename(name)}`, parts.digest(bytes)] as const,
  );
  return { engine: load.engine, files: Object.fromEntries(digests), warnings: [] };
}
