/**
 * Which server may be served from: not a replica, not a primary that lost its replicas, not one that is set unsafely; and
 * each that is not the one before is looked at before anything rests on it (design/3, What must be checked at start).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import { approve, operate } from '../support/authority.ts';
import { started, untilSame } from './history.ts';
import { byLength } from './length.ts';
import { startMember, tryMember } from './member.ts';
import { beside, until } from './scope.ts';
import { keepVigil, untilAllowed, untilAnswered } from './vigil.ts';

const BUDGET_MS = 500;
const ALONE = { 'min-replicas-to-write': 1, 'min-replicas-max-lag': 1 };

describe.concurrent('a primary', () => {
  beside('that was demoted is not served from, until it is the primary again', async () => {
    const [server, other] = await Promise.all([started(), started()]);
    const member = await startMember({ port: server.port });
    const id = await approve(member);
    await untilAllowed(member, id);
    await other.call('REPLICAOF', '127.0.0.1', server.port);
    await untilSame(server, other);
    await untilAnswered(member, id, ({ effect }) => effect === 'deny');
    await other.call('REPLICAOF', 'NO', 'ONE');
    const vigil = keepVigil([member], id);
    await untilAllowed(member, id);
    await server.call('REPLICAOF', '127.0.0.1', other.port);
    const demoted_ms = performance.now();
    await untilAnswered(member, id, ({ why }) => /READONLY|replica/.test(why));
    await untilAnswered(member, id, ({ effect }) => effect === 'deny', BUDGET_MS);
    const write = await operate(member, id, { operation: 'suspend' });
    expect(write).toMatchObject({ ok: false, refused: 'unavailable' });
    const health = async () => (await member.standing()).health;
    await until(health, (seen) => !seen.ok && seen.detail.includes('replica'));
    await vigil.stop();
    expect(vigil.allowsAfter(demoted_ms)).toEqual([]);
    await server.call('REPLICAOF', 'NO', 'ONE');
    expect(await untilAllowed(member, id)).toBeLessThan(1000);
  });

  beside('that lost its replicas is not served from, until they are back', async () => {
    const server = await started({ config: ALONE });
    const replica = await started({ replica_of: server });
    const member = await startMember({ port: server.port });
    const id = await approve(member);
    await untilAllowed(member, id);
    replica.freeze();
    await untilAnswered(member, id, ({ why }) => why.includes('NOREPLICAS'));
    await untilAnswered(member, id, ({ effect }) => effect === 'deny', BUDGET_MS);
    expect(await operate(member, id, { operation: 'suspend' })).toMatchObject({
      ok: false,
      refused: 'unavailable',
      detail: expect.stringContaining('NOREPLICAS'),
    });
    replica.thaw();
    const thawed_ms = performance.now();
    await untilAllowed(member, id);
    // The primary itself takes up to a second to hear of its replica.
    expect(performance.now() - thawed_ms).toBeLessThan(2000);
    expect(await operate(member, id, { operation: 'suspend' })).toMatchObject({
      ok: true,
      acknowledged: 'durable',
    });
  });

  beside(
    'that was promoted gives nothing as durable until a primary beside it must have noticed',
    async () => {
      const lag = { 'min-replicas-to-write': 1, 'min-replicas-max-lag': 2 };
      const primary = await started({ config: lag });
      const replica = await started({ replica_of: primary, config: lag });
      const next = await started({ replica_of: replica });
      const member = await startMember({ port: primary.port });
      const [one, other] = [await approve(member), await approve(member)];
      expect(await operate(member, one, { operation: 'suspend' })).toMatchObject({ acknowledged: 'durable' });
      await primary.kill();
      await replica.call('REPLICAOF', 'NO', 'ONE');
      const promoted_ms = performance.now();
      member.door.retarget(replica.port);
      member.door.cut();
      // As soon as it takes anything at all.
      const revoked = async () => (await operate(member, other, { operation: 'revoke' })).ok;
      while (!(await revoked())) await sleep(2);
      expect(performance.now() - promoted_ms).toBeGreaterThan(4000);
      expect(next.isAlive()).toBe(true);
    },
  );

  beside('that was promoted and is set unsafely is not served from for a moment', async () => {
    const server = await started();
    const unsafe = await started({ replica_of: server, config: { appendfsync: 'everysec' } });
    await server.call('CONFIG', 'SET', 'min-replicas-to-write', '1', 'min-replicas-max-lag', '2');
    const member = await startMember({ port: server.port });
    const id = await approve(member);
    await untilAllowed(member, id);
    await server.kill();
    await unsafe.call('REPLICAOF', 'NO', 'ONE');
    const vigil = keepVigil([member], id);
    const promoted_ms = performance.now();
    member.door.retarget(unsafe.port);
    member.door.cut();
    await untilAnswered(member, id, ({ why }) => why.includes('appendfsync everysec'));
    await sleep(byLength(300, 2000));
    await vigil.stop();
    expect(vigil.allowsAfter(promoted_ms)).toEqual([]);
    expect((await member.standing()).health).toMatchObject({
      ok: false,
      detail: expect.stringContaining('appendfsync everysec'),
    });
    const write = await operate(member, id, { operation: 'suspend' });
    expect(write).toMatchObject({ ok: false, refused: 'unavailable' });
  });
});

describe.concurrent('safety is looked at again', () => {
  beside(
    'when a replica attaches that writes do not wait for, and when another does after it was mended',
    async () => {
      const server = await started();
      const member = await startMember({ port: server.port });
      const id = await approve(member);
      await untilAllowed(member, id);
      await started({ replica_of: server });
      await untilAnswered(member, id, ({ why }) => why.includes('min-replicas-to-write 0'));
      await server.call('CONFIG', 'SET', 'min-replicas-to-write', '1', 'min-replicas-max-lag', '2');
      await started({ replica_of: server });
      await untilAllowed(member, id);
      expect(await operate(member, id, { operation: 'suspend' })).toMatchObject({ acknowledged: 'durable' });
    },
  );

  beside('when the same server comes back with other settings', async () => {
    const server = await started();
    const member = await startMember({ port: server.port });
    const id = await approve(member);
    await untilAllowed(member, id);
    await server.call('CONFIG', 'SET', 'no-appendfsync-on-rewrite', 'yes');
    await server.call('CONFIG', 'REWRITE');
    await server.kill();
    await server.restart();
    const vigil = keepVigil([member], id);
    await untilAnswered(member, id, ({ why }) => why.includes('no-appendfsync-on-rewrite yes'));
    await vigil.stop();
    expect(vigil.allowsAfter(0)).toEqual([]);
    const { refused } = await tryMember({ port: server.port });
    expect(refused).toContain('no-appendfsync-on-rewrite yes');
  });
});
