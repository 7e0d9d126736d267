/** One sidecar for a file of tests about proofs: a mandate of each issuer's, and tokens that are bound to one key. */
import { afterAll, beforeAll } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import type { Answered } from '../support/ask.ts';
import { GIT } from '../support/sidecar.ts';
import { type Key, type Members, makeKey, mintProof } from './minting.ts';
import {
  CONTENTS,
  REFS,
  type Served,
  type Showing,
  envoyDoor,
  mandateOf,
  nativeDoor,
  serve,
  tokenOf,
} from './serving.ts';

export const HOLDER = makeKey();
export const HTU = `${GIT}${CONTENTS}`;
/** Of a proof for a push. */
export const OF_PUSH = { htm: 'POST', htu: `${GIT}${REFS}` };

export function proofStage(issuers: NonNullable<Parameters<typeof serve>[0]>['issuers']) {
  let own: Served;
  const records: Record<string, JsonObject> = {};
  beforeAll(async () => {
    own = await serve({ issuers });
    for (const name of Object.keys(issuers)) records[name] = await mandateOf(own, name);
  });
  afterAll(() => own.discard());
  const token = (name: string, claims: Members = {}): string => tokenOf(name, records[name]!, claims);
  return {
    records,
    served: () => own,
    token,
    bound: (name: string, key: Key = HOLDER): string => token(name, { cnf: { jkt: key.jkt } }),
    proofOf: (of: string, claims: Members = {}, key: Key = HOLDER): string => mintProof(of, key, claims),
    atEnvoy: (showing: Showing, at = own): Promise<Answered> => envoyDoor(at, showing),
    atNative: (showing: Showing, at = own): Promise<Answered> => nativeDoor(at, showing),
  };
}
