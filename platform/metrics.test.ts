import { describe, expect, it } from "vitest";
import { counter, createMetrics, renderMetrics } from "./metrics.ts";

describe("createMetrics", () => {
  it("renders counters, gauges and histograms", async () => {
    const metrics = createMetrics();
    const calls = metrics.counter({ name: "tradewind_test_calls_total", help: "calls", labels: ["code"] });
    const lag = metrics.gauge({ name: "tradewind_test_lag_messages", help: "lag" });
    const took = metrics.histogram({ name: "tradewind_test_call_seconds", help: "time", labels: ["code"] });
    calls.inc({ code: "ok" });
    calls.inc({ code: "ok" }, 2);
    lag.set(7);
    lag.add(-2);
    took.observe({ code: "ok" }, 0.003);
    const text = await metrics.render();
    expect(text).toContain('tradewind_test_calls_total{code="ok"} 3');
    expect(text).toContain("tradewind_test_lag_messages 5");
    expect(text).toContain('tradewind_test_call_seconds_bucket{le="0.005",code="ok"} 1');
  });

  it("reads a gauge at the scrape, and forgets a series on request", async () => {
    const metrics = createMetrics();
    let depth = 1;
    const queue = metrics.gauge({
      name: "tradewind_test_queue_messages",
      help: "depth",
      labels: ["kind"],
      collect: (gauge) => gauge.set({ kind: "order" }, depth),
    });
    depth = 4;
    expect(await metrics.render()).toContain('tradewind_test_queue_messages{kind="order"} 4');
    queue.set({ kind: "gone" }, 1);
    queue.remove({ kind: "gone" });
    expect(await metrics.render()).not.toContain("gone");
  });

  it("counts label values above the limit as other", async () => {
    const metrics = createMetrics();
    const calls = metrics.counter({ name: "tradewind_test_calls_total", help: "calls", labels: ["id"] });
    for (let i = 0; i < 150; i++) calls.inc({ id: `id-${i}` });
    const text = await metrics.render();
    expect(text).toContain('{id="id-99"} 1');
    expect(text).not.toContain('"id-100"');
    expect(text).toContain('{id="other"} 50');
  });

  it("returns the first metric of a name, and refuses another kind or form of name", () => {
    const metrics = createMetrics();
    const options = { name: "tradewind_test_calls_total", help: "calls" };
    expect(metrics.counter(options)).toBe(metrics.counter(options));
    expect(() => metrics.gauge(options)).toThrow("is a counter, not a gauge");
    expect(() => metrics.counter({ name: "tradewind_test_calls", help: "x" })).toThrow("end in _total");
    expect(() => metrics.gauge({ name: "calls_messages", help: "x" })).toThrow("must be tradewind_<part>");
    expect(metrics.names()).toEqual(["tradewind_test_calls_total"]);
  });
});

describe("renderMetrics", () => {
  it("holds the metrics of this process and of Node.js", async () => {
    counter({ name: "tradewind_test_renders_total", help: "renders" }).inc();
    const text = await renderMetrics();
    expect(text).toContain("tradewind_test_renders_total 1");
    expect(text).toContain("process_cpu_seconds_total");
    expect(await renderMetrics()).toContain("nodejs_eventloop_lag_seconds");
  });
});
