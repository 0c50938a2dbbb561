import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { acquirePidLock, isRunning, LockHeldError, markProcess, readLock } from "./pid-lock.ts";

let path = "";
beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), "tradewind-lock-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  path = join(dir, "lock");
});

/** A process that has ended. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  await once(child, "exit");
  return child.pid ?? 0;
}

describe("acquirePidLock", () => {
  it("refuses a second owner by name and frees the file on release", () => {
    const lock = acquirePidLock(path);
    expect(() => acquirePidLock(path)).toThrow(
      new LockHeldError(path, readLock(path) ?? expect.fail("no lock")),
    );
    expect(readLock(path)?.pid).toBe(process.pid);
    lock.release();
    lock.release();
    expect(existsSync(path)).toBe(false);
    acquirePidLock(path).release();
  });

  it("takes over from a dead process and from a pid that now belongs to another process", async () => {
    const mine = markProcess(process.pid) ?? expect.fail("no mark");
    for (const stale of [
      { pid: await deadPid(), start: "1" },
      { pid: mine.pid, start: `${mine.start}0` },
    ]) {
      writeFileSync(path, JSON.stringify(stale));
      const lock = acquirePidLock(path);
      expect(readLock(path)).toEqual(mine);
      lock.release();
    }
  });

  it("takes over a file that says nothing", () => {
    writeFileSync(path, "");
    acquirePidLock(path).release();
    expect(existsSync(path)).toBe(false);
  });

  it("is held as long as the recorded child lives", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => 0, 1000)"], { stdio: "ignore" });
    const mark = markProcess(child.pid ?? 0) ?? expect.fail("no mark");
    writeFileSync(path, JSON.stringify({ pid: await deadPid(), start: "1", child: mark }));
    expect(() => acquirePidLock(path)).toThrow(LockHeldError);
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(isRunning(mark)).toBe(false);
    acquirePidLock(path).release();
  });

  it("never releases the lock of another", () => {
    const lock = acquirePidLock(path);
    const other = { pid: 1, start: markProcess(1)?.start ?? "" };
    writeFileSync(path, JSON.stringify(other));
    lock.release();
    expect(readLock(path)).toEqual(other);
  });

  it("goes to exactly one of many processes that find a stale lock", async () => {
    writeFileSync(path, JSON.stringify({ pid: await deadPid(), start: "1" }));
    const script = `
      import { acquirePidLock } from "${new URL("pid-lock.ts", import.meta.url).pathname}";
      try { acquirePidLock(${JSON.stringify(path)}); console.log("mine"); } catch (error) { console.log(error.name); }
      setInterval(() => 0, 1000);`;
    const children = Array.from({ length: 5 }, () =>
      spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], {
        stdio: ["ignore", "pipe", "ignore"],
      }),
    );
    onTestFinished(() => children.forEach((child) => child.kill("SIGKILL")));
    const answers = await Promise.all(
      children.map(async (child) => String((await once(child.stdout, "data"))[0]).trim()),
    );
    expect(answers.toSorted()).toEqual([...Array.from({ length: 4 }, () => "LockHeldError"), "mine"]);
    expect(readdirSync(join(path, ".."))).toEqual(["lock"]);
  });
});
