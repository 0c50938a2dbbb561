import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { partOf } from "./parts.ts";

/** A function in the tree of calls, with all that it calls. */
export interface Frame {
  /** `apply actors/runtime/applier.ts:120` */
  readonly name: string;
  readonly part: string;
  /** Microseconds in it alone, and with all that it calls. */
  selfUs: number;
  totalUs: number;
  readonly children: Map<string, Frame>;
}

/** What one process has done while it was profiled. Time in which it waited is left out. */
export interface Profile {
  readonly root: Frame;
  readonly partsUs: ReadonlyMap<string, number>;
  /** By function. */
  readonly selfUs: ReadonlyMap<string, number>;
  readonly busyUs: number;
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

interface ProfileFile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const WAITING: ReadonlySet<string> = new Set(["(idle)", "(root)"]);
/** What starts and stops the profiler. */
const OWN = "node:inspector";

/** Reads what V8 has written. @param folder paths in it are shown relative to this */
export function readProfile(file: string, folder: string): Profile {
  return profileOf(JSON.parse(readFileSync(file, "utf8")) as ProfileFile, folder);
}

export function profileOf({ nodes, samples, timeDeltas }: ProfileFile, folder: string): Profile {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  const selfById = new Map<number, number>();
  samples.forEach((id, at) => selfById.set(id, (selfById.get(id) ?? 0) + Math.max(0, timeDeltas[at] ?? 0)));
  const root: Frame = { name: "all", part: "", selfUs: 0, totalUs: 0, children: new Map() };
  const partsUs = new Map<string, number>();
  const selfUs = new Map<string, number>();
  for (const [id, us] of selfById) {
    const stack = stackOf(id, byId, parents);
    const leaf = stack.at(-1);
    if (leaf === undefined || WAITING.has(leaf.callFrame.functionName)) continue;
    if (stack.some(({ callFrame }) => callFrame.url.startsWith(OWN))) continue;
    const places = stack
      .filter(({ callFrame }) => !WAITING.has(callFrame.functionName))
      .map((node) => placeOf(node, folder));
    const part = partOf(places);
    partsUs.set(part, (partsUs.get(part) ?? 0) + us);
    const name = places.at(-1)?.name ?? "";
    selfUs.set(name, (selfUs.get(name) ?? 0) + us);
    addStack(root, places, us);
  }
  return { root, partsUs, selfUs, busyUs: root.totalUs };
}

/** A function and where it stands. */
export interface Place {
  readonly name: string;
  readonly functionName: string;
  /** Relative to the checkout, or `node:…`, or empty for what is no file. */
  readonly path: string;
}

function placeOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode, folder: string): Place {
  const path = url.startsWith("file:") ? relative(folder, fileURLToPath(url)) : url;
  const short = path.replace(/^.*node_modules\//, "");
  const name = functionName === "" ? "(anonymous)" : functionName;
  return { functionName: name, path, name: path === "" ? name : `${name} ${short}:${lineNumber + 1}` };
}

function stackOf(
  id: number,
  byId: ReadonlyMap<number, ProfileNode>,
  parents: ReadonlyMap<number, number>,
): ProfileNode[] {
  const stack: ProfileNode[] = [];
  for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
    const node = byId.get(at);
    if (node !== undefined) stack.push(node);
  }
  return stack.reverse();
}

function addStack(root: Frame, places: readonly Place[], us: number): void {
  let frame = root;
  frame.totalUs += us;
  for (const [at, place] of places.entries()) {
    let next = frame.children.get(place.name);
    if (next === undefined) {
      const part = partOf(places.slice(0, at + 1));
      next = { name: place.name, part, selfUs: 0, totalUs: 0, children: new Map() };
      frame.children.set(place.name, next);
    }
    next.totalUs += us;
    frame = next;
  }
  frame.selfUs += us;
}
