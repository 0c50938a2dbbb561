import { readFileSync } from "node:fs";
import type { Env } from "../actors/main.ts";
import type { Clock, TimerHandle } from "../platform/clock.ts";

const POLL_MS = 500;

/**
 * Under `npm start` this process is a grandchild of npm, and nobody tells it when npm is killed. Calls `onGone`
 * once then.
 * Started in any other way, it may outlive its parent, as with `nohup`, and nothing is watched.
 * @returns how to stop watching
 */
export function watchNpm(env: Env, clock: Clock, onGone: () => void): () => void {
  if (env["npm_lifecycle_event"] === undefined) return () => undefined;
  const parent = process.ppid;
  // Some shells replace themselves by what they run: then the parent is npm itself.
  const isShell = /^(?:\S*\/)?(?:sh|dash|bash|zsh)$/.test(nameOf(parent));
  const grandparent = isShell ? parentOf(parent) : undefined;
  let timer: TimerHandle;
  const look = () => {
    const isGone = process.ppid !== parent || (isShell && parentOf(parent) !== grandparent);
    if (isGone) onGone();
    else timer = clock.setTimer(look, POLL_MS);
  };
  timer = clock.setTimer(look, POLL_MS);
  return () => timer.cancel();
}

/** Name and parent of a process, as Linux tells them; empty elsewhere. */
function statOf(pid: number): { readonly name: string; readonly parent: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const end = text.lastIndexOf(")");
    return {
      name: text.slice(text.indexOf("(") + 1, end),
      parent: Number(text.slice(end + 2).split(" ")[1]),
    };
  } catch {
    return undefined;
  }
}

function nameOf(pid: number): string {
  return statOf(pid)?.name ?? "";
}

function parentOf(pid: number): number | undefined {
  return statOf(pid)?.parent;
}
