/** Times. Nothing here reads a clock: instants come in as arguments. */

/** One moment by two clocks. `mono_ms` stops while a machine sleeps; `wall_ms` can be set by anyone. */
export interface Instant {
  readonly wall_ms: number;
  readonly mono_ms: number;
}

export type Now = () => Instant;

/** Milliseconds from `then` to `at` by whichever clock says more: a jump can only make a view look older. */
export function elapsed(then: Instant, at: Instant): number {
  return Math.max(at.mono_ms - then.mono_ms, at.wall_ms - then.wall_ms, 0);
}

const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/;

/** RFC 3339 section 5.6 date-time to epoch milliseconds; undefined when it is not one, or no such day exists. */
export function parseTime(text: string): number | undefined {
  const match = RFC3339.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59) return undefined;
  const fraction = match[7] === undefined ? 0 : Math.trunc(Number(match[7]) * 1000);
  const utc = Date.UTC(year, month - 1, day, hour, minute, second, fraction);
  // Date.UTC reads years below 100 as 19xx, and rolls 30 February over.
  if (year < 1000 || new Date(utc).getUTCDate() !== day) return undefined;
  const zone = match[8]!;
  if (zone === 'Z' || zone === 'z') return utc;
  const [zoneHour, zoneMinute] = [Number(zone.slice(1, 3)), Number(zone.slice(4, 6))];
  if (zoneHour > 23 || zoneMinute > 59) return undefined;
  const offset = (zoneHour * 60 + zoneMinute) * 60_000;
  return zone.startsWith('+') ? utc - offset : utc + offset;
}

const EARLIEST_MS = Date.parse('0001-01-01T00:00:00.000Z');
const LATEST_MS = Date.parse('9999-12-31T23:59:59.999Z');

/** The nearest instant that RFC 3339 can write, in whole milliseconds: an end that cannot be read is minus infinity. */
export function clampTime(wall_ms: number): number {
  return Math.trunc(Math.min(Math.max(wall_ms, EARLIEST_MS), LATEST_MS));
}

/** Epoch milliseconds as RFC 3339 in UTC with milliseconds; clamped, so that it never throws. */
export function formatTime(wall_ms: number): string {
  return new Date(clampTime(wall_ms)).toISOString();
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration as configuration writes it (`250ms`, `2s`, `5m`, `1h`) in milliseconds. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * UNIT_MS[match[2]!]!;
}

const ISO_DURATION = /^P(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?$/;

/** An ISO 8601 duration of days, hours, minutes and seconds in milliseconds; years and months have no fixed length. */
export function parseIsoDuration(text: string): number | undefined {
  const match = ISO_DURATION.exec(text);
  if (match === null || !/\d/.test(text) || text.endsWith('T')) return undefined;
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ];
  return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000;
}
