import { describe, expect, it } from "vitest";
import { deadLetterTable } from "./dead-letters.ts";
import { PRESETS } from "./presets.ts";
import { reconcileLines } from "./reconcile.ts";
import { grouped, progressLine, table } from "./terminal.ts";
import { curlRecipes, welcomeLines } from "./welcome.ts";

describe("reports", () => {
  it("reconcile: one line for each check, both sides and samples of what differs", () => {
    const lines = reconcileLines({
      verdict: "RECONCILE_VERDICT_DIFFERENT",
      orders: "1200",
      ordersOpen: "3",
      checks: [
        { name: "stock_reserved", verdict: "RECONCILE_VERDICT_CLEAN", text: "units held" },
        {
          name: "payment_due",
          verdict: "RECONCILE_VERDICT_DIFFERENT",
          expected: "10",
          actual: "12",
          samples: ["ord_1", "ord_2"],
        },
      ],
    });
    expect(lines).toEqual([
      "clean     stock_reserved  units held",
      "different payment_due  expected 10, is 12",
      "          ord_1 ord_2",
      "different: 1,200 orders, 3 of them under way",
    ]);
    const archived = { verdict: "RECONCILE_VERDICT_CLEAN", orders: "5", ordersArchived: "12000" } as const;
    expect(reconcileLines(archived)).toEqual([
      "clean: 5 orders, 0 of them under way, and 12,000 archived ones",
    ]);
  });

  it("dead letters: one row for each", () => {
    const [head, row] = deadLetterTable([
      { id: "d-1", kind: "order", key: "ord_1", reason: "HANDLER_THREW" },
    ]);
    expect(head).toMatch(/^id +since +actor +message +reason +text$/);
    expect(row).toMatch(/^d-1 +order ord_1 +HANDLER_THREW$/);
  });

  it("progress: how far, how many, how fast", () => {
    expect(progressLine(250, 1_000, "80/s")).toMatch(/^━{7} {21} {2}25 % {2}250\/1,000 {2}80\/s$/);
    expect(progressLine(0, 0, "")).toContain("100 %");
  });

  it("tables: the first column to the left, all others to the right", () => {
    expect(
      table([
        ["a", "b"],
        ["long", grouped(12_345)],
      ]),
    ).toEqual(["a          b", "long  12,345"]);
  });

  it("the greeting has every address and every recipe", () => {
    const facts = {
      url: "http://localhost:1",
      natsUrl: "nats://n",
      natsMonitorUrl: "http://m",
      adminUrl: "http://a",
      pspUrl: "http://p",
      dataDir: ".data",
      readyMs: 1_234,
    };
    const text = welcomeLines(facts).join("\n");
    expect(text).toContain("after 1.2 s");
    for (const part of ["nats://n", "http://m", "http://a/metrics", "http://p/ledger"])
      expect(text).toContain(part);
    for (const { command } of curlRecipes("http://localhost:1")) expect(text).toContain(command);
  });

  it("presets order only what they create", () => {
    for (const { products, orders } of Object.values(PRESETS)) {
      const ids = new Set(products.map(({ id }) => id));
      for (const { lines } of orders) for (const { productId } of lines) expect(ids).toContain(productId);
    }
  });
});
