/** A broken invariant: a defect in our code, never the caller's fault. */
export class DefectError extends Error {
  override readonly name = "DefectError";
}

/** @throws DefectError if the condition does not hold. */
export function assert(condition: unknown, why: string): asserts condition {
  if (!condition) throw new DefectError(why);
}
