/** What each operation changes in a record, or why it is refused. One row for each, and no other place to look. */
import { canonicalJson } from '../json.ts';
import { formatTime, parseTime } from '../time.ts';
import { anchor } from './anchors.ts';
import { replaces } from './attenuation.ts';
import { effectiveEntries } from './authority.ts';
import {
  type OperateCommand,
  type OperationDetails,
  type Refusal,
  type Writing,
  refuse,
} from './commands.ts';
import { broaderConstraint, malformedConstraint } from './constraints.ts';
import { type Lineage, effectiveEnd, ownEnd, ownOf, ownState } from './life.ts';
import type { ApprovedVersion, MandateRecord, Overlay, RecordChange } from './record.ts';

export type Changed = RecordChange;

/** Operations that change the record; a renewal asks for another one. */
type Changing = Exclude<OperationDetails, { operation: 'renew' }>;

type Outcome = Changed | Refusal | 'unchanged';

type Of<O extends OperationDetails['operation']> = Extract<OperationDetails, { operation: O }>;

export function changeOf(
  command: OperateCommand,
  details: Changing,
  lineage: Lineage,
  writing: Writing,
): Outcome {
  const record = ownOf(lineage);
  switch (details.operation) {
    case 'suspend':
      return suspend(details, record, command);
    case 'resume':
      return { suspend_until: null, on_expiry: null };
    case 'complete':
    case 'revoke':
      return {};
    case 'contain':
      return contain(details, record);
    case 'discharge':
      return discharge(details, record, command.at_ms);
    case 'tighten':
      return tighten(details, record);
    case 'shorten':
      return shorten(details, record, command.at_ms);
    case 'extend':
      return extend(details, lineage, command);
    case 'amend':
      return amend(details, record, command, writing);
  }
}

/** Another end of a suspension that stands is a change as well; the same one is not. */
function suspend(
  { suspend_until, on_expiry }: Of<'suspend'>,
  record: MandateRecord,
  { at_ms, may_resume }: OperateCommand,
): Outcome {
  if (suspend_until !== undefined && on_expiry === undefined) {
    return refuse(
      'invalid_request',
      'a suspension that ends must say how: `resume` or `revoke`',
      'on_expiry',
    );
  }
  if (suspend_until === undefined && on_expiry !== undefined) {
    return refuse('invalid_request', 'a suspension without an end has no outcome', 'suspend_until');
  }
  if (suspend_until !== undefined && parseTime(suspend_until)! <= at_ms) {
    return refuse('invalid_request', 'the suspension would end before it begins', 'suspend_until');
  }
  const isSame = record.suspend_until === suspend_until && record.on_expiry === on_expiry;
  // One that has ended by itself is over, whatever is stored: to suspend again is to suspend.
  const isSuspended = ownState(record, at_ms) === 'suspended';
  if (isSuspended && (isSame || suspend_until === undefined)) return 'unchanged';
  if (
    isSuspended &&
    !may_resume &&
    isWeaker({ suspend_until: suspend_until!, on_expiry: on_expiry! }, record)
  )
    return refuse(
      'policy_denied',
      'it would lift a suspension that stands: that takes the right to resume',
      'on_expiry',
    );
  return { suspend_until: suspend_until ?? null, on_expiry: on_expiry ?? null };
}

/** Whether a suspension that stands would end in a resume sooner than it does, or in a revocation later. */
function isWeaker(
  next: { readonly suspend_until: string; readonly on_expiry: 'resume' | 'revoke' },
  { suspend_until, on_expiry }: MandateRecord,
): boolean {
  const [ends, ended] = [next.suspend_until, suspend_until ?? ''].map((each) => parseTime(each) ?? Infinity);
  if (next.on_expiry === 'resume') return on_expiry !== 'resume' || ends! < ended!;
  return on_expiry === 'revoke' && ends! > ended!;
}

function contain({ entries }: Of<'contain'>, record: MandateRecord): Outcome {
  const unknown = entries.findIndex((digest) => !record.entry_digests.includes(digest));
  if (unknown !== -1) return noSuchEntry(`entries.${unknown}`);
  const added = entries.filter((digest) => !record.overlay.contained.includes(digest));
  if (added.length === 0) return 'unchanged';
  return overlaid(record, { contained: [...record.overlay.contained, ...new Set(added)] });
}

function discharge(
  { entry, event_type, event_id }: Of<'discharge'>,
  record: MandateRecord,
  at_ms: number,
): Outcome {
  if (!record.entry_digests.includes(entry)) return noSuchEntry('entry');
  if (record.overlay.discharged.some((each) => each.entry === entry)) return 'unchanged';
  const discharged = { entry, event_type, event_id, at: formatTime(at_ms) };
  return overlaid(record, { discharged: [...record.overlay.discharged, discharged] });
}

