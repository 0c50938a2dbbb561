import { describe, expect, it } from "vitest";
import type { Clock } from "../platform/clock.ts";
import { createMailbox, type MailboxOptions } from "./mailbox.ts";

/** A clock that stands until it is moved. */
function manualClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  const timers = new Set<{ atMs: number; run: () => void }>();
  return {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    setTimer: (run, delayMs) => {
      const timer = { atMs: nowMs + delayMs, run };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    advance: (ms) => {
      nowMs += ms;
      for (const timer of [...timers].filter(({ atMs }) => atMs <= nowMs)) {
        timers.delete(timer);
        timer.run();
      }
    },
  };
}

function setup(options: Partial<MailboxOptions> = {}) {
  const clock = manualClock();
  const abort = new AbortController();
  const mailbox = createMailbox<number>({
    clock,
    signal: abort.signal,
    heartbeatMs: 1_000,
    keysMax: 3,
    ...options,
  });
  return { clock, abort, mailbox };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("mailbox", () => {
  it("keeps the newest of each key, in the order of the last write", async () => {
    const { mailbox } = setup();
    mailbox.put("a", 1);
    mailbox.put("b", 2);
    mailbox.put("a", 3);
    expect(await mailbox.take()).toEqual({ kind: "items", items: [2, 3] });
  });

  it("wakes a waiting reader", async () => {
    const { mailbox } = setup();
    const taken = mailbox.take();
    mailbox.put("a", 1);
    expect(await taken).toEqual({ kind: "items", items: [1] });
  });

  it("says that it is alive when nothing comes", async () => {
    const { mailbox, clock } = setup();
    const taken = mailbox.take();
    clock.advance(1_000);
    expect(await taken).toEqual({ kind: "heartbeat" });
  });

  it("drops everything above its bound and says so once", async () => {
    const { mailbox } = setup();
    for (const key of ["a", "b", "c", "d"]) mailbox.put(key, 1);
    expect(await mailbox.take()).toEqual({ kind: "overflow" });
    mailbox.put("a", 2);
    expect(await mailbox.take()).toEqual({ kind: "items", items: [2] });
  });

  it("lets fast changes gather between two takes", async () => {
    const { mailbox, clock } = setup({ intervalMs: 250 });
    mailbox.put("a", 1);
    expect(await mailbox.take()).toEqual({ kind: "items", items: [1] });
    const taken = mailbox.take();
    mailbox.put("a", 2);
    await turn();
    mailbox.put("a", 3);
    await turn();
    clock.advance(250);
    expect(await taken).toEqual({ kind: "items", items: [3] });
  });

  it("throws the reason of its signal, also while it waits", async () => {
    const { mailbox, abort } = setup();
    const taken = mailbox.take();
    abort.abort(new Error("gone"));
    await expect(taken).rejects.toThrow("gone");
    await expect(mailbox.take()).rejects.toThrow("gone");
  });
});
