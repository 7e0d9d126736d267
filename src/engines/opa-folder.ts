/** An OPA folder: one `bundle.tar.gz` as `opa build` writes it, or one `policy.wasm`. */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { parseTar } from 'nanotar';
import { type JsonObject, isObject, parseJson } from '../core/json.ts';

export interface OpaFolder {
  readonly wasm: Uint8Array;
  readonly data: JsonObject | undefined;
  /** What the policy is made from, for the revision. */
  readonly files: { name: string; bytes: Uint8Array }[];
}

interface Failed {
  /** One sentence that names the file. */
  readonly error: string;
}

interface Bytes {
  readonly bytes: Uint8Array;
}

const BUNDLE = 'bundle.tar.gz';
const MODULE = 'policy.wasm';
const DATA = 'data.json';
const MIB = 1024 * 1024;
const MAX_BUNDLE_MIB = 16;
const MAX_INFLATED_MIB = 64;
const MAX_MODULE_MIB = 32;

export async function readOpaFolder(dir: string): Promise<OpaFolder | Failed> {
  const [bundle, module] = await Promise.all([
    readBounded(join(dir, BUNDLE), MAX_BUNDLE_MIB),
    readBounded(join(dir, MODULE), MAX_MODULE_MIB),
  ]);
  if (bundle !== undefined && module !== undefined) {
    return { error: `\`${dir}\` holds both \`${BUNDLE}\` and \`${MODULE}\`` };
  }
  const file = bundle ?? module;
  if (file === undefined) return { error: `\`${dir}\` holds neither \`${BUNDLE}\` nor \`${MODULE}\`` };
  if ('error' in file) return file;
  const { bytes } = file;
  return bundle === undefined
    ? { wasm: bytes, data: undefined, files: [{ name: MODULE, bytes }] }
    : readBundle(join(dir, BUNDLE), bytes);
}

/** Undefined where there is no such file. */
async function readBounded(path: string, max_mib: number): Promise<Bytes | Failed | undefined> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    if (size > max_mib * MIB) return { error: `\`${path}\` is larger than ${max_mib} MiB` };
    return { bytes: await file.readFile() };
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    return code === 'ENOENT' ? undefined : { error: `\`${path}\` cannot be read: ${code}` };
  }
}

async function readBundle(path: string, bytes: Uint8Array): Promise<OpaFolder | Failed> {
  const tar = await inflate(path, bytes);
  const entries = 'error' in tar ? tar : readEntries(path, tar.bytes);
  if ('error' in entries) return entries;
  const wasm = entries.get(MODULE);
  if (wasm === undefined)
    return { error: `\`${path}\` has no \`${MODULE}\`: build it with \`opa build -t wasm\`` };
  if (wasm.length > MAX_MODULE_MIB * MIB)
    return { error: `\`${MODULE}\` in \`${path}\` is larger than ${MAX_MODULE_MIB} MiB` };
  const read = readData(path, entries.get(DATA));
  return 'error' in read ? read : { wasm, data: read.data, files: [{ name: BUNDLE, bytes }] };
}

async function inflate(path: string, bytes: Uint8Array): Promise<Bytes | Failed> {
  try {
    const inflated = await promisify(gunzip)(bytes, { maxOutputLength: MAX_INFLATED_MIB * MIB });
    // nanotar looks below a view at its whole buffer, of which zlib has filled only a part.
    return { bytes: new Uint8Array(inflated) };
  } catch (thrown) {
    const isTooLarge = (thrown as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    return {
      error: `\`${path}\` ${isTooLarge ? `holds more than ${MAX_INFLATED_MIB} MiB` : 'is not whole gzip data'}`,
    };
  }
}

/** Without nanotar's `filter`: it steps over what is filtered out without looking at sizes, backwards for negative ones. */
function readEntries(path: string, tar: Uint8Array): ReadonlyMap<string, Uint8Array> | Failed {
  const entries = new Map<string, Uint8Array>();
  try {
    for (const { name, type, data } of parseTar(tar)) {
      if (type !== 'file') continue;
      const plain = name.replace(/^\.\//, '');
      if (entries.has(plain)) return { error: `\`${path}\` holds \`${plain}\` twice` };
      entries.set(plain, data ?? new Uint8Array());
    }
  } catch {
    return { error: `\`${path}\` is not a whole tar archive` };
  }
  return entries;
}

function readData(path: string, bytes: Uint8Array | undefined): { data: JsonObject | undefined } | Failed {
  if (bytes === undefined) return { data: undefined };
  const bad = (why: string): Failed => ({ error: `\`${DATA}\` in \`${path}\` is ${why}` });
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bad('not UTF-8');
  }
  const parsed = parseJson(text);
  if (!parsed.ok) return bad(parsed.error);
  return isObject(parsed.value) ? { data: parsed.value } : bad('not an object');
}