/** New constraints on an entry: each key no broader than the one that holds, and none of an unknown shape. */
function tighten({ entry, constraints }: Of<'tighten'>, record: MandateRecord): Outcome {
  const held = effectiveEntries(record).find((each) => each.digest === entry);
  if (held === undefined) return noSuchEntry('entry');
  const malformed = malformedConstraint(constraints);
  if (malformed !== undefined)
    return refuse('invalid_request', 'not of this constraint`s shape', `constraints.${malformed}`);
  const touched = held.constraints.map((each) =>
    Object.fromEntries(Object.entries(each).filter(([key]) => Object.hasOwn(constraints, key))),
  );
  const broader = touched
    .map((each) => broaderConstraint(constraints, each))
    .find((key) => key !== undefined);
  if (broader !== undefined)
    return refuse('not_strict_subset', 'broader than what holds', `constraints.${broader}`);
  const before = record.overlay.tightened.find((each) => each.entry === entry)?.constraints ?? {};
  const after = { ...before, ...constraints };
  if (canonicalJson(before) === canonicalJson(after)) return 'unchanged';
  const others = record.overlay.tightened.filter((each) => each.entry !== entry);
  return overlaid(record, { tightened: [...others, { entry, constraints: after }] });
}

function shorten({ expires_at }: Of<'shorten'>, record: MandateRecord, at_ms: number): Outcome {
  const end = parseTime(expires_at)!;
  if (end <= at_ms) return refuse('invalid_request', 'in the past: use `revoke` to end it now', 'expires_at');
  if (end > ownEnd(record))
    return refuse('not_strict_subset', 'later than the mandate ends: use `extend`', 'expires_at');
  return end === ownEnd(record) ? 'unchanged' : overlaid(record, { expires_at });
}

/** Within the approved ceiling, and a child within its parent; a new approved version, with an approval of its own. */
function extend(
  { expires_at, approval_event_id }: Of<'extend'>,
  lineage: Lineage,
  command: OperateCommand,
): Outcome {
  const record = ownOf(lineage);
  const end = parseTime(expires_at)!;
  if (end <= command.at_ms) return refuse('invalid_request', 'in the past', 'expires_at');
  if (end < ownEnd(record))
    return refuse('invalid_request', 'sooner than the mandate ends: use `shorten`', 'expires_at');
  if (end > (parseTime(record.intent.expires_at) ?? -Infinity)) {
    return refuse(
      'not_strict_subset',
      'later than the approved ceiling, `intent.expires_at`: use `renew`',
      'expires_at',
    );
  }
  const above = lineage.slice(0, -1) as unknown as Lineage;
  if (above.length > 0 && end > effectiveEnd(above)) {
    return refuse('not_strict_subset', 'later than the parent ends', 'expires_at');
  }
  if (end === ownEnd(record)) return 'unchanged';
  const { expires_at: _, ...overlay } = record.overlay;
  const { authority_set, authority_hash } = record;
  return {
    expires_at,
    overlay,
    ...versioned(record, command, approval_event_id, { authority_set, authority_hash, expires_at }),
  };
}

/** New terms under the same id, no wider than what holds now: what was withdrawn stays out, what was tightened stays so. */
function amend(
  { authorization_details, approval_event_id }: Of<'amend'>,
  record: MandateRecord,
  command: OperateCommand,
  { issuer, digest }: Writing,
): Outcome {
  const fit = replaces(authorization_details, effectiveEntries(record));
  if (!fit.ok) {
    return refuse(
      'not_strict_subset',
      `${fit.why}: use \`renew\` for more`,
      `authorization_details.${fit.index}`,
    );
  }
  const authority_set = authorization_details;
  const authority_hash = anchor(digest, issuer, 'mission-authority-set', authority_set);
  const { expires_at } = record.overlay;
  return {
    authority_set,
    authority_hash,
    entry_digests: authority_set.map((entry) => anchor(digest, issuer, 'mission-authority-entry', entry)),
    overlay: {
      contained: [],
      discharged: [],
      tightened: [],
      ...(expires_at === undefined ? {} : { expires_at }),
    },
    ...versioned(record, command, approval_event_id, {
      authority_set,
      authority_hash,
      expires_at: record.expires_at,
    }),
  };
}

function versioned(
  record: MandateRecord,
  { by, at_ms }: OperateCommand,
  approval_event_id: string,
  terms: Pick<ApprovedVersion, 'authority_set' | 'authority_hash' | 'expires_at'>,
): RecordChange {
  const approved_at = formatTime(at_ms);
  const next: ApprovedVersion = {
    version: record.version + 1,
    ...terms,
    approver: by,
    approval_event_id,
    approved_at,
  };
  return { approved_versions: [...record.approved_versions, next] };
}

function overlaid(record: MandateRecord, part: Partial<Overlay>): RecordChange {
  return { overlay: { ...record.overlay, ...part } };
}

function noSuchEntry(field: string): Refusal {
  return refuse('invalid_request', 'the mandate has no entry of this digest', field);
}
