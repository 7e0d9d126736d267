/** Action classes: how much a wrong allow would cost. They set the staleness budget. */

/** From the least to the most consequential; the order is what "widest" means. */
export const ACTION_CLASSES = [
  'non_consequential',
  'consequential_read',
  'consequential_write',
  'irreversible_action',
  'external_commitment',
  'privileged_administration',
] as const;

export type ActionClass = (typeof ACTION_CLASSES)[number];

const rank = new Map<string, number>(ACTION_CLASSES.map((name, index) => [name, index]));

/** True when `a` is at least as consequential as `b`. */
export function atLeast(a: ActionClass, b: ActionClass): boolean {
  return rank.get(a)! >= rank.get(b)!;
}

/** The more consequential of two classes; a class is raised by this and never lowered. */
export function widest(a: ActionClass, b: ActionClass): ActionClass {
  return atLeast(a, b) ? a : b;
}

/** Staleness budgets in milliseconds. The three widest classes are 0 and stay 0: a barrier, every action. */
export interface Budgets {
  readonly consequential_read: number;
  readonly consequential_write: number;
}

/** Budget of a class in milliseconds; undefined where no mandate state is asked for. */
export function budgetOf(name: ActionClass, budgets: Budgets): number | undefined {
  switch (name) {
    case 'non_consequential':
      return undefined;
    case 'consequential_read':
      return budgets.consequential_read;
    case 'consequential_write':
      return budgets.consequential_write;
    case 'irreversible_action':
    case 'external_commitment':
    case 'privileged_administration':
      return 0;
  }
}
