import { describe, expect, it } from "vitest";
import { systemClock, type Clock } from "../../platform/clock.ts";
import { PaymentSimulator, type LedgerEntry, type SimulatedCall } from "./payment-simulator.ts";

/** Time that a test moves. */
function manualClock(): Clock & { advance(ms: number): Promise<void> } {
  let nowMs = 1_000;
  const timers: { dueMs: number; run: () => void }[] = [];
  return {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    setTimer: (run, delayMs) => {
      const timer = { dueMs: nowMs + delayMs, run };
      timers.push(timer);
      return {
        cancel: () => void timers.splice(0, timers.length, ...timers.filter((armed) => armed !== timer)),
      };
    },
    advance: async (ms) => {
      nowMs += ms;
      for (const timer of [...timers].filter(({ dueMs }) => dueMs <= nowMs)) timer.run();
      await Promise.resolve();
    },
  };
}

function call(
  operation: SimulatedCall["operation"],
  key: string,
  methodToken = "",
  authorizationKey = "k",
): SimulatedCall {
  return { operation, key, methodToken, authorizationKey, amount: 100n, currency: "EUR" };
}

describe("the payment simulator", () => {
  it("has the same effect once and the same answer always under one key", async () => {
    const simulator = new PaymentSimulator({ clock: systemClock });
    const first = await simulator.call(call("authorize", "k", "tok_ok"));
    expect(await simulator.call(call("authorize", "k", "tok_ok"))).toEqual(first);
    expect(simulator.ledger()).toHaveLength(1);
    expect(simulator.query("k")).toEqual(first);
    expect(simulator.query("other")).toBeUndefined();
  });

  it.each([
    ["tok_declined", ["declined:card_declined", "declined:card_declined"]],
    ["tok_decline_insufficient_funds", ["declined:insufficient_funds"]],
    ["tok_timeout", ["silent", "silent"]],
    ["tok_timeout_1", ["silent", "approved:"]],
    ["tok_unreachable", ["unreachable", "unreachable", "unreachable"]],
    ["tok_unreachable_2", ["unreachable", "unreachable", "approved:"]],
    ["tok_flaky", ["error", "approved:"]],
    ["tok_garbage_1", ["garbage", "approved:"]],
  ])("%s answers %j", async (token, expected) => {
    const simulator = new PaymentSimulator({ clock: systemClock });
    for (const text of expected) {
      const answer = await simulator.call(call("authorize", "k", token));
      expect(answer.kind === "answer" ? `${answer.entry.status}:${answer.entry.code}` : answer.kind).toBe(
        text,
      );
    }
  });

  it("keeps silent about a blackout, also when asked", async () => {
    const simulator = new PaymentSimulator({ clock: systemClock });
    await simulator.call(call("authorize", "k", "tok_blackout"));
    expect(simulator.query("k")).toEqual({ kind: "silent" });
    expect(simulator.ledger()).toMatchObject([{ status: "approved" }]);
  });

  it("T11 refuses an authorisation whose void came first, also one that was on its way", async () => {
    const clock = manualClock();
    const simulator = new PaymentSimulator({ clock });
    const late = simulator.call(call("authorize", "k", "tok_late_500"));
    expect(await simulator.call(call("void", "v"))).toMatchObject({ entry: { status: "approved" } });
    await clock.advance(500);
    expect(await late).toMatchObject({ entry: { status: "declined", code: "voided" } });
    expect(await simulator.call(call("capture", "c"))).toMatchObject({
      entry: { status: "declined", code: "voided" },
    });
  });

  it("answers late and slow calls when their time has come", async () => {
    const clock = manualClock();
    const simulator = new PaymentSimulator({ clock });
    const late = simulator.call(call("authorize", "k", "tok_late_500"));
    expect(simulator.query("k")).toBeUndefined();
    await clock.advance(500);
    expect(await late).toMatchObject({ entry: { status: "approved" } });
    const slow = simulator.call(call("authorize", "s", "tok_slow_300", "s"));
    await Promise.resolve();
    expect(simulator.query("s")).toMatchObject({ entry: { status: "approved" } });
    await clock.advance(300);
    expect(await slow).toMatchObject({ entry: { status: "approved" } });
  });

  it("captures and refunds no more than there is", async () => {
    const simulator = new PaymentSimulator({ clock: systemClock });
    const code = async (operation: SimulatedCall["operation"], key: string) => {
      const answer = await simulator.call(call(operation, key));
      return answer.kind === "answer" ? answer.entry.code : answer.kind;
    };
    expect(await code("capture", "c0")).toBe("unknown_authorization");
    await simulator.call(call("authorize", "k", "tok_ok"));
    expect(await code("refund", "r0")).toBe("exceeds_captured");
    expect(await code("capture", "c1")).toBe("");
    expect(await code("capture", "c2")).toBe("exceeds_authorized");
    expect(await code("void", "v1")).toBe("already_captured");
    expect(await code("refund", "r1")).toBe("");
    expect(await code("refund", "r2")).toBe("exceeds_captured");
  });

  it("declines by rate, the same key the same way, and leaves known tokens alone", async () => {
    const simulator = new PaymentSimulator({ clock: systemClock, settings: { successRate: 0.8 } });
    let approved = 0;
    for (let index = 0; index < 1_000; index++) {
      const answer = await simulator.call(call("authorize", `k${index}`, "tok_visa", `k${index}`));
      if (answer.kind === "answer" && answer.entry.status === "approved") approved += 1;
    }
    expect(approved).toBeGreaterThan(750);
    expect(approved).toBeLessThan(850);
    simulator.settings = { ...simulator.settings, successRate: 0 };
    expect(await simulator.call(call("authorize", "x", "tok_ok", "x"))).toMatchObject({
      entry: { status: "approved" },
    });
  });

  it("goes on from what is written down, and forgets the oldest beyond its bound", async () => {
    const written: LedgerEntry[] = [];
    const first = new PaymentSimulator({ clock: systemClock, record: (entry) => written.push(entry) });
    await first.call(call("authorize", "k", "tok_ok"));
    const second = new PaymentSimulator({ clock: systemClock, entries: written, entriesMax: 2 });
    expect(second.query("k")).toEqual(first.query("k"));
    for (const key of ["a", "b"]) await second.call(call("authorize", key, "tok_ok", key));
    expect(second.ledger().map(({ key }) => key)).toEqual(["a", "b"]);
  });
});
