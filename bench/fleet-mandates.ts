/** The mandates of `fleet`: trees of depth 0 to 3, the same ones whatever their number. */
import type { MandateStore } from '../src/check/ports.ts';
import type { AuthorityEntry, MandateRecord } from '../src/core/mandate/record.ts';
import { AS, GIT } from '../test/support/sidecar.ts';
import { PURPOSES } from './fleet-rules.ts';
import { approve, openStore, write } from './store.ts';

/** How many mandates each generation of a tree has; trees take these shapes in turn. */
const SHAPES = [[1, 4, 8, 12], [1, 3, 6], [1, 3], [1]] as const;
/** Mandates of one tree of each shape. */
const GROVE = SHAPES.flat().reduce((sum, width) => sum + width, 0);
/** Writes under way at once: enough to fill its commits, and fewer than the store refuses. */
const IN_FLIGHT = 1024;
const LIFETIME_MS = 8 * 3_600_000;

interface Seedling {
  readonly id: string;
  readonly parent: string | undefined;
  readonly tree: number;
  readonly depth: number;
  readonly client_id: string;
  /** All clients below the root, where a child may still follow. */
  readonly delegates: readonly string[];
  /** Generations that may still follow in this tree. */
  readonly below: number;
}

/** What a request and its token need to know of a mandate. */
export interface Planted {
  readonly id: string;
  readonly issuer: string;
  readonly authority_hash: string;
  readonly subject: string;
  readonly client_id: string;
  readonly depth: number;
  /** Path of the repository that it is about. */
  readonly repository: string;
}

export interface Fleet {
  readonly mandates: readonly Planted[];
  /** One more tree, of the deepest shape, root first: for what is not to be allowed. */
  readonly spare: readonly Planted[];
}

/** Ids as long as those that are drawn. */
export function mandateId(tree: number, place: number): string {
  return `msn_${`${tree}_${place}`.padStart(24, '0')}`;
}

/** Straight into the store's file, generation by generation: through a door it would take many times as long. */
export async function plantFleet(folder: string, count: number): Promise<Fleet> {
  if (count % GROVE !== 0) throw new Error(`${count} mandates do not make whole groves of ${GROVE}`);
  const trees = (count / GROVE) * SHAPES.length;
  const seedlings = Array.from({ length: trees + 1 }, (_, tree) => seedTree(tree)).flat();
  const store = await openStore(folder);
  const planted = new Map<string, Planted>();
  for (const depth of SHAPES[0].keys()) {
    const generation = seedlings.filter((seedling) => seedling.depth === depth);
    await inFlight(generation, async (seedling) => {
      planted.set(seedling.id, summary(seedling, await plant(store, seedling)));
    });
  }
  await store.close();
  const all = seedlings.map(({ id }) => planted.get(id)!);
  return { mandates: all.slice(0, count), spare: all.slice(count) };
}

function seedTree(tree: number): readonly Seedling[] {
  const shape: readonly number[] = SHAPES[tree % SHAPES.length]!;
  const first = shape.map((_, depth) => shape.slice(0, depth).reduce((sum, width) => sum + width, 0));
  const total = shape.reduce((sum, width) => sum + width, 0);
  const client = (place: number): string => `agent-${tree}-${place}`;
  const delegates = Array.from({ length: total - 1 }, (_, place) => client(place + 1));
  return shape.flatMap((width, depth) => {
    return Array.from({ length: width }, (_, index) => {
      const place = first[depth]! + index;
      const parent =
        depth === 0 ? undefined : mandateId(tree, first[depth - 1]! + (index % shape[depth - 1]!));
      const below = shape.length - 1 - depth;
      return { id: mandateId(tree, place), parent, tree, depth, client_id: client(place), delegates, below };
    });
  });
}

async function inFlight<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
  const rest = items.values();
  const workers = Array.from({ length: IN_FLIGHT }, async () => {
    for (const item of rest) await work(item);
  });
  await Promise.all(workers);
}

async function plant(store: MandateStore, seedling: Seedling): Promise<MandateRecord> {
  const { id, parent, tree, client_id } = seedling;
  const authorization_details = authorityOf(seedling);
  const subject = { iss: AS, sub: subjectOf(tree) };
  if (parent === undefined) {
    const intent = {
      goal: `Keep ${repositoryOf(tree)} in shape`,
      resources: authorization_details.map(({ resource }) => resource),
      purpose: PURPOSES[tree % PURPOSES.length]!,
      expires_at: new Date(Date.now() + LIFETIME_MS).toISOString(),
    };
    return approve(store, id, { intent, authorization_details, subject, client_id });
  }
  const derived = await write(store, {
    kind: 'derive',
    parent,
    mandate_id: id,
    client_id,
    authorization_details,
    policy_version: 'v',
    by: subject,
    at_ms: Date.now(),
  });
  return derived.mandate!;
}

/** The tree's own repository, and one that all may read. */
function authorityOf({ tree, depth, below, delegates }: Seedling): readonly AuthorityEntry[] {
  const handed =
    below === 0
      ? {}
      : {
          delegation: {
            max_depth: depth + below,
            allowed_delegates: delegates.map((sub) => {
              return { sub };
            }),
          },
        };
  const common = { type: 'mission_resource_access', resource_match: 'prefix', ...handed } as const;
  return [
    { ...common, resource: GIT + repositoryOf(tree), actions: ['repo.*'] },
    { ...common, resource: `${GIT}/repos/example/handbook`, actions: ['repo.read'] },
  ];
}

function subjectOf(tree: number): string {
  return `user-${tree}`;
}

function repositoryOf(tree: number): string {
  return `/repos/example/app-${tree}`;
}

function summary({ tree, depth }: Seedling, record: MandateRecord): Planted {
  const { id, issuer, authority_hash, client_id } = record;
  return {
    id,
    issuer,
    authority_hash,
    subject: subjectOf(tree),
    client_id,
    depth,
    repository: repositoryOf(tree),
  };
}
