import { describe, expect, it } from "vitest";
import { BusError } from "./bus.ts";
import { status, subjects } from "./queries-jetstream.ts";
import type { Requests } from "./requests-jetstream.ts";

const INFO = {
  created: "2026-01-01T00:00:00Z",
  config: { max_bytes: -1 },
  state: { first_seq: 1, last_seq: 7, messages: 7, bytes: 70, subjects: { a: 7 } },
  total: 1,
};

/** Requests that are all answered alike. */
function answering(info: object): Requests {
  return { api: () => Promise.resolve(info) } as unknown as Requests;
}

describe("what a stream says of itself", () => {
  it("is taken from its leader, or from the only server", async () => {
    for (const cluster of [{}, { cluster: { name: "c", leader: "n1" } }]) {
      expect(await status(answering({ ...INFO, ...cluster }), "S")).toMatchObject({ lastSequence: 7 });
    }
  });

  it("is no answer where the stream has no leader: a member that is behind may have given it (J4)", async () => {
    const requests = answering({ ...INFO, cluster: { name: "c" } });
    await expect(status(requests, "S")).rejects.toThrow(BusError);
    await expect(subjects(requests, "S", ">")).rejects.toThrow(BusError);
  });
});
