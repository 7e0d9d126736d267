/** Builds on which rows about lost history must fail: the breakage, the row, and how it shows there. */
import type { Edit } from '../support/sabotage.ts';

export interface Breakage {
  readonly edits: readonly Edit[];
  /** The test file, without `.test.ts`, and a test of it: a pattern of its name. */
  readonly row: readonly [file: string, name: string];
  /** In what the row fails with. */
  readonly shows: RegExp;
  /** Also in the short form. */
  readonly is_short?: true;
}

const REDIS = 'src/mandates/redis';
const RECOVERY = `${REDIS}/recovery.ts`;
const READ = `${REDIS}/lua/read.lua`;
const ALLOWED = /effect.*(allow|to match object \{ effect: 'deny')/s;

const REFUSED_IS_DONE: Edit = {
  file: `${REDIS}/attempt.ts`,
  find: 'if (!reply.ok) return this.#refuse(reply.why);',
  replace: `if (!reply.ok) {
        const drafts = ready.flatMap(({ prepared }) => prepared.effects.drafts);
        const last = linked(drafts, position.epoch, position.seq + 1, position.eid).at(-1) ?? position;
        return this.#settle(ready, ['OK', position.seq + 1, position.eid, position.epoch, last.seq, last.eid]);
      }`,
};

export const BREAKAGES: Readonly<Record<string, Breakage>> = {
  'a heal does not replay the outbox': {
    edits: [
      {
        file: RECOVERY,
        find: 'const events = [...lost.map(({ event }) => event), ...seen.ended];',
        replace: 'const events: MandateEvent[] = [];',
      },
    ],
    row: ['failover', 'older copy, 1 sidecars, no numbers used again'],
    shows: /allow|to be 'revoked'/s,
    is_short: true,
  },
  'a heal raises no epoch': {
    edits: [
      {
        file: RECOVERY,
        find: 'const next_epoch = isOver ? Math.max(found.head.epoch, position.epoch) + 1 : undefined;',
        replace: 'const next_epoch = isOver ? found.head.epoch : undefined;',
      },
    ],
    row: ['failover', 'older copy, 1 sidecars, no numbers used again'],
    shows: /undefined, 1 \] to deeply equal .*undefined, 2 \]/,
    is_short: true,
  },
  'whoever is awaited is not waited for': {
    edits: [
      {
        file: `${REDIS}/store.ts`,
        find: 'return awaited.length === 0 ? undefined : awaiting(awaited);',
        replace: 'return undefined && awaiting(awaited);',
      },
    ],
    row: ['awaited', 'comes first, and waits: its disk and the server name who remembers'],
    shows: ALLOWED,
    is_short: true,
  },
  'ends are not kept on disk': {
    edits: [
      {
        file: `${REDIS}/keeper.ts`,
        find: 'const isKept = await outbox.keep(endings, memory);',
        replace: 'const isKept = await outbox.keep([], memory);',
      },
    ],
    row: ['remembered', 'trimmed since is said again after a restart'],
    shows: /to be 'revoked'/,
    is_short: true,
  },
  'a place is known by its number alone': {
    edits: [
      {
        file: READ,
        find: "if eid ~= ARGV[4] then return { 'FORK', epoch, seq, eid } end",
        replace: '',
      },
      {
        file: READ,
        find: "if applied[2][6] ~= ARGV[4] then return { 'FORK', epoch, seq, eid } end",
        replace: '',
      },
      {
        file: 'src/core/replica.ts',
        find: "return entry.prev === position.eid ? 'next' : 'FORK';",
        replace: "return 'next';",
      },
    ],
    row: ['failover', 'older copy, 1 sidecars, as many numbers used again'],
    shows: /allow|to be 'revoked'/s,
    is_short: true,
  },
  'what was changed is not suspended': {
    edits: [
      {
        file: 'src/core/mandate/heal.ts',
        find: "return event.kind === 'held_up' || event.kind === 'action_approved' ? [event.id] : [];",
        replace: 'return [];',
      },
      {
        file: 'src/core/mandate/heal.ts',
        find: 'return isTerminal(event.state) ? [] : [event.id];',
        replace: 'return [];',
      },
    ],
    row: ['failover', 'older copy, 1 sidecars, no numbers used again'],
    shows: /reconcile|suspended/,
  },
  'what was spent is what the server says': {
    edits: [
      { file: 'src/core/mandate/heal.ts', find: 'mostUsed(record.usage, usage)', replace: 'record.usage' },
    ],
    row: ['failover', 'older copy, 1 sidecars, no numbers used again'],
    shows: /charged/,
  },
  'intents are asked for only later': {
    edits: [
      {
        file: `${REDIS}/engine.ts`,
        find: 'await intents.retry();\n    if (intents.waiting() === 0 && (await fleet.compared',
        replace: 'if ((await fleet.compared',
      },
    ],
    row: ['remembered', 'only the intent remembers'],
    shows: ALLOWED,
  },
  'intents are not on disk': {
    edits: [{ file: 'src/mandates/outbox/thread.ts', find: 'sql.intents.all().map(', replace: '[].map(' }],
    row: ['outbox', 'killed meanwhile'],
    shows: /did not come about: "active"/,
  },
  'intents are without bound': {
    edits: [
      {
        file: 'src/mandates/outbox/outbox.ts',
        find: 'const MOST_INTENTS = 4096;',
        replace: 'const MOST_INTENTS = 1e9;',
      },
    ],
    row: ['outbox', 'intents are bounded'],
    shows: /4096/,
  },
  'a new server is looked at only later': {
    edits: [
      {
        file: `${REDIS}/engine.ts`,
        find: 'await guard.watch();\n    const run = on.run();',
        replace: 'const run = on.run();',
      },
      {
        file: `${REDIS}/engine.ts`,
        find: 'if (run === undefined || guard.safety().run !== run) return false;',
        replace: 'if (run === undefined) return false;',
      },
    ],
    row: ['primary', 'is set unsafely is not served from'],
    shows: /allow/,
  },
  'a replica that attaches is not looked at': {
    edits: [
      {
        file: `${REDIS}/guard.ts`,
        find: "now.get('role') === safety.role &&\n      Number(now.get('connected_slaves')) === safety.replicas;",
        replace: "now.get('role') === safety.role;",
      },
    ],
    row: ['primary', 'when a replica attaches'],
    shows: /did not come about/,
  },
  'what was promoted is durable at once': {
    edits: [
      { file: `${REDIS}/guard.ts`, find: 'const SETTLING_MS = 4000;', replace: 'const SETTLING_MS = 0;' },
    ],
    row: ['primary', 'gives nothing as durable'],
    shows: /4000/,
  },
  'the barrier is served by a primary without replicas': {
    edits: [{ file: READ, find: '#!lua\n', replace: '' }],
    row: ['primary', 'that lost its replicas is not served'],
    shows: /did not come about/,
  },
  'settings are not judged': {
    edits: [{ file: `${REDIS}/safety.ts`, find: '    unsafe,\n', replace: '    unsafe: [],\n' }],
    row: ['refused-settings', 'appendfsync everysec'],
    shows: /appendfsync everysec/,
  },
  'an unsafe store is not told of': {
    edits: [
      {
        file: 'src/core/decision-parts.ts',
        find: 'facts.unsafe_store.length === 0 ? {} : { unsafe_store: facts.unsafe_store }',
        replace: '{}',
      },
    ],
    row: ['serving', 'on an unsafe store'],
    shows: /unsafe|undefined/,
  },
  'the chain is not verified': {
    edits: [
      {
        file: `${REDIS}/chain.ts`,
        find: 'if (eidOf(prev, epoch, seq, { nonce, text }) !== eid) return undefined;',
        replace: '',
      },
    ],
    row: ['vanished', 'an event whose text is another'],
    shows: /ok: true \} to match object/,
  },
  'a version may go missing': {
    edits: [
      {
        file: `${REDIS}/cells.ts`,
        find: "!entries.includes(undefined) && entries.at(-1)?.eid === fields.get('last')",
        replace: '!entries.includes(undefined)',
      },
    ],
    row: ['tampered', 'no last version'],
    shows: ALLOWED,
  },
  'a snapshot is believed': {
    edits: [
      {
        file: `${REDIS}/verify.ts`,
        find: "const isGood = seq === floor && eid === head.get('floor_eid');",
        replace: 'const isGood = true;',
      },
    ],
    row: ['refused-keys', 'a snapshot that does not verify.*another eid$'],
    shows: /expected ''/,
  },
  'a log that is gone is begun anew': {
    edits: [
      {
        file: `${REDIS}/verify.ts`,
        find: 'there.value === 0 && remembered !== undefined',
        replace: 'there.value === 0 && false',
      },
    ],
    row: ['vanished', 'left as it is.*FLUSHALL'],
    shows: /there is no log/,
  },
  'an error of the disk is forgotten': {
    edits: [
      {
        file: 'src/mandates/sqlite/store.ts',
        find: 'return message.fatal ? fail(message.detail) : undefined;',
        replace: 'return undefined;',
      },
      {
        file: 'src/mandates/sqlite/writer.ts',
        find: 'fatal: isBroken, detail',
        replace: 'fatal: false, detail',
      },
    ],
    row: ['disk', 'under the embedded engine.*that says EIO'],
    shows: /503|403|state_unavailable/,
  },
  'what a disk under Redis refuses was done': {
    edits: [REFUSED_IS_DONE],
    row: ['disk', 'a disk under Redis.*EIO'],
    shows: /to match object \{ ok: false/,
  },
  'what a full disk under Redis refuses was done': {
    edits: [REFUSED_IS_DONE],
    row: ['disk', 'a disk under Redis.*no room'],
    shows: /to match object \{ ok: false/,
    is_short: true,
  },
  'the embedded writer answers before it commits': {
    edits: [
      {
        file: 'src/mandates/sqlite/writer.ts',
        find: "db.exec('BEGIN IMMEDIATE');",
        replace: "if (!db.isTransaction) db.exec('BEGIN IMMEDIATE');",
      },
      {
        file: 'src/mandates/sqlite/writer.ts',
        find: "db.exec('COMMIT');",
        replace: "setTimeout(() => void (db.isTransaction && db.exec('COMMIT')), 30);",
      },
    ],
    row: ['killed-embedded', 'kill -9'],
    shows: /to deeply equal \[ .*, true, true \]/,
    is_short: true,
  },
  'an error of the outbox`s disk is forgotten': {
    edits: [
      {
        file: 'src/mandates/outbox/outbox.ts',
        find: 'return message.is_broken ? fail(message.detail) : undefined;',
        replace: 'return undefined;',
      },
    ],
    row: ['outbox', 'an outbox whose disk fails'],
    shows: /did not come about|"ok":true|ok: true/,
  },
  'a reservation looks at nobody who is awaited': {
    edits: [
      {
        file: `${REDIS}/lua/append.lua`,
        find: "if #awaited > 0 then return { 'AWAITED', awaited } end",
        replace: '',
      },
    ],
    row: ['serving', 'does not charge a metered mandate'],
    shows: /200,.*403,|to deeply equal \[ 403/s,
  },
  'a demoted primary is as good as one': {
    edits: [
      { file: READ, find: '#!lua\n', replace: '' },
      { file: `${REDIS}/safety.ts`, find: "...(role === 'master' ? []", replace: "...(role !== '' ? []" },
    ],
    row: ['primary', 'that was demoted'],
    shows: /did not come about|allow/,
  },
  'a log without its last entry is whole': {
    edits: [
      {
        file: `${REDIS}/lua/cells.lua`,
        find: "return last ~= nil and last[1] == seq .. '-0' and last[2][6] == eid",
        replace: 'return true',
      },
    ],
    row: ['vanished', 'left as it is.*DEL of the log'],
    shows: /did not come about/,
  },
  'a hole is passed over': {
    edits: [
      {
        file: `${REDIS}/lost.ts`,
        find: 'if (entry?.seq !== last.seq + 1 || entry.prev !== (last.eid ?? entry.prev)) return hole(last);',
        replace: 'if (entry === undefined) return hole(last);',
      },
    ],
    row: ['vanished', 'an entry gone from the middle'],
    shows: /ok: true \} to match object/,
  },
  'another log is taken for ours': {
    edits: [
      {
        file: `${REDIS}/verify.ts`,
        find: 'if (found.ok && known !== undefined && found.genesis !== known)',
        replace: 'if (found.ok && false)',
      },
      {
        file: RECOVERY,
        find: "if (head.get('genesis') !== genesis) return 'another log was begun in its place';",
        replace: '',
      },
    ],
    row: ['vanished', 'began anew after FLUSHALL'],
    shows: /ok: true \} to match object|expected ''/,
  },
  'an event of any kind is taken': {
    edits: [
      {
        file: `${REDIS}/chain.ts`,
        find: "if (typeof kind !== 'string' || !isKnownKind(kind)) return undefined;",
        replace: "if (typeof kind !== 'string') return undefined;",
      },
    ],
    row: ['refused-keys', 'a newer build has written'],
    shows: /expected ''/,
  },
  'what is vouched for counts before what is said': {
    edits: [
      {
        file: `${REDIS}/safety.ts`,
        find: 'config?.get(name) ?? vouched.get(name)',
        replace: 'vouched.get(name) ?? config?.get(name)',
      },
    ],
    row: ['refused-settings', 'nobody vouches for what a server says otherwise'],
    shows: /expected ''/,
  },
  'certificates are not verified': {
    edits: [
      {
        file: `${REDIS}/link.ts`,
        find: '    ...options,\n    protocol',
        replace:
          '    ...options,\n    ...(options.tls && { tls: { ...options.tls, rejectUnauthorized: false } }),\n    protocol',
      },
    ],
    row: ['refused-address', 'is refused under another authority'],
    shows: /expected ''/,
  },
  'trouble is not told of': {
    edits: [
      {
        file: `${REDIS}/health.ts`,
        find: 'return detail === undefined ? { ok: true }',
        replace: 'return detail !== null ? { ok: true }',
      },
    ],
    row: ['serving', 'whose store is emptied'],
    shows: /did not come about/,
  },
  'an outbox is anybody`s': {
    edits: [
      {
        file: 'src/mandates/sqlite/database.ts',
        find: "expect(db, 'PRAGMA locking_mode = EXCLUSIVE', 'PRAGMA locking_mode', 'exclusive');",
        replace: '',
      },
    ],
    row: ['outbox', 'another process on the same outbox'],
    shows: /expected ''/,
  },
};
