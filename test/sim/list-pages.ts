import { ListPageSchema, RecordSchema } from "../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { LIST_KIND } from "../../actors/runtime/step/step-context.ts";
import type { Read } from "./fold.ts";

/** An entry that a stored page of a list has twice. A client cannot see it: who walks a list is told of each once. */
export function doubledEntry(read: Read, name: string, data: Uint8Array): string | undefined {
  if (!name.startsWith(`${LIST_KIND}.`) || data.length === 0) return undefined;
  const { entries } = read(ListPageSchema, read(RecordSchema, data).state);
  const ids = entries.map(({ createdMs, id }) => `${createdMs} ${id}`);
  return ids.find((id, index) => ids.indexOf(id) < index);
}
