/** The essay's failure, removed: through a real Envoy, with each engine and with both. */
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type JsonObject, member } from '../../src/core/json.ts';
import { PUSH, ask } from '../support/ask.ts';
import { mandated } from '../support/cli.ts';
import { type Sidecar, type SidecarOptions, startSidecar } from '../support/sidecar.ts';
import { type Envoy, startEnvoy } from '../tools/envoy.ts';
import { type Upstream, startUpstream } from '../tools/upstream.ts';

/** A port that stays the same when the sidecar behind it is killed and started again. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.each([
  ['Cedar', { cedar: 'policies/cedar' }],
  ['OPA', { opa: 'policies/opa' }],
  ['Cedar and OPA', { cedar: 'policies/cedar', opa: 'policies/opa' }],
])('with %s', (_, policies) => {
  let envoy: Envoy;
  let upstream: Upstream;
  let sidecar: Sidecar;
  let options: SidecarOptions;
  let record: JsonObject;
  let token: string;

  beforeAll(async () => {
    const port = await freePort();
    options = { policies, check: `{ listen: "127.0.0.1:${port}", shutdown_grace_ms: 100 }` };
    sidecar = await startSidecar(options);
    upstream = await startUpstream();
    envoy = await startEnvoy({
      authorizer_port: port,
      upstream_port: upstream.port,
      with_request_body: { max_request_bytes: 65_536 },
    });
    record = await sidecar.mandate();
    token = await sidecar.tokenFor(record);
  });
  afterAll(async () => {
    await envoy.stop();
    await upstream.stop();
    await sidecar.discard();
  });

  const push = () => {
    const headers = {
      host: 'git.example',
      authorization: `Bearer ${token}`,
      ...PUSH.headers,
      'x-mandate-id': 'msn_forged',
    };
    return ask(envoy.port, { ...PUSH, headers });
  };
  const operate = (operation: string) =>
    mandated(
      'mandate',
      operation,
      String(record.id),
      '--config',
      sidecar.config_file,
      '--control',
      `http://127.0.0.1:${sidecar.control_port}`,
    );
  const reached = (): number => upstream.requests.length;

  const expectInactive = async (state: string): Promise<void> => {
    const before = reached();
    const { status, body } = await push();
    expect([status, body.reason]).toEqual([403, 'mission_inactive']);
    expect(member(body.credential, 'verdict')).toBe('usable');
    expect(body.mandate).toMatchObject({ verdict: 'illegitimate', reason: 'mission_inactive', state });
    expect(member(body.request, 'verdict')).toBe('permitted');
    expect(reached()).toBe(before);
  };

  test('an allowed push reaches the upstream with the whole identity, and nothing that was forged', async () => {
    expect((await push()).status).toBe(200);
    const shown = upstream.requests.at(-1)!.headers.filter(([name]) => /^x[-_]mandate/i.test(name));
    expect(Object.fromEntries(shown.map(([name, value]) => [name.toLowerCase(), value]))).toEqual({
      'x-mandate-decision': expect.stringMatching(/^dec_/),
      'x-mandate-id': record.id,
      'x-mandate-version': '1',
      'x-mandate-subject': 'corp/alice',
      'x-mandate-actor': 'corp/agent-1',
      'x-mandate-lineage': record.id,
    });
    expect(shown).toHaveLength(6);
  });

  test('suspended: the same live token is denied; resumed: it passes', async () => {
    expect(await operate('suspend')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('suspended at version 2'),
    });
    await expectInactive('suspended');
    expect(await operate('resume')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('active at version 3'),
    });
    expect((await push()).status).toBe(200);
  });

  test('revoked: it is never allowed again, also after kill -9 and a restart on the same store', async () => {
    expect((await operate('revoke')).code).toBe(0);
    await expectInactive('revoked');
    await sidecar.stop('SIGKILL');
    const { status } = await push();
    expect(status).toBe(403);
    sidecar = await startSidecar({ ...options, folder: sidecar.folder, issuer: sidecar.issuer });
    await expectInactive('revoked');
    expect(await operate('resume')).toMatchObject({ code: 1, stderr: expect.stringContaining('conflict') });
    await expectInactive('revoked');
  });
});
