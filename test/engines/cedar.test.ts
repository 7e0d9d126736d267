import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { emptyActions, readActions } from '../../src/actions-file.ts';
import type { PolicyEngine } from '../../src/core/policy.ts';
import { cedarSchema } from '../../src/engines/cedar-schema.ts';
import { loadCedar } from '../../src/engines/cedar.ts';
import { ROOT } from '../support/sidecar.ts';
import { policyInputWith } from '../support/policy-input.ts';

const REF = { ref: { type: 'string', value: 'refs/heads/release' } } as const;
const policyInput = () => policyInputWith({ context: { parameters: REF } });
const PAY = { name: 'payments.send', families: ['payments.*'], class: 'external_commitment' } as const;

const table = readActions(join(ROOT, 'policies/actions.yaml'), { scheme: 'https', is_cedar_bound: true });
const schema = cedarSchema(table);

function load(text: string): PolicyEngine {
  const loaded = loadCedar([{ name: 'test.cedar', text }], schema);
  if (!loaded.ok) throw new Error(loaded.errors.join('\n'));
  return loaded.engine;
}

const errors = (text: string, own = schema): readonly string[] => {
  const loaded = loadCedar([{ name: 'a.cedar', text }], own);
  return loaded.ok ? [] : loaded.errors;
};

describe('what design/7 promises to policy authors can be said, and passes strict validation', () => {
  test.each([
    [
      'purpose',
      'permit (principal, action, resource) when { context.mandate.purpose == "urn:example:purpose:release" };',
    ],
    ['depth', 'permit (principal, action, resource) when { principal.depth <= 2 };'],
    ['lineage', 'permit (principal, action, resource) when { context.mandate in Mandate::"msn_root" };'],
    ['itself', 'permit (principal, action, resource) when { context.mandate in Mandate::"msn_child" };'],
    ['the agent', 'permit (principal == Agent::"corp/agent-1", action, resource);'],
    ['the person', 'permit (principal, action, resource) when { principal.subject == User::"corp/alice" };'],
    [
      'its subject and approver',
      'permit (principal, action, resource) when { context.mandate.subject == User::"corp/alice" && context.mandate.approver != context.mandate.subject };',
    ],
    ['the action', 'permit (principal, action == Action::"repo.push", resource);'],
    ['its family', 'permit (principal, action in Action::"repo.*", resource);'],
    ['its class', 'permit (principal, action in Action::"irreversible_action", resource);'],
    ['the resource', 'permit (principal, action, resource == Resource::"https://git.example/repos/a/b");'],
    [
      'parts of the resource',
      'permit (principal, action, resource) when { resource.host == "git.example" && resource.path like "/repos/*" && resource.segments.contains("a") };',
    ],
    [
      'a parameter',
      'permit (principal, action == Action::"repo.push", resource) when { context.parameters.ref like "refs/heads/*" };',
    ],
    [
      'expiry',
      'permit (principal, action, resource) when { context.mandate.expires_at.durationSince(context.now) > duration("10m") };',
    ],
    ['age', 'permit (principal, action, resource) when { context.freshness.age_ms <= 5 };'],
    [
      'the rest',
      'permit (principal, action, resource) when { context.check_point == "request" && context.action_class == "irreversible_action" && context.request.method == "POST" && context.credential.issuer == "https://as.example" && context.mandate.version == 3 && !context.mandate.suspended_before && context.mandate.remaining_calls > 0 && context.mandate.tenant == "acme" && context.mandate.state == "active" };',
    ],
  ])('%s', (_, text) => {
    const answer = load(`@id("it") ${text}`).evaluate(policyInput());
    expect(answer).toEqual({ decision: 'allow', determining: ['it'], errors: [], obligations: [] });
  });
});

