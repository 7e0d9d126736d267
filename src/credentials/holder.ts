/** Whether whoever shows a token is its holder: what it is bound to must be proven, and a bound one is no bearer token. */
import type { CredentialFact, SenderConstraint, ShownToken } from '../core/credential.ts';
import type { Instant } from '../core/time.ts';
import { type Verified, unusable } from './claims.ts';
import type { ProofResult, VerifyProof } from './proof.ts';

/** At once where there is no proof to verify. */
export function confirmHolder(
  verified: Verified,
  shown: ShownToken,
  verifyProof: VerifyProof,
  at: Instant,
): CredentialFact | Promise<CredentialFact> {
  const fault = bindingFault(verified, shown);
  if (fault !== undefined) return unusable(fault);
  const { issuer, confirmation, credential } = verified;
  const { jkt, certificate_sha256 } = confirmation;
  const by_certificate: readonly SenderConstraint[] = certificate_sha256 === undefined ? [] : ['mtls'];
  if (jkt === undefined)
    return by_certificate.length === 0 ? credential : { ...credential, bound_by: by_certificate };
  return verifyProof(shown, jkt, issuer, at).then((result) =>
    result.kind === 'proven' ? { ...credential, bound_by: ['dpop', ...by_certificate] } : refusal(result),
  );
}

/** What is wrong before any proof is looked at: RFC 9449 sections 7.1 and 7.2, RFC 8705 section 3. */
function bindingFault(
  { issuer, confirmation }: Verified,
  { scheme, beside }: ShownToken,
): string | undefined {
  const { jkt, certificate_sha256 } = confirmation;
  if (jkt !== undefined && issuer.dpop === 'off')
    return 'the token is bound to a key, and proofs are not checked';
  if (jkt !== undefined && scheme === 'bearer')
    return 'the token is bound to a key, and was shown as a bearer token';
  if (jkt === undefined && scheme === 'dpop')
    return 'the token is bound to no key, and was shown with a proof';
  if (jkt === undefined && issuer.dpop === 'required') return 'tokens of this issuer must be bound to a key';
  if (certificate_sha256 === undefined) return undefined;
  if (!issuer.is_mtls_checked) return 'the token is bound to a certificate, and certificates are not checked';
  return certificate_sha256 === beside.certificate_sha256
    ? undefined
    : 'the token is bound to another certificate than the client has shown';
}

function refusal(result: Exclude<ProofResult, { kind: 'proven' }>): CredentialFact {
  switch (result.kind) {
    case 'invalid':
      return { ...unusable(result.detail), proof: { error: 'invalid_dpop_proof' } };
    case 'nonce_needed':
      return {
        ...unusable('the proof needs the nonce that comes with this answer'),
        proof: { error: 'use_dpop_nonce', nonce: result.nonce },
      };
    case 'unknown':
      return { verdict: 'unverifiable', detail: result.detail };
  }
}
