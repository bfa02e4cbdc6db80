import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Code, ConnectError } from "@connectrpc/connect";
import { type ErrorDetail, ErrorDetailSchema } from "@muster/client/v1/error";

/** An error of the API as every surface shows it. */
export interface ApiError {
  /** Connect status code. */
  readonly code: Code;
  /** What went wrong, in one sentence. */
  readonly message: string;
  /** Reason, fields, suggestion and request id; absent when the server is not Muster or was not reached. */
  readonly detail: ErrorDetail | undefined;
}

/** Reads any thrown value as an API error. Never throws. */
export function readError(error: unknown): ApiError {
  const connect = ConnectError.from(error);
  return {
    code: connect.code,
    message: connect.rawMessage,
    detail: connect.findDetails(ErrorDetailSchema)[0],
  };
}

/** Makes an error that carries an ErrorDetail on every protocol. */
export function makeError(
  code: Code,
  message: string,
  detail: MessageInitShape<typeof ErrorDetailSchema>,
  cause?: unknown,
): ConnectError {
  return new ConnectError(message, code, undefined, [{ desc: ErrorDetailSchema, value: detail }], cause);
}

/** Name of the detail in the `google.rpc.Status` that gRPC carries in its trailers. */
export const errorDetailTypeUrl = `type.googleapis.com/${ErrorDetailSchema.typeName}`;

/**
 * The bytes of a `google.rpc.Status` (code, message, details), which gRPC
 * carries in the trailer `grpc-status-details-bin`. Written by hand because
 * the message is three fields and its proto is not part of this API.
 */
export function encodeStatus(
  code: number,
  message: string,
  detail: MessageInitShape<typeof ErrorDetailSchema>,
): Uint8Array {
  const text = new TextEncoder();
  const any = [
    ...field(1, text.encode(errorDetailTypeUrl)),
    ...field(2, toBinary(ErrorDetailSchema, create(ErrorDetailSchema, detail))),
  ];
  return Uint8Array.from([0x08, ...varint(code), ...field(2, text.encode(message)), ...field(3, any)]);
}

function field(number: number, bytes: Iterable<number>): number[] {
  const body = [...bytes];
  return [(number << 3) | 2, ...varint(body.length), ...body];
}

function varint(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    out.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.push(rest);
  return out;
}
