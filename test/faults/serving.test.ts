/** The same faults at the doors of whole sidecars: what proxies, people and orchestrators are told. */
import { describe, expect } from 'vitest';
import { type JsonObject, member as memberOf } from '../../src/core/json.ts';
import { ask } from '../support/ask.ts';
import { createIssuer } from '../support/sidecar.ts';
import { approve, operate, recordOf } from '../support/authority.ts';
import { copiedDisk, started } from './history.ts';
import { startMember } from './member.ts';
import { beside, until } from './scope.ts';
import { push, read, readyz, revoke, serve } from './serving.ts';
import { untilAnswered, untilKept } from './vigil.ts';

const LEASE_MS = 15_000;

describe.concurrent('a sidecar', () => {
  beside(
    'on an unsafe store that was asked for says so in every decision, and acknowledges `applied`',
    async () => {
      const { url } = await started({
        config: { appendfsync: 'everysec', 'maxmemory-policy': 'allkeys-lru' },
      });
      await expect(serve({ url })).rejects.toThrow(/appendfsync everysec/);
      const sidecar = await serve({ url, store: ', unsafe_store: true, acknowledge: enforced' });
      const record = await sidecar.mandate();
      const token = await sidecar.tokenFor(record);
      expect((await push(sidecar, token)).status).toBe(200);
      expect((await read(sidecar, token)).status).toBe(200);
      expect((await push(sidecar)).status).toBe(401);
      expect((await push(sidecar, await sidecar.tokenFor({ ...record, id: 'msn_nobody' }))).status).toBe(403);
      const health = { path: '/envoy/healthz', headers: { host: 'git.example' } };
      expect((await ask(sidecar.check_port, health)).status).toBe(200);
      const revoked = await revoke(sidecar, record, { acknowledge: 'enforced' });
      expect([revoked.status, memberOf(revoked.body, 'acknowledged')]).toEqual([200, 'applied']);
      const denied = await push(sidecar, token);
      expect([denied.status, denied.body.reason]).toEqual([403, 'mission_inactive']);
      const unsafe = ['maxmemory-policy allkeys-lru', 'appendfsync everysec'];
      const said = sidecar.decisions().map(({ freshness }) => memberOf(freshness, 'unsafe_store'));
      expect(said).toHaveLength(6);
      for (const each of said) expect(each).toEqual(unsafe);
      expect(memberOf(denied.body.freshness, 'unsafe_store')).toEqual(unsafe);
    },
  );

  beside('whose store is emptied denies, is not ready, and says why', async () => {
    const server = await started();
    const sidecar = await serve(server);
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor(record);
    expect((await push(sidecar, token)).status).toBe(200);
    expect(await readyz(sidecar)).toMatchObject({ status: 200 });
    await server.call('FLUSHALL');
    await until(
      () => readyz(sidecar),
      ({ status, store }) => status === 503 && store.includes('UNINITIALISED'),
    );
    const { status, body } = await push(sidecar, token);
    expect([status, body.reason, body.next_action]).toEqual([403, 'state_unavailable', 'retry']);
    expect(memberOf(body.mandate, 'verdict')).toBe('unproven');
    expect(memberOf(body.freshness, 'unsafe_store')).toBeUndefined();
    expect((await read(sidecar, token)).status).toBe(403);
    const revoked = await revoke(sidecar, record);
    expect([revoked.status, memberOf(revoked.body, 'reason')]).toEqual([503, 'unavailable']);
    expect((await ask(sidecar.control_port, { path: '/livez' })).status).toBe(200);
    expect(sidecar.stderr().match(/latched: UNINITIALISED/g)).toHaveLength(1);
  });

  beside('that was killed after an end was asked for carries it out when it is back', async () => {
    const server = await started();
    const issuer = await createIssuer();
    const sidecar = await serve(server, { issuer });
    const record = await sidecar.mandate();
    const token = await sidecar.tokenFor(record);
    await server.kill();
    const revoked = await revoke(sidecar, record, { nonce: 'n-1' });
    expect([revoked.status, memberOf(revoked.body, 'reason')]).toEqual([503, 'unavailable']);
    await until(
      () => readyz(sidecar),
      ({ status }) => status === 503,
    );
    await sidecar.stop('SIGKILL');
    await server.restart();
    const again = await serve(server, { folder: sidecar.folder, issuer });
    expect((await push(again, token)).status).toBe(403);
    const shown = async () =>
      (await again.control('GET', `/v1/mandates/${String(record.id)}`)).body as JsonObject;
    await until(shown, ({ state }) => state === 'revoked');
    // It was asked for under that nonce: the same answer, and one entry.
    const repeated = await revoke(again, record, { nonce: 'n-1' });
    expect(repeated).toMatchObject({ status: 200, body: { state: 'revoked', version: 2 } });
  });

  beside('that does not remember does not charge a metered mandate whose end another remembers', async () => {
    const place = await copiedDisk();
    const { port } = place.server();
    const knowing = await startMember({ port, lease_ms: LEASE_MS });
    const forgetful = await startMember({ port, lease_ms: LEASE_MS });
    const [id, other] = [
      await approve(knowing, { max_calls: 100 }),
      await approve(knowing, { max_calls: 100 }),
    ];
    const [record, living] = (await Promise.all(
      [id, other].map((each) => recordOf(knowing, each)),
    )) as unknown as [JsonObject, JsonObject];
    await untilAnswered(forgetful, id, ({ effect }) => effect === 'allow');
    await place.forgetFromNow();
    forgetful.door.blackhole('both');
    await operate(knowing, id, { operation: 'revoke' });
    await untilKept(knowing);
    await Promise.all([knowing.kill(), forgetful.kill()]);
    await place.fail();
    await place.recover();
    const sidecar = await serve({ ...place.server(), outbox: forgetful.outbox, lease_ms: LEASE_MS });
    const token = await sidecar.tokenFor(record);
    // What is cached makes the view hold it, so that a reservation could be tried at once.
    expect((await read(sidecar, token)).status).toBe(200);
    for (let time = 0; time < 5; time += 1) {
      const { status, body } = await push(sidecar, token);
      expect([status, body.reason]).toEqual([403, 'state_unavailable']);
    }
    await startMember({ port, outbox: knowing.outbox, lease_ms: LEASE_MS });
    await until(
      async () => (await push(sidecar, token)).body.reason,
      (reason) => reason === 'mission_inactive',
    );
    // It does charge what has not ended.
    expect((await push(sidecar, await sidecar.tokenFor(living))).status).toBe(200);
  });
});
