import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import { JobState } from "@muster/client/v1/job";
import type { LeaseRef } from "@muster/client/v1/job_service";
import {
  type ConnectResponse,
  ConnectResponseSchema,
  GoingAwayReason,
  type OfferedLease,
  type ParentResult,
  type SkillDocument,
  Verdict,
  type WelcomeSchema,
} from "@muster/client/v1/link";
import type { Config } from "../config.ts";
import type { Grant, Link, LinkPort } from "../dispatch/link.ts";
import { encodeId } from "../domain/ids.ts";
import type { Attached } from "../domain/links.ts";
import { type ParentResult as Left, wireBytes } from "../domain/parent-results.ts";
import { documentBytes, type NamedDocument } from "../domain/skill-documents.ts";
import type { Lease } from "../domain/submit.ts";
import { version } from "../version.ts";
import { protocolMajor, protocolMinor } from "./frames-in.ts";
import { conflictMessages, sessionMessage } from "./published.ts";

/** What offers hold at most, in bytes; one lease may exceed it. */
const offerBytes = 1024 * 1024;

const verdicts = {
  keep: Verdict.KEEP,
  cancel: Verdict.CANCEL,
  superseded: Verdict.SUPERSEDED,
  "send-result": Verdict.SEND_RESULT,
} as const;

const goingAwayReasons = {
  restart: GoingAwayReason.RESTART,
  revoked: GoingAwayReason.REVOKED,
  replaced: GoingAwayReason.REPLACED,
  protocol: GoingAwayReason.PROTOCOL,
  "too-slow": GoingAwayReason.TOO_SLOW,
} as const;

/** Makes a frame. */
export function frame(value: MessageInitShape<typeof ConnectResponseSchema>["frame"]): ConnectResponse {
  return create(ConnectResponseSchema, value === undefined ? {} : { frame: value });
}

/** Names a lease on the wire. */
export function leaseRef(lease: Lease): LeaseRef {
  return {
    $typeName: "muster.v1.LeaseRef",
    jobId: encodeId("job", lease.jobId),
    attempt: lease.attempt,
    leaseId: encodeId("lease", lease.leaseId),
  };
}

/** The Welcome of a link. */
export function welcomeOf(
  attached: Attached,
  options: { readonly config: Config; readonly apiAddress: string; readonly clusterEpoch: number },
): MessageInitShape<typeof WelcomeSchema> {
  const { config } = options;
  return {
    protocol: { major: protocolMajor, minor: protocolMinor },
    workerId: encodeId("worker", attached.workerId),
    workerName: attached.workerName,
    linkEpoch: BigInt(attached.linkEpoch),
    clusterEpoch: BigInt(options.clusterEpoch),
    heartbeatInterval: durationFromMs(config.heartbeatMs),
    staleAfter: durationFromMs(config.staleMs),
    killGrace: durationFromMs(config.killGraceMs),
    limits: {
      payloadBytes: BigInt(config.maxPayloadBytes),
      messageBytes: BigInt(4 * 1024 * 1024),
      logChunkBytes: BigInt(64 * 1024),
      logWindowBytes: BigInt(256 * 1024),
    },
    apiAddress: options.apiAddress,
    verdicts: attached.verdicts.map(({ lease, verdict }) => ({
      lease: leaseRef(lease),
      verdict: verdicts[verdict],
    })),
    serverTime: timestampNow(),
    version,
    conflicts: conflictMessages(attached.publication.conflicts),
    refusals: [...attached.refusals],
  };
}

/** Whom leases are offered to: what it published goes with them. */
export type OfferedLink = Pick<
  Link,
  "linkEpoch" | "workerId" | "workerName" | "projectRoots" | "publishedSessions"
>;

/** The offers of grants: as many frames as their size asks for, all of one sequence. */
export function offersOf(
  link: OfferedLink,
  sequence: number,
  grants: readonly Grant[],
  answerWithinMs: number,
): ConnectResponse[] {
  const frames: ConnectResponse[] = [];
  let leases: OfferedLease[] = [];
  let bytes = 0;
  const close = () => {
    if (leases.length === 0) return;
    const answerWithin = durationFromMs(answerWithinMs);
    const [linkEpoch, number] = [BigInt(link.linkEpoch), BigInt(sequence)];
    frames.push(frame({ case: "offer", value: { sequence: number, answerWithin, leases, linkEpoch } }));
    leases = [];
    bytes = 0;
  };
  for (const grant of grants) {
    const size =
      grant.payload.length + 300 + wireBytes(grant.parentResults) + grant.documents.length * documentBytes;
    if (bytes + size > offerBytes) close();
    leases.push(offeredLease(link, grant));
    bytes += size;
  }
  close();
  return frames;
}

/** A document of a skill: in an offer without its text. */
export function skillDocument({ skill, digest }: NamedDocument): SkillDocument {
  return { $typeName: "muster.v1.SkillDocument", skill, digest, text: "" };
}

/** What a job left to one that depends on it. */
export function parentResult({ jobId, state, result, kind, externalId }: Left): ParentResult {
  return {
    $typeName: "muster.v1.ParentResult",
    jobId: encodeId("job", jobId),
    state: state ?? JobState.UNSPECIFIED,
    kind,
    externalId: externalId ?? "",
    ...(result === null
      ? {}
      : { result: { $typeName: "muster.v1.Payload", content: { case: "data", value: result } } }),
  };
}

/** The last frame of a link. */
export function goingAway(
  reason: Parameters<LinkPort["goAway"]>[0] | "protocol",
  detail: string,
  reconnectAfterMs: number,
): ConnectResponse {
  const value = {
    reason: goingAwayReasons[reason],
    detail,
    reconnectAfter: durationFromMs(reconnectAfterMs),
  };
  return frame({ case: "goingAway", value });
}

// Whole messages, not initialisers: thousands a second are made, and `create`
// walks the descriptor of each.
function offeredLease(link: OfferedLink, grant: Grant): OfferedLease {
  const lease = leaseRef(grant.fence);
  const session = grant.sessionId === null ? undefined : link.publishedSessions.get(grant.sessionId);
  return {
    $typeName: "muster.v1.OfferedLease",
    lease,
    kind: grant.kind,
    title: grant.title,
    payload: { $typeName: "muster.v1.Payload", content: { case: "data", value: grant.payload } },
    queue: grant.queue,
    points: grant.points,
    failures: grant.failures,
    maxAttempts: grant.maxAttempts,
    exclusive: grant.isExclusive,
    // The job's own id: the same for each attempt, and nobody else's.
    idempotencyKey: lease.jobId,
    labels: grant.labels,
    requiredSkills: [...grant.skills],
    timeLeft: durationFromMs(grant.leaseTtlMs),
    skillDocuments: grant.documents.map(skillDocument),
    project: grant.project ?? "",
    projectRoot: grant.project === null ? "" : (link.projectRoots.get(grant.project) ?? ""),
    sessionId: grant.sessionId ?? "",
    jobToken: "",
    lastSequence: 0n,
    parentCount: grant.parents.length,
    parentResults: grant.parentResults.map(parentResult),
    ...(session === undefined ? {} : { session: sessionMessage(link, session) }),
    ...(grant.softTimeoutMs === null ? {} : { softTimeout: durationFromMs(grant.softTimeoutMs) }),
    ...(grant.hardTimeoutMs === null ? {} : { hardTimeout: durationFromMs(grant.hardTimeoutMs) }),
  };
}
