/** The OPA engine against policies that the real `opa` builds here. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import type { EngineAnswer, PolicyEngine, PolicyInput } from '../../src/core/policy.ts';
import { type OpaFolder, readOpaFolder } from '../../src/engines/opa-folder.ts';
import { HOST_BUILTINS } from '../../src/engines/opa-wasm.ts';
import { type OpaOptions, loadOpa } from '../../src/engines/opa.ts';
import { policyInputWith } from '../support/policy-input.ts';

const root = resolve(import.meta.dirname, '../..');
const opa = join(root, '.tools/bin/opa');
const OPTIONS: OpaOptions = { cpu_ms: () => 0, complain: () => {} };

const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true });
});

function newDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'mandated-opa-build-'));
  dirs.push(dir);
  return dir;
}

async function buildIn(
  dir: string,
  files: readonly string[],
  entry_point = 'mandated/allow',
): Promise<OpaFolder> {
  execFileSync(opa, ['build', '-t', 'wasm', '-e', entry_point, '-o', 'bundle.tar.gz', ...files], {
    cwd: dir,
  });
  const read = await readOpaFolder(dir);
  if ('error' in read) throw new Error(read.error);
  return read;
}

/** Builds the body of package `mandated`. */
function build(body: string, entry_point?: string): Promise<OpaFolder> {
  const dir = newDir();
  writeFileSync(join(dir, 'policy.rego'), `package mandated\n\n${body}\n`);
  return buildIn(dir, ['policy.rego'], entry_point);
}

async function engineOf(folder: OpaFolder, options: Partial<OpaOptions> = {}): Promise<PolicyEngine> {
  const load = await loadOpa(folder.wasm, folder.data, { ...OPTIONS, ...options });
  if (!load.ok) throw new Error(load.error);
  return load.engine;
}

function inputWith(given: string): PolicyInput {
  return policyInputWith({ context: { parameters: { given: { type: 'string', value: given } } } });
}

const answer = (
  decision: EngineAnswer['decision'],
  determining: string[] = [],
  obligations: object[] = [],
): object => ({
  decision,
  determining,
  errors: [],
  obligations,
});

test('the committed sample bundle is built from its source, to the byte', async () => {
  const dir = newDir();
  copyFileSync(join(root, 'policies/opa/mandated.rego'), join(dir, 'mandated.rego'));
  const built = await buildIn(dir, ['mandated.rego']);
  const committed = (await readOpaFolder(join(root, 'policies/opa'))) as OpaFolder;
  expect(Buffer.from(committed.wasm).equals(built.wasm)).toBe(true);
  expect(committed.data).toEqual(built.data);
});

describe('the result of `mandated/allow`', async () => {
  const echo = await engineOf(await build('allow := json.unmarshal(input.context.parameters.given)'));
  const evaluate = (result: unknown): EngineAnswer => echo.evaluate(inputWith(JSON.stringify(result)));
  const notice = { type: 'notice', to: ['a'], within_s: 5 };

  test.each([
    [true, answer('allow', ['mandated/allow'])],
    [false, answer('deny')],
    [{ allow: true }, answer('allow', ['mandated/allow'])],
    [{ allow: true, reasons: [] }, answer('allow', ['mandated/allow'])],
    [{ allow: true, reasons: ['a', 'b'] }, answer('allow', ['a', 'b'])],
    [{ allow: false }, answer('deny')],
    [{ allow: false, reasons: ['a'] }, answer('deny', ['a'])],
    [{ allow: true, obligations: [notice] }, answer('allow', ['mandated/allow'], [notice])],
  ])('may be %j', (result, expected) => {
    expect(evaluate(result)).toEqual(expected);
  });

  test.each([
    null,
    1,
    'true',
    [[]],
    [[true]],
    {},
    { allow: 'true' },
    { allow: null },
    { allow: true, obligation: [notice] },
    { allow: true, reasons: 'a' },
    { allow: true, reasons: [1] },
    { allow: true, obligations: notice },
    { allow: true, obligations: ['notice'] },
    { allow: true, obligations: [{ to: 'a' }] },
    { allow: true, obligations: Array.from({ length: 33 }, () => notice) },
  ])('is an error when it is %j', (result) => {
    const errors = ['`mandated/allow` is neither a boolean nor `{allow, reasons?, obligations?}`'];
    expect(evaluate(result)).toEqual({ ...answer('error'), errors });
  });

  test('keeps 32 reasons of 256 characters', () => {
    const reasons = Array.from({ length: 40 }, (_, index) => `${index}`.padEnd(255, 'x') + '😀');
    const { decision, determining } = evaluate({ allow: true, reasons });
    expect(decision).toBe('allow');
    expect(determining).toEqual(reasons.slice(0, 32).map((reason) => reason.slice(0, 255) + '\ufffd'));
  });

  test('is a deny when it is undefined', async () => {
    const silent = await engineOf(await build('allow if input.action.name == "nothing"'));
    expect(silent.evaluate(policyInputWith())).toEqual(answer('deny'));
  });

  test('may take its reasons from a set, and its values from `data.json`', async () => {
    const dir = newDir();
    const body =
      'reasons contains name if some name in data.names\nallow := {"allow": true, "reasons": reasons}';
    writeFileSync(join(dir, 'policy.rego'), `package mandated\n${body}\n`);
    writeFileSync(join(dir, 'data.json'), JSON.stringify({ names: ['a', 'b'] }));
    const engine = await engineOf(await buildIn(dir, ['policy.rego', 'data.json']));
    const { decision, determining } = engine.evaluate(policyInputWith());
    // A set comes out in the order of its hashes.
    expect([decision, determining.toSorted()]).toEqual(['allow', ['a', 'b']]);
  });
});

