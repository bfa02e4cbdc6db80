import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  ArtifactSchema,
  ArtifactService,
  CreateArtifactRequest,
} from "@muster/client/v1/artifact_service";
import {
  type ArtifactFile,
  type ArtifactView,
  commitArtifact,
  createArtifact,
  getArtifactUrl,
  type HeldLease,
  listArtifacts,
} from "../domain/artifacts.ts";
import type { Caller } from "../domain/context.ts";
import { callerOf } from "./auth.ts";
import {
  type Problems,
  pageOf,
  readId,
  readJobId,
  readLease,
  refuseProblems,
  required,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.ArtifactService`. */
export function artifactService({ artifacts: c }: ApiParts): ServiceImpl<typeof ArtifactService> {
  return {
    async createArtifact(request, context) {
      const problems: Problems = [];
      const caller = callerOf(context);
      const { lease, file } = readUpload(problems, request, caller);
      const { artifactId, uploadUrl } = await createArtifact(c, caller, { lease, file });
      return { artifactId: writeId("artifact", artifactId), uploadUrl };
    },

    async commitArtifact(request, context) {
      const problems: Problems = [];
      const artifactId = readId(problems, "artifact", request.artifactId, "artifactId") ?? "";
      const caller = callerOf(context);
      const { lease, file } = readUpload(problems, request, caller);
      const artifact = await commitArtifact(c, caller, { lease, artifactId, file });
      return { artifact: artifactMessage(artifact) };
    },

    async listArtifacts(request, context) {
      const { items, nextPageToken } = await listArtifacts(c, callerOf(context), {
        ...pageOf(request),
        jobId: readJobId(request),
      });
      return { artifacts: items.map(artifactMessage), nextPageToken };
    },

    async getArtifactUrl(request, context) {
      const problems: Problems = [];
      const artifactId = readId(problems, "artifact", request.artifactId, "artifactId") ?? "";
      refuseProblems(problems);
      const { url, artifact } = await getArtifactUrl(c, callerOf(context), artifactId);
      return { url, artifact: artifactMessage(artifact) };
    },
  };
}

// The token of a job need not name its lease.
function readUpload(
  problems: Problems,
  request: Pick<CreateArtifactRequest, "lease" | "name" | "contentType" | "sizeBytes" | "sha256">,
  caller: Caller,
): { readonly lease: HeldLease; readonly file: ArtifactFile } {
  if (caller.lease === undefined) required(problems, "lease", request.lease);
  const lease = readLease(problems, "lease", request.lease) ?? caller.lease ?? null;
  refuseProblems(problems);
  if (lease === null) throw new Error("a lease without problems was read");
  const { name, contentType, sha256 } = request;
  return { lease, file: { name, contentType, sha256, sizeBytes: Number(request.sizeBytes) } };
}

function artifactMessage({
  artifactId,
  jobId,
  sizeBytes,
  createdAt,
  ...file
}: ArtifactView): MessageInitShape<typeof ArtifactSchema> {
  return {
    ...file,
    artifactId: writeId("artifact", artifactId),
    jobId: writeId("job", jobId),
    sizeBytes: BigInt(sizeBytes),
    createTime: writeTime(createdAt),
  };
}
