import { create, type DescMethod, type Message, type MessageInitShape } from "@bufbuild/protobuf";
import { createMethodSerializationLookup } from "@connectrpc/connect/protocol";

/** JSON as people want to read it: fields that are 0, false or empty are there. */
export const JSON_OPTIONS = { alwaysEmitImplicit: true };

export interface UnaryCodecLimits {
  readonly requestBytesMax: number;
  readonly responseBytesMax: number;
}

/** Reads the request of an rpc and writes its answer. */
export interface UnaryCodec {
  /** @throws ConnectError for bytes that are no such message, or too many */
  parse(bytes: Uint8Array, isBinary: boolean): Message;
  /** Takes what a handler gives: what is absent in it holds its default. @throws ConnectError */
  serialize(message: Message, isBinary: boolean): string | Uint8Array;
}

export function createUnaryCodec(method: DescMethod, limits: UnaryCodecLimits): UnaryCodec {
  const serialization = createMethodSerializationLookup(method, undefined, JSON_OPTIONS, {
    readMaxBytes: limits.requestBytesMax,
    writeMaxBytes: limits.responseBytesMax,
  });
  return {
    parse: (bytes, isBinary) => serialization.getI(isBinary).parse(bytes),
    serialize: (message, isBinary) =>
      serialization
        .getO(isBinary)
        .serialize(create(method.output, message as MessageInitShape<typeof method.output>)),
  };
}
