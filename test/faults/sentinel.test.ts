/** A failover that sentinels make, end to end: whole sidecars that ask them where the primary is. */
import { expect } from 'vitest';
import { type JsonObject, member as memberOf } from '../../src/core/json.ts';
import type { RedisServer } from '../support/redis.ts';
import { type Sentinels, startSentinels } from '../support/sentinel.ts';
import { type Sidecar, createIssuer } from '../support/sidecar.ts';
import { started, untilSame } from './history.ts';
import { afterwards, beside, until } from './scope.ts';
import { push, readyz, revoke, serve } from './serving.ts';

const CONFIG = { 'min-replicas-to-write': 1, 'min-replicas-max-lag': 2 };

interface Watched {
  readonly primary: RedisServer;
  readonly replicas: readonly RedisServer[];
  readonly sentinels: Sentinels;
  readonly sidecars: readonly Sidecar[];
}

async function watched(): Promise<Watched> {
  const primary = await started({ config: CONFIG });
  const replicas = [
    await started({ replica_of: primary, config: CONFIG }),
    await started({ replica_of: primary, config: CONFIG }),
  ];
  const sentinels = await startSentinels(3, primary, { replicas: 2, failover_timeout_ms: 1000 });
  afterwards(sentinels.stop);
  const addresses = sentinels.servers.map(({ port }) => `"127.0.0.1:${port}"`).join(', ');
  const store = `, sentinels: [${addresses}]`;
  const issuer = await createIssuer();
  const starting = [0, 1].map(() => serve({ url: 'redis://mandates', store }, { issuer }));
  return { primary, replicas, sentinels, sidecars: await Promise.all(starting) };
}

const stateOf = async (sidecar: Sidecar, { id }: JsonObject) =>
  memberOf((await sidecar.control('GET', `/v1/mandates/${String(id)}`)).body, 'state');

async function untilPushed(sidecar: Sidecar, token: string): Promise<void> {
  await until(
    () => push(sidecar, token),
    ({ status }) => status === 200,
  );
}

beside(
  'a primary that is killed: what was durable is there, and others are served soon after the promotion',
  async () => {
    const { primary, replicas, sentinels, sidecars } = await watched();
    const [first, second] = sidecars as [Sidecar, Sidecar];
    const [ended, living] = [await first.mandate(), await first.mandate()];
    const [ended_token, living_token] = [await first.tokenFor(ended), await first.tokenFor(living)];
    await untilPushed(second, living_token);
    const revoked = await revoke(first, ended);
    expect([revoked.status, memberOf(revoked.body, 'acknowledged')]).toEqual([200, 'durable']);
    await primary.kill();
    const promoted = await untilPromoted(sentinels, primary);
    expect(replicas.map(({ port }) => port)).toContain(promoted);
    const promoted_ms = performance.now();
    for (const sidecar of sidecars) await untilPushed(sidecar, living_token);
    expect(performance.now() - promoted_ms).toBeLessThan(3000);
    for (const sidecar of sidecars) {
      expect((await push(sidecar, ended_token)).body.reason).toBe('mission_inactive');
      expect(await readyz(sidecar)).toMatchObject({ status: 200 });
    }
  },
);

beside(
  'replicas that had not read it: the end is said again, and nothing is allowed under it meanwhile',
  async () => {
    const { primary, replicas, sentinels, sidecars } = await watched();
    const [first, second] = sidecars as [Sidecar, Sidecar];
    const [ended, living] = [await first.mandate(), await first.mandate()];
    const [ended_token, living_token] = [await first.tokenFor(ended), await first.tokenFor(living)];
    await untilPushed(second, ended_token);
    for (const replica of replicas) await untilSame(primary, replica);
    for (const replica of replicas) replica.freeze();
    const revoked = await revoke(first, ended, { acknowledge: 'applied' });
    expect([revoked.status, memberOf(revoked.body, 'acknowledged')]).toEqual([200, 'applied']);
    // The machines of all three go down, and what was on its way is lost.
    for (const server of [primary, ...replicas]) await server.kill();
    for (const replica of replicas) await replica.restart();
    await untilPromoted(sentinels, primary);
    const answers: unknown[] = [];
    await until(
      async () => {
        for (const sidecar of sidecars) answers.push((await push(sidecar, ended_token)).status);
        return (await Promise.all(sidecars.map((each) => push(each, living_token)))).map(
          ({ status }) => status,
        );
      },
      (statuses) => statuses.every((status) => status === 200),
    );
    expect(new Set(answers)).toEqual(new Set([403]));
    for (const sidecar of sidecars) {
      expect(await stateOf(sidecar, ended)).toBe('revoked');
      const { body } = await push(sidecar, ended_token);
      expect([body.reason, memberOf(body.freshness, 'epoch')]).toEqual(['mission_inactive', 2]);
    }
  },
);

/** The port of the server that is the primary now. */
async function untilPromoted(sentinels: Sentinels, before: RedisServer): Promise<number> {
  let port = before.port;
  const look = async () => (port = await sentinels.primaryPort());
  // Where they found no replica that was good enough they try again after twice their timeout.
  await until(look, (seen) => seen !== before.port, 25_000);
  return port;
}
