import { type DescMethod, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { type Client, Metadata } from "@grpc/grpc-js";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "@muster/client/grpc/reflection";
import { ServerReflection as ServerReflectionAlpha } from "@muster/client/grpc/reflection-v1alpha";
import { afterEach, describe, expect, test } from "vitest";
import {
  closeStockClients,
  detailText,
  failure,
  next,
  onConnectNode,
  onGrpcJs,
  wired,
} from "./stock-client.ts";

afterEach(closeStockClients);

/** Asks by reflection, one answer a question. */
async function reflect(
  client: Client,
  method: DescMethod,
  questions: MessageInitShape<typeof ServerReflectionRequestSchema>[],
): Promise<ServerReflectionResponse[]> {
  const { path, serialize, deserialize } = wired(method);
  const stream = client.makeBidiStreamRequest(path, serialize, deserialize, new Metadata());
  const answers: ServerReflectionResponse[] = [];
  for (const question of questions) {
    stream.write({ host: "h", ...question });
    // Both versions have the same fields.
    answers.push((await next(stream)) as ServerReflectionResponse);
  }
  stream.end();
  await new Promise((resolve) => stream.on("end", resolve).resume());
  return answers;
}

function filesOf({ messageResponse }: ServerReflectionResponse): FileDescriptorProto[] {
  if (messageResponse.case !== "fileDescriptorResponse") throw new TypeError("not a file");
  return messageResponse.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
}

describe.each([
  ["connect-node", onConnectNode],
  ["grpc-js", onGrpcJs],
])("a stock gRPC client of %s", (_name, open) => {
  test.each([
    ["v1", ServerReflection.method.serverReflectionInfo],
    ["v1alpha", ServerReflectionAlpha.method.serverReflectionInfo],
  ] as const)("reads the schema by reflection %s", async (_version, method) => {
    const { client } = await open({});
    const symbol = (value: string) => ({ messageRequest: { case: "fileContainingSymbol" as const, value } });
    const [services, byName, byService, byMethod, byMessage, byField, byValue, unknown] = await reflect(
      client,
      method,
      [
        { messageRequest: { case: "listServices", value: "" } },
        { messageRequest: { case: "fileByFilename", value: "muster/v1/payload.proto" } },
        symbol("muster.v1.JobService"),
        symbol("muster.v1.JobService.SubmitJob"),
        symbol("muster.v1.JobSpec"),
        symbol("muster.v1.JobSpec.kind"),
        symbol("muster.v1.JOB_STATE_READY"),
        symbol("muster.v1.Nothing"),
      ],
    );
    expect(services?.messageResponse).toMatchObject({
      case: "listServicesResponse",
      value: { service: expect.arrayContaining([expect.objectContaining({ name: "muster.v1.JobService" })]) },
    });
    const names = (answer: ServerReflectionResponse | undefined) =>
      answer === undefined ? [] : filesOf(answer).map((file) => file.name);
    // A file comes with all that it imports, as far as this stream has not sent it.
    expect(names(byName)).toEqual(["muster/v1/payload.proto", "google/protobuf/struct.proto"]);
    expect(names(byService)).toEqual([
      "muster/v1/job_service.proto",
      "google/protobuf/duration.proto",
      "google/protobuf/timestamp.proto",
      "muster/v1/access.proto",
      "google/protobuf/descriptor.proto",
      "muster/v1/event.proto",
      "muster/v1/job.proto",
    ]);
    expect(names(byMethod)).toEqual(["muster/v1/job_service.proto"]);
    for (const answer of [byMessage, byField, byValue])
      expect(names(answer)).toEqual(["muster/v1/job.proto"]);
    expect(unknown?.messageResponse).toMatchObject({
      case: "errorResponse",
      value: { errorCode: 5, errorMessage: "There is no symbol muster.v1.Nothing here" },
    });
    expect(unknown?.validHost).toBe("h");
  });

  test("is told by reflection that there are no extensions", async () => {
    const { client } = await open({});
    const [numbers, extension, nothing] = await reflect(
      client,
      ServerReflection.method.serverReflectionInfo,
      [
        { messageRequest: { case: "allExtensionNumbersOfType", value: "muster.v1.JobSpec" } },
        {
          messageRequest: {
            case: "fileContainingExtension",
            value: { containingType: "muster.v1.JobSpec", extensionNumber: 1 },
          },
        },
        {},
      ],
    );
    expect(numbers?.messageResponse).toMatchObject({
      case: "allExtensionNumbersResponse",
      value: { extensionNumber: [] },
    });
    expect(extension?.messageResponse).toMatchObject({ case: "errorResponse", value: { errorCode: 5 } });
    expect(nothing?.messageResponse).toMatchObject({ case: "errorResponse", value: { errorCode: 3 } });
  });

  test("needs a key for reflection when it is for the authenticated", async () => {
    const { client } = await open({ reflection: "authenticated" });
    const error = await failure(
      reflect(client, ServerReflection.method.serverReflectionInfo, [
        { messageRequest: { case: "listServices", value: "" } },
      ]),
    );
    expect(error.code).toBe(16);
    expect(detailText(error)).toContain("KEY_INVALID");
  });
});
