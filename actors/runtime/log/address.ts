import type { Entry } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { LIST_KIND, TRIM_KIND } from "../step/step-context.ts";
import type { Topology } from "../topology.ts";
import { listHeadId } from "./lists.ts";
import type { RecordId } from "./record-store.ts";

/** True for messages that the runtime's lists take, not an actor. */
export function isOfList({ kind }: Entry): boolean {
  return kind === LIST_KIND || kind === TRIM_KIND;
}

/** The record that a message is for; an append to a list is for the list's head in this log. */
export function addressed(entry: Entry, log: number): RecordId {
  return entry.kind === LIST_KIND ? listHeadId(entry.tenant, entry.key, log) : entry;
}

/** Says which log an actor belongs to, if it is not this one: its sender counts other logs than there are. */
export function elsewhere(
  here: { readonly topology: Topology; readonly group: string; readonly log: number },
  entry: Entry,
): string | undefined {
  if (isOfList(entry)) return undefined;
  const { kind, tenant, key } = entry;
  const group = here.topology.groupOf(kind);
  const log = here.topology.logOf(group, tenant, key);
  if (group === here.group && log === here.log) return undefined;
  return `${kind}.${tenant}.${key} belongs to log ${log} of ${group}: restart its sender, it counts other logs`;
}
