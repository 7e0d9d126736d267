/** One policy input that the sample policies permit, and variations of it. */
import type { PolicyInput, PolicyMandate } from '../../src/core/policy.ts';

export const NOW_MS = Date.parse('2026-11-23T09:00:00.000Z');

const MANDATE: PolicyMandate = {
  id: 'msn_child',
  state: 'active',
  version: 3,
  purpose: 'urn:example:purpose:release',
  goal: 'ship 1.2',
  depth: 1,
  expires_at_ms: NOW_MS + 3_600_000,
  approved_at_ms: NOW_MS - 3_600_000,
  subject: 'corp/alice',
  approver: 'corp/bob',
  tenant: 'acme',
  suspended_before: false,
  remaining_calls: 7,
  lineage: ['msn_root', 'msn_child'],
};

interface Varied {
  readonly principal?: Partial<PolicyInput['principal']>;
  readonly action?: Partial<PolicyInput['action']>;
  readonly mandate?: Partial<PolicyMandate>;
  readonly context?: Partial<Omit<PolicyInput['context'], 'mandate'>>;
}

/** A push under a child mandate, an hour before its end, with what is given put in its place. */
export function policyInputWith({ principal, action, mandate, context }: Varied = {}): PolicyInput {
  return {
    principal: {
      id: 'corp/agent-1',
      issuer: 'https://as.example',
      client_id: 'agent-1',
      subject: 'corp/alice',
      depth: 1,
      actors: ['agent-1'],
      ...principal,
    },
    action: { name: 'repo.push', families: ['repo.*'], class: 'irreversible_action', ...action },
    resource: {
      uri: 'https://git.example/repos/a/b',
      host: 'git.example',
      path: '/repos/a/b',
      segments: ['repos', 'a', 'b'],
    },
    context: {
      mandate: { ...MANDATE, ...mandate },
      parameters: {},
      request: { method: 'POST', scheme: 'https', host: 'git.example', path: '/repos/a/b' },
      check_point: 'request',
      freshness: { source: 'barrier', age_ms: 1 },
      credential: {
        issuer: 'https://as.example',
        subject: 'alice',
        client_id: 'agent-1',
        expires_at_ms: NOW_MS + 600_000,
      },
      now_ms: NOW_MS,
      ...context,
    },
  };
}
