import { inOrg, type Tx } from "../store/database.ts";
import {
  countOwnWorkers,
  type EnrolmentRow,
  lockEnrolment,
  readEnrolmentUse,
  readPolicy,
  useEnrolment,
} from "../store/enrolments.ts";
import { revokeWorkerKeys } from "../store/own-workers.ts";
import { insertWorker, readWorkers } from "../store/workers.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { closedPolicy } from "./enrolment-policies.ts";
import { repeatMs } from "./enrolments.ts";
import {
  alreadyExists,
  DomainError,
  failedPrecondition,
  invalidArgument,
  unauthenticated,
} from "./errors.ts";
import { encodeId } from "./ids.ts";
import type { RefusedKey } from "./key-notes.ts";
import { createKey, distrustKeys, type KeyContext } from "./keys.ts";
import { textViolations } from "./rules/texts.ts";
import { bothLimits, isLikePattern, noLimits } from "./rules/worker-limits.ts";
import { type Availability, availabilityViolations, checkZone } from "./worker-limits.ts";
import type { WorkerView } from "./workers.ts";

/** What these verbs work with. */
type EnrolContext = KeyContext & Coordinator;

/** What a machine says when it enrols. */
export interface Machine {
  /** Empty: made from the pattern of the enrolment and the host. */
  readonly name: string;
  /** What tells it from others. */
  readonly machine: string;
  readonly host: string;
  /** Names this enrolling of the machine. */
  readonly requestId: string;
}

/** A worker that was made of a machine, and its key: the text is here alone. */
export interface Enrolled {
  readonly worker: WorkerView;
  readonly key: string;
}

/**
 * Makes a worker of the machine that calls with the token of an enrolment. The same request of the same machine within
 * a minute gets the same worker, and a new key in place of the first: a lost answer loses nothing. What the token does
 * not allow is KEY_INVALID whatever the cause, which is in the audit log; a name that is taken or not like the pattern
 * leaves the token unused.
 */
export async function enrol(c: EnrolContext, caller: Caller, machine: Machine): Promise<Enrolled> {
  if (caller.type !== "enrol") {
    throw new DomainError("SCOPE_MISSING", {
      message: "This key is not the token of an enrolment",
      suggestion: "Use a token of `muster enrolment create`.",
    });
  }
  const violations = [
    ...textViolations("name", machine.name, { min: 0, max: 100 }),
    ...textViolations("machine", machine.machine, { min: 1, max: 200 }),
    ...textViolations("host", machine.host, { min: 0, max: 200 }),
    ...textViolations("requestId", machine.requestId, { min: 1, max: 200 }),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId, keyId } = caller;
  const done = await inOrg(c.db.app, orgId, async (tx) => {
    const row = await lockEnrolment(tx, orgId, keyId);
    if (row === null) return { refusal: "no enrolment" as const };
    if (row.isRevoked) return { refusal: "revoked" as const };
    const use = await readEnrolmentUse(tx, orgId, { keyId, requestId: machine.requestId, repeatMs });
    if (use === null) return enrolNew(c, tx, caller, { row, machine });
    if (!use.isRepeatable) return { refusal: "repeated too late" as const };
    if (use.machine !== machine.machine) return { refusal: "repeated by another machine" as const };
    return enrolAgain(c, tx, caller, { workerId: use.workerId, machine });
  });
  if ("refusal" in done) throw refused(c, caller, done.refusal);
  distrustKeys(c, done.endedKeyIds);
  return done;
}

/** What a person brings. */
export interface OwnMachine {
  readonly name: string;
  readonly availability: Availability;
}

