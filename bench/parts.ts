import type { Place } from "./cpu-profile.ts";

interface Rule {
  readonly path: RegExp;
  readonly part: string;
  /** Where it is called by another part, the time is that one's. */
  readonly isWeak?: true;
}

const DOMAINS = "order|payment|stock|product|tenant|claim|adjustment|analytics";

/** The first that fits a function's file names the part. */
const RULES: readonly Rule[] = [
  { path: /^actors\/payment\/(payment-tasks|provider)|^actors\/shared\/payment-simulator/, part: "tasks" },
  { path: new RegExp(`^actors/(${DOMAINS}|shared)/`), part: "handlers" },
  { path: /@bufbuild\/protobuf\/.*\/from-binary\.js/, part: "decode" },
  { path: /@bufbuild\/protobuf\/.*\/to-binary\.js/, part: "encode" },
  { path: /^actors\/runtime\/(encode[^/]*|field-writer)\.ts/, part: "encode" },
  { path: /@bufbuild\/protobuf\/.*\/(to|from)-json\.js/, part: "JSON" },
  { path: /@bufbuild\/protovalidate|gateway\/interceptors\/validate/, part: "validation" },
  { path: /@bufbuild\/protobuf\/.*\/(create|clone)\.js/, part: "making messages" },
  { path: /^actors\/runtime\/(projector|watermark|batch-combiner|record-store)\.ts/, part: "projection" },
  { path: /^actors\/runtime\/derived\.ts/, part: "derived messages" },
  { path: /^actors\/runtime\/(task-[^/]*|running-task|inbox-writer)\.ts/, part: "tasks and inbox" },
  { path: /^actors\/runtime\/(applier|step[^/]*|record|inputs|admission|crash-guard)\.ts/, part: "apply" },
  { path: /^actors\/runtime\/(log-owner|draft|journal|replies|wake)\.ts/, part: "commit" },
  {
    path: /^actors\/runtime\/(client[^/]*|actor-client|log-reader|record-hub|event-hub)\.ts/,
    part: "actor client",
  },
  { path: /^actors\/runtime\/(readers|reads|restore|takeover)\.ts/, part: "inputs and reads" },
  { path: /^actors\/runtime\/[^/]*-jetstream\.ts|@nats-io\//, part: "NATS client" },
  { path: /^actors\/runtime\//, part: "runtime, other" },
  { path: /^gateway\/interceptors|^gateway\/(gate|call-scope|idempotency)\.ts/, part: "gateway: checks" },
  { path: /^gateway\/(views|order-pricing)/, part: "gateway: prices, views" },
  { path: /^gateway\//, part: "gateway: services" },
  { path: /@connectrpc\//, part: "Connect" },
  { path: /^node:(_http|internal\/http|http)/, part: "node: HTTP" },
  { path: /@prometheus-io|^platform\/(metrics|log|health)|pino/, part: "metrics and log" },
  { path: /^platform\//, part: "platform" },
  {
    path: /^node:(net|stream|internal\/(stream|js_stream|net)|internal\/streams)/,
    part: "node: sockets, streams",
    isWeak: true,
  },
  { path: /^node:/, part: "node: other", isWeak: true },
];

const GC = "(garbage collector)";
const PROGRAM = "(program)";

/** The part that the time of a stack belongs to: the innermost function that has one. */
export function partOf(stack: readonly Place[]): string {
  const leaf = stack.at(-1);
  if (leaf?.functionName === GC) return "GC";
  if (leaf?.functionName === PROGRAM) return "native and kernel";
  let weak: string | undefined;
  for (let at = stack.length - 1; at >= 0; at--) {
    const { path } = stack[at] as Place;
    const rule = path === "" ? undefined : RULES.find((each) => each.path.test(path));
    if (rule === undefined) continue;
    if (rule.isWeak === undefined) return rule.part;
    weak ??= rule.part;
  }
  return weak ?? "other";
}
