/** Whether introspection is in trouble: what is wrong with one token, which anybody may show, must not raise an alarm. */
import { expect, test } from 'vitest';
import { createIntrospection } from '../../src/credentials/introspection.ts';

const now = () => ({ wall_ms: Date.now(), mono_ms: performance.now() });

function asking(status: () => number) {
  const said: string[] = [];
  const introspection = createIntrospection({
    poster: {
      post: () =>
        Promise.resolve({ status: status(), content_type: 'application/json', body: '{"active":false}' }),
      close: () => undefined,
    },
    client: { client_id: 'mandated', method: 'tls_client_auth' },
    cache_ms: 0,
    signed_by: undefined,
    now,
    complain: (what) => said.push(what),
  });
  return { introspection, said };
}

test('a token that the server does not take is not verified, and nothing is said of the server', async () => {
  const { introspection, said } = asking(() => 400);
  expect((await introspection.ask('a', true)).kind).toBe('away');
  expect([introspection.trouble(), said]).toEqual([undefined, []]);
});

test('a server that does not answer as it should is, once, and until it does', async () => {
  let status = 500;
  const { introspection, said } = asking(() => status);
  for (const token of ['a', 'b']) expect((await introspection.ask(token, true)).kind).toBe('away');
  expect(introspection.trouble()).toBe('the answer has status 500');
  status = 400;
  await introspection.ask('c', true);
  expect(introspection.trouble()).toBe('the answer has status 500');
  status = 200;
  expect((await introspection.ask('d', true)).kind).toBe('inactive');
  expect(introspection.trouble()).toBeUndefined();
  expect(said).toHaveLength(2);
});
