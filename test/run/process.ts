import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";

/** The checkout's root folder, absolute. */
export const root = join(import.meta.dirname, "../..");

/** What a finished child process left behind. `output` is stdout and stderr as they came. */
export interface Finished {
  readonly exitCode: number;
  readonly output: string;
}

/**
 * Runs a command of `node_modules/.bin` (or of the PATH) in the root folder and waits for its end.
 * With `live`, output goes to the terminal and `output` stays empty.
 */
export function run(
  command: string,
  args: readonly string[],
  options: { live?: boolean } = {},
): Promise<Finished> {
  const bin = join(root, "node_modules/.bin");
  const { promise, resolve, reject } = Promise.withResolvers<Finished>();
  const child = spawn(command, args, {
    cwd: root,
    stdio: ["ignore", options.live ? "inherit" : "pipe", options.live ? "inherit" : "pipe"],
    env: { ...process.env, PATH: `${bin}${delimiter}${process.env["PATH"] ?? ""}` },
    shell: process.platform === "win32",
  });
  const chunks: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.on("error", reject);
  child.on("close", (code) => resolve({ exitCode: code ?? 1, output: Buffer.concat(chunks).toString() }));
  return promise;
}
