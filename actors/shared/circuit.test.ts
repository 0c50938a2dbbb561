import { describe, expect, it } from "vitest";
import { Circuit, CircuitOpenError, type CircuitOptions } from "./circuit.ts";

const signal = new AbortController().signal;
const fault = () => Promise.reject(new Error("no answer"));

function circuit(options: Partial<CircuitOptions> = {}) {
  const changes: boolean[] = [];
  const onChange = (isOpen: boolean) => changes.push(isOpen);
  const isFault = (error: unknown) => (error as Error).message === "no answer";
  const fixed = { isFault, onChange };
  return {
    changes,
    subject: new Circuit({ faultsMax: 3, probeEveryMs: 20, heldMsMax: 40, ...options, ...fixed }),
  };
}

async function breakIt(subject: Circuit, times = 3): Promise<void> {
  for (let time = 0; time < times; time++)
    await expect(subject.run(fault, signal)).rejects.toThrow("no answer");
}

describe("a circuit", () => {
  it("lets calls through side by side while it is closed", async () => {
    const { subject } = circuit();
    const waiting: (() => void)[] = [];
    const calls = Array.from({ length: 50 }, () =>
      subject.run(() => new Promise<void>((resolve) => void waiting.push(resolve)), signal),
    );
    expect(waiting).toHaveLength(50);
    for (const resolve of waiting) resolve();
    await Promise.all(calls);
  });

  it("opens after faults in a row, and fails what it held back for too long without calling", async () => {
    const { subject, changes } = circuit({ probeEveryMs: 60_000 });
    await breakIt(subject);
    expect(changes).toEqual([true]);
    let isCalled = false;
    const held = subject.run(async () => void (isCalled = true), signal);
    await expect(held).rejects.toThrow(CircuitOpenError);
    expect(isCalled).toBe(false);
  });

  it("is not opened by faults with an answer between them, nor by what speaks against one request", async () => {
    const { subject, changes } = circuit();
    for (let round = 0; round < 3; round++) {
      await breakIt(subject, 2);
      await subject.run(() => Promise.resolve("declined"), signal);
    }
    for (let round = 0; round < 9; round++) {
      await expect(subject.run(() => Promise.reject(new Error("bad request")), signal)).rejects.toThrow(
        "bad",
      );
    }
    expect(changes).toEqual([]);
  });

  it("closes with the first answer, and what was held back goes on at once", async () => {
    const { subject, changes } = circuit({ heldMsMax: 5_000 });
    await breakIt(subject);
    const answers = Array.from({ length: 20 }, (_, at) => subject.run(() => Promise.resolve(at), signal));
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 20 }, (_, at) => at));
    expect(changes).toEqual([true, false]);
  });

  it("stays open while the calls that try fail too, one after another", async () => {
    const { subject, changes } = circuit({ heldMsMax: 5_000 });
    await breakIt(subject, 6);
    expect(changes).toEqual([true]);
  });

  it("tries another call while the one before has no answer", async () => {
    const { subject, changes } = circuit({ heldMsMax: 5_000 });
    await breakIt(subject);
    const answered = Promise.withResolvers<string>();
    const first = subject.run(() => answered.promise, signal);
    expect(await subject.run(() => Promise.resolve("second"), signal)).toBe("second");
    expect(changes).toEqual([true, false]);
    answered.resolve("first");
    expect(await first).toBe("first");
  });

  it("closes with the answer to a call that was under way when it opened", async () => {
    const { subject, changes } = circuit({ probeEveryMs: 60_000, heldMsMax: 5_000 });
    const answered = Promise.withResolvers<string>();
    const early = subject.run(() => answered.promise, signal);
    await breakIt(subject);
    const held = subject.run(() => Promise.resolve("held"), signal);
    answered.resolve("early");
    expect(await Promise.all([early, held])).toEqual(["early", "held"]);
    expect(changes).toEqual([true, false]);
  });

  it("lets go of a call whose caller gives up", async () => {
    const { subject } = circuit({ probeEveryMs: 60_000, heldMsMax: 60_000 });
    await breakIt(subject);
    const stop = new AbortController();
    const held = subject.run(fault, stop.signal);
    stop.abort();
    await expect(held).rejects.toThrow(CircuitOpenError);
  });
});
