/** The moments at which a question is asked, and where. */

export const CHECK_POINTS = [
  'request',
  'tool',
  'resume',
  'retry',
  'delegate',
  'issue',
  'refresh',
  'drain',
  'renew',
  'commit',
] as const;
export type CheckPoint = (typeof CHECK_POINTS)[number];

interface PointRow {
  /** Something is done on an allow, so that it is charged and remembered. */
  readonly is_acting: boolean;
  /** A trusted caller may ask on its own: nothing is done yet, so nobody acts under a credential. */
  readonly is_vouched: boolean;
  /** Asks about the mandate itself and not about an action under it: entries and policies are not asked. */
  readonly is_about_mandate: boolean;
}

/** The check points (design/2, The check points). `renew` and `commit` speak of a decision that was given before. */
export const POINTS: Readonly<Record<CheckPoint, PointRow>> = {
  request: { is_acting: true, is_vouched: false, is_about_mandate: false },
  tool: { is_acting: true, is_vouched: false, is_about_mandate: false },
  resume: { is_acting: false, is_vouched: true, is_about_mandate: false },
  retry: { is_acting: false, is_vouched: true, is_about_mandate: false },
  delegate: { is_acting: false, is_vouched: true, is_about_mandate: true },
  issue: { is_acting: false, is_vouched: true, is_about_mandate: true },
  refresh: { is_acting: false, is_vouched: true, is_about_mandate: true },
  drain: { is_acting: false, is_vouched: true, is_about_mandate: false },
  renew: { is_acting: true, is_vouched: false, is_about_mandate: false },
  commit: { is_acting: false, is_vouched: false, is_about_mandate: false },
};

export type Door = 'envoy' | 'native';
