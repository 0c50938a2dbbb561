import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { executableName } from "./cache.ts";
import type { Way, WayContext } from "./ways.ts";

/** Built from source where Go is present; the Go checksum database vouches for it. */
export const GO_VERSION = "2.15.1";
export const GO_MODULE = `github.com/nats-io/nats-server/v2@v${GO_VERSION}`;

/** A cold build took 60 s on two cores; a slow line to the module proxy comes on top. */
const BUILD_TIMEOUT_MS = 10 * 60_000;
const VERSION_TIMEOUT_MS = 30_000;
const OUTPUT_BYTES_MAX = 2 ** 20;
const run = promisify(execFile);

export const goWay: Way = { name: `go install of ${GO_VERSION}`, obtain: buildWithGo };

async function buildWithGo({ env, target, workDir, progress }: WayContext): Promise<string> {
  // GOOS and GOARCH of a cross-compiling shell would give a binary for another machine, and GOBIN would be refused.
  const { GOOS: _os, GOARCH: _arch, ...rest } = env;
  const goEnv = { ...rest, GOBIN: workDir, CGO_ENABLED: "0" };
  try {
    await run("go", ["version"], { env: goEnv, timeout: VERSION_TIMEOUT_MS });
  } catch (cause) {
    throw new Error("go is not on the PATH", { cause });
  }
  progress(`nats-server: building it, go install ${GO_MODULE} (about a minute the first time)`);
  try {
    await run("go", ["install", "-trimpath", "-ldflags=-s -w", GO_MODULE], {
      env: goEnv,
      cwd: workDir, // outside of any module, so that no go.mod or workspace of the caller takes part
      timeout: BUILD_TIMEOUT_MS,
      maxBuffer: OUTPUT_BYTES_MAX,
    });
  } catch (cause) {
    const { stderr = "", message } = cause as Error & { stderr?: string };
    const line = stderr.split("\n").find((text) => text.trim() !== "" && !text.startsWith("go: downloading"));
    throw new Error(line?.trim() ?? message, { cause });
  }
  return join(workDir, executableName(target));
}
