import { expect, it } from "vitest";
import { KNOWN_LENGTH_MAX, knownText } from "./known-texts.ts";

function read(text: string): string | undefined {
  const bytes = Buffer.from(`<${text}>`, "utf8");
  return knownText(bytes, 1, bytes.length - 1);
}

it("reads each text as it is, however often and in whatever order they come", () => {
  const texts = Array.from({ length: 20_000 }, (_, at) => `t${at * 7_919}`);
  for (let round = 0; round < 3; round++) for (const text of texts) expect(read(text)).toBe(text);
  for (const text of ["", "a", "aa", "\0", "\0\0", "\u007f", "x".repeat(KNOWN_LENGTH_MAX)])
    for (let round = 0; round < 3; round++) expect(read(text)).toBe(text);
});

it("leaves what is not ASCII", () => {
  for (const text of ["é", "aé", "日本", "😀"]) expect(read(text)).toBeUndefined();
});
