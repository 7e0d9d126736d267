/** One action for each class, with budgets so small that a test can wait for their end. */

/** By what a native question names: how old its view may be. */
export const BUDGETS_MS = { 'repo.push': 0, 'repo.write': 1000, 'repo.read': 1500 } as const;
export type Action = keyof typeof BUDGETS_MS;
export const ACTIONS = Object.keys(BUDGETS_MS) as readonly Action[];

export const actions_yaml = `operations:
  - { match: { tool: repo.push }, class: irreversible_action }
  - { match: { tool: repo.write }, class: consequential_write }
  - { match: { tool: repo.read }, class: consequential_read }
`;

export const budgets_yaml = `{ consequential_read: ${BUDGETS_MS['repo.read']}ms, consequential_write: ${BUDGETS_MS['repo.write']}ms }`;

/** A sidecar that says nothing may decide from what it holds for so long: the widest budget. */
export const LEASE_MS = Math.max(...Object.values(BUDGETS_MS));
