import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { sleep, systemClock } from "../clock.ts";
import { markProcess } from "./pid-lock.ts";
import { startNatsServer } from "./server.ts";
import { testBinary } from "./testing.ts";

let dataDir = "";
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "tradewind-data-"));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
});

interface Owner {
  readonly child: ChildProcess;
  readonly serverPid: number;
  readonly guardianPid: number;
}

/** A process of its own that starts a server and tells its pid, as `npm start` does. */
async function startOwner(options: Record<string, unknown> = {}): Promise<Owner> {
  const start = { binary: await testBinary(), dataDir, ...options };
  const script = `
    import { startNatsServer } from "${new URL("server.ts", import.meta.url).pathname}";
    const server = await startNatsServer(${JSON.stringify(start)});
    console.log(server.pid);
    setInterval(() => 0, 1000);`;
  const args = ["--input-type=module-typescript", "--eval", script];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const serverPid = Number(line.toString());
  const stat = readFileSync(`/proc/${serverPid}/stat`, "utf8");
  return { child, serverPid, guardianPid: Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) };
}

async function until(what: string, isTrue: () => boolean): Promise<void> {
  for (const startedMs = systemClock.monotonicMs(); !isTrue(); await sleep(systemClock, 10)) {
    if (systemClock.monotonicMs() - startedMs > 10_000) throw new Error(`${what} did not happen within 10 s`);
  }
}

const isGone = (pid: number) => markProcess(pid) === undefined;
const lockPath = () => join(dataDir, "tradewind.lock");

describe("the guardian", () => {
  it.each(["SIGKILL", "SIGTERM", "SIGINT"] as const)(
    "leaves no server, no guardian and no lock when the owner dies of %s",
    async (signal) => {
      const { child, serverPid, guardianPid } = await startOwner();
      expect(existsSync(lockPath())).toBe(true);
      child.kill(signal);
      await until("the end of the server", () => isGone(serverPid) && isGone(guardianPid));
      expect(existsSync(lockPath())).toBe(false);
      const server = await startNatsServer({ binary: await testBinary(), dataDir });
      await server.stop();
    },
  );

  it("ends a frozen server too, and removes temporary data", async () => {
    const { child, serverPid, guardianPid } = await startOwner({ temporary: true });
    process.kill(serverPid, "SIGSTOP");
    child.kill("SIGKILL");
    await until("the end of the server", () => isGone(serverPid) && isGone(guardianPid));
    expect(existsSync(dataDir)).toBe(false);
  });

  it("lets the next start wait for the server of a killed owner", async () => {
    const { child, serverPid } = await startOwner();
    child.kill("SIGKILL");
    await once(child, "exit");
    const server = await startNatsServer({ binary: await testBinary(), dataDir });
    expect(isGone(serverPid)).toBe(true);
    await server.stop();
  });

  it("refuses a start while another process owns the folder, and names it", async () => {
    const { child } = await startOwner();
    const second = startNatsServer({ binary: await testBinary(), dataDir });
    await expect(second).rejects.toThrow(`${dataDir} is in use by process ${child.pid}`);
  });

  it("when killed itself, takes the server with it instead of leaving it unguarded", async () => {
    const { child, serverPid, guardianPid } = await startOwner();
    process.kill(guardianPid, "SIGKILL");
    await until("the end of the server", () => isGone(serverPid));
    expect(child.exitCode).toBeNull();
  });

  it("when killed with its owner, leaves a server that the next start ends", async () => {
    const { child, serverPid, guardianPid } = await startOwner();
    child.kill("SIGSTOP"); // so that it cannot react to the guardian's end
    process.kill(guardianPid, "SIGKILL");
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(isGone(serverPid)).toBe(false);
    const server = await startNatsServer({ binary: await testBinary(), dataDir });
    expect(isGone(serverPid)).toBe(true);
    await server.stop();
  });

  it("does not keep its owner alive", async () => {
    const script = join(dataDir, "owner.mts");
    const start = JSON.stringify({ binary: await testBinary(), dataDir });
    writeFileSync(
      script,
      `import { startNatsServer } from "${new URL("server.ts", import.meta.url).pathname}";
       const server = await startNatsServer(${start});
       console.log(server.pid);`,
    );
    const child = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    expect(await once(child, "exit")).toEqual([0, null]);
    await until("the end of the server", () => isGone(Number(line.toString())));
  });
});
