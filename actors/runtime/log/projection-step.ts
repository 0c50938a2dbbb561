import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { assert, DefectError } from "../assert.ts";
import type { Draft } from "./draft.ts";
import type { ProjectionContext, ProjectionDefinition } from "../projection.ts";
import type { MemoryRecord } from "../step/record.ts";
import { undoTo } from "../step/step-run.ts";
import type { RecordRef, RecordStore } from "./record-store.ts";

interface Opened {
  readonly key: string;
  readonly record: MemoryRecord;
  /** Its encoding before the step. */
  readonly before: Uint8Array | undefined;
  isRemoved: boolean;
}

/** One event being applied to the records that its projection has named. */
export class ProjectionStep implements ProjectionContext<DescMessage> {
  readonly nowMs: number;
  readonly #projection: ProjectionDefinition;
  readonly #refs: readonly RecordRef[];
  readonly #store: RecordStore;
  readonly #isCareful: boolean;
  /** A few: a list is searched faster than a map is filled. */
  readonly #opened: Opened[] = [];

  /** @param refs all of them are loaded */
  constructor(
    projection: ProjectionDefinition,
    refs: readonly RecordRef[],
    store: RecordStore,
    nowMs: number,
    isCareful: boolean,
  ) {
    this.#projection = projection;
    this.#refs = refs;
    this.#store = store;
    this.nowMs = nowMs;
    this.#isCareful = isCareful;
  }

  record(key: string): MessageShape<DescMessage> {
    return this.#open(key).record.open(this.#projection.state).state;
  }

  remove(key: string): void {
    this.#open(key).isRemoved = true;
  }

  /** The handler failed: all records are as before. @throws NotUndoableError in a run that is not careful */
  undo(): void {
    for (const { record, before } of this.#opened) if (before !== undefined) record.undo(before);
    for (const { record, before } of this.#opened) undoTo(record, before);
  }

  /** Counts the change in each record and adds it to the commit. */
  end(draft: Draft): void {
    for (const { record, isRemoved } of this.#opened) {
      const { meta } = record.open(this.#projection.state);
      if (meta.revision === 0n) meta.createdMs = BigInt(this.nowMs);
      meta.revision += 1n;
      meta.nowMs = BigInt(Math.max(this.nowMs, Number(meta.nowMs)));
      record.touched();
      if (isRemoved) record.clear();
      draft.change(record);
    }
  }

  #open(key: string): Opened {
    const known = this.#opened.find((opened) => opened.key === key);
    if (known !== undefined) return known;
    const { kind } = this.#projection;
    const ref = this.#refs.find((named) => named.key === key && named.kind === kind);
    if (ref === undefined) throw new DefectError(`the projection ${kind} did not name the record ${key}`);
    const record = this.#store.find(ref);
    assert(record, "the record is loaded");
    const before = this.#isCareful ? record.bytes() : record.freshBytes();
    const opened = { key, record, before, isRemoved: false };
    this.#opened.push(opened);
    return opened;
  }
}
