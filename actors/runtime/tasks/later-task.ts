import { TaskSchema, type Task } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Append } from "../bus/bus.ts";
import { encode } from "../codec/encode.ts";
import { HEADER } from "../headers.ts";
import type { Topology } from "../topology.ts";

/** A task as a message of its own that is due at `atMs`; `attempts` have been made. */
export function laterTask(topology: Topology, task: Task, attempts: number, atMs: number): Append {
  const { queue, tenant, key, id } = task;
  return {
    subject: topology.retry(queue, tenant, key, id),
    data: encode(TaskSchema, task),
    headers: { [HEADER.attempt]: String(attempts) },
    schedule: { atMs, target: topology.task(queue, tenant, key, id) },
  };
}
