import { toBinary } from "@bufbuild/protobuf";
import { CommitKind, CommitSchema } from "../../../proto/gen/tradewind/actors/runtime/v1/journal_pb.ts";
import type { Append } from "./bus.ts";
import type { Topology } from "../topology.ts";
import { create } from "../codec/create.ts";

/**
 * The first message of every log (J3): nothing is taken yet, nobody owns the log. Stored only where a log has none.
 * @param createdMs creation time of a stream
 */
export function genesis(
  topology: Topology,
  createdMs: (stream: string) => number,
  nowMs: number,
): readonly Append[] {
  const { streams } = topology;
  return topology.groups.flatMap(({ name, logs, reads }) => {
    const inputs = reads === "events" ? [streams.events] : [streams.inbox, streams.log];
    const positions = inputs.map((stream) => ({
      stream,
      sequence: 0n,
      taken: 0,
      whole: true,
      streamCreatedMs: BigInt(createdMs(stream)),
    }));
    return Array.from({ length: logs }, (_, log) => ({
      subject: topology.log(name, log),
      expectLastSequence: 0,
      data: toBinary(
        CommitSchema,
        create(CommitSchema, {
          kind: CommitKind.GENESIS,
          id: `genesis-${name}-${log}`,
          epoch: 0n,
          positions,
          atMs: BigInt(nowMs),
        }),
      ),
    }));
  });
}
