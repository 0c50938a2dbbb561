import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { executableName } from "./cache.ts";
import type { Way, WayContext } from "./ways.ts";

/** The pinned release. */
export const RELEASE_VERSION = "2.14.5";

/** sha256 of the official archives, as published with the release and in the official image's Dockerfiles. */
export const RELEASE_SHA256: Readonly<Record<string, string>> = {
  "linux-amd64": "5e3b603d47c447bda1f77f9ac16dbf91c90aac4ff3681f8fbbc7201e4ed99355",
  "linux-arm64": "673a98d3faa79dde3f9ebf16d6dfac36a5f694e7ad2015e4954dd7939c85cd4c",
  "linux-arm7": "c8796b63a8603fdebabd63146ac3d3997c29a2829fdd2af6db320f4a287f2e71",
  "darwin-amd64": "f95c98d6b6ed2b63c5681b46b092c9585c99767d547cf495730c329234625e96",
  "darwin-arm64": "ddd907854d9a2de834af133fa396915fe6442fe6d8909ae31390d1ea7a0fea50",
};

/** Base URL in place of GitHub's; must hold `v<version>/<archive>` below it. */
export const MIRROR_VARIABLE = "TRADEWIND_NATS_MIRROR";
const OFFICIAL_BASE = "https://github.com/nats-io/nats-server/releases/download";

const ARCHIVE_BYTES_MAX = 64 * 2 ** 20;
const REDIRECTS_MAX = 5;
const CONNECT_TIMEOUT_MS = 10_000;
const SILENCE_TIMEOUT_MS = 30_000;
const UNPACK_TIMEOUT_MS = 60_000;
const PROGRESS_STEP_BYTES = 4 * 2 ** 20;
const run = promisify(execFile);

/** The official archive, over HTTPS, used only if its sha256 is the pinned one. There is no retry on a mismatch. */
export const releaseWay: Way = {
  name: `the official release ${RELEASE_VERSION}`,
  obtain: (context) => obtainRelease(context, RELEASE_SHA256),
};

/** As `releaseWay`, with a table of sums given: the tests serve an archive of their own. */
export async function obtainRelease(
  context: WayContext,
  sums: Readonly<Record<string, string>>,
): Promise<string> {
  const { target, env, workDir, progress } = context;
  const sum = sums[`${target.os}-${target.arch}`];
  if (sum === undefined) throw new Error(`no pinned sha256 for ${target.os}-${target.arch}`);
  const folder = `nats-server-v${RELEASE_VERSION}-${target.os}-${target.arch}`;
  const mirror = env[MIRROR_VARIABLE] ?? "";
  const base = mirror === "" ? OFFICIAL_BASE : mirror.replace(/\/+$/, "");
  const url = new URL(`${base}/v${RELEASE_VERSION}/${folder}.tar.gz`);
  const archive = join(workDir, "archive.tar.gz");
  progress(`nats-server: downloading ${url.href}`);
  const seen = await download(url, archive, context);
  if (seen !== sum)
    throw new Error(`sha256 of ${url.href} is ${seen}, pinned is ${sum}: the file was not used`);
  const member = `${folder}/${executableName(target)}`;
  await run("tar", ["-xzf", archive, "-C", workDir, member], { timeout: UNPACK_TIMEOUT_MS });
  return join(workDir, member);
}

/** Returns the sha256 of what was written. */
async function download(url: URL, path: string, { env, progress }: WayContext): Promise<string> {
  const response = await openUrl(url, env, 0);
  const totalBytes = Number(response.headers["content-length"] ?? 0);
  const hash = createHash("sha256");
  let seenBytes = 0;
  let toldBytes = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seenBytes += chunk.length;
      if (seenBytes > ARCHIVE_BYTES_MAX)
        return done(new Error(`${url.href} is above ${ARCHIVE_BYTES_MAX} bytes`));
      hash.update(chunk);
      if (seenBytes - toldBytes >= PROGRESS_STEP_BYTES) {
        toldBytes = seenBytes;
        progress(
          `nats-server: ${mebibytes(seenBytes)}${totalBytes > 0 ? ` of ${mebibytes(totalBytes)}` : ""} MiB`,
        );
      }
      return done(null, chunk);
    },
  });
  await pipeline(response, meter, createWriteStream(path));
  if (totalBytes > 0 && seenBytes !== totalBytes)
    throw new Error(`${url.href} ended after ${seenBytes} of ${totalBytes} bytes`);
  return hash.digest("hex");
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

/** Follows redirects. Plain HTTP is only for a mirror on this machine; proxy variables are honoured. */
function openUrl(url: URL, env: WayContext["env"], redirects: number): Promise<http.IncomingMessage> {
  const isLocal = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLocal)) {
    return Promise.reject(new Error(`${url.href} is not https`));
  }
  return new Promise((resolve, reject) => {
    const options = { timeout: CONNECT_TIMEOUT_MS, headers: { "user-agent": "tradewind" } };
    const proxyEnv = env as NodeJS.ProcessEnv;
    const request =
      url.protocol === "https:"
        ? https.get(url, { ...options, agent: new https.Agent({ proxyEnv }) })
        : http.get(url, { ...options, agent: new http.Agent() });
    request.once("timeout", () => request.destroy(new Error(`${url.host} does not answer`)));
    request.once("error", (cause) => reject(new Error(`${url.host}: ${messageOf(cause)}`, { cause })));
    request.once("response", (response) => {
      request.setTimeout(SILENCE_TIMEOUT_MS);
      const { statusCode = 0, headers } = response;
      if (statusCode === 200) return resolve(response);
      response.resume();
      if (![301, 302, 303, 307, 308].includes(statusCode) || headers.location === undefined) {
        return reject(new Error(`${url.href} answered ${statusCode}`));
      }
      if (redirects >= REDIRECTS_MAX)
        return reject(new Error(`${url.href} redirects more than ${REDIRECTS_MAX} times`));
      return resolve(openUrl(new URL(headers.location, url), env, redirects + 1));
    });
  });
}

function messageOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  return error.message === "" ? (code ?? error.name) : error.message;
}
