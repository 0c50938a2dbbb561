import type { Place } from "./cpu-profile.ts";

interface Rule {
  readonly part: string;
  /** Files of this repository, and folders with their slash. */
  readonly own?: readonly string[];
  /** Of what is installed. */
  readonly path?: RegExp;
  /** Where it is called by another part, the time is that one's. */
  readonly isWeak?: true;
}

const DOMAINS = [
  "order",
  "payment",
  "stock",
  "product",
  "tenant",
  "claim",
  "adjustment",
  "archive",
  "analytics",
  "shared",
];
const RUNTIME = "actors/runtime";

/** `a.ts`, `b.ts` of a folder. */
function files(folder: string, ...names: string[]): string[] {
  return names.map((name) => `${folder}/${name}.ts`);
}

/** The first that fits a function's file names the part. */
export const RULES: readonly Rule[] = [
  {
    part: "tasks",
    own: files("actors", "payment/payment-tasks", "payment/provider-http", "payment/provider-memory"),
  },
  { part: "tasks", own: files("actors", "shared/circuit", "shared/payment-simulator") },
  { part: "archive, books", own: ["actors/archivist/", "actors/reconcile/"] },
  { part: "handlers", own: DOMAINS.map((domain) => `actors/${domain}/`) },
  { part: "decode", path: /@bufbuild\/protobuf\/.*\/from-binary\.js/ },
  { part: "encode", path: /@bufbuild\/protobuf\/.*\/to-binary\.js/ },
  { part: "JSON", path: /@bufbuild\/protobuf\/.*\/(to|from)-json\.js/ },
  { part: "making messages", path: /@bufbuild\/protobuf\/.*\/(create|clone)\.js/ },
  { part: "decode", own: files(`${RUNTIME}/codec`, "decode", "compile-decoder") },
  { part: "JSON", own: files(`${RUNTIME}/codec`, "json", "read-json", "write-json", "compile-json") },
  { part: "JSON", own: files(`${RUNTIME}/codec`, "compile-json-reader", "compile-json-writer") },
  { part: "making messages", own: files(`${RUNTIME}/codec`, "create", "compile-creator") },
  { part: "encode", own: [`${RUNTIME}/codec/`] },
  { part: "validation", path: /@bufbuild\/protovalidate/ },
  { part: "validation", own: files("gateway/interceptors", "validate", "quick-check") },
  { part: "projection", own: files(`${RUNTIME}/log`, "projector", "watermark", "batch-combiner") },
  { part: "records", own: files(`${RUNTIME}/log`, "record-store", "record-map") },
  { part: "derived messages", own: files(RUNTIME, "log/derived", "event-message", "headers") },
  { part: "tasks and inbox", own: [`${RUNTIME}/tasks/`] },
  { part: "tasks and inbox", own: files(RUNTIME, "task-queue", "log/local-tasks", "inbox-writer") },
  { part: "apply", own: [`${RUNTIME}/step/`, ...files(RUNTIME, "actor", "projection", "domain-error")] },
  {
    part: "apply",
    own: files(`${RUNTIME}/log`, "applier", "inputs", "crash-guard", "turn", "lists", "address"),
  },
  { part: "inputs and reads", own: files(`${RUNTIME}/log`, "readers", "reads", "restore", "takeover") },
  { part: "commit", own: [`${RUNTIME}/log/`] },
  { part: "actor client", own: [`${RUNTIME}/client/`, ...files(RUNTIME, "client")] },
  { part: "NATS client", own: [`${RUNTIME}/bus/`], path: /@nats-io\// },
  { part: "worker", own: [`${RUNTIME}/worker/`] },
  { part: "runtime, other", own: [`${RUNTIME}/`] },
  { part: "gateway: checks", own: ["gateway/interceptors/"] },
  { part: "gateway: checks", own: files("gateway", "gate", "call-scope", "idempotency") },
  { part: "gateway: prices, views", own: files("gateway", "views", "order-pricing") },
  { part: "gateway: HTTP", own: files("gateway", "edge-server", "server", "http", "listeners", "run-queue") },
  { part: "gateway: HTTP", own: files("gateway", "rpc-handler", "rpc-table", "routes", "call-context") },
  { part: "gateway: HTTP", own: files("gateway", "unary-http1", "unary-codec") },
  { part: "gateway: services", own: ["gateway/"] },
  { part: "Connect", path: /@connectrpc\// },
  { part: "node: HTTP", path: /^node:(_http|internal\/http|http)/ },
  {
    part: "metrics and log",
    own: files("platform", "metrics", "log", "health"),
    path: /@prometheus-io|pino/,
  },
  { part: "platform", own: ["platform/"] },
  {
    part: "node: sockets, streams",
    path: /^node:(net|stream|internal\/(stream|js_stream|net)|internal\/streams)/,
    isWeak: true,
  },
  { part: "node: other", path: /^node:/, isWeak: true },
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
    const rule = path === "" ? undefined : RULES.find((each) => isOf(each, path));
    if (rule === undefined) continue;
    if (rule.isWeak === undefined) return rule.part;
    weak ??= rule.part;
  }
  return weak ?? "other";
}

function isOf({ own, path }: Rule, of: string): boolean {
  return path?.test(of) === true || own?.some((start) => of.startsWith(start)) === true;
}
