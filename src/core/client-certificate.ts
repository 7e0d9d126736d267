/**
 * The client's certificate as a proxy tells of it: Envoy's `x-forwarded-client-cert`, a list of elements, each of
 * `key=value` pairs. What counts is `Hash`, the SHA-256 of the certificate, which is what RFC 8705 section 3.1 binds to.
 */

/** Longest value looked at, in characters: a certificate in it makes it long. */
const MAX_LENGTH = 65_536;
const SHA256_HEX = /^[0-9a-fA-F]{64}$/;

/**
 * The thumbprint of the one certificate as `x5t#S256` writes it; undefined unless there is exactly one line with exactly
 * one element that has exactly one hash: with more, whose it is depends on who has added them.
 */
export function readForwardedCertificate(lines: readonly string[]): string | undefined {
  const [line, ...more] = lines;
  if (line === undefined || more.length > 0 || line.length > MAX_LENGTH) return undefined;
  const pairs = readElement(line);
  const hashes = pairs?.filter(([key]) => key.toLowerCase() === 'hash') ?? [];
  const hash = hashes.length === 1 ? hashes[0]![1] : '';
  return SHA256_HEX.test(hash) ? base64urlOfHex(hash) : undefined;
}

const PAIR = /^([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;=]*))(;|$)/s;

/** The pairs of one element; undefined where the text is anything else, a second element included. */
function readElement(text: string): readonly (readonly [key: string, value: string])[] | undefined {
  const pairs: [string, string][] = [];
  let rest = text;
  for (;;) {
    const match = PAIR.exec(rest);
    if (match === null) return undefined;
    const [whole, key, quoted, plain, end] = match as unknown as [string, string, string?, string?, string?];
    pairs.push([key, quoted?.replaceAll(/\\(.)/gs, '$1') ?? plain ?? '']);
    if (end === '') return pairs;
    rest = rest.slice(whole.length);
  }
}

/** RFC 4648 section 5 without padding, of bytes that are written in hex. */
function base64urlOfHex(hex: string): string {
  const bytes = hex.replaceAll(/../g, (byte) => String.fromCharCode(Number.parseInt(byte, 16)));
  return btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}
