import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import type { ServerReflection } from "@muster/client/grpc/reflection";
import type { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";

/** The schema of some services as reflection tells it: files by name, and which file has which symbol. */
export interface ReflectedSchema {
  readonly services: readonly string[];
  readonly files: ReadonlyMap<string, DescFile>;
  readonly fileOfSymbol: ReadonlyMap<string, DescFile>;
}

/** Collects the files of the services and all that they import. */
export function reflectSchema(services: readonly DescService[]): ReflectedSchema {
  const files = new Map<string, DescFile>();
  for (const service of services) collectFiles(service.file, files);
  const fileOfSymbol = new Map<string, DescFile>();
  for (const file of files.values()) {
    for (const symbol of symbolsOf(file)) fileOfSymbol.set(symbol, file);
  }
  return { services: services.map((service) => service.typeName).sort(), files, fileOfSymbol };
}

/** `grpc.reflection.v1.ServerReflection`, for connect-es and, by `grpcJsHandlers`, for grpc-js. */
export function reflectionService(schema: ReflectedSchema): ServiceImpl<typeof ServerReflection> {
  return {
    async *serverReflectionInfo(requests) {
      const sent = new Set<string>();
      for await (const request of requests) {
        const messageResponse = answer(schema, request.messageRequest, sent);
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  };
}

/** The same under its older name, `grpc.reflection.v1alpha.ServerReflection`, which many tools still ask for. */
export function reflectionAlphaService(schema: ReflectedSchema): ServiceImpl<typeof ServerReflectionAlpha> {
  return {
    async *serverReflectionInfo(requests) {
      const sent = new Set<string>();
      for await (const request of requests) {
        const messageResponse = answer(schema, request.messageRequest, sent);
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  };
}

/** What both versions ask. */
type Query =
  | { readonly case: "fileByFilename" | "fileContainingSymbol"; readonly value: string }
  | { readonly case: "allExtensionNumbersOfType" | "listServices"; readonly value: string }
  | { readonly case: "fileContainingExtension"; readonly value: { readonly containingType: string } }
  | { readonly case: undefined };

function answer(schema: ReflectedSchema, query: Query, sent: Set<string>) {
  switch (query.case) {
    case "listServices": {
      const service = schema.services.map((name) => ({ name }));
      return { case: "listServicesResponse" as const, value: { service } };
    }
    case "fileByFilename":
      return fileAnswer(schema.files.get(query.value), "file", query.value, sent);
    case "fileContainingSymbol": {
      const symbol = query.value.replace(/^\./, "");
      return fileAnswer(schema.fileOfSymbol.get(symbol), "symbol", query.value, sent);
    }
    case "allExtensionNumbersOfType":
      if (!schema.fileOfSymbol.has(query.value)) return notFound("type", query.value);
      return {
        case: "allExtensionNumbersResponse" as const,
        value: { baseTypeName: query.value, extensionNumber: [] },
      };
    case "fileContainingExtension":
      return notFound("extension of", query.value.containingType);
    case undefined:
      return failed(Code.InvalidArgument, "The request asks for nothing that is known here");
  }
}

// The file itself, and of its imports those that this stream has not sent yet, so that one answer is enough.
function fileAnswer(file: DescFile | undefined, what: string, name: string, sent: Set<string>) {
  if (file === undefined) return notFound(what, name);
  const needed = new Map<string, DescFile>();
  collectFiles(file, needed);
  const fileDescriptorProto: Uint8Array[] = [];
  for (const [fileName, one] of needed) {
    if (one !== file && sent.has(fileName)) continue;
    sent.add(fileName);
    fileDescriptorProto.push(toBinary(FileDescriptorProtoSchema, one.proto));
  }
  return { case: "fileDescriptorResponse" as const, value: { fileDescriptorProto } };
}

function notFound(what: string, name: string) {
  const shown = name.length > 200 ? `${name.slice(0, 199)}…` : name;
  return failed(Code.NotFound, `There is no ${what} ${shown} here`);
}

function failed(errorCode: Code, errorMessage: string) {
  return { case: "errorResponse" as const, value: { errorCode, errorMessage } };
}

// A file comes before what it imports.
function collectFiles(file: DescFile, files: Map<string, DescFile>): void {
  if (files.has(file.proto.name)) return;
  files.set(file.proto.name, file);
  for (const imported of file.dependencies) collectFiles(imported, files);
}

function* symbolsOf(file: DescFile): Iterable<string> {
  for (const type of nestedTypes(file)) {
    yield type.typeName;
    if (type.kind === "service") {
      for (const method of type.methods) yield `${type.typeName}.${method.name}`;
    } else if (type.kind === "message") {
      for (const member of type.members) yield `${type.typeName}.${member.name}`;
    } else if (type.kind === "enum") {
      // The values of an enum are siblings of it.
      const scope = type.typeName.slice(0, type.typeName.length - type.name.length);
      for (const value of type.values) yield `${scope}${value.name}`;
    }
  }
}
