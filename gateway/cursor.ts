import { edgeError } from "./connect-errors.ts";

/** Undefined for an empty cursor. @throws ConnectError CURSOR_INVALID */
export function parseCursor(cursor: string): number | undefined {
  if (cursor === "") return undefined;
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor);
  throw edgeError("CURSOR_INVALID", "the cursor is not one of this stream; start without one", {
    violations: [{ field: "cursor", description: "is not one of this stream", rule: "cursor" }],
  });
}

/** A position as a cursor. Before the first change there is nothing to resume from. */
export function positionText(position: number): string {
  return position === 0 ? "" : String(position);
}
