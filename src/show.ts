/** Proposals and mandates as a terminal shows them. */
import { type Json, type JsonObject, member } from './core/json.ts';

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

export function showMandate(record: JsonObject): string {
  return lines([
    ['mandate', record.id],
    ['state', `${text(record.state)}, version ${text(record.version)}`],
    ['goal', member(record.intent, 'goal')],
    ['purpose', member(record.intent, 'purpose')],
    ['for', partyText(record.subject)],
    ['approver', partyText(record.approver)],
    ['agent', record.client_id],
    ...entryLines(record.authority_set),
    ['ends', record.expires_at],
    ...listOf(record.history).map((item): Line => ['history', historyText(item)]),
  ]);
}

export function showMandates(page: JsonObject): string {
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
  return `${table(rows)}${more}`;
}

/** Children below their parents, indented. */
export function showTree(page: JsonObject): string {
  const items = listOf(page.items);
  const base = Number(member(items[0], 'depth') ?? 0);
  const rows = items.map((item) => [
    `${'  '.repeat(Number(member(item, 'depth')) - base)}${text(member(item, 'id'))}`,
    text(member(item, 'state')),
    `v${text(member(item, 'version'))}`,
    text(member(item, 'client_id')),
    text(member(item, 'expires_at')),
  ]);
  return table(rows);
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

type Line = readonly [string, Json | undefined];

function lines(all: readonly Line[]): string {
  return all
    .flatMap(([name, value]) => (value === undefined ? [] : [`${name.padEnd(9)} ${text(value)}\n`]))
    .join('');
}

function entryLines(entries: Json | undefined): readonly Line[] {
  return listOf(entries).map((entry) => {
    const actions = listOf(member(entry, 'actions')).map(text).join(', ');
    const match = member(entry, 'resource_match') === 'prefix' ? ' and below' : '';
    const constraints = member(entry, 'constraints');
    return [
      'may',
      `${actions} on ${text(member(entry, 'resource'))}${match}${constraints === undefined ? '' : ` if ${JSON.stringify(constraints)}`}`,
    ];
  });
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

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
