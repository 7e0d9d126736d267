/** Every breakage fits the product as it is: a variant that breaks nothing would let its row pass for shown. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SABOTAGE, type Sabotage, edited, sabotaged } from './sabotage.ts';

test.each(Object.keys(SABOTAGE) as readonly Sabotage[])('%s', (name) => {
  const root = sabotaged(name);
  // It can be read as a program: a breakage is of what it does.
  for (const { file } of SABOTAGE[name]) {
    const { status, stderr } = spawnSync(process.execPath, ['--check', join(root, file)], {
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
  }
  expect(sabotaged(name)).toBe(root);
});

test('a breakage that does not fit is refused', () => {
  const edit = { file: 'f', find: 'b', replace: 'x' };
  expect(edited('abc', edit)).toBe('axc');
  expect(() => edited('ac', edit)).toThrow('f has 0 times: b');
  expect(() => edited('abbc', edit)).toThrow('f has 2 times: b');
});
