/** What a method token makes the simulator do beside its duty. `calls`: how often, Infinity for always. */
export interface Steering {
  /** Declined with this code. */
  readonly decline?: string;
  /** Takes effect this long after the first call, and answers then. */
  readonly lateMs?: number;
  /** Takes effect at once and answers this much later. */
  readonly slowMs?: number;
  /** The connection breaks before anything happens. */
  readonly unreachableCalls?: number;
  /** Answers 500 before anything happens. */
  readonly errorCalls?: number;
  /** Takes effect and answers something that is no answer. */
  readonly garbageCalls?: number;
  /** Takes effect and never answers. */
  readonly silentCalls?: number;
  /** Does not tell what became of it either. */
  readonly hidden?: boolean;
}

export type SimulatedOperation = "authorize" | "capture" | "void" | "refund";

type Rule = readonly [
  name: RegExp,
  operation: SimulatedOperation,
  steer: (n: number | undefined, code: string) => Steering,
];

const LATE_MS = 5_000;
const SLOW_MS = 1_000;

/** The first rule whose name a token matches and whose operation is asked for counts; `_<n>` stands for a number. */
const RULES: readonly Rule[] = [
  [
    /^tok_decline(?:d)?(?:_([a-z][a-z_]*))?$/,
    "authorize",
    (_n, code) => ({ decline: code || "card_declined" }),
  ],
  [/^tok_timeout(?:_(\d+))?$/, "authorize", (n = Infinity) => ({ silentCalls: n })],
  [/^tok_blackout$/, "authorize", () => ({ silentCalls: Infinity, hidden: true })],
  [
    /^tok_unreachable(?:_(\d+))?$/,
    "authorize",
    (n) => ({ unreachableCalls: n ?? Infinity, hidden: n === undefined }),
  ],
  [/^tok_flaky(?:_(\d+))?$/, "authorize", (n = 1) => ({ errorCalls: n })],
  [/^tok_garbage(?:_(\d+))?$/, "authorize", (n = 1) => ({ garbageCalls: n })],
  [/^tok_slow(?:_(\d+))?$/, "authorize", (n = SLOW_MS) => ({ slowMs: n })],
  [/^tok_late(?:_(\d+))?$/, "authorize", (n = LATE_MS) => ({ lateMs: n })],
  [/^tok_capture_declined?$/, "capture", () => ({ decline: "capture_declined" })],
  [
    /^tok_capture_timeout(?:_(\d+))?$/,
    "capture",
    (n) => ({ silentCalls: n ?? Infinity, hidden: n === undefined }),
  ],
  [
    /^tok_capture_unreachable(?:_(\d+))?$/,
    "capture",
    (n) => ({ unreachableCalls: n ?? Infinity, hidden: n === undefined }),
  ],
  [/^tok_capture_slow(?:_(\d+))?$/, "capture", (n = SLOW_MS) => ({ slowMs: n })],
  [/^tok_void_unreachable(?:_(\d+))?$/, "void", (n = Infinity) => ({ unreachableCalls: n })],
  [/^tok_refund_unreachable(?:_(\d+))?$/, "refund", (n = Infinity) => ({ unreachableCalls: n })],
  [/^tok_refund_declined?$/, "refund", () => ({ decline: "refund_declined" })],
];

/** How a token steers an operation; undefined where it does not. `tok_ok` never does. */
export function steeringOf(methodToken: string, operation: SimulatedOperation): Steering | undefined {
  for (const [name, steered, steer] of RULES) {
    const found = steered === operation ? name.exec(methodToken) : null;
    if (found === null) continue;
    const [, detail = ""] = found;
    return steer(/^\d+$/.test(detail) ? Number(detail) : undefined, detail);
  }
  return undefined;
}

/** True for the tokens that the simulator knows: its rates leave them alone. */
export function isSteered(methodToken: string): boolean {
  return methodToken === "tok_ok" || RULES.some(([name]) => name.test(methodToken));
}
