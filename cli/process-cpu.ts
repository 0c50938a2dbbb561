import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** CPU that one process tree has used. */
export interface TreeCpu {
  readonly root: number;
  /** Command of the root, for people. */
  readonly name: string;
  readonly seconds: number;
  readonly processes: number;
}

interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly ticks: number;
}

/** Linux counts CPU for programs in hundredths of a second on every architecture. */
const TICKS_PER_SECOND = 100;

/** CPU of each given process with its descendants, those that have ended and were waited for included. Linux only. */
export function cpuOfTrees(roots: readonly number[]): TreeCpu[] {
  const rows = processRows();
  return roots.flatMap((root) => {
    const own = rows.find(({ pid }) => pid === root);
    if (own === undefined) return [];
    const members = treeOf(root, rows);
    const ticks = members.reduce((sum, row) => sum + row.ticks, 0);
    return [
      {
        root,
        name: commandOf(root) ?? own.name,
        seconds: ticks / TICKS_PER_SECOND,
        processes: members.length,
      },
    ];
  });
}

/** A process and its descendants; none if it has ended. Linux only. */
export function treePids(root: number): number[] {
  return treeOf(root, processRows()).map(({ pid }) => pid);
}

function treeOf(root: number, rows: readonly ProcessRow[]): readonly ProcessRow[] {
  const found = rows.filter(({ pid }) => pid === root);
  for (const member of found) found.push(...rows.filter(({ parent }) => parent === member.pid));
  return found;
}

function processRows(): ProcessRow[] {
  return numbersIn("/proc").flatMap((pid) => {
    const text = readText(`/proc/${pid}/stat`);
    const nameEnd = text.lastIndexOf(")");
    if (nameEnd < 0) return [];
    const fields = text.slice(nameEnd + 2).split(" ");
    const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15).map(Number);
    const name = text.slice(text.indexOf("(") + 1, nameEnd);
    return [{ pid, parent: Number(fields[1]), name, ticks: utime + stime + cutime + cstime }];
  });
}

/** `worker core`, `gateway/main.ts`, …: the part of a command line that tells processes apart. */
function commandOf(pid: number): string | undefined {
  const [command = "", ...args] = readText(`/proc/${pid}/cmdline`).split("\0");
  const script = args.find((arg) => /\.[cm]?[jt]s$/.test(arg));
  if (command === "") return undefined;
  const short = (path: string) => path.split("/").slice(-2).join("/");
  if (script === undefined) return command.split("/").at(-1);
  const rest = args.slice(args.indexOf(script) + 1).filter((arg) => arg !== "");
  return [short(script), ...rest.slice(0, 3)].join(" ");
}

/** The process that listens on a local TCP port; undefined if it cannot be seen. Linux only. */
export function listenerOf(port: number): number | undefined {
  const inodes = new Set(
    ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((path) => listeningInodes(readText(path), port)),
  );
  if (inodes.size === 0) return undefined;
  return numbersIn("/proc").find((pid) =>
    numbersIn(`/proc/${pid}/fd`).some((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readLink(`/proc/${pid}/fd/${fd}`)) ?? [];
      return inode !== undefined && inodes.has(inode);
    }),
  );
}

const LISTENING = "0A";

function listeningInodes(text: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return text.split("\n").flatMap((line) => {
    const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
    return local.endsWith(`:${hex}`) && state === LISTENING && inode !== undefined ? [inode] : [];
  });
}

function numbersIn(path: string): number[] {
  try {
    return readdirSync(path)
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return []; // it ended meanwhile, belongs to another user, or this is not Linux
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