/** Makes a worker of an own machine of a person, as the policy of the org allows. */
export async function enrolOwnWorker(
  c: EnrolContext,
  caller: Caller,
  { name, availability }: OwnMachine,
): Promise<Enrolled> {
  const personId = caller.personId ?? null;
  if (personId === null) {
    throw new DomainError("SCOPE_MISSING", {
      message: "Only a person who is signed in enrols own machines",
      suggestion: "Sign in with `muster login`; with an admin key use `muster worker create`.",
    });
  }
  const violations = [
    ...textViolations("name", name, { min: 1, max: 100 }),
    ...availabilityViolations("availability", availability),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const workerId = c.newId();
  return inOrg(c.db.app, orgId, async (tx) => {
    // Under its lock: machines that come at once are counted one after the other.
    const policy = (await readPolicy(tx, orgId, { isLocked: true })) ?? closedPolicy;
    if (policy.mode === "closed") throw failedPrecondition("ENROLMENT_CLOSED", {});
    const machines = await countOwnWorkers(tx, orgId, personId);
    if (machines >= policy.machinesPerPerson) {
      throw new DomainError("TOO_MANY_MACHINES", { details: { machines: String(machines) } });
    }
    await checkZone(tx, "availability", availability.hours);
    const newcomerLimits = policy.mode === "open" ? policy.newcomerLimits : null;
    const approval = policy.mode === "open" ? ("newcomer" as const) : ("pending" as const);
    const isNew = await insertWorker(tx, {
      ...{ orgId, workerId, name, owner: caller.actor, ownerPersonId: personId, approval },
      ...{ limits: policy.limits, newcomerLimits, hours: availability.hours },
      ownerLimits: availability.limits,
      maxOpenPrs: bothLimits(policy.limits, newcomerLimits ?? noLimits).openPrs,
    });
    if (!isNew) throw alreadyExists("NAME_TAKEN", { name });
    const key = await createKey(c, tx, { orgId, workerId, type: "worker", name, scopes: ["work"] });
    await audit(tx, c, caller, {
      action: "worker.enrol",
      target: encodeId("worker", workerId),
      details: { name, keyId: key.id, mode: policy.mode, approval },
    });
    return { worker: await readView(c, tx, orgId, workerId), key: key.text };
  });
}

type Done =
  | (Enrolled & { readonly endedKeyIds: readonly string[] })
  | { readonly refusal: RefusedKey["cause"] };

async function enrolNew(
  c: EnrolContext,
  tx: Tx,
  caller: Caller,
  { row, machine }: { readonly row: EnrolmentRow; readonly machine: Machine },
): Promise<Done> {
  if (row.isExpired) return { refusal: "expired" };
  if (row.used >= row.uses) return { refusal: "used up" };
  const { orgId, keyId } = caller;
  const name = machine.name === "" ? nameOf(row.namePattern, machine, row.used) : machine.name;
  if (row.namePattern !== "" && !isLikePattern(name, row.namePattern)) {
    throw invalidArgument([{ field: "name", message: `must be like ${row.namePattern}` }]);
  }
  const workerId = c.newId();
  const { limits, creator } = row;
  const isNew = await insertWorker(tx, {
    ...{ orgId, workerId, name, limits, owner: creator, host: machine.host },
    maxOpenPrs: limits.openPrs,
  });
  if (!isNew) throw alreadyExists("NAME_TAKEN", { name });
  const key = await createKey(c, tx, { orgId, workerId, type: "worker", name, scopes: ["work"] });
  const { machine: of, host, requestId } = machine;
  const isLast = row.used + 1 >= row.uses;
  await useEnrolment(tx, orgId, { keyId, requestId, machine: of, workerId, isLast, repeatMs });
  await audit(tx, c, caller, {
    action: "worker.enrol",
    target: encodeId("worker", workerId),
    details: { name, enrolment: keyId, machine: of, host, keyId: key.id },
  });
  return { worker: await readView(c, tx, orgId, workerId), key: key.text, endedKeyIds: [] };
}

// The answer was lost, or the key with it: what it was is not known any more.
async function enrolAgain(
  c: EnrolContext,
  tx: Tx,
  caller: Caller,
  { workerId, machine }: { readonly workerId: string; readonly machine: Machine },
): Promise<Done> {
  const { orgId, keyId } = caller;
  const [worker] = await readWorkers(tx, orgId, { workerId }, c.config.staleMs);
  if (worker === undefined) return { refusal: "its worker is gone" };
  const endedKeyIds = await revokeWorkerKeys(tx, orgId, workerId);
  const { name } = worker;
  const key = await createKey(c, tx, { orgId, workerId, type: "worker", name, scopes: ["work"] });
  await audit(tx, c, caller, {
    action: "worker.enrol",
    target: encodeId("worker", workerId),
    details: {
      name,
      enrolment: keyId,
      machine: machine.machine,
      host: machine.host,
      keyId: key.id,
      again: true,
    },
  });
  return { worker, key: key.text, endedKeyIds };
}

// A fleet of one image: the host, and what the pattern has around it; numbers where hosts have no name.
function nameOf(pattern: string, { host }: Machine, used: number): string {
  const own = host === "" ? String(used + 1) : host;
  if (pattern === "") return own.slice(0, 100);
  return (isLikePattern(own, pattern) ? own : pattern.replaceAll("*", own)).slice(0, 100);
}

async function readView(c: EnrolContext, tx: Tx, orgId: string, workerId: string): Promise<WorkerView> {
  const [row] = await readWorkers(tx, orgId, { workerId }, c.config.staleMs);
  if (row === undefined) throw new Error("the new worker is not there");
  return row;
}

function refused(c: EnrolContext, { orgId, keyId }: Caller, cause: RefusedKey["cause"]): DomainError {
  c.keyNotes.refused({ orgId, keyId, cause, address: "" });
  return unauthenticated();
}
