# A sample policy over mandates, in Rego. It answers as policies/cedar does, so that either engine, or both, can be tried.
#
# `bundle.tar.gz` is built from this file, here in its folder:
#
#   opa build -t wasm -e mandated/allow -o bundle.tar.gz mandated.rego
#
# Its answer is `{allow, reasons}`: allowed by at least one of `permits`, and forbidden by none of `forbids`.
# The times of `input` are compared by their `_ms` numbers; `time.parse_rfc3339_ns` is not available in WebAssembly.
package mandated

allow := {"allow": true, "reasons": permits} if {
	count(permits) > 0
	count(forbids) == 0
} else := {"allow": false, "reasons": forbids}

mandate := input.context.mandate

remaining_ms := mandate.expires_at_ms - input.context.now_ms

permits contains "read-while-it-lasts" if {
	input.action.class == "consequential_read"
	remaining_ms > 0
}

permits contains "release-push" if {
	input.action.name == "repo.push"
	mandate.purpose == "urn:example:purpose:release"
	input.principal.depth <= 2
}

# A child's lineage holds its ancestors too: money is sent under the mandate that a person approved, or not at all.
permits contains "payment-by-the-root" if {
	input.action.name == "payments.send"
	count(mandate.lineage) == 1
}

permits contains "health" if {
	input.action.name == "health.read"
	input.action.class == "non_consequential"
}

# A policy can demand more than the mandate does: nothing that cannot be undone is begun in the last minute.
forbids contains "last-minute" if {
	input.action.class in {"irreversible_action", "external_commitment", "privileged_administration"}
	remaining_ms < 60000
}
