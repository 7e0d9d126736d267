/**
 * Resource URIs and request targets, split by hand: a WHATWG parser would read `//admin/x` as a host, turn `\` into
 * `/`, and drop tabs, so that the judged path and the served path part ways.
 */

export type Refused = { readonly refused: string };

/** The parts that are compared, normalised as RFC 3986 section 6.2.2 and 6.2.3 (case, percent, default port). */
export interface ResourceUri {
  /** What the URIs below it begin with; undefined of an opaque one, which has none. */
  readonly below: string | undefined;
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  /** The whole, as policies and decisions show it. */
  readonly uri: string;
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443', ws: '80', wss: '443' };
const HIERARCHICAL = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$/s;
const OPAQUE = /^([A-Za-z][A-Za-z0-9+.-]*):([^\s?#]+)$/;
const HOST =
  /^(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*)$/;

/** Longest URI accepted anywhere, in characters. */
export const MAX_URI_LENGTH = 8192;

/** `host[:port]` in lower case without the scheme's default port; a trailing dot or anything unusual is refused. */
export function normaliseAuthority(authority: string, scheme: string): string | Refused {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(authority.toLowerCase());
  if (match === null || !HOST.test(match[1]!)) return { refused: 'the host is not a plain host name' };
  const port = match[2]?.replace(/^0+(?=\d)/, '');
  if (port !== undefined && Number(port) > 65535) return { refused: 'the port is out of range' };
  return port === undefined || port === DEFAULT_PORTS[scheme] ? match[1]! : `${match[1]!}:${port}`;
}

const UNRESERVED = /^[A-Za-z0-9._~-]$/;

/** No escape, nothing doubtful, and dots are looked at apart: what nearly every request looks like. */
const PLAIN_PATH = /^[A-Za-z0-9/._~!$&'()*+,=:@-]*$/;
const DOT_SEGMENT = /\/\.{1,2}(?:\/|$)/;
/** How often an escape of an escape is undone: servers behind proxies were seen to decode twice. */
const DECODE_LAYERS = 4;

/** Why a path could be read in two ways by two parties on its way, or undefined. Checked before normalising. */
function ambiguity(path: string): string | undefined {
  if (path.includes('//')) return 'the path has an empty segment';
  if (DOT_SEGMENT.test(path)) return 'the path has a dot segment';
  if (PLAIN_PATH.test(path)) return undefined;
  if (/[^\x21-\x7e]/.test(path))
    return 'the path has a space, a control character or a byte that is not ASCII';
  const delimiter = /[\\;#?]/.exec(path);
  if (delimiter !== null) return `the path has a \`${delimiter[0]}\``;
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return 'the path has a bad percent escape';
  for (const segment of path.split('/')) {
    const why = segment.includes('%') ? hiddenInEscapes(segment) : undefined;
    if (why !== undefined) return why;
  }
  return undefined;
}

function hiddenInEscapes(segment: string): string | undefined {
  let layer = segment;
  for (let depth = 0; depth < DECODE_LAYERS; depth += 1) {
    let decoded: string;
    try {
      decoded = decodeURIComponent(layer);
    } catch {
      return depth === 0 ? 'the path has percent-encoded bytes that are not UTF-8' : undefined;
    }
    // Some servers cut a segment at `;` before they resolve dots, and decode before they cut.
    const name = decoded.split(';', 1)[0];
    if (name === '.' || name === '..') return 'the path has an encoded dot segment';
    if (/[/\\]/.test(decoded)) return 'the path has an encoded slash or backslash';
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    if (/[\x00-\x1f\x7f-\x9f]/.test(decoded)) return 'the path has an encoded control character';
    if (decoded === layer) return undefined;
    layer = decoded;
  }
  return 'the path is percent-encoded too many times';
}

/** Decodes what RFC 3986 section 2.3 calls unreserved and writes other escapes in upper case. */
function normalisePercent(path: string): string {
  return path.replace(/%([0-9A-Fa-f]{2})/g, (escape, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16));
    return UNRESERVED.test(char) ? char : escape.toUpperCase();
  });
}

/** The path of a request as it is judged, normalised; refused when it is ambiguous. */
export function judgePath(path: string): string | Refused {
  if (!path.startsWith('/')) return { refused: 'the target has no absolute path' };
  const why = ambiguity(path);
  return why === undefined ? normalisePercent(path) : { refused: why };
}

/**
 * A resource URI of a mandate or a question. Hierarchical URIs are normalised and must not be ambiguous; others
 * (`urn:…`) are kept byte for byte. Userinfo, query and fragment are refused: RFC 8707 section 2.
 */
export function parseResource(text: string): ResourceUri | Refused {
  if (text.length > MAX_URI_LENGTH) return { refused: `longer than ${MAX_URI_LENGTH} characters` };
  const match = HIERARCHICAL.exec(text);
  if (match === null) {
    const opaque = OPAQUE.exec(text);
    if (opaque === null || opaque[2]!.startsWith('/') || /[^\x21-\x7e]/.test(text))
      return { refused: 'not an absolute URI' };
    const scheme = opaque[1]!.toLowerCase();
    return { scheme, authority: '', path: opaque[2]!, uri: text, below: undefined };
  }
  if (match[4] !== undefined || match[5] !== undefined)
    return { refused: 'a resource has no query and no fragment' };
  const scheme = match[1]!.toLowerCase();
  const authority = normaliseAuthority(match[2]!, scheme);
  if (typeof authority !== 'string') return authority;
  const path = match[3] === '' ? '/' : judgePath(match[3]!);
  if (typeof path !== 'string') return path;
  return hierarchical(scheme, authority, path);
}

/** A resource from parts that are normalised already. */
export function hierarchical(scheme: string, authority: string, path: string): ResourceUri {
  const uri = `${scheme}://${authority}${path}`;
  return { scheme, authority, path, uri, below: uri.endsWith('/') ? uri : `${uri}/` };
}

/** True when `inner` is `base` or lies below it at a path segment; both as `parseResource` gives them. */
export function isWithin(inner: ResourceUri, { uri, below }: ResourceUri): boolean {
  if (below === undefined) return inner.uri === uri;
  // Most bases are told apart by where their last `/` is, which is cheaper to see than what is before it.
  const isAtSegment = inner.uri.charCodeAt(below.length - 1) === SLASH;
  return isAtSegment ? inner.uri.startsWith(below) : inner.uri === uri;
}

const SLASH = 47;

/** Splits an origin-form target (RFC 9112 section 3.2.1) at the first `?`; the query is kept raw. */
export function splitTarget(target: string): { path: string; query: string | undefined } {
  const at = target.indexOf('?');
  return at === -1
    ? { path: target, query: undefined }
    : { path: target.slice(0, at), query: target.slice(at + 1) };
}
