/**
 * The attacks of design/4, each through a real Envoy that normalises nothing, in front of a real sidecar and an
 * upstream that remembers what reached it. A group is a row of the table, or a paragraph; its name cites it.
 */
import { createHmac } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SignJWT, exportJWK, exportSPKI, generateKeyPair, importJWK } from 'jose';
import type { CryptoKey, JWK } from 'jose';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { type Json, type JsonObject, isObject, member } from '../../src/core/json.ts';
import { type Running, start } from '../../src/main.ts';
import { ask, askEnvoyDoor } from '../support/ask.ts';
import { AS, GIT, ROOT, type Sidecar, proposalBody, startSidecar } from '../support/sidecar.ts';
import { type Envoy, startEnvoy } from '../tools/envoy.ts';
import { type RawResponse, headerOf, rawRequest } from '../tools/raw.ts';
import { type Upstream, startUpstream } from '../tools/upstream.ts';

/** The sample table, and operations that read a query, a header and a body. */
const ACTIONS = `
operations:
  - match: { methods: [GET], path: /healthz }
    action: health.read
    class: non_consequential
  - match: { methods: [GET], host: git.example, path: '/repos/{owner}/{repo}/search' }
    action: repo.search
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
    parameters: { kind: 'query:kind', tenant: { from: 'header:x-tenant', optional: true } }
  - match: { methods: [GET], host: git.example, path: '/repos/{owner}/{repo}/**' }
    action: repo.read
    resource: https://git.example/repos/{owner}/{repo}
    class: consequential_read
  - match: { methods: [POST], host: git.example, path: '/repos/{owner}/{repo}/tools' }
    action: repo.push
    resource: https://git.example/repos/{owner}/{repo}
    class: irreversible_action
    parameters: { tool: 'body:/params/name', task: { from: 'body:/params/task', optional: true } }
  - match: { tool: payments.send }
    class: external_commitment
`;

const APP = '/repos/example/app';
const CONTENTS = `${APP}/contents`;
const MAX_BODY = 4096;

/** The names a client may use to be taken for somebody, or to name another target: all are shown to the sidecar. */
const IDENTITY = ['decision', 'id', 'version', 'subject', 'actor', 'lineage', 'parent'];
const FORWARDED = [
  'x-forwarded-uri',
  'x-forwarded-path',
  'x-forwarded-prefix',
  'x-forwarded-host',
  'x-forwarded-method',
  'x-original-uri',
  'x-original-url',
  'x-original-method',
  'x-rewrite-url',
  'x-http-method-override',
  'x-envoy-original-path',
  'x-envoy-original-host',
  'forwarded',
];
const SHOWN = [
  'mission-reference',
  'content-type',
  'content-encoding',
  'connection',
  'user-agent',
  'x-tenant',
  ...IDENTITY.map((name) => `x-mandate-${name}`),
  ...['x-mandate', 'x-mandate-foo', 'x_mandate_foo', 'x-mandate_foo'],
  ...FORWARDED,
];

let sidecar: Sidecar;
let upstream: Upstream;
let envoy: Envoy;
let record: JsonObject;
let token: string;

beforeAll(async () => {
  const folder = await startWithTable();
  upstream = await startUpstream();
  envoy = await startEnvoy({
    authorizer_port: sidecar.check_port,
    upstream_port: upstream.port,
    allowed_headers: SHOWN,
    with_request_body: { max_request_bytes: MAX_BODY },
    normalize: false,
  });
  expect(folder).toBe(sidecar.folder);
  record = await sidecar.mandate();
  token = await sidecar.tokenFor(record);
});

afterAll(async () => {
  await envoy.stop();
  await upstream.stop();
  await sidecar.discard();
});
