/** While nobody can say what a mandate is, an authorization server gives no token, and consumes nothing (design/2). */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Held, type IssuingStage, WAYS, startIssuingStage } from '../support/issuing-stage.ts';

let stage: IssuingStage;
beforeAll(async () => {
  stage = await startIssuingStage();
});
afterAll(() => stage.close());

test('while the sidecar is away, each way waits, and goes on by the same credential', async () => {
  const held: readonly Held[] = await Promise.all(WAYS.map((way) => stage.begin(way)));
  const all = async () => {
    const given = [];
    for (const { obtain } of held) given.push(await obtain());
    return given;
  };
  for (const given of await all()) expect(given.status).toBe(200);
  await stage.kill();
  const unavailable = {
    status: 503,
    body: { error: 'temporarily_unavailable', mission_error: 'temporarily_unavailable' },
  };
  for (const given of [...(await all()), ...(await all())]) expect(given).toEqual(unavailable);
  await stage.restart();
  for (const given of await all()) expect(given.status).toBe(200);
});
