import { type ESTree, Visitor } from "vite";
import { at, type Source } from "./sources.ts";

interface Ban {
  /** The call or read as it stands in the code: `Date.now`, `setTimeout`, `new Date()`. */
  readonly names: readonly string[];
  readonly allowed: RegExp;
  readonly instead: string;
}

/** Tests against real servers, benchmarks and scripts outside the product live in real time. */
const REAL_TIME = /^(platform|test|bench|k6|web)\/|\.nats\.test\.ts$/;

const BANS: readonly Ban[] = [
  { names: ["Date.now", "new Date()"], allowed: REAL_TIME, instead: "use clock.nowMs()" },
  { names: ["performance.now", "process.hrtime"], allowed: REAL_TIME, instead: "use clock.monotonicMs()" },
  {
    names: ["setTimeout", "setInterval", "node:timers/promises", "timers/promises"],
    allowed: REAL_TIME,
    instead: "use clock.setTimer() or sleep() of platform/clock.ts",
  },
  {
    names: ["Math.random", "crypto.randomUUID", "randomUUID", "crypto.randomUUIDv7", "randomUUIDv7"],
    allowed: REAL_TIME,
    instead: "use the Random of platform/random.ts",
  },
  {
    names: ["process.env"],
    allowed: /^(test|bench|k6)\/|(^|\/)(main|config|[a-z-]+-config)\.ts$/,
    instead: "read the environment once, in a main.ts or a config file",
  },
  {
    names: ["process.exit"],
    allowed: /^(platform|test)\/|(^|\/)main\.ts$/,
    instead: "throw, or stop through platform's shutdown",
  },
  {
    names: ["vi.mock", "vi.doMock"],
    allowed: /^$/,
    instead: "pass the real thing, or a double through its seam",
  },
  {
    names: ["it", "test", "describe"].flatMap((name) =>
      ["only", "skip", "skipIf", "runIf", "todo", "fails"].map((how) => `${name}.${how}`),
    ),
    allowed: /^$/,
    instead: "run every test, or delete it",
  },
];

/** Words that say work was left undone. */
const UNDONE = /\b(TODO|FIXME|XXX|HACK)\b/;
const LINE_COLUMNS_MAX = 120;

/** Calls, reads and comments that the house does not want at this place, each with its replacement. */
export function banViolations(source: Source): string[] {
  const found: string[] = [];
  const meet = (name: string, start: number) => {
    for (const { names, allowed, instead } of BANS) {
      if (names.includes(name) && !allowed.test(source.path))
        found.push(`${at(source, start)} ${name}: ${instead}`);
    }
  };
  new Visitor({
    CallExpression: ({ callee, start }) => {
      if (callee.type === "Identifier") meet(callee.name, start);
    },
    NewExpression: ({ callee, arguments: args, start }) => {
      if (callee.type === "Identifier" && callee.name === "Date" && args.length === 0)
        meet("new Date()", start);
    },
    MemberExpression: (node) => meet(dotted(node), node.start),
  }).visit(source.program);
  for (const { specifier, start } of source.imports) meet(specifier, start);
  for (const { value, start } of source.comments) {
    if (UNDONE.test(value)) found.push(`${at(source, start)} leaves work undone: do it, or file it`);
  }
  return found;
}

/** Lines too long to read beside another file. What cannot be broken (urls, hashes) is let through. */
export function longLines({ path, text }: Source): string[] {
  return text.split("\n").flatMap((line, index) => {
    if (line.length <= LINE_COLUMNS_MAX || /\S{60,}/.test(line)) return [];
    const is = `${path}:${index + 1} has ${line.length} columns, ${LINE_COLUMNS_MAX} is the limit`;
    return [`${is}: npm run fmt, or break it by hand`];
  });
}

/** `a.b` of a member expression, with `globalThis.` dropped; empty if it is no plain name. */
function dotted({ object, property, computed }: ESTree.MemberExpression): string {
  if (computed || property.type !== "Identifier") return "";
  if (object.type === "Identifier")
    return object.name === "globalThis" ? property.name : `${object.name}.${property.name}`;
  if (object.type !== "MemberExpression") return "";
  const outer = dotted(object);
  return outer.includes(".") ? "" : `${outer}.${property.name}`;
}
