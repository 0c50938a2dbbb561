import { describe, expect, it } from "vitest";
import { slopeOf, slopes } from "./growth-points.ts";
import { Tally } from "../cli/outcome.ts";
import { median, medianFigures, orderFigures } from "./measure.ts";
import { COMPARED, HEADLINE, plan, ROWS, SETUPS } from "./rows.ts";
import { more, resultTable } from "./table.ts";

describe("medians", () => {
  it("take the middle, or the mean of the two in the middle", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).toEqual([2, 2.5, 0]);
  });

  it("of several runs are taken for each figure by itself", () => {
    const runs = [{ a: 1, b: 30 }, { a: 2, b: 10 }, { a: 3 }];
    expect(medianFigures(runs)).toEqual({ a: 2, b: 20 });
  });
});

describe("a run of orders", () => {
  const figures = (unknown: number) => {
    const tally = new Tally();
    for (let at = 0; at < 2_000; at++)
      tally.add(
        at < unknown
          ? { ok: false, code: "ECONNRESET", message: "", retryAfterMs: 0 }
          : { ok: true, status: "CONFIRMED", reason: "", isReplayed: false },
      );
    const latency = { p50Ms: 1, p90Ms: 1, p99Ms: 1, maxMs: 1 } as never;
    const used = { byRole: new Map(), generator: 0, othersCores: 0, seconds: 1 };
    return orderFigures({ tally, latency, refused: latency, elapsedMs: 1_000, dropped: 0 }, used, new Map());
  };

  it("says how many have an unknown outcome, and does not count above a thousandth", () => {
    expect(figures(2)).toMatchObject({ orders: 1_998, failed: 2, unknown: 2 });
    expect(() => figures(3)).toThrow(/3 of 2000 orders have an unknown outcome/);
  });
});

describe("growth", () => {
  it("is the slope of the second half", () => {
    const point = (orders: number, bytes: number) => {
      return { orders, ordersPerSecond: 0, disk: 0, memory: { gateway: bytes } };
    };
    const points = [point(0, 0), point(10, 5_000), point(20, 6_000), point(30, 6_010), point(40, 6_020)];
    expect(slopes(points)).toEqual({ "memoryBytesPerOrder.gateway": 1 });
    expect(slopeOf([[5, 1]])).toBe(0);
  });
});

describe("the plan", () => {
  it("has every row on the headline setup and a few on all others", () => {
    const planned = plan([]);
    expect(planned).toHaveLength(ROWS.length + COMPARED.length * (Object.keys(SETUPS).length - 1));
    expect(planned.slice(0, ROWS.length).every(({ setup }) => setup === HEADLINE)).toBe(true);
  });

  it("has peers where they are named alone", () => {
    expect(plan([]).filter(({ row }) => row.group === "peers")).toEqual([]);
    const peers = plan(["peers"]).map(
      ({ setup, row }) => `${setup} ${row.name.replace("peer-postgres-", "")}`,
    );
    expect(peers).toEqual(["1", "64", "256", "hot-64"].map((name) => `${HEADLINE} ${name}`));
  });

  it("takes rows, groups and setups", () => {
    const names = (wanted: readonly string[]) => plan(wanted).map(({ setup, row }) => `${setup} ${row.name}`);
    expect(names(["hot", "spike"])).toEqual(["r1-always hot-64", "r1-always spike"]);
    expect(names(["hot-64", "r3-always", "r1-default"])).toEqual(["r3-always hot-64", "r1-default hot-64"]);
    expect(names(["r3-always"])).toEqual(COMPARED.map((row) => `r3-always ${row}`));
    expect(() => plan(["nothing"])).toThrow(/there is no nothing: choose rows of closed-1/);
  });

  it("names no row twice, and no row as a setup", () => {
    const names = [...ROWS.map(({ name }) => name), ...Object.keys(SETUPS)];
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("the table", () => {
  it("has columns for what many rows have and words for the rest", () => {
    const [head, first, second] = resultTable([
      { name: "closed-1", runs: 3, figures: { ordersPerSecond: 1_234.4, p99Ms: 12.34, orders: 9 } },
      { name: "spike", runs: 1, figures: { backlogMax: 1_200, goneMs: Infinity, "idlePercent.nats": 1.25 } },
    ]);
    expect(head).toMatch(/^run +runs +per s +p99 ms$/);
    expect(first).toMatch(/^closed-1 +3 +1,234 +12\.3$/);
    expect(second).toMatch(/^spike +1 +– +– {2}backlog max 1,200, gone never, idle nats 1\.25 %$/);
  });

  it("says where something else was at work", () => {
    expect(more({ othersCores: 0.05 })).toBe("");
    expect(more({ othersCores: 0.52 })).toBe("  disturbed: 0.5 cores busy with something else");
  });
});
