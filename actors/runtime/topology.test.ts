import { expect, it } from "vitest";
import { createTopology, fnv1a } from "./topology.ts";

it("hashes as FNV-1a over UTF-8 does", () => {
  // Of the reference: http://www.isthe.com/chongo/src/fnv/test_fnv.c
  expect([fnv1a(""), fnv1a("a"), fnv1a("foobar")]).toEqual([0x811c9dc5, 0xe40c292c, 0xbf9cf968]);
  // The two bytes of é, as NATS hashes them.
  expect(fnv1a("é")).toBe(
    [0xc3, 0xa9].reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5) >>> 0,
  );
  expect(fnv1a("aé")).toBe(
    [0x61, 0xc3, 0xa9].reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5) >>> 0,
  );
});

it("spreads actors over all logs, and the events of a tenant over one", () => {
  const topology = createTopology({ logs: 4 });
  const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
  const logs = keys.map((key) => topology.logOf("core", "demo", key));
  for (const log of [0, 1, 2, 3]) expect(logs.filter((of) => of === log).length).toBeGreaterThan(10);
  expect(new Set(keys.map((key) => topology.logOf("analytics", "demo", key))).size).toBe(1);
});
