/** Takes the steps of a walk, each in the model and in the product, and holds what came of it side by side. */
import { isDeepStrictEqual } from 'node:util';
import { type Answer, type Ask, type World, answer } from './model.ts';
import { type Step, type TimeStep, askOf, isTime, timeOf } from './steps.ts';

/** What the product calls the things that the model counts. */
export interface Names {
  readonly mandates: string[];
  readonly proposals: { readonly id: string; readonly hash: string }[];
  readonly uses: string[];
}

/** An answer of the product, in the model's words. `flaw`: what is wrong with it whatever was asked. */
export type Seen = { readonly flaw?: string | undefined } & (
  | {
      readonly ok: true;
      readonly mandate?: string | undefined;
      readonly proposal?: Names['proposals'][number] | undefined;
      readonly use?: string | undefined;
      readonly state?: string | undefined;
      readonly version?: number | undefined;
      readonly cascaded?: number | undefined;
    }
  | { readonly ok: false; readonly reason: string }
);

export interface Product<Looked> {
  readonly send: (ask: Ask, world: World, names: Names) => Promise<Seen>;
  /** All that there is to see, after these were asked. */
  readonly look: (world: World, names: Names, asks: readonly Ask[]) => Promise<Looked>;
  /** How the model differs from it; takes over into the world what only the product can know. */
  readonly compare: (world: World, names: Names, looked: Looked) => string | undefined;
}

/** Why the product's answer is not the model's; nothing where it is. Names what was made. */
function differs(expected: Answer, seen: Seen, names: Names): string | undefined {
  const wrong = `${JSON.stringify(expected)} was answered ${JSON.stringify(seen)}`;
  if (seen.flaw !== undefined) return wrong;
  if (!expected.ok || !seen.ok)
    return !expected.ok && !seen.ok && expected.reasons.includes(seen.reason) ? undefined : wrong;
  const { mandate, proposal, use, ...told } = expected;
  if (mandate !== undefined) names.mandates[mandate] ??= seen.mandate!;
  if (proposal !== undefined) names.proposals[proposal] ??= seen.proposal!;
  if (use !== undefined) names.uses[use] ??= seen.use!;
  const wanted = {
    ...told,
    ...(mandate === undefined ? {} : { mandate: names.mandates[mandate] }),
    ...(proposal === undefined ? {} : { proposal: names.proposals[proposal] }),
    ...(use === undefined ? {} : { use: names.uses[use] }),
  };
  const actual = Object.fromEntries(Object.keys(wanted).map((key) => [key, seen[key as keyof typeof seen]]));
  return isDeepStrictEqual(actual, wanted) ? undefined : wrong;
}

interface Taken {
  readonly world: World;
  readonly names: Names;
}

type Candidate = Taken & { readonly wrong: string | undefined };

/** The asks in the order given, in a world of their own. */
function taken({ world, names }: Taken, order: readonly (readonly [Ask, Seen])[]): Candidate {
  const next = structuredClone({ world, names });
  const wrong = order.map(([ask, seen]) => differs(answer(next.world, ask), seen, next.names));
  return { ...next, wrong: wrong.find((each) => each !== undefined) };
}

/** The asks of a step, in the order in which they are sent. */
function asksOf(step: Exclude<Step, TimeStep>, world: World, before: Ask[]): readonly Ask[] {
  const asks: Ask[] = [];
  for (const each of step.do === 'both' ? [step.first, step.second] : [step]) {
    const ask = askOf(each, world, before, asks[0]);
    if (ask === undefined) continue;
    before.push(ask);
    asks.push(ask);
  }
  return asks;
}

/**
 * Takes the whole walk. Two at once may have come in either order, and what tells the orders apart may be seen only
 * later: all that is possible is kept. A failure tells each ask up to the one that failed, and what was answered.
 */
export async function walk<Looked>(
  steps: readonly Step[],
  now: number,
  product: Product<Looked>,
): Promise<void> {
  let possible: readonly Taken[] = [
    {
      world: { now, mandates: [], proposals: [], uses: [] },
      names: { mandates: [], proposals: [], uses: [] },
    },
  ];
  const before: Ask[] = [];
  const story: string[] = [];
  /** Keeps what the product agrees with. */
  const settle = async (candidates: readonly Candidate[], asks: readonly Ask[]): Promise<void> => {
    const answered = candidates.filter(({ wrong }) => wrong === undefined);
    const wrong = candidates.map((each) => each.wrong).filter((each) => each !== undefined);
    const [first] = answered;
    const looked = first && (await product.look(first.world, first.names, asks));
    possible = answered.filter(({ world, names }) => {
      const error = product.compare(world, names, looked!);
      if (error !== undefined) wrong.push(error);
      return error === undefined;
    });
    if (possible.length === 0) throw new Error([...story, wrong.join('\nnor ')].join('\n'));
    possible = possible.filter((each, index) => !isKnown(each, possible.slice(0, index)));
  };
  for (const step of steps) {
    const { world, names } = possible[0]!;
    if (isTime(step)) {
      const moment = timeOf(step, world);
      for (const each of possible) each.world.now = moment;
      story.push(`at ${new Date(moment).toISOString()}`);
      await settle(
        possible.map((each) => taken(each, [])),
        [],
      );
      continue;
    }
    const asks = asksOf(step, world, before);
    if (asks.length === 0) continue;
    const seen = await Promise.all(
      asks.map(async (ask) => [ask, await product.send(ask, world, names)] as const),
    );
    story.push(...seen.map(([ask, each]) => `${JSON.stringify(ask)} → ${JSON.stringify(each)}`));
    const orders = seen.length > 1 ? [seen, seen.toReversed()] : [seen];
    await settle(
      possible.flatMap((each) => orders.map((order) => taken(each, order))),
      asks,
    );
  }
}

/** The same as one of these. Where two things were made in another order only what they are called differs. */
function isKnown({ world, names }: Taken, known: readonly Taken[]): boolean {
  return known.some((each) => !isDeepStrictEqual(each.names, names) || isDeepStrictEqual(each.world, world));
}

/** The same walks every time, so that a change is judged by itself; `TWIN_RUNS=5000` walks as many new ones. */
export function extent(usual: number): { readonly numRuns: number; readonly seed?: number } {
  const asked = process.env['TWIN_RUNS'];
  return asked === undefined ? { numRuns: usual, seed: 20261124 } : { numRuns: Number(asked) };
}
