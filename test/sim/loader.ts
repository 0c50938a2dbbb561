import { registerHooks } from "node:module";
import { OPEN_LIMITS, type Plant } from "./plant.ts";

const RUNTIME = new URL("../../actors/runtime/", import.meta.url).href;

/**
 * From now on, modules of the runtime are loaded with these changes. Call before any of them is imported.
 * @throws Error when loading a file in which the text to change does not stand exactly once
 */
export function plant(plants: readonly Plant[]): void {
  const byUrl = new Map<string, Plant[]>();
  for (const planted of [OPEN_LIMITS, ...plants]) {
    const url = RUNTIME + planted.file;
    byUrl.set(url, [...(byUrl.get(url) ?? []), planted]);
  }
  registerHooks({
    load: (url, context, nextLoad) => {
      const loaded = nextLoad(url, context);
      const changes = byUrl.get(url);
      if (changes === undefined) return loaded;
      let source = textOf(loaded.source);
      for (const { name, file, find, replace } of changes) {
        const parts = source.split(find);
        if (parts.length !== 2)
          throw new Error(`${name}: ${file} has its text ${parts.length - 1} times, not once`);
        source = parts.join(replace);
      }
      return { ...loaded, source };
    },
  });
}

function textOf(source: unknown): string {
  if (typeof source === "string") return source;
  return Buffer.from(source as Uint8Array).toString("utf8");
}
