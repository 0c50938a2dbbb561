import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { thisTarget } from "./cache.ts";
import { MIRROR_VARIABLE, obtainRelease, RELEASE_SHA256, RELEASE_VERSION } from "./release.ts";
import { resolveNatsServer } from "./resolve.ts";
import { probeServer } from "./version.ts";
import type { Way } from "./ways.ts";

const target = thisTarget();
const folder = `nats-server-v${RELEASE_VERSION}-${target.os}-${target.arch}`;
let dir = "";
let archive: Buffer;
let sum = "";

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tradewind-release-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const from = join(dir, "from", folder);
  mkdirSync(from, { recursive: true });
  writeFileSync(join(from, "nats-server"), `#!/bin/sh\necho "nats-server: v${RELEASE_VERSION}"\n`);
  chmodSync(join(from, "nats-server"), 0o755);
  writeFileSync(join(from, "README.md"), "must not be unpacked");
  execFileSync("tar", ["-czf", join(dir, "archive"), "-C", join(dir, "from"), folder]);
  archive = readFileSync(join(dir, "archive"));
  sum = createHash("sha256").update(archive).digest("hex");
  mkdirSync(join(dir, "work"));
});

async function mirror(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mirror/`;
}

const context = (base: string) => ({
  env: { [MIRROR_VARIABLE]: base, PATH: process.execPath },
  target,
  workDir: join(dir, "work"),
  progress: () => undefined,
});
const sums = () => ({ [`${target.os}-${target.arch}`]: sum });

describe("obtainRelease", () => {
  it("downloads, checks and unpacks the one file", async () => {
    const asked: string[] = [];
    const base = await mirror((request, response) => {
      asked.push(request.url ?? "");
      response.end(archive);
    });
    const path = await obtainRelease(context(base), sums());
    expect((await probeServer(path)).patch).toBe(Number(RELEASE_VERSION.split(".")[2]));
    expect(asked).toEqual([`/mirror/v${RELEASE_VERSION}/${folder}.tar.gz`]);
    expect(existsSync(join(dir, "work", folder, "README.md"))).toBe(false);
  });

  it("follows a redirect", async () => {
    const base = await mirror((request, response) => {
      if (request.url?.startsWith("/mirror/") === true) response.writeHead(302, { location: "/store" }).end();
      else response.end(archive);
    });
    expect(existsSync(await obtainRelease(context(base), sums()))).toBe(true);
  });

  it("does not use, retry or unpack a file with another sha256", async () => {
    let asked = 0;
    const base = await mirror((_request, response) => {
      asked++;
      response.end(Buffer.concat([archive, Buffer.from("x")]));
    });
    await expect(obtainRelease(context(base), sums())).rejects.toThrow(
      `pinned is ${sum}: the file was not used`,
    );
    expect(asked).toBe(1);
    expect(existsSync(join(dir, "work", folder))).toBe(false);
  });

  it.each<[string, RequestListener, string]>([
    ["404", (_request, response) => void response.writeHead(404).end(), "answered 404"],
    [
      "a redirect for ever",
      (request, response) => void response.writeHead(302, { location: request.url }).end(),
      "redirects more than",
    ],
    [
      "plain http elsewhere",
      (_request, response) => void response.writeHead(302, { location: "http://mirror.example/" }).end(),
      "is not https",
    ],
    ["a broken connection", (_request, response) => void response.destroy(), "127.0.0.1"],
    [
      "less than was promised",
      (_request, response) => {
        response.writeHead(200, { "content-length": "1000" });
        response.write("half", () => response.destroy());
      },
      "aborted",
    ],
  ])("fails on %s", async (_case, answer, reason) => {
    await expect(obtainRelease(context(await mirror(answer)), sums())).rejects.toThrow(reason);
  });

  it("has no sum for an unknown machine", async () => {
    const unknown = { ...context("http://127.0.0.1:1"), target: { os: "plan9", arch: "mips" } };
    await expect(obtainRelease(unknown, RELEASE_SHA256)).rejects.toThrow("no pinned sha256 for plan9-mips");
  });

  it("is followed by the next way when the sha256 is wrong, and the cache stays clean", async () => {
    const base = await mirror((_request, response) => void response.end("not what was pinned"));
    const lines: string[] = [];
    const way: Way = { name: "the release", obtain: (given) => obtainRelease(given, sums()) };
    const cacheDir = join(dir, "cache");
    const attempt = resolveNatsServer({
      env: { [MIRROR_VARIABLE]: base },
      cacheDir,
      ways: [way],
      progress: (line) => lines.push(line),
    });
    await expect(attempt).rejects.toThrow("the release: sha256 of");
    expect(lines).toHaveLength(2);
    expect(existsSync(join(cacheDir, `${RELEASE_VERSION}-${target.os}-${target.arch}`))).toBe(false);
  });
});

describe("the pinned sums", () => {
  it("are sha256 and cover the usual machines", () => {
    for (const pinned of Object.values(RELEASE_SHA256)) expect(pinned).toMatch(/^[0-9a-f]{64}$/);
    expect(Object.keys(RELEASE_SHA256)).toEqual(
      expect.arrayContaining(["linux-amd64", "linux-arm64", "darwin-arm64", "darwin-amd64"]),
    );
  });
});