describe('loading', () => {
  test.each([
    [
      'an attribute that does not exist',
      'permit (principal, action, resource)\n  when { context.mandate.purpos == "x" };',
      /^a\.cedar:2:10: .*purpos.*did you mean `purpose`/,
    ],
    [
      'an action that no operation declares',
      'permit (principal, action == Action::"repo.psh", resource);',
      /^a\.cedar:1:\d+: .*repo\.psh/,
    ],
    [
      'a parameter of another action',
      'permit (principal, action, resource) when { context.parameters.ref == "x" };',
      /^a\.cedar:1:\d+: .*ref/,
    ],
    [
      'a wrong type',
      'permit (principal, action, resource) when { principal.depth == "2" };',
      /^a\.cedar:1:\d+: /,
    ],
    [
      'a syntax error',
      '// ü\npermit (principal, action, resource) when { 1 = 1 };',
      /^a\.cedar:2:\d+: .*not a valid operator/,
    ],
    [
      'an id used twice',
      '@id("x") permit (principal, action, resource);\n@id("x") forbid (principal, action, resource);',
      /^a\.cedar:2:1: the id `x` is used twice/,
    ],
    ['a template', 'permit (principal == ?principal, action, resource);', /templates are not supported/],
    ['nothing at all', '// no policy', /there is no policy/],
  ])('%s is refused, with its place', (_, text, message) => {
    expect(errors(text).join('\n')).toMatch(message);
  });

  test('a policy without an id is called by its file and number', () => {
    const answer = load('permit (principal, action, resource);').evaluate(policyInput());
    expect(answer.determining).toEqual(['test.cedar#0']);
  });

  test('the sample is clean', () => {
    const text = readFileSync(join(ROOT, 'policies/cedar/release.cedar'), 'utf8');
    expect(loadCedar([{ name: 'release.cedar', text }], schema)).toMatchObject({ ok: true, warnings: [] });
  });

  test('without a table, unmapped methods and their classes can still be named', () => {
    const own = cedarSchema(emptyActions({ scheme: 'https', is_cedar_bound: true }));
    expect(
      errors(
        'permit (principal, action in [Action::"http.*", Action::"consequential_read"], resource);',
        own,
      ),
    ).toEqual([]);
  });
});

describe('evaluation', () => {
  test('no permit is a deny', () => {
    const engine = load('permit (principal, action == Action::"repo.read", resource);');
    expect(engine.evaluate(policyInput())).toEqual({
      decision: 'deny',
      determining: [],
      errors: [],
      obligations: [],
    });
  });

  test('a forbid that errs is not passed over: the answer is an error, whatever permits', () => {
    const engine = load(
      `@id("all") permit (principal, action, resource);
       @id("big") forbid (principal, action == Action::"payments.send", resource)
         when { context.parameters.amount.greaterThan(decimal("100.0")) };`,
    );
    const asked = policyInputWith({ action: PAY });
    expect(engine.evaluate(asked)).toMatchObject({
      decision: 'error',
      errors: [expect.stringContaining('big')],
    });
  });

  test('a decimal is padded and compared as a decimal', () => {
    const engine = load(
      `permit (principal, action == Action::"payments.send", resource)
         when { context.parameters.amount.lessThanOrEqual(decimal("100.0")) };`,
    );
    const pay = (value: string) => {
      const input = policyInputWith({ action: PAY });
      return engine.evaluate({
        ...input,
        context: { ...input.context, parameters: { amount: { type: 'decimal', value } } },
      }).decision;
    };
    expect(['100', '99.9999', '100.00', '100.0001', '-5'].map(pay)).toEqual([
      'allow',
      'allow',
      'allow',
      'deny',
      'allow',
    ]);
  });

  test('policies that were replaced twice answer no more, rather than for their successors', () => {
    const first = load('permit (principal, action, resource);');
    const second = load('permit (principal, action, resource);');
    expect(first.evaluate(policyInput()).decision).toBe('allow');
    load('permit (principal, action, resource);');
    expect(first.evaluate(policyInput()).decision).toBe('error');
    expect(second.evaluate(policyInput()).decision).toBe('allow');
  });

  test('what Cedar cannot take is an error and not an exception', () => {
    const engine = load('permit (principal, action, resource);');
    const input = policyInput();
    const context = { ...input.context, parameters: { n: { type: 'long' as const, value: 1.5 } } };
    expect(engine.evaluate({ ...input, context }).decision).toBe('error');
  });
});
