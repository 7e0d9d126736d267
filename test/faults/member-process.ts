/** A sidecar's store in a process of its own. Told over IPC what to do; `argv[2]` is the folder whose `src` it runs. */
import { type MemberApi, createMemberApi } from './member-api.ts';

const api = await createMemberApi(process.argv[2]!);

export interface Asked {
  readonly call: number;
  readonly name: keyof MemberApi;
  readonly args: readonly unknown[];
}

export type Told =
  { readonly call: number; readonly value: unknown } | { readonly call: number; readonly error: string };

async function answer({ call, name, args }: Asked): Promise<void> {
  const act = api[name] as (...given: readonly unknown[]) => Promise<unknown>;
  const told: Told = await act(...args).then(
    (value) => ({ call, value }),
    (error: unknown) => ({ call, error: String(error) }),
  );
  process.send!(told);
}

process.on('message', (asked: Asked) => void answer(asked));
process.on('disconnect', () => process.exit());
process.send!({ call: 0, value: 'ready' } satisfies Told);
