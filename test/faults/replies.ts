/** Row: the reply is lost after the write ran. Asked again under the same key it is one entry, charged once. */
import { type JsonObject, isObject } from '../../src/core/json.ts';
import { type Entry, readLog } from './final.ts';
import type { Fleet, Member } from './fleet.ts';

/** What was done twice, or not at all, or answered otherwise the second time; empty where all is as it must be. */
export async function loseRevocation({ redis }: Fleet, member: Member): Promise<readonly string[]> {
  const mandate = await member.approve();
  await member.check(mandate, 'repo.push');
  const isLost = loseReplyOf(member, `"id":"${mandate}","operation":"revoke"`);
  const first = await member.revoke(mandate, { nonce: 'n' });
  await member.network().heal();
  const again = await member.revoke(mandate, { nonce: 'n' });
  const { entries } = await readLog(redis);
  const isSame = JSON.stringify(again.body) === JSON.stringify(first.body);
  return [
    ...(isLost() ? [] : ['no reply was lost']),
    ...expected(`the revocation of ${mandate}`, 1, entries.filter(isRevocationOf(mandate))),
    ...(first.outcome === 'ok' ? [] : [`${mandate}: ${String(first.body.detail)}`]),
    ...(first.outcome !== 'ok' || isSame ? [] : [`${mandate}: ${JSON.stringify([first.body, again.body])}`]),
  ];
}

const isRevocationOf =
  (mandate: string) =>
  ({ event }: Entry): boolean =>
    event.kind === 'changed' && event.id === mandate;

/** The same of a check that is charged. */
export async function loseReservation({ redis }: Fleet, member: Member): Promise<readonly string[]> {
  const mandate = await member.approve({ controls: { max_calls: 5 } });
  const question = { idempotency_key: 'key', parameters: { ref: 'main' } };
  const isLost = loseReplyOf(member, '"kind":"decided"');
  const first = await member.check(mandate, 'repo.push', question);
  await member.network().heal();
  const again = await member.check(mandate, 'repo.push', question);
  const other = await member.check(mandate, 'repo.push', { ...question, parameters: { ref: 'other' } });
  const { entries } = await readLog(redis);
  const decided = entries.filter(({ event }) => decisionOf(event)?.mandate === mandate);
  const charged = await chargedTo(member, mandate);
  return [
    ...(isLost() ? [] : ['no reply was lost']),
    ...expected(`the decision about ${mandate}`, 1, decided),
    ...(charged === 1 ? [] : [`${mandate} was charged ${charged} times`]),
    ...(again.outcome === 'allow' ? [] : [`the same question again: ${again.outcome}`]),
    ...(first.outcome !== 'allow' || first.body.decision_id === again.body.decision_id
      ? []
      : [`another decision the second time`]),
    ...(other.outcome === 'idempotency_conflict' ? [] : [`other parameters: ${other.outcome}`]),
  ];
}

function decisionOf(event: JsonObject): JsonObject | undefined {
  return event.kind === 'decided' && isObject(event.decision) ? event.decision : undefined;
}

function expected(what: string, count: number, entries: readonly Entry[]): readonly string[] {
  return entries.length === count ? [] : [`${what} stands ${entries.length} times in the log`];
}

async function chargedTo(member: Member, mandate: string): Promise<number> {
  const { body } = await member.sidecar.control('GET', `/v1/mandates/${mandate}`);
  const { usage } = body as unknown as { usage: { max_calls: { charged: number } } };
  return usage.max_calls.charged;
}

/** Of the next write that says this: it is done, and nobody is told. Answers whether that has happened. */
function loseReplyOf(member: Member, text: string): () => boolean {
  let is_lost = false;
  member.networkOf('writer').dropReply(1, (request) => {
    is_lost ||= request.includes(text);
    return request.includes(text);
  });
  return () => is_lost;
}
