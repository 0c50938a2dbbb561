import { describe, expect, it } from "vitest";
import { ApiCallError, outcomeOfError } from "./errors-jetstream.ts";

const error = (code: number, number?: number) => ({
  code,
  ...(number === undefined ? {} : { err_code: number }),
  description: "text",
});

describe("outcomes of refused appends (J10)", () => {
  it("is a conflict only where the server is certain", () => {
    expect(outcomeOfError(error(400, 10_071))).toEqual({ kind: "conflict" });
    expect(outcomeOfError(error(400, 10_164))).toMatchObject({ kind: "unknown" });
  });

  it.each([
    [400, 10_002],
    [503, 10_023],
    [500, 10_028],
    [500, 10_047],
    [503, 10_077],
  ])("is full at a limit of storage: %i/%i", (code, number) => {
    expect(outcomeOfError(error(code, number))).toMatchObject({ kind: "refused", full: true });
  });

  it.each([
    [409, 10_158],
    [503, 10_163],
    [503, 10_008],
    [500, 10_009],
    [429, 10_167],
    [429, 10_210],
    [400, 10_176],
    [503, undefined],
    [400, undefined],
  ])("is unknown where the message may be stored or the server is busy: %i/%s", (code, number) => {
    expect(outcomeOfError(error(code, number))).toMatchObject({ kind: "unknown" });
  });

  it.each([
    [400, 10_054],
    [400, 10_060],
    [400, 10_165],
    [400, 10_174],
    [400, 10_188],
    [400, 10_201],
  ])("is a refusal where it is certain that nothing is stored: %i/%i", (code, number) => {
    expect(outcomeOfError(error(code, number))).toEqual({
      kind: "refused",
      full: false,
      reason: `text (${code}/${number})`,
    });
  });

  it("knows which calls are worth repeating", () => {
    expect(new ApiCallError("STREAM.INFO.X", error(404, 10_059))).toMatchObject({
      isLasting: true,
      errorCode: 10_059,
    });
    expect(new ApiCallError("STREAM.CREATE.X", error(500, 10_047)).isLasting).toBe(true);
    expect(new ApiCallError("STREAM.INFO.X", error(503, 10_008)).isLasting).toBe(false);
    expect(new ApiCallError("STREAM.CREATE.X", error(400, 10_005)).isLasting).toBe(false);
    expect(new ApiCallError("STREAM.INFO.X", error(429, 10_167)).isLasting).toBe(false);
  });
});
