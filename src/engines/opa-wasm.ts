/** The border to `@open-policy-agent/opa-wasm`: what is used of it, and which modules it can run. */
import * as sdk from '@open-policy-agent/opa-wasm';
import type { JsonObject } from '../core/json.ts';

interface WasmModule {
  readonly [Symbol.toStringTag]: 'WebAssembly.Module';
}

/** What instances are made from. */
export interface CompiledPolicy {
  readonly module: WasmModule;
  /** Least memory of an instance, in pages of 64 KiB: a module with much static data declares more. */
  readonly least_pages: number;
}

/** Node has it, but its types belong to TypeScript's `dom`. */
declare const WebAssembly: {
  readonly compile: (bytes: Uint8Array) => Promise<WasmModule>;
  readonly Module: {
    readonly imports: (module: WasmModule) => readonly { readonly module: string; readonly name: string }[];
    readonly exports: (module: WasmModule) => readonly { readonly name: string }[];
  };
  readonly CompileError: ErrorConstructor;
  readonly LinkError: ErrorConstructor;
  readonly RuntimeError: ErrorConstructor;
};

export interface LoadedPolicy {
  readonly entrypoints: Readonly<Record<string, number>>;
  readonly mem: { readonly buffer: ArrayBuffer };
  readonly wasmInstance: {
    readonly exports: { readonly builtins: () => number; readonly opa_json_dump: (value: number) => number };
  };
  readonly setData: (data: JsonObject) => void;
  readonly evaluate: (input: JsonObject, entry_point: string) => unknown;
}

// The package's types name `loadPolicySync` as an export and know no default one; at run time it is the other way round.
const { loadPolicySync } = (sdk as unknown as { readonly default: Sdk }).default;

interface Sdk {
  readonly loadPolicySync: (
    module: WasmModule,
    memory: { readonly initial: number; readonly maximum: number },
  ) => LoadedPolicy;
}

/** Built-ins that opa-wasm implements; any other that a module leaves to its host throws once it is called. */
export const HOST_BUILTINS: readonly string[] = [
  'json.is_valid',
  'regex.split',
  'sprintf',
  'yaml.is_valid',
  'yaml.marshal',
  'yaml.unmarshal',
];

/** Without `opa_println`, which opa-wasm would let print to our stdout. */
const IMPORTS = /^(?:memory|opa_abort|opa_builtin[0-4])$/;
const NEEDED_EXPORTS = [
  'opa_wasm_abi_version',
  'opa_wasm_abi_minor_version',
  'opa_eval',
  'builtins',
  'entrypoints',
];

export async function compilePolicy(wasm: Uint8Array): Promise<CompiledPolicy> {
  return { module: await WebAssembly.compile(wasm), least_pages: declaredPages(wasm) };
}

/** Reads the minimum of the memory import, of which the JavaScript interface says nothing; 0 when there is none. */
function declaredPages(wasm: Uint8Array): number {
  const name = Buffer.from('\x03env\x06memory\x02', 'latin1');
  const at = Buffer.from(wasm.buffer, wasm.byteOffset, wasm.length).indexOf(name);
  if (at === -1) return 0;
  let pages = 0;
  // One byte of flags, then LEB128: seven bits a byte, the lowest first.
  for (const [index, byte] of wasm.subarray(at + name.length + 1, at + name.length + 6).entries()) {
    pages += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) break;
  }
  return pages;
}

/** Why the module is not one that `opa build` makes today, or undefined. */
export function foreignModule(
  { module, least_pages }: CompiledPolicy,
  max_pages: number,
): string | undefined {
  const imported = WebAssembly.Module.imports(module).find(
    (each) => each.module !== 'env' || !IMPORTS.test(each.name),
  );
  if (imported !== undefined) return `the module imports \`${imported.module}.${imported.name}\``;
  if (least_pages === 0) return 'the module does not import its memory';
  if (least_pages > max_pages)
    return `the module needs ${least_pages} pages of memory, and may have ${max_pages}`;
  const names = new Set(WebAssembly.Module.exports(module).map((each) => each.name));
  const absent = NEEDED_EXPORTS.find((name) => !names.has(name));
  return absent === undefined ? undefined : `the module does not export \`${absent}\``;
}

/** A fresh instance. Its memory starts small, since policies that trap are started again and again. */
export function startPolicy(
  { module, least_pages }: CompiledPolicy,
  data: JsonObject | undefined,
  max_pages: number,
): LoadedPolicy {
  const policy = loadPolicySync(module, { initial: least_pages, maximum: max_pages });
  if (data !== undefined) policy.setData(data);
  return policy;
}

/** Names in the module's own table of what it calls on its host. */
export function importedBuiltins({ mem, wasmInstance }: LoadedPolicy): readonly string[] {
  const { builtins, opa_json_dump } = wasmInstance.exports;
  const start = opa_json_dump(builtins());
  const memory = new Uint8Array(mem.buffer);
  const text = new TextDecoder().decode(memory.subarray(start, memory.indexOf(0, start)));
  return Object.keys(JSON.parse(text) as JsonObject);
}

/**
 * What went wrong, without a word of the input. Texts of `opa_abort` and of the engine are constants; messages of
 * JavaScript built-ins quote what they were given.
 */
export function failureText(thrown: unknown): string {
  if (typeof thrown === 'string') return thrown.slice(0, 256);
  const { CompileError, LinkError, RuntimeError } = WebAssembly;
  const isEngines = [CompileError, LinkError, RuntimeError].some((kind) => thrown instanceof kind);
  if (isEngines) return (thrown as Error).message;
  return thrown instanceof RangeError ? 'out of memory or stack' : 'a built-in function failed';
}
