import { spawnSync } from 'node:child_process';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Envoy, envoy_program, startEnvoy } from './envoy.ts';
import { headerOf, rawRequest } from './raw.ts';
import { type Upstream, startUpstream } from './upstream.ts';

const root = resolve(import.meta.dirname, '../..');

describe('an envoy between a client, an authorizer and an upstream', () => {
  const asked: { method: string | undefined; url: string | undefined; headers: string[] }[] = [];
  let authorizer: Server;
  let upstream: Upstream;
  let envoy: Envoy;

  beforeAll(async () => {
    authorizer = await startAuthorizer();
    upstream = await startUpstream();
    const { port } = authorizer.address() as AddressInfo;
    envoy = await startEnvoy({ authorizer_port: port, upstream_port: upstream.port });
  }, 30_000);

  afterAll(async () => {
    await envoy.stop();
    await upstream.stop();
    authorizer.close();
  });

  beforeEach(() => {
    asked.length = 0;
    upstream.requests.length = 0;
  });

  /** Denies every path with `deny` in it. */
  async function startAuthorizer(): Promise<Server> {
    const server = createServer((request, response) => {
      asked.push({ method: request.method, url: request.url, headers: request.rawHeaders });
      if (request.url?.includes('deny')) {
        response.writeHead(403, {
          'content-type': 'application/problem+json',
          'x-reason': 'mission_inactive',
        });
        response.end('{"reason":"mission_inactive"}');
        return;
      }
      const removed = 'x-mandate-parent,x-mandate-foo,x_mandate_id';
      response.writeHead(200, {
        'x-mandate-id': 'msn_1',
        'x-other': 'a',
        'x-envoy-auth-headers-to-remove': removed,
      });
      response.end();
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return server;
  }

  function get(path: string, ...lines: string[]) {
    return rawRequest(
      envoy.port,
      [`GET ${path} HTTP/1.1`, 'Host: git.example', ...lines, '', ''].join('\r\n'),
    );
  }

  test('an allowed request carries the authorizer’s headers in place of forged ones', async () => {
    const forged = [
      'X-Mandate-Id: a',
      'x-mandate-id: b',
      'X-Mandate-Parent: c',
      'x-mandate-foo: d',
      'x_mandate_id: e',
    ];
    const response = await get('/repos?a=b', 'Authorization: Bearer t', 'X-Secret: s', ...forged);
    expect(response.status).toBe(200);
    expect(asked).toMatchObject([{ method: 'GET', url: '/envoy/repos?a=b' }]);
    expect(asked[0]?.headers).toEqual(
      expect.arrayContaining(['host', 'git.example', 'authorization', 'Bearer t']),
    );
    expect(asked[0]?.headers).not.toContain('x-secret');
    expect(upstream.requests).toMatchObject([{ method: 'GET', url: '/repos?a=b', body: '' }]);
    const identity = upstream.requests[0]?.headers.filter(([name]) => /^x[-_](mandate|other)/.test(name));
    expect(identity).toEqual([['x-mandate-id', 'msn_1']]);
    expect(JSON.parse(response.body)).toEqual(upstream.requests[0]?.headers);
  });

  test('a denied request ends with the authorizer’s status, headers and body', async () => {
    const response = await get('/deny');
    expect(response).toMatchObject({ status: 403, body: '{"reason":"mission_inactive"}' });
    expect(headerOf(response, 'content-type')).toBe('application/problem+json');
    expect(headerOf(response, 'x-reason')).toBe('mission_inactive');
    expect(upstream.requests).toEqual([]);
  });

  test('a hostile path reaches the authorizer as it was written', async () => {
    const path = '//admin/./../%2e%2e/a%2Fb;c\\d';
    await get(path);
    expect(asked).toMatchObject([{ url: `/envoy${path}` }]);
  });
});

test('deploy/envoy/envoy.yaml is one that envoy accepts', () => {
  const validate = [
    '--mode',
    'validate',
    '--log-level',
    'warning',
    '-c',
    join(root, 'deploy/envoy/envoy.yaml'),
  ];
  const { status, stdout, stderr } = spawnSync(envoy_program, validate, { encoding: 'utf8' });
  expect({ status, said: stdout + stderr }).toMatchObject({
    status: 0,
    said: expect.stringContaining(' OK'),
  });
});
