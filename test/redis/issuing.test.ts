/**
 * While the store is away the sidecar cannot prove what a mandate is: an authorization server gives no token then, and
 * consumes nothing (design/2, The check points). Over a real Redis, hence `-build`: it needs what `bring.ts` brings.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TokenAnswer } from '../support/authorization-server-requests.ts';
import { type Held, type IssuingStage, WAYS, startIssuingStage } from '../support/issuing-stage.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

let redis: RedisServer;
let stage: IssuingStage;
beforeAll(async () => {
  redis = await startRedis();
  const store = `{ engine: redis, url: "redis://127.0.0.1:${redis.port}", tenant: acme }`;
  stage = await startIssuingStage({ store });
});
afterAll(async () => {
  await stage.close();
  await redis.stop();
});

const UNAVAILABLE = {
  status: 503,
  body: { error: 'temporarily_unavailable', mission_error: 'temporarily_unavailable' },
};
const PATIENCE = { timeout: 30_000 };

async function each(held: readonly Held[]): Promise<readonly TokenAnswer[]> {
  const given = [];
  for (const { obtain } of held) given.push(await obtain());
  return given;
}

/** Ways in which it is away, and how it comes back. */
const ABSENCES = {
  'does not answer': [async () => redis.freeze(), async () => redis.thaw()],
  'is down': [() => redis.kill(), () => redis.restart()],
} as const;

test.each(Object.entries(ABSENCES))(
  'while the store %s, each way waits, and goes on by the same credential',
  async (_title, [leave, comeBack]) => {
    const held = await Promise.all(WAYS.map((way) => stage.begin(way)));
    for (const given of await each(held)) expect(given.status).toBe(200);
    await leave();
    for (const given of [...(await each(held)), ...(await each(held))]) expect(given).toEqual(UNAVAILABLE);
    const last = stage.sidecar().decisions().at(-1);
    expect(last).toMatchObject({ reason: 'state_unavailable', mandate: { verdict: 'unproven' } });
    await comeBack();
    for (const { obtain } of held) await expect.poll(async () => (await obtain()).status, PATIENCE).toBe(200);
  },
);

test('what was revoked while the store was away ends when it is back', async () => {
  const held = await stage.begin('refresh');
  redis.freeze();
  await expect(held.operate('revoke')).rejects.toThrow('unavailable');
  expect(await held.obtain()).toEqual(UNAVAILABLE);
  redis.thaw();
  const ended = { error: 'invalid_grant', mission_error: 'mission_revoked' };
  await expect.poll(async () => (await held.obtain()).body, PATIENCE).toEqual(ended);
});
