import type { ArtifactKey, ArtifactStore } from "../outbound/artifact-store.ts";
import {
  type ArtifactRow,
  insertArtifact,
  isCurrentLease,
  type LeaseFence,
  readArtifact,
  readArtifacts,
} from "../store/artifacts.ts";
import { readCurrentAttempt } from "../store/attempts.ts";
import { inOrg, type Tx } from "../store/database.ts";
import { hasJob } from "../store/job-views.ts";
import { readOrg } from "../store/snapshot.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound, scopeMissing, tooLarge, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { leaseOfCall, requireOwnJob } from "./job-tokens.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageOf,
  pageRows,
  readPageToken,
  uuidForm,
} from "./pages.ts";
import { textViolations } from "./rules/texts.ts";
import { superseded } from "./superseded.ts";

/** What verbs about artifacts work with. */
export interface ArtifactContext extends Pick<Coordinator, "db" | "newId"> {
  readonly artifacts: ArtifactStore;
}

/** A file that an attempt produced. */
export interface ArtifactView {
  readonly artifactId: string;
  readonly jobId: string;
  readonly attempt: number;
  readonly name: string;
  readonly contentType: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly createdAt: Date;
}

/** The lease that the caller holds. */
export type HeldLease = Omit<LeaseFence, "workerId">;

/** What a file is. */
export interface ArtifactFile {
  readonly name: string;
  /** Empty means application/octet-stream. */
  readonly contentType: string;
  readonly sizeBytes: number;
  /** In hex. */
  readonly sha256: string;
}

/** Size of an artifact at most. */
export const maxArtifactBytes = 1024 * 1024 * 1024;

/**
 * Opens an upload under a lease: nothing is kept yet. The URL takes exactly the bytes that are announced. A
 * lease that is not the caller's current one is SUPERSEDED.
 */
export async function createArtifact(
  c: ArtifactContext,
  caller: Caller,
  { lease, file }: { readonly lease: HeldLease; readonly file: ArtifactFile },
): Promise<{ readonly artifactId: string; readonly uploadUrl: string }> {
  const { contentType, sizeBytes, sha256 } = checkedFile(file);
  const { orgId } = caller;
  const fence = fenceOf(caller, lease);
  await inOrg(c.db.app, orgId, (tx) => requireLease(tx, orgId, fence, { isLocked: false }));
  const artifactId = c.newId();
  const key = { orgId, jobId: lease.jobId, attempt: lease.attempt, artifactId, sha256 };
  const uploadUrl = await c.artifacts.signedUrl({ method: "PUT", key, sizeBytes, contentType });
  return { artifactId, uploadUrl };
}

/**
 * Ends an upload: the artifact exists once its bytes are there and the lease is still current. Repeating a
 * call that succeeded has the same answer, whatever became of the lease.
 */
export async function commitArtifact(
  c: ArtifactContext,
  caller: Caller,
  request: { readonly lease: HeldLease; readonly artifactId: string; readonly file: ArtifactFile },
): Promise<ArtifactView> {
  const { lease, artifactId } = request;
  const file = checkedFile(request.file);
  const { orgId } = caller;
  const fence = fenceOf(caller, lease);
  const row = { orgId, artifactId, jobId: lease.jobId, attempt: lease.attempt, ...file };
  const stored = await c.artifacts.stat(keyOf(row));
  return inOrg(c.db.app, orgId, async (tx) => {
    const before = await readArtifact(tx, orgId, artifactId);
    if (before !== null) return sameArtifact(before, row);
    // The fence and its lock come first: nothing is said about an upload to whom it is not.
    await requireLease(tx, orgId, fence, { isLocked: true });
    if (stored === null) throw notFound("ARTIFACT_NOT_FOUND", encodeId("artifact", artifactId));
    if (stored.sizeBytes !== file.sizeBytes) {
      const message = `is ${file.sizeBytes}, and ${stored.sizeBytes} bytes were uploaded`;
      throw invalidArgument([{ field: "sizeBytes", message }]);
    }
    const inserted = await insertArtifact(tx, row);
    if (inserted === null) {
      // Another call of the same upload was faster.
      const other = await readArtifact(tx, orgId, artifactId);
      if (other === null) throw new Error("an artifact is neither there nor free");
      return sameArtifact(other, row);
    }
    await audit(tx, c, caller, {
      action: "artifact.commit",
      target: encodeId("artifact", artifactId),
      details: { job: encodeId("job", lease.jobId), attempt: lease.attempt, sizeBytes: file.sizeBytes },
    });
    return artifactView(inserted);
  });
}

