/** Sidecars that share one Redis: whoever has seen a token has it revoked, whoever ends its mandate (RFC 7009). */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import { bytesBelow, leaksOf } from '../credentials/leaks.ts';
import { type OpaqueStage, membersOf, startOpaqueStage } from '../credentials/opaque-stage.ts';
import { notesOf, operate, waiting } from '../credentials/told.ts';
import { askEnvoyDoor } from '../support/ask.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { AS, type Sidecar, startSidecar } from '../support/sidecar.ts';

const PATIENCE = { timeout: 30_000, interval: 50 };

let redis: RedisServer;
let stage: OpaqueStage;
let seeing: Sidecar;
let ending: Sidecar;

beforeAll(async () => {
  redis = await startRedis();
  stage = await startOpaqueStage();
  [seeing, ending] = await Promise.all([start(), start()]);
});
afterAll(async () => {
  await Promise.all([seeing.discard(), ending.discard()]);
  await stage.close();
  await redis.stop();
});

function start(folder?: string): Promise<Sidecar> {
  const { introspection_endpoint, revocation_endpoint } = stage.server.metadata;
  const credential = membersOf({
    introspection: { ...stage.client('by-secret'), endpoint: introspection_endpoint! },
    revocation: { ...stage.client('agent-1'), endpoint: revocation_endpoint! },
  });
  const store = `{ engine: redis, url: "redis://127.0.0.1:${redis.port}", tenant: acme }`;
  const kept = folder === undefined ? {} : { folder };
  return startSidecar({ issuer: stage.issuer, credential, store, ...kept });
}

/** A mandate, and a token that one of them has seen under it. */
async function begin(car: Sidecar) {
  const record = await ending.mandate();
  const token = await stage.token(record);
  const use = async () => (await askEnvoyDoor(car.check_port, token)).status;
  await expect.poll(use, PATIENCE).toBe(200);
  return { record, token };
}

const comesToBe = (token: string) => expect.poll(() => stage.isActive(token), PATIENCE);
const isNoted = (record: JsonObject) => expect.poll(() => notesOf(ending, record), PATIENCE).toHaveLength(1);

test('a token that one has seen is revoked though its mandate was ended through the other', async () => {
  const { record, token } = await begin(seeing);
  await operate(ending, record, 'revoke');
  await comesToBe(token).toBe(false);
  await isNoted(record);
  const [note] = await notesOf(ending, record);
  expect(note).toMatchObject({ reason: `1 at ${AS}`, state: 'revoked', version: 2 });
  expect(await notesOf(seeing, record)).toEqual([note]);
});

test('suspended through the other it stays', async () => {
  const [held, ended] = [await begin(seeing), await begin(seeing)];
  await operate(ending, held.record, 'suspend');
  await operate(ending, ended.record, 'revoke');
  await comesToBe(ended.token).toBe(false);
  expect(await stage.isActive(held.token)).toBe(true);
});

test('one that was killed meanwhile tells it after its restart', async () => {
  const first = await start();
  const { record, token } = await begin(first);
  await stage.server.halt();
  await operate(ending, record, 'revoke');
  await expect.poll(() => waiting(first), PATIENCE).toBe(1);
  await first.stop('SIGKILL');
  const kept = bytesBelow(join(first.folder, 'data/outbox'));
  expect([...kept.keys()]).toContain('outbox.db-wal');
  expect(leaksOf(new Map([['the token', token]]), kept)).toEqual([]);
  const second = await start(first.folder);
  onTestFinished(() => second.discard());
  await stage.server.resume();
  await comesToBe(token).toBe(false);
  await isNoted(record);
});

test('what was told while the store was away stands in the history when it is back', async () => {
  const { record, token } = await begin(seeing);
  await stage.server.halt();
  await operate(ending, record, 'revoke');
  await expect.poll(() => waiting(seeing), PATIENCE).toBe(1);
  redis.freeze();
  onTestFinished(() => redis.thaw());
  await stage.server.resume();
  await comesToBe(token).toBe(false);
  expect(await waiting(seeing)).toBe(1);
  redis.thaw();
  await expect.poll(() => waiting(seeing), PATIENCE).toBe(0);
  await isNoted(record);
});
