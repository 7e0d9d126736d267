/** Who may change mandates where nobody has said otherwise. Folders of `policies.control` add to this. */
export const CONTROL_DEFAULTS = `
@id("operator")
permit (principal == Operator::"local", action, resource);

@id("to-see")
permit (principal, action in Action::"seeing", resource)
when { context.is_subject || context.is_approver || context.is_agent || context.is_above };

@id("to-propose-for-itself")
permit (principal, action in [Action::"mandate.propose", Action::"mandate.renew"], resource)
when { context.is_agent };

@id("subject-consents")
permit (principal is User, action in [Action::"mandate.approve", Action::"mandate.deny"], resource)
when { context.is_subject || context.is_approver };

@id("to-narrow-and-to-end")
permit (principal is User, action in Action::"narrowing", resource)
when { context.is_subject || context.is_approver };

@id("approver-gives-back")
permit (principal is User, action in Action::"approving", resource)
when { context.is_approver };

@id("one-action")
permit (principal is User, action in [Action::"action.approve", Action::"decision.settle"], resource)
when { context.is_subject || context.is_approver };

@id("to-delegate")
permit (principal, action == Action::"mandate.derive", resource)
when { context.is_agent || context.is_approver };
`;
