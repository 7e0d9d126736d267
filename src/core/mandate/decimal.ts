/** Exact decimals (draft-mcguinness-oauth-mission, "Common Constraints"): scaled integers, never binary floating point. */

const DECIMAL = /^(\d{1,64})(?:\.(\d{1,18}))?$/;

/** True for a ceiling or an amount: digits, and up to 18 after the point; no sign, no exponent. */
export function isAmount(text: string): boolean {
  return DECIMAL.test(text);
}

/** -1, 0 or 1 as `a` is less than, equal to or more than `b`; both as `isAmount` accepts them. */
export function compareAmounts(a: string, b: string): number {
  const [left, right] = [scaled(a), scaled(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

const SCALE = 18;

function scaled(text: string): bigint {
  const [whole, fraction = ''] = text.split('.') as [string, string?];
  return BigInt(whole + fraction.padEnd(SCALE, '0'));
}

/** The exact sum of two amounts. */
export function addAmounts(a: string, b: string): string {
  return written(scaled(a) + scaled(b));
}

/** The exact difference, never below zero. */
export function subtractAmounts(a: string, b: string): string {
  const difference = scaled(a) - scaled(b);
  return written(difference < 0n ? 0n : difference);
}

function written(value: bigint): string {
  const digits = value.toString().padStart(SCALE + 1, '0');
  const fraction = digits.slice(-SCALE).replace(/0+$/, '');
  return `${digits.slice(0, -SCALE)}${fraction === '' ? '' : `.${fraction}`}`;
}
