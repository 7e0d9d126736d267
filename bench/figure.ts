/** What a bench takes and gives. */

export interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
}

export interface BenchOptions {
  /** Seconds instead of minutes: asserts the answers, and its times are worth little. */
  readonly isShort: boolean;
}
