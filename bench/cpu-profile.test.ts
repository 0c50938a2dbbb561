import { globSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { profileOf } from "./cpu-profile.ts";
import { flameGraph } from "./flame-graph.ts";
import { partOf, RULES } from "./parts.ts";

const ROOT = "/app";
const node = (id: number, functionName: string, url: string, children: number[] = []) => ({
  id,
  callFrame: { functionName, url, lineNumber: 9 },
  children,
});
const place = (path: string) => ({ name: path, functionName: "f", path });

describe("a profile", () => {
  const profile = profileOf(
    {
      nodes: [
        node(1, "(root)", "", [2, 3, 6]),
        node(2, "(idle)", ""),
        node(3, "fill", "file:///app/actors/runtime/log/applier.ts", [4, 5]),
        node(4, "fromBinary", "file:///app/node_modules/@bufbuild/protobuf/dist/esm/from-binary.js"),
        node(5, "(garbage collector)", ""),
        node(6, "post", "node:inspector"),
      ],
      samples: [2, 3, 4, 4, 5, 6],
      timeDeltas: [1_000, 10, 20, 30, 5, 99],
    },
    ROOT,
  );

  it("leaves out waiting and the profiler, and gives the rest to parts", () => {
    expect(profile.busyUs).toBe(65);
    expect(Object.fromEntries(profile.partsUs)).toEqual({ apply: 10, decode: 50, GC: 5 });
  });

  it("knows each function by its own time and by all that it calls", () => {
    expect(profile.selfUs.get("fromBinary @bufbuild/protobuf/dist/esm/from-binary.js:10")).toBe(50);
    const [fill] = profile.root.children.values();
    expect(fill).toMatchObject({ name: "fill actors/runtime/log/applier.ts:10", selfUs: 10, totalUs: 65 });
  });

  it("becomes one page that needs nothing else", () => {
    const page = flameGraph("worker <1>", profile.root);
    expect(page).toContain("<title>worker &lt;1></title>");
    expect(page).toContain('"n":"fill actors/runtime/log/applier.ts:10","p":"apply","v":65');
    expect(page).not.toMatch(/\b(src|href)=/);
  });
});

describe("a part", () => {
  it("is that of the innermost function which has one", () => {
    const wire = "node_modules/@bufbuild/protobuf/dist/esm/wire/binary-encoding.js";
    const toBinary = "node_modules/@bufbuild/protobuf/dist/esm/to-binary.js";
    expect(partOf([place("actors/runtime/log/draft.ts"), place(toBinary), place(wire)])).toBe("encode");
    expect(partOf([place("actors/order/order-actor.ts")])).toBe("handlers");
    expect(partOf([place("actors/payment/payment-tasks.ts")])).toBe("tasks");
  });

  it("of a socket is its caller's", () => {
    const nats = "node_modules/@nats-io/transport-node/lib/node_transport.js";
    expect(partOf([place(nats), place("node:net")])).toBe("NATS client");
    expect(partOf([place("node:net")])).toBe("node: sockets, streams");
  });

  it("of generated code is that of the codec which calls it", () => {
    const generated = { name: "read", functionName: "read", path: "" };
    expect(
      partOf([place("actors/runtime/log/inputs.ts"), place("actors/runtime/codec/decode.ts"), generated]),
    ).toBe("decode");
  });

  const ours = globSync("{actors,gateway,platform}/**/*.ts", { cwd: join(import.meta.dirname, "..") });
  const sources = ours
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => !/(\.test|\.contract|testing)\.ts$/.test(path));

  it("is known for all that a step of the runtime goes through", () => {
    const others = sources.filter((path) => partOf([place(path)]) === "runtime, other");
    expect(others.filter((path) => path.split("/").length > 3)).toEqual([]);
  });

  it("is named by files that exist", () => {
    const named = RULES.flatMap(({ own = [] }) => own);
    expect(named.filter((start) => !sources.some((path) => path.startsWith(start)))).toEqual([]);
  });
});
