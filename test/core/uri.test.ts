import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ResourceUri,
  isWithin,
  judgePath,
  normaliseAuthority,
  parseResource,
} from '../../src/core/uri.ts';

describe('judgePath (design/4, What is normalised, what is refused)', () => {
  test.each([
    '/a/../b',
    '/a/./b',
    '/..',
    '/a/..',
    '/.',
    '/%2e%2e/b',
    '/a/%2E%2e',
    '/a/.%2e/b',
    '/a/%252e%252e/b',
    '/a%2fb',
    '/a%2Fb',
    '/a%5cb',
    '/a%252fb',
    '/a\\b',
    '/a;b',
    '/a;v=1/b',
    '//admin/x',
    '/a//b',
    '/a//',
    '/a#b',
    '/a%',
    '/a%4',
    '/a%zz',
    '/a%00',
    '/a%0a',
    '/a%7f',
    '/a%1f',
    '/a b',
    '/a\tb',
    '/a\u0000',
    '/a%ff',
    '/a%c0%af',
    '/a%ed%a0%80',
    '/é',
    '',
    'a',
    '*',
    'http://x/a',
    '/a%25252525252e',
    '/a/..%3b/b',
    '/a/%2e%2e%3Bx/b',
    '/a/.%253b/b',
  ])('refuses %j', (path) => {
    expect(judgePath(path)).toHaveProperty('refused');
  });

  test.each([
    ['/', '/'],
    ['/a/b/', '/a/b/'],
    ['/.git/config', '/.git/config'],
    ['/a/...', '/a/...'],
    ['/%61%7e%2D', '/a~-'],
    ['/a%3Fb%23c', '/a%3Fb%23c'],
    ['/a%3bb', '/a%3Bb'],
    ['/a%3fb', '/a%3Fb'],
    ['/caf%c3%a9', '/caf%C3%A9'],
    ["/a!$&'()*+,=:@b", "/a!$&'()*+,=:@b"],
  ])('judges %j as %j', (path, judged) => {
    expect(judgePath(path)).toBe(judged);
  });

  test('what it accepts means the same to a parser that decodes and resolves dots', () => {
    const part = fc.stringMatching(/^(?:[a-z.]|%[0-9a-f]{2}|[/\\;]){0,12}$/);
    fc.assert(
      fc.property(part, (rest) => {
        const judged = judgePath(`/${rest}`);
        fc.pre(typeof judged === 'string');
        // A dumb twin: decode each segment, resolve dots; the number of segments must not change.
        const segments = judged.split('/').map((segment) => decodeURIComponent(segment));
        expect(segments.some((segment) => segment === '.' || segment === '..' || /[/\\]/.test(segment))).toBe(
          false,
        );
        expect(new URL(judged, 'https://x').pathname).toBe(judged);
      }),
      { numRuns: 2000 },
    );
  });

  test('is idempotent', () => {
    fc.assert(
      fc.property(fc.webPath(), (path) => {
        const once = judgePath(path);
        if (typeof once === 'string') expect(judgePath(once)).toBe(once);
      }),
    );
  });
});

describe('normaliseAuthority', () => {
  test.each([
    ['GIT.Example', 'git.example'],
    ['git.example:443', 'git.example'],
    ['git.example:0443', 'git.example'],
    ['git.example:8443', 'git.example:8443'],
    ['[::1]:443', '[::1]'],
    ['127.0.0.1:80', '127.0.0.1:80'],
  ])('%s is %s', (authority, normal) => {
    expect(normaliseAuthority(authority, 'https')).toBe(normal);
  });

  test.each([
    '',
    'git.example.',
    'a,b',
    'a@b',
    'a b',
    'a/b',
    'a..b',
    '.a',
    'a:99999',
    'a:b',
    'a%2eb',
    'é.example',
    '[zz]',
    'a:1:2',
  ])('refuses %j', (authority) => {
    expect(normaliseAuthority(authority, 'https')).toHaveProperty('refused');
  });
});

const uri = (text: string): ResourceUri => {
  const parsed = parseResource(text);
  if ('refused' in parsed) throw new Error(parsed.refused);
  return parsed;
};

/** draft-mcguinness-oauth-mission, "Resource Boundary Canonicalization": the table of prefix matches. */
describe('isWithin https://api.example/orders', () => {
  test.each([
    ['https://api.example/orders', true],
    ['https://api.example/orders/123', true],
    ['https://API.EXAMPLE/orders/123', true],
    ['https://api.example:443/orders/123', true],
    ['https://api.example/Orders/123', false],
    ['https://api.example/ordersX', false],
    ['https://api.example/order', false],
    ['http://api.example/orders', false],
    ['https://api.example:8443/orders', false],
    ['https://api.example.evil/orders', false],
  ])('%s: %s', (inner, isInside) => {
    expect(isWithin(uri(inner), uri('https://api.example/orders'))).toBe(isInside);
  });

  test('an empty path is the root, which holds everything of its authority', () => {
    expect(isWithin(uri('https://api.example/x/y'), uri('https://api.example'))).toBe(true);
    expect(uri('https://api.example').uri).toBe('https://api.example/');
  });

  test('a URN is only itself', () => {
    expect(isWithin(uri('urn:x:a'), uri('urn:x:a'))).toBe(true);
    expect(isWithin(uri('urn:x:a/b'), uri('urn:x:a'))).toBe(false);
  });
});

test.each([
  'https://a/b?c',
  'https://a/b#c',
  'https://u@a/b',
  '/a/b',
  'a',
  'https:///b',
  'https:/a',
  'https://a/..',
  'https://a/%2f',
])('parseResource refuses %j', (text) => {
  expect(parseResource(text)).toHaveProperty('refused');
});
