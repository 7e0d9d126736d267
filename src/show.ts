/** Proposals and mandates as a terminal shows them. */
import { type Json, type JsonObject, member } from './core/json.ts';
import type { Difference } from './core/mandate/difference.ts';
import type { AuthorityEntry } from './core/mandate/record.ts';

/** Colours a text where there is colour, and leaves it as it is where there is none. */
export type Paint = (text: string, colour: 'green' | 'yellow' | 'red') => string;

/** Green goes on, yellow waits, red is over. */
function stateText(state: Json | undefined, paint: Paint): string {
  const shown = text(state);
  return paint(shown, shown === 'active' ? 'green' : shown === 'suspended' ? 'yellow' : 'red');
}

export function showProposal(proposal: JsonObject): string {
  return lines([
    ['proposal', proposal.submission_id],
    ['status', proposal.status],
    ['mission', proposal.mission_id],
    ['goal', member(proposal.intent, 'goal')],
    ['purpose', member(proposal.intent, 'purpose')],
    ['for', partyText(proposal.subject)],
    ['agent', proposal.client_id],
    ...entryLines(proposal.authorization_details),
    ['hash', proposal.proposal_hash],
    ['lapses', proposal.expires_at],
  ]);
}

export function showMandate(record: JsonObject, paint: Paint): string {
  return lines([
    ['mandate', record.id],
    ['state', styled(`${stateText(record.state, paint)}, version ${text(record.version)}`)],
    ['until', record.suspend_until],
    ['goal', member(record.intent, 'goal')],
    ['purpose', member(record.intent, 'purpose')],
    ['for', partyText(record.subject)],
    ['approver', partyText(record.approver)],
    ['agent', record.client_id],
    ...entryLines(record.effective_authority),
    ...takenLine(record, paint),
    ['ends', record.effective_expires_at],
    ...listOf(record.conditions).map((each): Line => ['while', conditionText(each)]),
    ...usageLines(record.usage),
    ['below', record.parent],
    ['renews', record.predecessor],
    ['renewed', record.successor],
    ...listOf(record.history).map((item): Line => ['history', historyText(item)]),
  ]);
}

export function showMandates(page: JsonObject, paint: Paint): string {
  const items = listOf(page.items);
  if (items.length === 0) return 'there is no such mandate\n';
  const rows = items.map((item) => [
    text(member(item, 'id')),
    text(member(item, 'state')),
    `v${text(member(item, 'version'))}`,
    text(member(item, 'client_id')),
    text(member(member(item, 'intent'), 'goal')).slice(0, 60),
  ]);
  const more =
    page.next_cursor === undefined ? '' : '… and more: narrow the filters, or use the API with `cursor`\n';
  return `${table(rows, paint)}${more}`;
}

/** Sidecars, with how far each has come: `self` is the one that was asked. */
export function showFleet(page: JsonObject, paint: Paint): string {
  const lease_ms = Number(page.lease_ms);
  const rows = listOf(page.items).map((item) => {
    const silent_ms = Number(member(item, 'silent_ms'));
    const lag = Number(member(item, 'lag'));
    return [
      text(member(item, 'id')),
      silent_ms > lease_ms && lease_ms > 0 ? 'gone' : 'active',
      `at ${text(member(item, 'epoch'))}-${text(member(item, 'seq'))}`,
      lag === 0 ? 'nothing behind' : `${lag} behind`,
      `heard ${Math.round(silent_ms)} ms ago`,
      `mandated ${text(member(item, 'version'))}`,
      member(item, 'is_self') === true ? 'self' : '',
    ];
  });
  return table(rows, paint);
}

/** Children below their parents, indented. */
export function showTree(page: JsonObject, paint: Paint): string {
  const items = listOf(page.items);
  const base = Number(member(items[0], 'depth') ?? 0);
  const rows = items.map((item) => [
    `${'  '.repeat(Number(member(item, 'depth')) - base)}${text(member(item, 'id'))}`,
    text(member(item, 'state')),
    `v${text(member(item, 'version'))}`,
    text(member(item, 'client_id')),
    text(member(item, 'expires_at')),
  ]);
  return table(rows, paint);
}

export function showHistory(page: JsonObject): string {
  return listOf(page.items)
    .map((item) => `v${text(member(item, 'version')).padEnd(4)} ${historyText(item)}\n`)
    .join('');
}

/** One change as a line. */
export function showEvent(event: Json): string {
  const from = member(event, 'cascaded_from');
  const below = from === undefined ? '' : ` below ${text(from)}`;
  return `${text(member(event, 'id'))} v${text(member(event, 'version'))} ${historyText(event)}${below}\n`;
}

