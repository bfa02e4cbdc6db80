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
      const { lease, file } = readUpload(problems, request);
      const { artifactId, uploadUrl } = await createArtifact(c, callerOf(context), { lease, file });
      return { artifactId: writeId("artifact", artifactId), uploadUrl };
    },

    async commitArtifact(request, context) {
      const problems: Problems = [];
      const artifactId = readId(problems, "artifact", request.artifactId, "artifactId") ?? "";
      const { lease, file } = readUpload(problems, request);
      const artifact = await commitArtifact(c, callerOf(context), { lease, artifactId, file });
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

function readUpload(
  problems: Problems,
  request: Pick<CreateArtifactRequest, "lease" | "name" | "contentType" | "sizeBytes" | "sha256">,
): { readonly lease: HeldLease; readonly file: ArtifactFile } {
  required(problems, "lease", request.lease);
  const lease = readLease(problems, "lease", request.lease);
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
