import { TaskSchema, type Task } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Append, Headers, StoredMessage } from "../bus/bus.ts";
import { encode } from "../codec/encode.ts";
import { HEADER } from "../headers.ts";
import type { Topology } from "../topology.ts";

/** A task as a message of its own that is due at `atMs`; `attempts` have been made. */
export function laterTask(topology: Topology, task: Task, attempts: number, atMs: number): Append {
  const { queue, tenant, key, id } = task;
  return {
    subject: topology.retry(queue, tenant, key, id),
    data: encode(TaskSchema, task),
    headers: attemptHeader(attempts),
    schedule: { atMs, target: topology.task(queue, tenant, key, id) },
  };
}

/** Says how many attempts were made before; nothing where none was. */
export function attemptHeader(attempts: number): Headers {
  return attempts === 0 ? {} : { [HEADER.attempt]: String(attempts) };
}

/** A task that was read already, as if it had come in a message of its own. */
export function aloneMessage(
  topology: Topology,
  task: Task,
  { sequence, timestampMs }: Pick<StoredMessage, "sequence" | "timestampMs">,
  attempts: number,
): StoredMessage {
  const { queue, tenant, key, id } = task;
  return {
    subject: topology.task(queue, tenant, key, id),
    sequence,
    timestampMs,
    headers: attemptHeader(attempts),
    get data() {
      return encode(TaskSchema, task); // few are ever asked for it
    },
  };
}
