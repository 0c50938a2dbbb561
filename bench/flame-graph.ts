import type { Frame } from "./cpu-profile.ts";

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
  return PAGE.replaceAll("{title}", escaped(title)).replace("{data}", () => data);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<style>
body { font: 12px system-ui, sans-serif; margin: 12px; background: #fff; color: #111 }
#graph { position: relative }
.f { position: absolute; height: 17px; overflow: hidden; white-space: nowrap; box-sizing: border-box;
  border: 1px solid #fff; border-radius: 2px; padding: 0 3px; cursor: pointer; line-height: 15px }
.f.dim { opacity: .25 }
#line { height: 1.4em; margin: 6px 0 }
input { width: 24em }
</style>
<h1 style="font-size:15px">{title}</h1>
<input id="find" placeholder="find a function or a part" aria-label="find a function or a part">
<div id="line"></div>
<div id="graph"></div>
<script>
const all = {data};
const graph = document.getElementById("graph"), line = document.getElementById("line");
const find = document.getElementById("find");
let top_ = all, path = [all];
const hue = (text) => [...text].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 360, 7);
function tell(f) {
  line.textContent = f.n + " — " + f.p + " — " + (f.v / 1000).toFixed(1) + " ms, " + (f.v / all.v * 100).toFixed(1) + " %";
}
function draw() {
  graph.textContent = "";
  const wanted = find.value.toLowerCase();
  const width = graph.clientWidth;
  let depth = 0, found = 0;
  const put = (f, x, w, y, isAbove) => {
    depth = Math.max(depth, y);
    const box = document.createElement("div");
    box.className = "f";
    const fits = wanted !== "" && (f.n + " " + f.p).toLowerCase().includes(wanted);
    if (wanted !== "" && !fits) box.classList.add("dim");
    box.style.cssText = "left:" + x + "px;width:" + w + "px;top:" + y * 18 + "px;background:hsl(" + hue(f.p || f.n) + " 65% 80%)";
    if (w > 25) box.textContent = f.n;
    box.onmouseenter = () => tell(f);
    box.onclick = () => { path = isAbove ? path.slice(0, path.indexOf(f) + 1) : [...path, ...wayTo(path.at(-1), f)]; draw(); };
    graph.append(box);
    return fits;
  };
  const walk = (f, x, w, y, isIn) => {
    const fits = put(f, x, w, y, y < path.length);
    if (fits && !isIn) found += f.v;
    let left = x;
    for (const child of f.c ?? []) {
      const cw = child.v / f.v * w;
      if (cw >= 1) walk(child, left, cw, y + 1, isIn || fits);
      left += cw;
    }
  };
  path.slice(0, -1).forEach((f, y) => put(f, 0, width, y, true));
  walk(path.at(-1), 0, width, path.length - 1, false);
  graph.style.height = (depth + 1) * 18 + "px";
  if (wanted !== "") line.textContent = (found / all.v * 100).toFixed(1) + " % in what fits";
}
function wayTo(from, to) {
  if (from === to) return [];
  for (const child of from.c ?? []) {
    if (child === to) return [child];
    const rest = wayTo(child, to);
    if (rest.length > 0) return [child, ...rest];
  }
  return [];
}
find.oninput = draw;
window.onresize = draw;
draw();
</script>
`;
