/** SHA-256 as commitments and decisions write it. */
import { hash } from 'node:crypto';
import type { Digest } from './core/mandate/record.ts';

export const sha256: Digest = (data) => `sha-256:${hash('sha256', data, 'base64url')}`;
