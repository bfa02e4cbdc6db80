import { createHash } from "node:crypto";
import { inOrg, orgTxOf } from "../store/database.ts";
import { call, type OrgTx, transact, transactAgain } from "../store/statement.ts";
import { insertAuditRows, readKeys, takeKeys } from "../store/submit.ts";
import { type ActTarget, actedPage, countMatched, type Matched, totalOf } from "./act-matches.ts";
import { type ActPlan, type LastingAct, planAct } from "./act-plans.ts";
import type { Caller, Coordinator } from "./context.ts";
import { announceRelease, drainReleases, noRelease, type Release } from "./dependants.ts";
import { alreadyExists, DomainError, failedPrecondition, invalidArgument, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { auditRow } from "./job-rows.ts";
import { type ListIdentity, readPageToken, uuidForm, writePageToken } from "./pages.ts";
import { planRemoval, type RemovalContext, removeJobs } from "./removals.ts";
import { type Act, actViolations, maxActed } from "./rules/acts.ts";
import { textViolations } from "./rules/texts.ts";

/** What is to be done to which jobs. */
export interface ActRequest {
  readonly act: Act;
  readonly target: ActTarget;
  /** Count and check only. */
  readonly isDryRun: boolean;
  /** A repetition with the same id changes nothing and has the same answer, with other arguments none; empty for none. */
  readonly requestId: string;
  /** From the previous answer; all else as it was. */
  readonly pageToken: string;
  /** Refuse when more jobs match; null: any number. */
  readonly confirmed: number | null;
}

/** Why an act does not apply to a job. */
export interface ActFailure {
  readonly jobId: string;
  readonly reason: string;
  readonly message: string;
}

/** What happened, or would. */
export interface ActAnswer {
  /** Of the first call; null of those that go on. */
  readonly matched: Matched | null;
  readonly done: number;
  readonly skipped: number;
  /** Of the skipped ones the first 20. */
  readonly failures: readonly ActFailure[];
  /** Empty when all were seen. */
  readonly nextPageToken: string;
}

/**
 * Does one thing to many jobs, at most 1,000 a call, in one transaction with one audit row. By a filter it reaches the
 * jobs that were submitted before the first call, each once; what does not apply to a job skips it, and is told.
 */
export async function actOnJobs(c: RemovalContext, caller: Caller, request: ActRequest): Promise<ActAnswer> {
  checkRequest(request);
  const { orgId } = caller;
  const { act, target, pageToken, isDryRun, confirmed } = request;
  const identity = identityOf(orgId, request);
  const [cursor = null] = readPageToken(identity, { pageSize: 0, pageToken }, [uuidForm]) ?? [];
  const key = request.requestId === "" || isDryRun ? null : keyOf(identity, request.requestId, cursor);
  const before = key === null ? null : await storedAnswer(c, orgId, key);
  if (before) return before;
  const start = cursor ?? c.newId();
  const matched = cursor === null ? await countMatched(c, orgId, target, start) : null;
  if (matched && confirmed !== null && totalOf(matched) > confirmed) throw countChanged(confirmed, matched);
  const { jobIds, next } = await actedPage(c, orgId, target, start);
  const answerOf = ({ done, refused }: Pick<ActPlan, "done" | "refused">): ActAnswer => ({
    matched,
    done: done.length,
    skipped: refused.size,
    failures: [...refused]
      .slice(0, maxFailures)
      .map(([jobId, { reason, message }]) => ({ jobId, reason, message })),
    nextPageToken: next === null ? "" : writePageToken(identity, [next]),
  });
  if (jobIds.length === 0) return answerOf({ done: [], refused: new Map() });
  if (isDryRun) return answerOf(await look(c, orgId, act, jobIds));
  const write = (tx: OrgTx, plan: Pick<ActPlan, "done" | "refused">) =>
    keep(c, caller, tx, { request, key, plan, answer: answerOf(plan) });
  try {
    return isLasting(act)
      ? await carryOut(c, orgId, act, jobIds, write)
      : await remove(c, orgId, jobIds, write);
  } catch (error) {
    const stored = error instanceof Repeated && key !== null ? await storedAnswer(c, orgId, key) : null;
    if (stored) return stored;
    throw error;
  }
}

type Write = (tx: OrgTx, plan: Pick<ActPlan, "done" | "refused">) => Promise<ActAnswer>;

/** Another call with the same id was faster. */
class Repeated extends Error {
  override readonly name = "Repeated";
}

const maxFailures = 20;

async function look(c: Coordinator, orgId: string, act: Act, jobIds: readonly string[]) {
  if (isLasting(act)) {
    return transact(c.db.hot, orgId, (tx) => planAct(c, tx, act, jobIds, { isLocked: false }));
  }
  const removal = await inOrg(c.db.app, orgId, (app) =>
    planRemoval(orgTxOf(app, orgId), jobIds, { isLocked: false }),
  );
  return { done: removal.jobs.map((job) => job.jobId), refused: removal.refused };
}

async function carryOut(
  c: Coordinator,
  orgId: string,
  act: LastingAct,
  jobIds: readonly string[],
  write: Write,
): Promise<ActAnswer> {
  for (;;) {
    let release: Release = noRelease;
    const { plan, answer } = await transactAgain(c.db.hot, orgId, async (tx) => {
      const planned = await planAct(c, tx, act, jobIds, { isLocked: true });
      release = planned.release;
      if (planned.releasing.length > 0) return { plan: planned, answer: null };
      const [written] = await Promise.all([write(tx, planned), ...planned.calls.map((one) => tx.run(one))]);
      return { plan: planned, answer: written };
    });
    if (answer) {
      announce(c, orgId, act, plan.done);
      announceRelease(c, orgId, release);
      return answer;
    }
    for (const jobId of plan.releasing) while (await drainReleases(c, orgId, jobId));
  }
}

async function remove(
  c: RemovalContext,
  orgId: string,
  jobIds: readonly string[],
  write: Write,
): Promise<ActAnswer> {
  for (;;) {
    const { releasing, answer, done } = await inOrg(c.db.app, orgId, async (app) => {
      const tx = orgTxOf(app, orgId);
      const removal = await planRemoval(tx, jobIds, { isLocked: true });
      if (removal.releasing.length > 0) return { ...removal, answer: null, done: [] };
      const ids = removal.jobs.map((job) => job.jobId);
      const written = await write(tx, { done: ids, refused: removal.refused });
      await removeJobs(c, tx, removal.jobs);
      return { releasing: [], answer: written, done: ids };
    });
    if (answer) {
      if (done.length > 0) c.wakes.changed(orgId, done);
      return answer;
    }
    for (const jobId of releasing) while (await drainReleases(c, orgId, jobId));
  }
}

// The answer is kept under the id of the request, and the audit row written, with the change.
async function keep(
  c: Coordinator,
  caller: Caller,
  tx: OrgTx,
  of: {
    readonly request: ActRequest;
    readonly key: RequestKey | null;
    readonly plan: Pick<ActPlan, "done" | "refused">;
    readonly answer: ActAnswer;
  },
): Promise<ActAnswer> {
  const { request, key, plan, answer } = of;
  const { act, target } = request;
  if (key !== null) {
    const stored: StoredAnswer = { asked: key.asked, answer };
    const taken = await tx.run(
      call(takeKeys, {
        ...{ org: tx.orgId, types: ["request"], keys: [key.key], targets: [c.newId()] },
        prints: [Buffer.from(JSON.stringify(stored)).toString("hex")],
        lives: [c.config.idempotencyTtlMs],
      }),
    );
    if (taken.length === 0) throw new Repeated("the request was made before");
  }
  if (plan.done.length === 0) return answer;
  const { type, reason, ...how } = act;
  const details = {
    ...how,
    ...("ids" in target ? { asked: target.ids.length } : { filter: target.text }),
    ...{ confirmed: request.confirmed, matched: answer.matched, done: answer.done, skipped: answer.skipped },
    // Nothing else tells of what is gone.
    ...(isLasting(act) && type !== "discard"
      ? {}
      : { jobs: plan.done.map((jobId) => encodeId("job", jobId)) }),
  };
  const shown = "ids" in target ? `${plan.done.length} jobs` : target.text;
  await tx.run(insertAuditRows(tx.orgId, [auditRow(c, caller, `jobs.${type}`, shown, details, reason)]));
  return answer;
}

function announce(c: Coordinator, orgId: string, { type, isForced }: Act, done: readonly string[]): void {
  if (done.length === 0) return;
  c.wakes.changed(orgId, done);
  if (type === "cancel") c.wakes.cancel(orgId);
  if (isForced) c.wakes.revoked(orgId);
  if (type === "retry" || type === "unpark" || type === "set-priority") c.wakes.ready(orgId);
}

function isLasting(act: Act): act is LastingAct {
  return act.type !== "delete";
}

function checkRequest({ act, target, requestId, pageToken, confirmed }: ActRequest): void {
  const violations: Violation[] = [
    ...actViolations(act),
    ...textViolations("requestId", requestId, { min: 0, max: 200 }),
  ];
  if ("ids" in target && (target.ids.length === 0 || target.ids.length > maxActed)) {
    violations.push({ field: "ids.jobIds", message: "must have 1 to 1,000 entries" });
  }
  if ("text" in target && target.text.trim() === "") {
    violations.push({ field: "filter", message: "must not be empty" });
  }
  if (confirmed !== null && confirmed < 0) violations.push({ field: "confirmed", message: "must be from 0" });
  if (violations.length > 0) throw invalidArgument(violations);
  if ("ids" in target && pageToken !== "") throw new DomainError("PAGE_TOKEN_INVALID");
}

function identityOf(orgId: string, { act, target, isDryRun, confirmed }: ActRequest): ListIdentity {
  const jobs = "ids" in target ? target.ids : target.text;
  return { list: "acts", orgId, filter: [act, jobs, isDryRun, confirmed] };
}

/** The id of a request, page by page, and what was asked under it. */
interface RequestKey {
  readonly key: string;
  readonly requestId: string;
  readonly asked: string;
}

function keyOf(identity: ListIdentity, requestId: string, cursor: string | null): RequestKey {
  const asked = createHash("sha256").update(JSON.stringify(identity)).digest("base64url");
  return { key: `act:${requestId}:${cursor ?? "first"}`, requestId, asked };
}

async function storedAnswer(
  c: Coordinator,
  orgId: string,
  { key, requestId, asked }: RequestKey,
): Promise<ActAnswer | null> {
  const [row] = await transact(c.db.hot, orgId, (tx) =>
    tx.run(call(readKeys, { org: orgId, types: ["request"], keys: [key] })),
  );
  if (row === undefined) return null;
  const stored = readStored(Buffer.from(String(row["print"]), "hex").toString());
  if (stored.asked === asked) return stored.answer;
  throw alreadyExists("IDEMPOTENCY_CONFLICT", { idempotencyKey: requestId });
}

interface StoredAnswer {
  readonly asked: string;
  readonly answer: ActAnswer;
}

// It is what `keep` wrote.
function readStored(json: string): StoredAnswer {
  return JSON.parse(json) as StoredAnswer;
}

function countChanged(confirmed: number, matched: Matched): DomainError {
  return failedPrecondition("COUNT_CHANGED", {
    confirmed: String(confirmed),
    matched: `${matched.isAtLeast ? "at least " : ""}${totalOf(matched)}`,
  });
}
