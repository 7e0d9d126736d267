/** Calls that wait for the writer: bounded in number and in time. */

/** More are refused, since memory is not a queue. */
const MAX_WAITING = 4096;
/** After this the outcome is unknown to the caller, who repeats the call under the same nonce. */
const TIMEOUT_MS = 10_000;

export interface Calls<Answer> {
  /** Sends under a fresh number and resolves with the answer, or with `refused` and why there was none. */
  readonly ask: (send: (call: number) => void, refused: (detail: string) => Answer) => Promise<Answer>;
  readonly settle: (call: number, answer: Answer) => void;
  readonly settleAll: (answer: Answer) => void;
}

export function createCalls<Answer>(): Calls<Answer> {
  const waiting = new Map<number, (answer: Answer) => void>();
  let last = 0;
  const settle = (call: number, answer: Answer): void => {
    waiting.get(call)?.(answer);
    waiting.delete(call);
  };
  return {
    ask: (send, refused) => {
      if (waiting.size >= MAX_WAITING) return Promise.resolve(refused('too many calls are waiting'));
      return new Promise((resolve) => {
        const call = (last += 1);
        const timer = setTimeout(
          () => settle(call, refused('the store did not answer in time; the outcome is unknown')),
          TIMEOUT_MS,
        );
        waiting.set(call, (answer) => {
          clearTimeout(timer);
          resolve(answer);
        });
        send(call);
      });
    },
    settle,
    settleAll: (answer) => {
      for (const call of waiting.keys()) settle(call, answer);
    },
  };
}
