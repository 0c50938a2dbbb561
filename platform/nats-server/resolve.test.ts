import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { thisTarget } from "./cache.ts";
import { goWay } from "./go.ts";
import { commandsFor, NatsServerMissingError, resolveNatsServer } from "./resolve.ts";
import type { Way } from "./ways.ts";

const { os, arch } = thisTarget();
let dir = "";
let cacheDir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tradewind-resolve-"));
  cacheDir = join(dir, "cache");
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
});

/** A program that answers --version as nats-server does. */
function fakeServer(path: string, version: string): string {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  chmodSync(path, 0o755);
  return path;
}

const failing: Way = { name: "the first way", obtain: () => Promise.reject(new Error("does not work here")) };
const building = (version: string): Way => ({
  name: "the second way",
  obtain: ({ workDir }) => Promise.resolve(fakeServer(join(workDir, "built"), version)),
});

describe("resolveNatsServer", () => {
  it("takes NATS_SERVER_BIN, then the PATH, then the newest of the cache", async () => {
    const named = fakeServer(join(dir, "named"), "2.14.1");
    const onPath = fakeServer(join(dir, "bin", "nats-server"), "2.14.2");
    fakeServer(join(cacheDir, `2.14.3-${os}-${arch}`, "nats-server"), "2.14.3");
    const newest = fakeServer(join(cacheDir, `2.15.0-${os}-${arch}`, "nats-server"), "2.15.0");
    fakeServer(join(cacheDir, "2.16.0-plan9-mips", "nats-server"), "2.16.0");
    const PATH = `/nowhere:${join(dir, "bin")}`;
    expect(await resolveNatsServer({ env: { NATS_SERVER_BIN: named, PATH }, cacheDir })).toEqual({
      path: named,
      version: "2.14.1",
      source: "NATS_SERVER_BIN",
    });
    expect(await resolveNatsServer({ env: { PATH }, cacheDir })).toMatchObject({
      path: onPath,
      source: "PATH",
    });
    expect(await resolveNatsServer({ env: {}, cacheDir })).toMatchObject({ path: newest, source: "cache" });
  });

  it("says what is too old or broken and goes on", async () => {
    const old = fakeServer(join(dir, "old"), "2.10.27");
    const other = join(dir, "bin", "nats-server");
    fakeServer(other, "2.15.1");
    writeFileSync(other, "#!/bin/sh\necho hello\n");
    fakeServer(join(cacheDir, `2.15.9-${os}-${arch}`, "nats-server"), "2.9.9");
    const lines: string[] = [];
    const found = await resolveNatsServer({
      env: { NATS_SERVER_BIN: old, PATH: join(dir, "bin") },
      cacheDir,
      progress: (line) => lines.push(line),
      ways: [failing, building("2.15.1")],
    });
    const path = join(cacheDir, `2.15.1-${os}-${arch}`, "nats-server");
    expect(found).toEqual({ path, version: "2.15.1", source: "the second way" });
    expect(lines).toEqual([
      `nats-server: NATS_SERVER_BIN: ${old} is 2.10.27, too old: needed is 2.14.0 or newer`,
      expect.stringContaining("is no nats-server: --version printed"),
      "nats-server: the first way: does not work here",
      `nats-server: 2.15.1 is ready at ${path}`,
    ]);
    expect(await resolveNatsServer({ env: {}, cacheDir, ways: [] })).toMatchObject({ path, source: "cache" });
    expect(readdirSync(cacheDir).filter((name) => !name.includes(os))).toEqual([]);
  });

  it("refuses what a way brings when it is too old", async () => {
    const attempt = resolveNatsServer({ env: {}, cacheDir, ways: [building("2.10.0")] });
    await expect(attempt).rejects.toThrow("2.10.0, too old");
    expect(readdirSync(cacheDir)).toEqual([]);
  });

  it("obtains nothing offline, and ends with the commands of this system and code 69", async () => {
    const attempt = resolveNatsServer({
      env: { TRADEWIND_OFFLINE: "1" },
      cacheDir,
      ways: [building("2.15.1")],
    });
    const error = await attempt.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(NatsServerMissingError);
    expect(error).toMatchObject({
      exitCode: 69,
      message: expect.stringContaining("TRADEWIND_OFFLINE is set"),
    });
    for (const command of commandsFor(thisTarget())) expect((error as Error).message).toContain(command);
    expect(existsSync(cacheDir)).toBe(false);
  });

  it("names every way that failed", async () => {
    const attempt = resolveNatsServer({
      env: { NATS_SERVER_BIN: join(dir, "no") },
      cacheDir,
      ways: [failing, failing],
    });
    await expect(attempt).rejects.toThrow(/NATS_SERVER_BIN: .* is not there\n.*first way.*\n.*first way/);
  });

  it("removes what a killed process left in the cache", async () => {
    mkdirSync(join(cacheDir, "work-dead"), { recursive: true });
    writeFileSync(join(cacheDir, "lock"), JSON.stringify({ pid: 2 ** 22 - 1, start: "1" }));
    await resolveNatsServer({ env: {}, cacheDir, ways: [building("2.15.1")] });
    expect(readdirSync(cacheDir)).toEqual([`2.15.1-${os}-${arch}`]);
  });
});

