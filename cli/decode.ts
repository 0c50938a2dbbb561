import { type DescMessage, fromBinary, type MessageShape, toJson } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import type { Message } from "@bufbuild/protobuf";
import {
  BundleSchema,
  CommitSchema,
  DeadLetterSchema,
  type Entry,
  EntrySchema,
  LeaseSchema,
  MarkSchema,
  RecordSchema,
  TaskSchema,
} from "../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import { inputOf, stateOf, taskInputOf } from "./kinds.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

/** What the bytes of a stored message are. */
export type Form =
  | "record"
  | "mark"
  | "lease"
  | "commit"
  | "bundle"
  | "task"
  | "dead letter"
  | "json"
  | "bytes";

/** Form of a message by its subject. */
export function formOf(subject: string): Form {
  const bare = subject.replace(
    /^(?!\$KV\.)[a-z0-9_-]+\.(?=(?:inbox|timer|log|task|retry|ev|evmark|dead)\.)/,
    "",
  );
  const [head, bucket = "", kind = ""] = bare.split(".");
  switch (head) {
    case "$KV":
      return bucket.startsWith("leases") ? "lease" : kind === "mark" ? "mark" : "record";
    case "inbox":
    case "timer":
      return "bundle";
    case "log":
      return "commit";
    case "task":
    case "retry":
      return "task";
    case "ev":
      return "json";
    case "evmark":
      return "mark";
    case "dead":
      return "dead letter";
    default:
      return "bytes";
  }
}

/**
 * Bytes of a stored message as JSON, with everything inside that is encoded once more: states by their kind,
 * messages by
 * their rpc. What this build does not know stays as base64.
 */
export function decode(subject: string, data: Uint8Array): Json {
  switch (formOf(subject)) {
    case "record":
      return recordJson(subject.split(".")[2] ?? "", data);
    case "mark":
      return plain(MarkSchema, data);
    case "lease":
      return plain(LeaseSchema, data);
    case "commit":
      return commitJson(data);
    case "bundle":
      return { entries: fromBinary(BundleSchema, data).entries.map(entryJson) };
    case "task":
      return taskJson(fromBinary(TaskSchema, data));
    case "dead letter":
      return deadLetterJson(fromBinary(DeadLetterSchema, data));
    case "json":
      return JSON.parse(Buffer.from(data).toString("utf8")) as Json;
    case "bytes":
      return base64(data);
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function plain<T extends Message>(schema: GenMessage<T>, data: Uint8Array): Json {
  return toJson(schema, fromBinary(schema, data)) as Json;
}

function shown<S extends DescMessage>(schema: S, message: MessageShape<S>): JsonObject {
  return toJson(schema, message) as JsonObject;
}

function nested(schema: DescMessage | undefined, bytes: Uint8Array): Json {
  return schema === undefined ? base64(bytes) : (toJson(schema, fromBinary(schema, bytes)) as Json);
}

function recordJson(kind: string, data: Uint8Array): Json {
  const record = fromBinary(RecordSchema, data);
  const json = shown(RecordSchema, record);
  const timers = record.timers.map(({ method, body, ...timer }) => ({
    name: timer.name,
    arm: timer.arm,
    deadline: at(timer.deadlineMs),
    method,
    body: nested(inputOf(kind, method), body),
  }));
  const tasks = record.tasks.map(({ queue, id, method, givenUp }) => ({ id, queue, method, givenUp }));
  return {
    ...json,
    state: nested(stateOf(kind), record.state),
    updated: at(record.nowMs),
    ...(timers.length > 0 && { timers }),
    ...(tasks.length > 0 && { tasks }),
  };
}

function entryJson(entry: Entry): Json {
  const body = entry.body.length === 0 ? undefined : nested(inputOf(entry.kind, entry.method), entry.body);
  return { ...shown(EntrySchema, entry), ...(body !== undefined && { body }) };
}

function taskJson(task: MessageShape<typeof TaskSchema>): Json {
  return { ...shown(TaskSchema, task), body: nested(taskInputOf(task.queue), task.body) };
}

function deadLetterJson(letter: MessageShape<typeof DeadLetterSchema>): Json {
  const entry = letter.entry === undefined ? undefined : entryJson(letter.entry);
  return { ...shown(DeadLetterSchema, letter), at: at(letter.atMs), ...(entry !== undefined && { entry }) };
}

function commitJson(data: Uint8Array): Json {
  const commit = fromBinary(CommitSchema, data);
  const { records, messages, carry, tasks, events, deadLetters } = commit;
  const json = shown(CommitSchema, commit);
  const parts: JsonObject = {
    records: records.map(({ kind, tenant, key, record }) => ({
      kind,
      tenant,
      key,
      record: record.length === 0 ? null : recordJson(kind, record),
    })),
    messages: messages.map(({ group, log, entry }) => ({
      to: `${group}.${log}`,
      entry: entry === undefined ? null : entryJson(entry),
    })),
    carry: carry.map(entryJson),
    tasks: tasks.map(taskJson),
    events: events.map(({ kind, tenant, key, type, json: text, atMs }) => ({
      kind,
      tenant,
      key,
      type,
      at: at(atMs),
      event: JSON.parse(Buffer.from(text).toString("utf8")) as Json,
    })),
    deadLetters: deadLetters.map(deadLetterJson),
  };
  const filled = Object.fromEntries(Object.entries(parts).filter(([, list]) => (list as Json[]).length > 0));
  return { ...json, at: at(commit.atMs), ...filled };
}

function at(ms: bigint): string {
  return new Date(Number(ms)).toISOString();
}