type Line = readonly [string, Json | Styled | undefined];

/** A text that has been made safe already, and coloured. */
interface Styled {
  readonly styled: string;
}

function styled(given: string): Styled {
  return { styled: given };
}

function isStyled(value: Json | Styled): value is Styled {
  return typeof value === 'object' && value !== null && 'styled' in value && typeof value.styled === 'string';
}

function lines(all: readonly Line[]): string {
  return all
    .flatMap(([name, value]) => {
      if (value === undefined) return [];
      return [`${name.padEnd(9)} ${isStyled(value) ? value.styled : text(value)}\n`];
    })
    .join('');
}

/** Of the entries that were approved, how many nothing is left of. */
function takenLine({ authority_set, effective_authority }: JsonObject, paint: Paint): readonly Line[] {
  const taken = listOf(authority_set).length - listOf(effective_authority).length;
  return taken === 0
    ? []
    : [['taken', styled(paint(`${taken} of the approved entries: see \`mandate diff\``, 'red'))]];
}

function entryLines(entries: Json | undefined): readonly Line[] {
  return listOf(entries).map((entry) => ['may', entryText(entry)]);
}

function entryText(entry: Json): string {
  const actions = listOf(member(entry, 'actions')).map(text).join(', ');
  const match = member(entry, 'resource_match') === 'prefix' ? ' and below' : '';
  const constraints = member(entry, 'constraints');
  const only = constraints === undefined ? '' : ` if ${JSON.stringify(constraints)}`;
  return `${actions} on ${text(member(entry, 'resource'))}${match}${only}`;
}

function conditionText(condition: Json): string {
  const [event_type, key, expect, on_false, max_stale_s] = [
    'event_type',
    'key',
    'expect',
    'on_false',
    'max_stale_s',
  ].map((name) => text(member(condition, name)));
  const last = member(condition, 'last');
  const seen =
    last === undefined
      ? 'never seen'
      : `${text(member(last, 'value'))} at ${text(member(last, 'observed_at'))}`;
  return `${event_type} of ${key} is ${expect} (${seen}), else ${on_false}; seen within ${max_stale_s} s`;
}

function usageLines(usage: Json | undefined): readonly Line[] {
  if (usage === undefined || usage === null || typeof usage !== 'object') return [];
  return Object.entries(usage).map(([name, meter]): Line => {
    const [limit, charged, allotted] = ['limit', 'charged', 'allotted'].map((part) =>
      text(member(meter, part)),
    );
    return ['used', `${name}: ${charged} of ${limit}, ${allotted} set aside for children`];
  });
}

function shownEntry(entry: AuthorityEntry): string {
  return text(entryText(entry as unknown as Json));
}

/** What a change took away, and what it gave. */
export function showDifference(difference: Difference, paint: Paint): string {
  const { from, to, taken, tightened, given, state, expires_at } = difference;
  const changes = [
    ...(state === undefined
      ? []
      : [`  state  ${stateText(state[0], paint)} → ${stateText(state[1], paint)}`]),
    ...(expires_at === undefined ? [] : [`  ends   ${text(expires_at[0])} → ${text(expires_at[1])}`]),
    ...taken.map(({ entry, by }) => paint(`- may    ${shownEntry(entry)}  (${by})`, 'red')),
    ...tightened.map(({ entry, constraints }) =>
      paint(`~ only   ${shownEntry(entry)}  now also if ${text(constraints)}`, 'yellow'),
    ),
    ...given.map((entry) => paint(`+ may    ${shownEntry(entry)}`, 'green')),
  ];
  const body = changes.length === 0 ? ['  nothing was taken away'] : changes;
  return `version ${from} → ${to}\n${body.join('\n')}\n`;
}

function historyText(item: Json): string {
  const why = member(item, 'reason');
  const by = partyText(member(item, 'by'));
  return `${text(member(item, 'at'))} ${text(member(item, 'operation'))} → ${text(member(item, 'state'))} by ${by}${why === undefined ? '' : `: ${text(why)}`}`;
}

function partyText(party: Json | undefined): string {
  return `${text(member(party, 'sub'))} (${text(member(party, 'iss'))})`;
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [];
}

/** Control characters are shown, not obeyed: a goal must not repaint the terminal of whoever approves it. */
function text(value: Json | undefined): string {
  const raw = typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);
  return raw.replace(/[\p{Cc}\p{Cf}]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`);
}

/** The second column is a state. */
function table(rows: readonly (readonly string[])[], paint: Paint): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => {
            const padded = cell.padEnd(widths[column]!);
            return column === 1 ? padded.replace(cell, stateText(cell, paint)) : padded;
          })
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