/** Lists the artifacts of a job, oldest first. */
export async function listArtifacts(
  c: Pick<Coordinator, "db">,
  caller: Caller,
  { jobId, ...page }: PageRequest & { readonly jobId: string },
): Promise<Page<ArtifactView>> {
  const { orgId } = caller;
  requireOwnJob(caller, jobId);
  const identity: ListIdentity = { list: "artifacts", orgId, filter: jobId };
  const limit = pageRows(page);
  const [after = null] = readPageToken(identity, page, [uuidForm]) ?? [];
  const rows = await readOrg(c.db.app, orgId, async (tx) => {
    if (!(await hasJob(tx, orgId, jobId))) throw notFound("JOB_NOT_FOUND", encodeId("job", jobId));
    return readArtifacts(tx, orgId, jobId, { after, limit: limit + 1 });
  });
  return pageOf(rows, limit, identity, (row) => [row.artifactId], artifactView);
}

/** A URL that serves an artifact for 10 min. */
export async function getArtifactUrl(
  c: ArtifactContext,
  caller: Caller,
  artifactId: string,
): Promise<{ readonly url: string; readonly artifact: ArtifactView }> {
  const row = await inOrg(c.db.app, caller.orgId, (tx) => readArtifact(tx, caller.orgId, artifactId));
  const isOthers = caller.lease !== undefined && row?.jobId !== caller.lease.jobId;
  if (row === null || isOthers) throw notFound("ARTIFACT_NOT_FOUND", encodeId("artifact", artifactId));
  const { name, contentType } = row;
  const url = await c.artifacts.signedUrl({ method: "GET", key: keyOf(row), name, contentType });
  return { url, artifact: artifactView(row) };
}

function fenceOf(caller: Caller, lease: HeldLease): LeaseFence {
  if (caller.workerId === null) throw scopeMissing("work");
  leaseOfCall(caller, lease);
  return { ...lease, workerId: caller.workerId };
}

async function requireLease(
  tx: Tx,
  orgId: string,
  fence: LeaseFence,
  options: { readonly isLocked: boolean },
): Promise<void> {
  if (await isCurrentLease(tx, orgId, fence, options)) return;
  throw superseded(fence, await readCurrentAttempt(tx, orgId, fence.jobId));
}

function checkedFile({ name, contentType, sizeBytes, sha256 }: ArtifactFile): ArtifactFile {
  if (sizeBytes > maxArtifactBytes) {
    throw tooLarge("ARTIFACT_TOO_LARGE", "sizeBytes", sizeBytes, maxArtifactBytes);
  }
  const type = contentType === "" ? "application/octet-stream" : contentType;
  const violations: Violation[] = textViolations("name", name, { min: 1, max: 255 });
  if (violations.length === 0 && (/[/\\]/.test(name) || name === "." || name === "..")) {
    violations.push({ field: "name", message: "must be a file name without a path" });
  }
  if (!Number.isInteger(sizeBytes) || sizeBytes < 0) {
    violations.push({ field: "sizeBytes", message: "must be a whole number from 0" });
  }
  if (!/^[0-9a-fA-F]{64}$/.test(sha256)) {
    violations.push({ field: "sha256", message: "must be a SHA-256 in hex: 64 characters of 0-9 a-f" });
  }
  if (!contentTypeForm.test(type)) {
    violations.push({ field: "contentType", message: "must be a MIME type like text/plain" });
  }
  if (violations.length > 0) throw invalidArgument(violations);
  return { name, contentType: type, sizeBytes, sha256: sha256.toLowerCase() };
}

const contentTypeForm = /^[\w!#$&^.+-]{1,63}\/[\w!#$&^.+-]{1,63}(?:; ?[\w.-]{1,32}=[\w.+-]{1,63}){0,4}$/;

function keyOf({ orgId, jobId, attempt, artifactId, sha256 }: ArtifactKey): ArtifactKey {
  return { orgId, jobId, attempt, artifactId, sha256 };
}

function sameArtifact(kept: ArtifactRow, asked: Omit<ArtifactRow, "createdAt">): ArtifactView {
  const fields = ["jobId", "attempt", "name", "contentType", "sizeBytes", "sha256"] as const;
  const other = fields.filter((field) => kept[field] !== asked[field]);
  if (other.length === 0) return artifactView(kept);
  throw invalidArgument(
    other.map((field) => ({ field, message: "differs from the artifact that was committed" })),
  );
}

function artifactView({ orgId: _, ...view }: ArtifactRow): ArtifactView {
  return view;
}
