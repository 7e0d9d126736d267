/**
 * What an allowed request carries on: the complete set of identity headers, each either set by us or listed for
 * removal, so that none that a client has sent survives.
 */
import { currentActor } from '../core/actors.ts';
import type { RecordedDecision } from '../core/decision.ts';
import type { HttpRequest } from '../core/request.ts';

export interface IdentitySource {
  /** Names of the configured issuers. */
  readonly realms: ReadonlyMap<string, string>;
  /** Upstream origins of our own domain, which may see `Mission-Reference`. */
  readonly forward_reference: readonly string[];
  /** Scheme of the resources behind the proxy. */
  readonly scheme: string;
}

const IDENTITY_HEADERS = [
  'x-mandate-decision',
  'x-mandate-id',
  'x-mandate-version',
  'x-mandate-subject',
  'x-mandate-actor',
  'x-mandate-lineage',
  'x-mandate-parent',
] as const;

type IdentityHeader = (typeof IDENTITY_HEADERS)[number];

/** Servers that map `-` to `_` would read these as ours: every mix of the two, but the names themselves. */
const ALIASES = IDENTITY_HEADERS.flatMap((name) => {
  const last = name.slice('x-mandate-'.length);
  return ['x_mandate_', 'x_mandate-', 'x-mandate_'].map((prefix) => prefix + last);
});

export function allowHeaders(
  decision: RecordedDecision,
  request: HttpRequest,
  source: IdentitySource,
): Record<string, string> {
  const identity = identityOf(decision, source);
  const remove = new Set<string>(ALIASES);
  for (const name of IDENTITY_HEADERS) if (identity[name] === undefined) remove.add(name);
  for (const name of shownVariants(request.headers)) if (!(name in identity)) remove.add(name);
  if (!maySeeReference(request, source)) remove.add('mission-reference');
  return { ...identity, 'x-envoy-auth-headers-to-remove': [...remove].join(',') };
}

function identityOf(
  decision: RecordedDecision,
  { realms }: IdentitySource,
): Partial<Record<IdentityHeader, string>> {
  const { credential, mandate, decision_id } = decision;
  const identity: Partial<Record<IdentityHeader, string>> = { 'x-mandate-decision': decision_id };
  if (credential.verdict === 'usable') {
    const { issuer = '', subject = '', client_id = '', actors = [] } = credential;
    const actor = currentActor({ issuer, client_id, actors });
    identity['x-mandate-subject'] = visible(`${realms.get(issuer) ?? ''}/${subject}`);
    identity['x-mandate-actor'] = visible(`${realms.get(actor.iss) ?? ''}/${actor.sub}`);
  }
  if (mandate.verdict === 'legitimate') {
    const lineage = mandate.lineage!;
    identity['x-mandate-id'] = mandate.id!;
    identity['x-mandate-version'] = String(mandate.version);
    identity['x-mandate-lineage'] = lineage.join(',');
    const parent = lineage.at(-2);
    if (parent !== undefined) identity['x-mandate-parent'] = parent;
  }
  return identity;
}

/** Percent-encoded UTF-8 beyond visible ASCII; `%` as well, so that two subjects never look alike. */
function visible(text: string): string {
  return text.replace(/[^\x21-\x24\x26-\x7e]+/gu, (part) => {
    return [...Buffer.from(part, 'utf8')]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join('');
  });
}

/** How many headers of the request read like one of ours. */
export function countVariants(headers: readonly string[]): number {
  return [...shownVariants(headers)].length;
}

/** Every header of the request that reads like one of ours, in any mix of `-`, `_` and case. */
function* shownVariants(headers: readonly string[]): Iterable<string> {
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!.toLowerCase();
    if (/^x[-_]mandate(?:[-_]|$)/.test(name)) yield name;
  }
}

function maySeeReference(request: HttpRequest, { forward_reference, scheme }: IdentitySource): boolean {
  if (forward_reference.length === 0) return false;
  const host = (request.host ?? '').toLowerCase().replace(scheme === 'https' ? /:443$/ : /:80$/, '');
  return forward_reference.includes(`${scheme}://${host}`);
}
