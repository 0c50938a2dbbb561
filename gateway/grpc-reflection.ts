import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import {
  ServerReflection,
  type ServerReflectionRequest,
} from "../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1Alpha } from "../proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";

/** What reflection knows: every file that the services need, and where each symbol stands. */
interface SymbolIndex {
  readonly services: readonly string[];
  readonly files: ReadonlyMap<string, DescFile>;
  readonly symbols: ReadonlyMap<string, DescFile>;
  readonly extensions: ReadonlyMap<string, ReadonlyMap<number, DescFile>>;
}

type Implementation = ServiceImpl<typeof ServerReflection>;

/** Reflection in both versions: tools such as `buf curl` and Postman need no proto files. */
export function grpcReflection(services: readonly DescService[]): {
  v1: Implementation;
  v1alpha: ServiceImpl<typeof ServerReflectionV1Alpha>;
} {
  const index = indexOf([...services, ServerReflection, ServerReflectionV1Alpha]);
  // Both versions have the same messages but for their package.
  return {
    v1: answerWith<typeof ServerReflection>(index),
    v1alpha: answerWith<typeof ServerReflectionV1Alpha>(index),
  };
}

function answerWith<S extends typeof ServerReflection | typeof ServerReflectionV1Alpha>(
  index: SymbolIndex,
): ServiceImpl<S> {
  const implementation: Implementation = {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(index, request) };
      }
    },
  };
  return implementation as unknown as ServiceImpl<S>;
}

function answer(index: SymbolIndex, { messageRequest: { case: kind, value } }: ServerReflectionRequest) {
  switch (kind) {
    case "listServices":
      return {
        case: "listServicesResponse" as const,
        value: { service: index.services.map((name) => ({ name })) },
      };
    case "fileByFilename":
      return filesOrError(index.files.get(value), `file ${value}`);
    case "fileContainingSymbol":
      return filesOrError(index.symbols.get(value), `symbol ${value}`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = value;
      const file = index.extensions.get(containingType)?.get(extensionNumber);
      return filesOrError(file, `extension ${extensionNumber} of ${containingType}`);
    }
    case "allExtensionNumbersOfType": {
      const numbers = index.extensions.get(value);
      if (numbers === undefined && !index.symbols.has(value)) return missing(`type ${value}`);
      const extensionNumber = [...(numbers?.keys() ?? [])];
      return {
        case: "allExtensionNumbersResponse" as const,
        value: { baseTypeName: value, extensionNumber },
      };
    }
    case undefined:
      return problem(Code.InvalidArgument, "the request asks for nothing");
  }
}

function filesOrError(file: DescFile | undefined, what: string) {
  if (file === undefined) return missing(what);
  const fileDescriptorProto = closure(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto } };
}

function missing(what: string) {
  return problem(Code.NotFound, `there is no ${what}`);
}

function problem(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse" as const, value: { errorCode, errorMessage } };
}

/** The file and all that it imports, each once, the file first: clients need every one of them. */
function closure(file: DescFile, seen: Set<DescFile> = new Set()): DescFile[] {
  if (seen.has(file)) return [];
  seen.add(file);
  return [file, ...file.dependencies.flatMap((dependency) => closure(dependency, seen))];
}

function indexOf(services: readonly DescService[]): SymbolIndex {
  const files = new Map<string, DescFile>();
  const symbols = new Map<string, DescFile>();
  const extensions = new Map<string, Map<number, DescFile>>();
  const seen = new Set<DescFile>();
  for (const file of services.flatMap((service) => closure(service.file, seen))) {
    files.set(`${file.name}.proto`, file);
    for (const type of nestedTypes(file)) {
      symbols.set(type.typeName, file);
      if (type.kind === "service") {
        for (const method of type.methods) symbols.set(`${type.typeName}.${method.name}`, file);
      }
      if (type.kind === "extension") {
        const numbers = extensions.get(type.extendee.typeName) ?? new Map<number, DescFile>();
        extensions.set(type.extendee.typeName, numbers.set(type.number, file));
      }
    }
  }
  return {
    services: [...new Set(services.map((service) => service.typeName))].sort(),
    files,
    symbols,
    extensions,
  };
}
