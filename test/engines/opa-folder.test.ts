/** What an OPA folder may hold, and why it is refused. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type TarFileInput, createTar } from 'nanotar';
import { afterAll, describe, expect, test } from 'vitest';
import { readOpaFolder } from '../../src/engines/opa-folder.ts';

const sample_dir = resolve(import.meta.dirname, '../../policies/opa');

function bundleOf(files: TarFileInput[]): Uint8Array {
  return gzipSync(createTar(files));
}

async function errorOf(dir: string): Promise<string | undefined> {
  const read = await readOpaFolder(dir);
  return 'error' in read ? read.error : undefined;
}

describe('an OPA folder', () => {
  const dirs: string[] = [];
  afterAll(() => {
    for (const dir of dirs) rmSync(dir, { recursive: true });
  });

  function folderOf(files: Record<string, Uint8Array>): string {
    const dir = mkdtempSync(join(tmpdir(), 'mandated-opa-'));
    dirs.push(dir);
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(dir, name), bytes);
    return dir;
  }
  const wasm = { name: '/policy.wasm', data: new Uint8Array([1, 2, 3]) };

  test('is its bundle: the module, the data, and the file for the revision', async () => {
    const sample = await readOpaFolder(sample_dir);
    const bytes = readFileSync(join(sample_dir, 'bundle.tar.gz'));
    expect(sample).toMatchObject({ data: {}, files: [{ name: 'bundle.tar.gz' }] });
    expect('files' in sample && bytes.equals(sample.files[0]!.bytes)).toBe(true);
  });

  test('is its module alone', async () => {
    const dir = folderOf({ 'policy.wasm': wasm.data });
    const bytes = Buffer.from(wasm.data);
    const files = [{ name: 'policy.wasm', bytes }];
    expect(await readOpaFolder(dir)).toEqual({ wasm: bytes, data: undefined, files });
  });

  test.each([
    ['`./policy.wasm`', [{ ...wasm, name: './policy.wasm' }], undefined],
    ['data', [wasm, { name: '/data.json', data: '{"a":[1]}' }], { a: [1] }],
  ])('may hold %s in its bundle', async (_, files, data) => {
    const read = await readOpaFolder(folderOf({ 'bundle.tar.gz': bundleOf(files) }));
    expect(read).toMatchObject({ wasm: wasm.data, data });
  });

  const negative = createTar([{ name: 'a', data: 'x' }, wasm]);
  negative.set(Buffer.from('-0000000512'), 124);
  const link = createTar([{ name: 'policy.wasm', data: '' }]);
  link.set(Buffer.from('2'), 156);

  test.each([
    ['neither file', {}, 'holds neither'],
    ['both files', { 'bundle.tar.gz': bundleOf([wasm]), 'policy.wasm': wasm.data }, 'holds both'],
    ['a bundle that is no gzip', { 'bundle.tar.gz': createTar([wasm]) }, 'is not whole gzip data'],
    ['a bundle cut short', { 'bundle.tar.gz': bundleOf([wasm]).subarray(0, 60) }, 'is not whole gzip data'],
    ['a bundle with a negative size', { 'bundle.tar.gz': gzipSync(negative) }, 'is not a whole tar archive'],
    [
      'a bundle without a module',
      { 'bundle.tar.gz': bundleOf([{ name: 'a', data: 'x' }]) },
      'has no `policy.wasm`',
    ],
    ['a bundle with a link for a module', { 'bundle.tar.gz': gzipSync(link) }, 'has no `policy.wasm`'],
    [
      'a bundle with two modules',
      { 'bundle.tar.gz': bundleOf([wasm, { ...wasm, name: 'policy.wasm' }]) },
      'twice',
    ],
    ['data with a name twice', dataOf('{"a":1,"a":2}'), 'a member name occurs twice'],
    ['data that is no object', dataOf('[1]'), 'is not an object'],
    ['data that is not UTF-8', dataOf(new Uint8Array([0x22, 0xff, 0x22])), 'is not UTF-8'],
    [
      'a bundle that inflates too far',
      { 'bundle.tar.gz': gzipSync(Buffer.alloc(65 * 1024 * 1024)) },
      '64 MiB',
    ],
  ])('is refused with %s', async (_, files, expected) => {
    expect(await errorOf(folderOf(files))).toContain(expected);
  });

  function dataOf(data: string | Uint8Array): Record<string, Uint8Array> {
    return { 'bundle.tar.gz': bundleOf([wasm, { name: 'data.json', data }]) };
  }

  test.each([
    ['bundle.tar.gz', 16],
    ['policy.wasm', 32],
  ])('is refused when `%s` is larger than %d MiB', async (name, max_mib) => {
    const dir = folderOf({ [name]: new Uint8Array() });
    truncateSync(join(dir, name), max_mib * 1024 * 1024 + 1);
    expect(await errorOf(dir)).toContain(`is larger than ${max_mib} MiB`);
    truncateSync(join(dir, name), max_mib * 1024 * 1024);
    expect((await errorOf(dir)) ?? '').not.toContain('is larger than');
  });

  test('is refused when its file cannot be read', async () => {
    const dir = folderOf({});
    mkdirSync(join(dir, 'policy.wasm'));
    expect(await errorOf(dir)).toBe(`\`${join(dir, 'policy.wasm')}\` cannot be read: EISDIR`);
  });

  test('is refused when the module in its bundle is larger than 32 MiB', async () => {
    const data = new Uint8Array(32 * 1024 * 1024 + 1);
    expect(await errorOf(folderOf({ 'bundle.tar.gz': bundleOf([{ ...wasm, data }]) }))).toContain(
      'than 32 MiB',
    );
  });
});