describe('built-ins', () => {
  test('that are not there are refused at load, by name', async () => {
    const { wasm } = await build(
      'allow if { http.send({"url": input.resource.id}).status_code == 200; time.now_ns() > 0; sprintf("%d", [1]) == "1" }',
    );
    const error = 'the policy calls built-in functions that are not available: `http.send`, `time.now_ns`';
    expect(await loadOpa(wasm, undefined, OPTIONS)).toEqual({ ok: false, error });
  });

  const uses: Readonly<Record<string, string>> = {
    'json.is_valid': 'json.is_valid(input.context.parameters.given)',
    'regex.split': 'regex.split(",", input.context.parameters.given) == ["[1", "2]"]',
    sprintf: 'sprintf("%s!", [input.context.parameters.given]) == "[1,2]!"',
    'yaml.is_valid': 'yaml.is_valid(input.context.parameters.given)',
    'yaml.marshal': 'contains(yaml.marshal({"a": input.context.parameters.given}), "[1,2]")',
    'yaml.unmarshal': 'yaml.unmarshal(input.context.parameters.given) == [1, 2]',
  };
  test.each(HOST_BUILTINS)('%s works', async (name) => {
    const engine = await engineOf(await build(`allow if ${uses[name]}`));
    expect(engine.evaluate(inputWith('[1,2]')).decision).toBe('allow');
    expect(engine.evaluate(inputWith('{')).decision).toBe('deny');
  });

  test('that throw are an error, which does not repeat what they were given', async () => {
    const engine = await engineOf(
      await build('allow if sprintf("%d", [input.context.parameters.given]) == "1"'),
    );
    const errors = ['the policy evaluation failed: a built-in function failed'];
    expect(engine.evaluate(inputWith('secret'))).toEqual({ ...answer('error'), errors });
  });
});

test('an entry point of another name is refused at load', async () => {
  const { wasm } = await build('permit := true', 'mandated/permit');
  const error = 'the policy has no entry point `mandated/allow`';
  expect(await loadOpa(wasm, undefined, OPTIONS)).toEqual({ ok: false, error });
});

test('a policy with much static data is given the memory that it declares', async () => {
  const names = Array.from({ length: 1000 }, (_, index) => `${index}`.padEnd(500, 'x'));
  const engine = await engineOf(
    await build(`allow if input.context.parameters.given in ${JSON.stringify(names)}`),
  );
  expect(engine.evaluate(inputWith(names[999]!)).decision).toBe('allow');
  expect(engine.evaluate(inputWith('x')).decision).toBe('deny');
});

test('a policy that runs out of memory is an error, and the next evaluation works', async () => {
  const pairs =
    '{[x, y] | some x in numbers.range(1, input.principal.depth); some y in numbers.range(1, 100)}';
  const engine = await engineOf(await build(`allow if count(${pairs}) > 0`), { max_memory_pages: 64 });
  const errors = ['the policy evaluation failed: opa_malloc: failed'];
  expect(engine.evaluate(policyInputWith({ principal: { depth: 10_000 } }))).toEqual({
    ...answer('error'),
    errors,
  });
  expect(engine.evaluate(policyInputWith())).toEqual(answer('allow', ['mandated/allow']));
});

test('a policy that aborts a thousand times is no worse for it', async () => {
  const engine = await engineOf(await build('allow := x if { some x in input.principal.actors }'));
  const failing = policyInputWith({ principal: { actors: ['a', 'b'] } });
  const errors = ['the policy evaluation failed: policy.rego:3:1: var assignment conflict'];
  for (let round = 0; round < 1000; round += 1) {
    expect(engine.evaluate(failing)).toEqual({ ...answer('error'), errors });
  }
  expect(engine.evaluate(policyInputWith({ principal: { actors: [] } }))).toEqual(answer('deny'));
});

test('a policy that takes too long is latched, and its bundle loaded anew is not', async () => {
  const complain = vi.fn<(what: string) => void>();
  // RE2 would be done at once; the JavaScript regular expression behind `regex.split` goes back and forth.
  const folder = await build('allow if count(regex.split(`^(a+)+$`, input.context.parameters.given)) > 0');
  const options = { overrun_ms: 25, cpu_ms: () => performance.now(), complain };
  const engine = await engineOf(folder, options);
  const errors = ['a policy evaluation took longer than 25 ms'];
  const [quick, slow] = [inputWith('a!'), inputWith(`${'a'.repeat(26)}!`)];
  expect(engine.evaluate(quick).decision).toBe('allow');
  expect(engine.evaluate(slow)).toEqual({ ...answer('error'), errors });
  expect(engine.evaluate(quick)).toEqual({ ...answer('error'), errors });
  expect(complain).toHaveBeenCalledOnce();
  expect((await engineOf(folder, options)).evaluate(quick).decision).toBe('allow');
});
