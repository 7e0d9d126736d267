/** What is remembered of credentials, at its bounds: bytes of a process of its own, which is this file run by itself. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import { createCredentials } from '../src/credentials/credentials.ts';
import { MAX_KNOWN_TOKENS, createKnownTokens } from '../src/credentials/known-tokens.ts';
import { MAX_PROOFS, createProofMemory } from '../src/credentials/replay.ts';
import { AS, GIT } from '../test/support/sidecar.ts';
import type { Figure } from './figure.ts';
import { tokenIssuer } from './steps.ts';
import { now } from './store.ts';

const MAX_REMEMBERED = 10_000;

const FILLS: Readonly<Record<string, () => Promise<unknown>>> = {
  [`${MAX_PROOFS} proofs remembered`]: async () => {
    const memory = createProofMemory();
    for (let each = 0; each < MAX_PROOFS; each += 1) {
      const [holder, jti] = [`${each % 1000}`.padStart(22, 'h'), String(each).padStart(22, 'j')];
      const shown = await memory.show({ holder, jti, lifetime_ms: 1e9 }, now());
      if (shown.kind !== 'first') throw new Error(shown.kind);
    }
    return memory;
  },
  [`${MAX_REMEMBERED} tokens remembered`]: async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const key = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' };
    const corp = tokenIssuer(JSON.stringify({ keys: [key] }), ['ES256']);
    const read = createCredentials({
      issuers: new Map([[AS, corp]]),
      clock_tolerance_s: 5,
      proofs: createProofMemory(),
    });
    const at = Math.floor(Date.now() / 1000);
    const mission = {
      id: `msn_${'x'.repeat(22)}`,
      issuer: 'https://mandates.example',
      authority_hash: 'h'.repeat(51),
    };
    for (let each = 0; each < MAX_REMEMBERED; each += 1) {
      const token = await new SignJWT({ mission, client_id: 'agent-1' })
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: 'k1' })
        .setIssuer(AS)
        .setSubject('alice')
        .setAudience(GIT)
        .setIssuedAt(at)
        .setExpirationTime(at + 3600)
        .setJti(String(each))
        .sign(privateKey);
      const fact = await read.verify({ kind: 'token', scheme: 'bearer', token, beside: {} }, now(), true);
      if (fact.verdict !== 'usable') throw new Error(JSON.stringify(fact));
    }
    return read;
  },
  [`${MAX_KNOWN_TOKENS} tokens known under mandates`]: async () => {
    const known = createKnownTokens();
    for (let each = 0; each < MAX_KNOWN_TOKENS; each += 1) {
      const token = randomBytes(400).toString('hex');
      known.add({
        mandate: `msn_${each % 1000}`,
        issuer: AS,
        token,
        expires_at_ms: 0,
        is_to_be_revoked: false,
      });
    }
    return known;
  },
};

export async function memoryOf(): Promise<readonly Figure[]> {
  return Object.keys(FILLS).map((what) => {
    const args = ['--expose-gc', fileURLToPath(import.meta.url), what];
    const bytes = Number(execFileSync(process.execPath, args, { encoding: 'utf8' }));
    return { what, value: bytes / 1024 / 1024, unit: 'MiB' };
  });
}

const heap = (): number => {
  (globalThis as { gc?: () => void }).gc!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const fill = FILLS[process.argv[2]!]!;
  const before = heap();
  const kept = await fill();
  const after = heap();
  process.stdout.write(String(after - before));
  // What was filled must still be there when it is measured.
  if (kept === undefined) process.exitCode = 1;
  process.exit();
}
