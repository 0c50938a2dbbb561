import { TaskSchema, type Task } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Append, Headers, StoredMessage } from "../bus/bus.ts";
import { encode } from "../codec/encode.ts";
import { HEADER } from "../headers.ts";
import type { Topology } from "../topology.ts";

const NONE: Headers = Object.freeze({});

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
  return attempts === 0 ? NONE : { [HEADER.attempt]: String(attempts) };
}

/** A task that was read already, as if it had come in a message of its own. Little but its headers is asked for. */
export class AloneMessage implements StoredMessage {
  readonly sequence: number;
  readonly timestampMs: number;
  readonly headers: Headers;
  readonly #topology: Topology;
  readonly #task: Task;

  /** @param attempts made before */
  constructor(topology: Topology, task: Task, sequence: number, timestampMs: number, attempts: number) {
    this.#topology = topology;
    this.#task = task;
    this.sequence = sequence;
    this.timestampMs = timestampMs;
    this.headers = attemptHeader(attempts);
  }

  get subject(): string {
    const { queue, tenant, key, id } = this.#task;
    return this.#topology.task(queue, tenant, key, id);
  }

  get data(): Uint8Array {
    return encode(TaskSchema, this.#task);
  }
}
