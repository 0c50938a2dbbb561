import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { silentLogger } from "./log.ts";
import { createShutdown } from "./shutdown.ts";

const never = () => new Promise<void>(() => undefined);

describe("createShutdown", () => {
  it("stops parts in reverse order, once, and goes on after a failure", async () => {
    const shutdown = createShutdown({ log: silentLogger, deadlineMs: 1_000 });
    const stopped: string[] = [];
    shutdown.add("nats", () => void stopped.push("nats"));
    shutdown.add("worker", () => {
      stopped.push("worker");
      throw new Error("worker is stuck");
    });
    shutdown.add("gateway", async () => void stopped.push("gateway"));
    const clean = shutdown.stop("test");
    expect(shutdown.signal.aborted).toBe(true);
    expect(await clean).toBe(false);
    expect(await shutdown.stop("again")).toBe(false);
    expect(stopped).toEqual(["gateway", "worker", "nats"]);
  });

  it("gives up at the deadline", async () => {
    const shutdown = createShutdown({ log: silentLogger, deadlineMs: 10 });
    shutdown.add("stuck", never);
    expect(await shutdown.stop("test")).toBe(false);
  });

  it("stops what is added too late", async () => {
    const shutdown = createShutdown({ log: silentLogger, deadlineMs: 1_000 });
    expect(await shutdown.stop("test")).toBe(true);
    await new Promise<void>((resolve) => shutdown.add("late", resolve));
  });
});

/** Runs a process whose last part stops as given, and returns how it ended. */
async function runProcess(body: string, ...signals: NodeJS.Signals[]) {
  const script = `
    import { createLogger } from "${new URL("log.ts", import.meta.url).pathname}";
    import { createShutdown } from "${new URL("shutdown.ts", import.meta.url).pathname}";
    const shutdown = createShutdown({ log: createLogger({ role: "test" }), deadlineMs: 2_000 });
    shutdown.onSignals();
    setInterval(() => undefined, 1_000);
    ${body}
    console.log("up");`;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let output = "";
  child.stdout.setEncoding("utf8");
  const left = [...signals];
  child.stdout.on("data", (text: string) => {
    output += text;
    const signal = /up\n|"reason":/.test(text) ? left.shift() : undefined;
    if (signal !== undefined) child.kill(signal);
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

describe("onSignals", () => {
  it("SIGTERM stops in order and exits with 0", async () => {
    const { code, output } = await runProcess(
      `shutdown.add("part", () => console.log("part down"));`,
      "SIGTERM",
    );
    expect(output).toContain("part down");
    expect(code).toBe(0);
  });

  it("a second signal exits at once with 1", async () => {
    const body = `shutdown.add("stuck", () => new Promise(() => undefined));`;
    const { code, output } = await runProcess(body, "SIGINT", "SIGTERM");
    expect(output).toContain("second signal");
    expect(code).toBe(1);
  });

  it("the same signal again at once is an echo of the first", async () => {
    const body = `shutdown.add("part", () => new Promise((resolve) => setTimeout(resolve, 100)));`;
    const { code, output } = await runProcess(body, "SIGTERM", "SIGTERM");
    expect(output).not.toContain("second signal");
    expect(code).toBe(0);
  });

  it("an unhandled rejection is logged and exits with 1", async () => {
    const { code, output } = await runProcess(`void Promise.reject(new Error("nobody caught me"));`);
    expect(output).toContain("nobody caught me");
    expect(code).toBe(1);
  });
});
