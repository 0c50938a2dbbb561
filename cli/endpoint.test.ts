import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findEndpoint, writeEndpoint } from "./endpoint.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tradewind-endpoint-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const USUAL = { url: "http://localhost:8080", natsUrl: "nats://127.0.0.1:4222" };
const there = { url: "http://localhost:9999", natsUrl: "nats://127.0.0.1:5555" };

describe("the address of what runs here", () => {
  it("is found while it runs and forgotten after", () => {
    const forget = writeEndpoint(folder, { pid: process.pid, ...there });
    expect(findEndpoint(folder)).toMatchObject(there);
    forget();
    expect(findEndpoint(folder)).toEqual(USUAL);
  });

  it("is not believed when its process is gone", () => {
    writeEndpoint(folder, { pid: 2 ** 22 - 1, ...there });
    expect(findEndpoint(folder)).toEqual(USUAL);
  });
});
