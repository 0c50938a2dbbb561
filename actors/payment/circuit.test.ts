import { describe, expect, it } from "vitest";
import { type Circuit, CircuitOpenError, createCircuit } from "./circuit.ts";

const signal = new AbortController().signal;
const fault = () => Promise.reject(new Error("no answer"));

function circuit(
  options: { readonly faultsMax?: number; readonly openMs?: number; heldMsMax?: number } = {},
) {
  const changes: boolean[] = [];
  const onChange = (isOpen: boolean) => changes.push(isOpen);
  const isFault = (error: unknown) => (error as Error).message === "no answer";
  return {
    changes,
    ...createCircuit({ faultsMax: 3, openMs: 50, heldMsMax: 40, ...options, isFault, onChange }),
  };
}

async function breakIt(subject: Circuit, times = 3): Promise<void> {
  for (let time = 0; time < times; time++)
    await expect(subject.run(fault, signal)).rejects.toThrow("no answer");
}

describe("a circuit", () => {
  it("lets calls through side by side while it is closed", async () => {
    const subject = circuit();
    const waiting: (() => void)[] = [];
    const calls = Array.from({ length: 50 }, () =>
      subject.run(() => new Promise<void>((resolve) => void waiting.push(resolve)), signal),
    );
    expect(waiting).toHaveLength(50);
    for (const resolve of waiting) resolve();
    await Promise.all(calls);
  });

  it("opens after faults in a row, and fails what it held back for too long without calling", async () => {
    const subject = circuit({ openMs: 60_000 });
    await breakIt(subject);
    expect(subject.changes).toEqual([true]);
    let isCalled = false;
    const held = subject.run(async () => void (isCalled = true), signal);
    await expect(held).rejects.toThrow(CircuitOpenError);
    expect(isCalled).toBe(false);
  });

  it("is not opened by faults with an answer between them, nor by what speaks against one request", async () => {
    const subject = circuit();
    for (let round = 0; round < 3; round++) {
      await breakIt(subject, 2);
      await subject.run(() => Promise.resolve("declined"), signal);
    }
    for (let round = 0; round < 9; round++) {
      await expect(subject.run(() => Promise.reject(new Error("bad request")), signal)).rejects.toThrow(
        "bad",
      );
    }
    expect(subject.changes).toEqual([]);
  });

  it("closes with the first answer after its rest, and what was held back goes on at once", async () => {
    const subject = circuit({ heldMsMax: 5_000 });
    await breakIt(subject);
    const answers = Array.from({ length: 20 }, (_, at) => subject.run(() => Promise.resolve(at), signal));
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 20 }, (_, at) => at));
    expect(subject.changes).toEqual([true, false]);
  });

  it("stays open when that call fails too", async () => {
    const subject = circuit({ heldMsMax: 5_000 });
    await breakIt(subject, 4);
    expect(subject.changes).toEqual([true, true]);
  });

  it("lets go of a call whose caller gives up", async () => {
    const subject = circuit({ openMs: 60_000, heldMsMax: 60_000 });
    await breakIt(subject);
    const stop = new AbortController();
    const held = subject.run(fault, stop.signal);
    stop.abort();
    await expect(held).rejects.toThrow(CircuitOpenError);
  });
});
