/** One deadline for everything that is gathered. */

/**
 * `pending`, or `late()` when it has not settled within `remaining_ms`. Values that are there already pass through
 * without a timer, which is nearly every check.
 */
export async function within<T>(pending: T | Promise<T>, remaining_ms: number, late: () => T): Promise<T> {
  if (!(pending instanceof Promise)) return pending;
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(late()), Math.max(0, remaining_ms));
  });
  try {
    return await Promise.race([pending, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
