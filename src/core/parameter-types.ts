/** The types that parameters can have, and how a value comes to be of one. */
import type { Json } from './json.ts';

export const PARAMETER_TYPES = ['string', 'long', 'boolean', 'decimal', 'strings'] as const;
export type ParameterType = (typeof PARAMETER_TYPES)[number];

export type ParameterValue =
  | { readonly type: 'string' | 'decimal'; readonly value: string }
  | { readonly type: 'long'; readonly value: number }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'strings'; readonly value: readonly string[] };

export type ParameterValues = Readonly<Record<string, ParameterValue>>;

export function typedJson(json: Json, type: ParameterType): ParameterValue | undefined {
  switch (type) {
    case 'string':
      return typeof json === 'string' ? { type, value: json } : undefined;
    case 'decimal':
      // A JSON number would have passed through binary floating point.
      return typeof json === 'string' ? typedText(json, type) : undefined;
    case 'long':
      return Number.isSafeInteger(json) ? { type, value: json as number } : undefined;
    case 'boolean':
      return typeof json === 'boolean' ? { type, value: json } : undefined;
    case 'strings':
      return isStrings(json) ? { type, value: json } : undefined;
  }
}

export function typedText(text: string, type: ParameterType): ParameterValue | undefined {
  switch (type) {
    case 'string':
      return { type, value: text };
    case 'decimal':
      return isDecimal(text) ? { type, value: text } : undefined;
    case 'long':
      return /^-?\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))
        ? { type, value: Number(text) }
        : undefined;
    case 'boolean':
      return text === 'true' || text === 'false' ? { type, value: text === 'true' } : undefined;
    case 'strings':
      return { type, value: text.split(',').map((part) => part.trim()) };
  }
}

export function byJsonType(json: Json): ParameterValue | undefined {
  if (typeof json === 'string') return { type: 'string', value: json };
  if (typeof json === 'boolean') return { type: 'boolean', value: json };
  if (Number.isSafeInteger(json)) return { type: 'long', value: json as number };
  return isStrings(json) ? { type: 'strings', value: json } : undefined;
}

function isStrings(json: Json): json is readonly string[] {
  return Array.isArray(json) && json.every((item) => typeof item === 'string');
}

const DECIMAL = /^(-?)(\d{1,64})(?:\.(\d{1,64}))?$/;

function isDecimal(text: string): boolean {
  return DECIMAL.test(text);
}

/** True when Cedar's decimal (four fractional digits, 64 bits) holds the number exactly. */
export function fitsCedarDecimal(text: string): boolean {
  const match = DECIMAL.exec(text);
  const fraction = match?.[3] ?? '';
  if (match === null || /[1-9]/.test(fraction.slice(4))) return false;
  const scaled = BigInt(match[2]! + fraction.slice(0, 4).padEnd(4, '0'));
  return scaled <= (match[1] === '-' ? 2n ** 63n : 2n ** 63n - 1n);
}
