import { describe, expect, it } from "vitest";
import { layerViolations } from "./layers.ts";
import { allSources, parseSource } from "./sources.ts";

const planted = (path: string, specifier: string) =>
  layerViolations(parseSource(path, `import { x } from "${specifier}";`));

describe("layers", () => {
  it("import downwards only", () => {
    expect(allSources().flatMap(layerViolations)).toEqual([]);
  });

  it.each([
    ["platform/a.ts", "../actors/runtime/index.ts"],
    ["actors/runtime/a.ts", "../order/order-actor.ts"],
    ["actors/order/a.ts", "../stock/stock-actor.ts"],
    ["actors/order/a.ts", "../runtime/worker.ts"],
    ["actors/order/a.ts", "../runtime/testing.ts"],
    ["gateway/a.ts", "../actors/order/order-actor.ts"],
    ["actors/order/a.ts", "@nats-io/jetstream"],
    ["gateway/a.ts", "@nats-io/nats-core"],
    ["actors/order/a.ts", "@connectrpc/connect"],
    ["elsewhere/a.ts", "./b.ts"],
  ])("refuse %s importing %s", (path, specifier) => {
    expect(planted(path, specifier)).toHaveLength(1);
  });

  it.each([
    ["actors/order/a.ts", "../runtime/index.ts"],
    ["actors/order/a.test.ts", "../runtime/testing.ts"],
    ["actors/order/a.ts", "../../proto/gen/tradewind/common/v1/money_pb.ts"],
    ["actors/main.ts", "./order/order-actor.ts"],
    ["actors/runtime/bus/bus-jetstream.ts", "@nats-io/jetstream"],
    ["gateway/a.ts", "../platform/log.ts"],
    ["gateway/a.ts", "@connectrpc/connect"],
  ])("accept %s importing %s", (path, specifier) => {
    expect(planted(path, specifier)).toEqual([]);
  });

  it("sees dynamic imports and re-exports", () => {
    const text = `export { a } from "../order/a.ts"; export * from "../order/b.ts"; await import("../order/c.ts");`;
    expect(layerViolations(parseSource("actors/stock/a.ts", text))).toHaveLength(3);
  });
});
