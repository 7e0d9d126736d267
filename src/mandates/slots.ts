/**
 * Two-slot coalescing: one call in flight and one pending. Whoever comes joins the pending one, never the one in
 * flight, which may have been answered already before what the newcomer must see (design/3, Barrier).
 */
export interface Slots<Want, Answer> {
  readonly ask: (want?: Want) => Promise<Answer>;
}

interface Slot<Want, Answer> {
  readonly wants: Set<Want>;
  readonly answer: PromiseWithResolvers<Answer>;
  waiting: number;
}

/** Rejects what `run` rejects. `onRun` is told how many had joined a call: for the metrics. */
export function createSlots<Want, Answer>(
  run: (wants: ReadonlySet<Want>) => Promise<Answer>,
  onRun: (joined: number) => void = () => undefined,
): Slots<Want, Answer> {
  let pending: Slot<Want, Answer> | undefined;
  let isFlying = false;
  const launch = (): void => {
    const slot = pending;
    if (slot === undefined) return;
    pending = undefined;
    isFlying = true;
    onRun(slot.waiting);
    run(slot.wants)
      .then(slot.answer.resolve, slot.answer.reject)
      .finally(() => {
        isFlying = false;
        launch();
      });
  };
  return {
    ask: (want) => {
      pending ??= { wants: new Set(), answer: Promise.withResolvers(), waiting: 0 };
      const slot = pending;
      slot.waiting += 1;
      if (want !== undefined) slot.wants.add(want);
      if (!isFlying) launch();
      return slot.answer.promise;
    },
  };
}
