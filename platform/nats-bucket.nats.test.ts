import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { expect, it } from "vitest";
import { silentLogger } from "./log.ts";
import { openBucket } from "./nats-bucket.ts";
import { testServer } from "./nats-server/testing.ts";
import { connectNats } from "./nats.ts";

it("shows what a bucket holds, and opens none that is not there", async () => {
  await using server = await testServer();
  const nc = await connectNats({ servers: server.url, name: "test", log: silentLogger });
  const kv = await new Kvm(jetstream(nc)).create("things");
  await expect(openBucket(nc, "others")).rejects.toThrow(/not found/);
  expect(await (await openBucket(nc, "things")).keys(">", 9)).toEqual([]);
  for (const key of ["a.1", "a.2", "b.1"]) await kv.put(key, key);
  await kv.delete("a.2");
  const bucket = await openBucket(nc, "things");
  expect(await bucket.keys("a.*", 9)).toEqual(["a.1"]);
  expect(await bucket.keys(">", 1)).toHaveLength(1);
  const entry = await bucket.get("b.1");
  expect(Buffer.from(entry?.value ?? []).toString()).toBe("b.1");
  expect(entry?.revision).toBe(3);
  expect(Math.abs((entry?.storedMs ?? 0) - Date.now())).toBeLessThan(10_000);
  expect(await bucket.get("a.2")).toBeUndefined();
  expect(await bucket.get("c")).toBeUndefined();
  await nc.close();
});
