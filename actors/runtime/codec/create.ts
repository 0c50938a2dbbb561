import {
  create as generalCreate,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { creatorSource, type Creator } from "./compile-creator.ts";
import { generate } from "./wire.ts";

const creators = new WeakMap<DescMessage, Creator | null>();

/**
 * The same message as protobuf's own `create` makes, by code generated for its schema: several times as fast, and of
 * the shape that decoded messages have, which keeps the code that works on both fast.
 */
export function create<D extends DescMessage>(schema: D, init?: MessageInitShape<D>): MessageShape<D> {
  let creator = creators.get(schema);
  if (creator === undefined) {
    creator = generate<Creator>(schema, ["i"], creatorSource, {}) ?? null;
    creators.set(schema, creator);
  }
  if (creator === null) return generalCreate(schema, init);
  return creator((init ?? {}) as never) as MessageShape<D>;
}
