import type { DescMethod, Message, MessageInitShape } from "@bufbuild/protobuf";
import { createMethodSerializationLookup } from "@connectrpc/connect/protocol";
import { create, type JsonForm, readJson, writeJson } from "../actors/runtime/index.ts";

/** JSON as people want to read it: fields that are 0, false or empty are there. */
export const JSON_OPTIONS = { alwaysEmitImplicit: true };
const JSON_FORM: JsonForm = { kind: "full", without: [] };

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

/** Usual JSON goes through generated code; everything else, and what is wrong, through the library's own way. */
export function createUnaryCodec(method: DescMethod, limits: UnaryCodecLimits): UnaryCodec {
  const { input, output } = method;
  const { requestBytesMax, responseBytesMax } = limits;
  const library = createMethodSerializationLookup(method, undefined, JSON_OPTIONS, {
    readMaxBytes: requestBytesMax,
    writeMaxBytes: responseBytesMax,
  });
  return {
    parse: (bytes, isBinary) => {
      const isUsual = !isBinary && bytes.length <= requestBytesMax;
      return (isUsual ? readJson(input, bytes) : undefined) ?? library.getI(isBinary).parse(bytes);
    },
    serialize: (given, isBinary) => {
      const message = create(output, given as MessageInitShape<typeof output>);
      const json = isBinary ? undefined : writeJson(output, message, JSON_FORM);
      return json !== undefined && Buffer.byteLength(json) <= responseBytesMax
        ? json
        : library.getO(isBinary).serialize(message);
    },
  };
}
