/** The third question: is this request permitted? One input for every engine, and how their answers combine. */
import type { ActionClass } from './classes.ts';
import type { ParameterValues } from './parameter-types.ts';
import type { CheckPoint } from './check-points.ts';
import type { FreshnessSource } from './freshness.ts';
import type { MandateState } from './mandate/record.ts';

/** A mandate as policies see it. Every member is there always, so that no policy errs over an absent one. */
export interface PolicyMandate {
  readonly id: string;
  /** `none` where the action needs no mandate. */
  readonly state: MandateState | 'none';
  readonly version: number;
  readonly purpose: string;
  readonly goal: string;
  readonly depth: number;
  readonly expires_at_ms: number;
  readonly approved_at_ms: number;
  /** Realm-qualified: `corp/alice`. */
  readonly subject: string;
  readonly approver: string;
  readonly tenant: string;
  readonly suspended_before: boolean;
  readonly remaining_calls: number;
  /** Root first, own id last; empty where there is no mandate. */
  readonly lineage: readonly string[];
}

export interface PolicyInput {
  readonly principal: {
    /** `corp/agent-1`, or `anonymous`. */
    readonly id: string;
    readonly issuer: string;
    readonly client_id: string;
    readonly subject: string;
    readonly depth: number;
    readonly actors: readonly string[];
  };
  readonly action: {
    readonly name: string;
    readonly families: readonly string[];
    readonly class: ActionClass;
  };
  readonly resource: {
    readonly uri: string;
    readonly host: string;
    readonly path: string;
    readonly segments: readonly string[];
  };
  readonly context: {
    readonly mandate: PolicyMandate;
    readonly parameters: ParameterValues;
    readonly request: {
      readonly method: string;
      readonly scheme: string;
      readonly host: string;
      readonly path: string;
    };
    readonly check_point: CheckPoint;
    readonly freshness: { readonly source: FreshnessSource; readonly age_ms: number };
    readonly credential: {
      readonly issuer: string;
      readonly subject: string;
      readonly client_id: string;
      readonly expires_at_ms: number;
    };
    readonly now_ms: number;
  };
}

/** An obligation as an engine states it; the closed list of types that can be fulfilled is empty so far. */
export interface Obligation {
  readonly type: string;
}

/** One engine's answer, parsed once at the adapter. `error` is a policy that failed: it never permits. */
export interface EngineAnswer {
  readonly decision: 'allow' | 'deny' | 'error';
  /** Policies that made the answer, by id. */
  readonly determining: readonly string[];
  readonly errors: readonly string[];
  readonly obligations: readonly Obligation[];
}

/** A loaded engine: synchronous, and it answers instead of throwing. */
export interface PolicyEngine {
  readonly name: 'cedar' | 'opa';
  readonly evaluate: (input: PolicyInput) => EngineAnswer;
}

/** Engines as they stood when the check began, with the digest of everything they were made from. */
export interface PolicySet {
  readonly engines: readonly PolicyEngine[];
  readonly revision: string;
}

export interface RequestVerdict {
  readonly verdict: 'permitted' | 'forbidden' | 'undetermined' | 'not_evaluated';
  readonly reason?: 'resource_policy';
  readonly detail?: string;
  readonly engines: Readonly<Record<string, EngineAnswer>>;
}

/** Every configured engine must permit; one that failed leaves the question undetermined, which is a no. */
export function combine(set: PolicySet, input: PolicyInput): RequestVerdict {
  const engines: Record<string, EngineAnswer> = {};
  for (const engine of set.engines) engines[engine.name] = engine.evaluate(input);
  const answers = Object.values(engines);
  const no = (verdict: 'forbidden' | 'undetermined', detail: string): RequestVerdict => ({
    verdict,
    reason: 'resource_policy',
    detail,
    engines,
  });
  if (answers.some((answer) => answer.decision === 'deny'))
    return no('forbidden', 'no policy permits, or one forbids');
  if (answers.length === 0 || answers.some((answer) => answer.decision === 'error')) {
    return no('undetermined', 'a policy could not be evaluated');
  }
  const unmet = answers.flatMap((answer) => answer.obligations)[0];
  if (unmet !== undefined) return no('forbidden', `the obligation \`${unmet.type}\` cannot be fulfilled`);
  return { verdict: 'permitted', engines };
}
