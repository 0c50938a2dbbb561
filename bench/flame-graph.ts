import { readFileSync } from "node:fs";
import type { Frame } from "./cpu-profile.ts";

const PAGE = readFileSync(new URL("flame-graph.html", import.meta.url), "utf8");

/** Narrower frames are left out: nobody can see them. */
const SHARE_MIN = 0.0005;

interface Cell {
  readonly n: string;
  readonly p: string;
  readonly v: number;
  readonly c?: readonly Cell[];
}

/** One HTML file that needs nothing else: a frame for each function, as wide as its time. */
export function flameGraph(title: string, root: Frame): string {
  const cell = (frame: Frame): Cell => {
    const children = [...frame.children.values()]
      .filter(({ totalUs }) => totalUs >= root.totalUs * SHARE_MIN)
      .toSorted((a, b) => b.totalUs - a.totalUs)
      .map(cell);
    return {
      n: frame.name,
      p: frame.part,
      v: Math.round(frame.totalUs),
      ...(children.length > 0 && { c: children }),
    };
  };
  const data = JSON.stringify(cell(root)).replaceAll("<", "\\u003c");
  return PAGE.replaceAll("{title}", escaped(title)).replace('"{data}"', () => data);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