/** A `go` that takes its time, counts its builds and leaves a server in GOBIN; it refuses to cross-compile. */
function fakeGo(): string {
  const bin = join(dir, "gobin");
  mkdirSync(bin);
  writeFileSync(
    join(bin, "go"),
    `#!/bin/sh
[ "$1" = version ] && exit 0
[ -n "$GOOS$GOARCH" ] && { echo "wrong system" >&2; exit 1; }
[ "$FAIL" = yes ] && { echo "go: downloading x" >&2; echo "go: no such host" >&2; exit 1; }
/bin/sleep 0.3
echo "$@" >> ${join(dir, "builds")}
printf '#!/bin/sh\\necho "nats-server: v2.15.1"\\n' > "$GOBIN/nats-server"
/bin/chmod 755 "$GOBIN/nats-server"
`,
  );
  chmodSync(join(bin, "go"), 0o755);
  return bin;
}

describe("goWay", () => {
  it("builds for this machine whatever the shell cross-compiles to", async () => {
    const env = { PATH: fakeGo(), GOOS: "plan9", GOARCH: "mips" };
    expect(await resolveNatsServer({ env, cacheDir, ways: [goWay] })).toMatchObject({ version: "2.15.1" });
    expect(readFileSync(join(dir, "builds"), "utf8")).toContain("github.com/nats-io/nats-server/v2@v2.15.1");
  });

  it("fails with the line of go that says why", async () => {
    const attempt = resolveNatsServer({ env: { PATH: fakeGo(), FAIL: "yes" }, cacheDir, ways: [goWay] });
    await expect(attempt).rejects.toThrow("go install of 2.15.1: go: no such host");
  });

  it("fails in one line without go", async () => {
    await expect(resolveNatsServer({ env: { PATH: dir }, cacheDir, ways: [goWay] })).rejects.toThrow(
      "not on the PATH",
    );
  });

  it("builds once when many processes ask at once", async () => {
    const script = `
      import { resolveNatsServer } from "${new URL("resolve.ts", import.meta.url).pathname}";
      import { goWay } from "${new URL("go.ts", import.meta.url).pathname}";
      const env = { PATH: ${JSON.stringify(fakeGo())} };
      const { path, source } = await resolveNatsServer({ env, cacheDir: ${JSON.stringify(cacheDir)}, ways: [goWay] });
      console.log(source + " " + path);`;
    const found = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const args = ["--input-type=module-typescript", "--eval", script];
        const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
        const [line] = (await once(child.stdout, "data")) as [Buffer];
        return line.toString().trim();
      }),
    );
    const path = join(cacheDir, `2.15.1-${os}-${arch}`, "nats-server");
    expect(found.toSorted()).toEqual([
      ...Array.from({ length: 3 }, () => `cache ${path}`),
      `go install of 2.15.1 ${path}`,
    ]);
    expect(readFileSync(join(dir, "builds"), "utf8").trim().split("\n")).toHaveLength(1);
  });
});
