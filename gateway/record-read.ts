import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { ActorAddress, ActorClient } from "../actors/runtime/index.ts";
import { edgeError } from "./connect-errors.ts";

/**
 * The record as its owner has it; undefined when there is none.
 * @throws ConnectError UNAVAILABLE when its owner does not answer and the bucket, which may lag, does not have it
 */
export async function readRecord<S extends DescMessage>(
  client: ActorClient,
  kind: string,
  schema: S,
  address: ActorAddress,
): Promise<MessageShape<S> | undefined> {
  const { state, asOfMs } = await client.read(kind, schema, address);
  if (state === undefined && asOfMs !== undefined) {
    throw edgeError(
      "UNAVAILABLE",
      `the owner of ${kind} ${address.key} does not answer, and it is not in the bucket`,
    );
  }
  return state;
}
