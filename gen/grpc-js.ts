import type { DescMessage, DescMethod, DescService, MessageShape } from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";

/** One method of a service as `@grpc/grpc-js` takes it, for clients and servers. */
export interface GrpcJsMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestSerialize: (message: MessageShape<DescMessage>) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => MessageShape<DescMessage>;
  readonly responseSerialize: (message: MessageShape<DescMessage>) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => MessageShape<DescMessage>;
  readonly originalName: string;
}

/** Makes a `@grpc/grpc-js` service definition from a generated service. */
export function grpcJsDefinition(service: DescService): Record<string, GrpcJsMethod> {
  return Object.fromEntries(service.methods.map((method) => [method.localName, definition(service, method)]));
}

function definition(service: DescService, method: DescMethod): GrpcJsMethod {
  const { methodKind } = method;
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
    responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
    requestSerialize: (message) => asBuffer(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => asBuffer(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    originalName: method.localName,
  };
}

// A view, not a copy.
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
